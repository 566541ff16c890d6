"""The audio engine: devices, their callbacks, the worker. The only module that imports sounddevice."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Literal, TypeAlias

import numpy as np

from hearable.chunks import Audio
from hearable.errors import AudioError
from hearable.live.devices import Choice, Device, Way, choose, remembered_devices
from hearable.live.realtime import prepare_thread
from hearable.live.replay import Replay
from hearable.live.stream import ChunkProcessor, Counts, LiveStream, StreamMeters

LOST_S = 1.0  # no call for that long: the device is gone
RETRY_S = 1.0
STUCK_S = 4.0  # opening and closing take less; PortAudio may never return when a sound server has died
BLOCK_S = 0.008
NO_DEVICE = "none"

State: TypeAlias = Literal["starting", "running", "lost", "ended"]


@dataclass(frozen=True)
class EngineMeters:
    """What the engine is doing: its state, the devices' names, their rates in Hz, the worker's priority, the stream."""

    state: State
    input: str
    output: str
    in_hz: int
    out_hz: int
    priority: str
    stream: StreamMeters | None


def query_devices() -> list[Device]:
    """All devices that the sound system shows.

    Raises:
        AudioError: there is no PortAudio, or it cannot list them.
    """
    sounddevice = _sounddevice()
    try:
        hosts = [host["name"] for host in sounddevice.query_hostapis()]
        default_in, default_out = sounddevice.default.device
        return [
            Device(
                index=d["index"],
                name=d["name"],
                host=hosts[d["hostapi"]],
                inputs=d["max_input_channels"],
                outputs=d["max_output_channels"],
                rate=round(d["default_samplerate"]),
                defaults=_ways(d["index"], default_in, default_out),
            )
            for d in sounddevice.query_devices()
        ]
    except sounddevice.PortAudioError as problem:
        raise AudioError(f"sound devices cannot be listed: {problem}") from problem


def _ways(index: int, default_in: int, default_out: int) -> tuple[Way, ...]:
    ways: list[Way] = ["input"] if index == default_in else []
    return (*ways, "output") if index == default_out else tuple(ways)


def rescan() -> None:
    """See devices that came or went; no stream may be open.

    Raises:
        AudioError: the sound system does not start.
    """
    sounddevice = _sounddevice()
    try:
        sounddevice._terminate()
        sounddevice._initialize()
    except sounddevice.PortAudioError as problem:
        raise AudioError(f"the sound system does not start: {problem}") from problem


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as problem:  # OSError: the package is there, the library that it loads is not
        mend = {"Linux": "apt install libportaudio2", "Darwin": "brew install portaudio"}
        raise AudioError(
            f"PortAudio is missing, no live sound: {mend.get(platform.system(), 'reinstall sounddevice')}"
        ) from problem
    return sounddevice


def record(input: str | None, seconds: float) -> tuple[Audio, int]:
    """Record float32 ``[2, samples]`` from microphones; also gives the rate in Hz.

    Raises:
        AudioError: no such device, not stereo, or it cannot be opened.
    """
    sounddevice = _sounddevice()
    device = choose(query_devices(), "input", input, remembered_devices().get("input")).device
    try:
        frames = sounddevice.rec(round(seconds * device.rate), device.rate, 2, "float32", device=device.index)
        sounddevice.wait()
    except sounddevice.PortAudioError as problem:
        raise AudioError(f"{device} cannot be opened: {problem}") from problem
    return np.ascontiguousarray(frames.T), device.rate


def shares_clock(input: Device, output: Device) -> bool:
    """Whether one callback can serve both: one device, or two clients of one JACK server."""
    return input.index == output.index or ("JACK" in input.host and "JACK" in output.host)


class Engine:
    """Runs a processor between two devices, and goes on when they vanish and come back.

    Args:
        processor: what is done to the sound.
        input: microphones: an index or part of a name; the remembered or default ones if ``None``.
        output: headphones, likewise; ``none`` plays nowhere, in real time, for a replay.
        replay: played instead of the microphones.
        tell: takes a sentence for the user when something happened.
        tap: takes each chunk before and after the processor, in the worker.
    """

    def __init__(
        self,
        processor: ChunkProcessor,
        input: str | None = None,
        output: str | None = None,
        replay: Replay | None = None,
        tell: Callable[[str], None] = lambda text: None,
        tap: Callable[[Audio, Audio], None] = lambda before, after: None,
    ):
        self.processor, self.replay = processor, replay
        self._wanted: dict[Way, str | None] = {"input": input, "output": output}
        self._tell, self._tap = tell, tap
        self.counts = Counts()
        self._state: State = "starting"
        self._names: dict[Way, str] = {"input": "-", "output": "-"}
        self._stream: LiveStream | None = None
        self._open: list[Any] = []  # sounddevice's streams, or our own timer
        self._failed = threading.Event()  # a device stream ended
        self._stopping = threading.Event()
        self._change = threading.Event()  # other devices are wanted
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._priority = ""
        self._beat = time.monotonic()
        self._threads = [
            threading.Thread(target=run, name=f"hearable-{run.__name__.strip('_')}", daemon=True)
            for run in (self._worker, self._supervisor)
        ]

    def start(self, patient: bool = False) -> None:
        """Open the devices and begin.

        Args:
            patient: wait for devices that are not there, as when they vanish later.

        Raises:
            AudioError: they cannot be opened, unless ``patient``.
        """
        try:
            self._connect()
            self._state = "running"
            self._tell(f"listening: {self._description()}")
        except AudioError:
            if not patient:
                raise
            self._failed.set()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End and close the devices."""
        self._stopping.set()
        self._wake.put(None)
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(timeout=5)
        self._disconnect()
        self._state = "ended"

    @property
    def stuck(self) -> bool:
        """The sound system does not return: only a new process helps."""
        return self._state != "ended" and time.monotonic() - self._beat > STUCK_S

    def use(self, input: str | None, output: str | None) -> None:
        """Change over to other devices; ``None`` keeps the present one."""
        self._wanted = {"input": input or self._wanted["input"], "output": output or self._wanted["output"]}
        self._change.set()

    def meters(self) -> EngineMeters:
        """What it is doing."""
        stream = self._stream
        return EngineMeters(
            state=self._state,
            input=self._names["input"],
            output=self._names["output"],
            in_hz=stream.in_hz if stream else 0,
            out_hz=stream.out_hz if stream else 0,
            priority=self._priority,
            stream=stream.meters() if stream else None,
        )

    # ---- threads

    def _worker(self) -> None:
        self._priority = prepare_thread()
        while not self._stopping.is_set():
            try:
                self._wake.get(timeout=0.2)
            except Empty:
                continue
            if (stream := self._stream) is not None:
                stream.work()

    def _supervisor(self) -> None:
        while not self._stopping.wait(0.05):
            self._beat = time.monotonic()
            if self._change.is_set():
                self._change.clear()
                self._reconnect("changing devices")
            elif self._failed.is_set() or (self._stream is not None and self._stream.silent_s() > LOST_S):
                self._reconnect(f"sound stopped: {self._names['input']} or {self._names['output']} is gone")
            elif self.replay is not None and self.replay.over and self._state == "running":
                self._state = "ended"
                self._tell("the replay is over")

    def _reconnect(self, why: str) -> None:
        self._state = "lost"
        self._tell(f"{why}: connecting again")
        last = ""
        while not self._stopping.is_set():
            self._beat = time.monotonic()
            self._disconnect()
            try:
                rescan()
                self._connect()
            except AudioError as problem:
                if str(problem) != last:
                    self._tell(f"waiting: {problem}")
                last = str(problem)
                self._stopping.wait(RETRY_S)
                continue
            self._state = "running"
            self._tell(f"sound again: {self._description()}")
            return

    def _description(self) -> str:
        stream = self._stream
        assert stream is not None
        rates = [f"{way} at {hz} Hz" for way, hz in (("input", stream.in_hz), ("output", stream.out_hz))
                 if hz != self.processor.rate]  # fmt: skip
        resampled = f", resampled: {', '.join(rates)}" if rates else ""
        return f"{self._names['input']} to {self._names['output']}{resampled}"

    # ---- devices

    def _connect(self) -> None:
        """Choose and open the devices.

        Raises:
            AudioError: there are none that will do, or the system refuses.
        """
        self._failed.clear()
        if self._wanted["output"] == NO_DEVICE:
            return self._open_timer()
        sounddevice, devices, remembered = _sounddevice(), query_devices(), remembered_devices()
        output = choose(devices, "output", self._wanted["output"], remembered.get("output"))
        try:
            if self.replay is not None:
                self._open_replay(sounddevice, output.device)
            else:
                input = choose(devices, "input", self._wanted["input"], remembered.get("input"))
                self._open_live(sounddevice, input, output)
        except sounddevice.PortAudioError as problem:
            self._disconnect()
            raise AudioError(f"the devices cannot be opened: {problem}") from problem
        self._names["output"] = str(output.device)

    def _open_live(self, sounddevice: Any, input: Choice, output: Choice) -> None:
        source, sink = input.device, output.device
        shared = shares_clock(source, sink)
        in_hz, out_hz = self._rate(sounddevice, source, "input"), self._rate(sounddevice, sink, "output")
        if shared and in_hz != out_hz:
            in_hz = out_hz = sink.rate
        stream = self._new_stream(in_hz, out_hz, shared)
        if shared:

            def both(indata: Audio, outdata: Audio, frames: int, at: object, status: object) -> None:
                stream.capture(indata.T)
                stream.play(outdata.T)
                self._called(stream, status)

            self._add(sounddevice.Stream, (source.index, sink.index), in_hz, sink.host, both, (2, 2))
        else:

            def capture(indata: Audio, frames: int, at: object, status: object) -> None:
                stream.capture(indata.T)
                self._called(stream, status)

            def play(outdata: Audio, frames: int, at: object, status: object) -> None:
                stream.play(outdata.T)
                self._called(stream, status)

            self._add(sounddevice.InputStream, source.index, in_hz, source.host, capture, 2)
            self._add(sounddevice.OutputStream, sink.index, out_hz, sink.host, play, 2)
        self._names["input"] = str(source)
        self._begin(stream)

    def _open_replay(self, sounddevice: Any, sink: Device) -> None:
        assert self.replay is not None
        replay, out_hz = self.replay, self._rate(sounddevice, sink, "output")
        stream = self._new_stream(replay.rate, out_hz, replay.rate == out_hz)

        def play(outdata: Audio, frames: int, at: object, status: object) -> None:
            replay.feed(stream, frames)
            stream.play(outdata.T)
            self._called(stream, status)

        self._add(sounddevice.OutputStream, sink.index, out_hz, sink.host, play, 2)
        self._names["input"] = str(replay.path)
        self._begin(stream)

    def _open_timer(self) -> None:
        if self.replay is None:
            raise AudioError(f"--output {NO_DEVICE}: expected a replay, found microphones: choose headphones")
        replay, rate = self.replay, self.replay.rate
        stream = self._new_stream(rate, rate, True)
        out = np.zeros((2, round(BLOCK_S * rate)), np.float32)

        def tick() -> None:
            replay.feed(stream, out.shape[1])
            stream.play(out)
            self._called(stream, None)

        self._open.append(_Timer(BLOCK_S, tick))
        self._names = {"input": str(replay.path), "output": NO_DEVICE}
        self._begin(stream)

    def _rate(self, sounddevice: Any, device: Device, way: Way) -> int:
        """The model's rate if the device has it: nothing to resample; else the device's own."""
        check = sounddevice.check_input_settings if way == "input" else sounddevice.check_output_settings
        try:
            check(device=device.index, channels=2, dtype="float32", samplerate=self.processor.rate)
        except sounddevice.PortAudioError:
            return device.rate
        return self.processor.rate

    def _new_stream(self, in_hz: int, out_hz: int, shared: bool) -> LiveStream:
        self.processor.reset()
        return LiveStream(self.processor, in_hz, out_hz, shared, self._tell, self._tap, counts=self.counts)

    def _add(self, kind: Any, device: Any, rate: int, host: str, callback: Any, channels: Any) -> None:
        # JACK calls with its own period; PortAudio would collect others first. Elsewhere, blocks as long as a chunk.
        block = 0 if "JACK" in host else round(BLOCK_S * rate)
        self._open.append(
            kind(
                device=device,
                samplerate=rate,
                blocksize=block,
                channels=channels,
                dtype="float32",
                latency="low",
                callback=callback,
                finished_callback=self._failed.set,
            )
        )

    def _begin(self, stream: LiveStream) -> None:
        self._stream = stream
        for opened in self._open:
            opened.start()

    def _called(self, stream: LiveStream, status: object) -> None:
        if status:
            stream.counts.xruns += 1
        self._wake.put(None)

    def _disconnect(self) -> None:
        self._stream = None
        for opened in self._open:
            opened.close()
        self._open.clear()
        self._failed.clear()


class _Timer:
    """Calls as a device would, where there is none."""

    def __init__(self, period_s: float, call: Callable[[], None]):
        self._period_s, self._call = period_s, call
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hearable-timer", daemon=True)

    def start(self) -> None:
        """Begin to call."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._closed.wait(max(0.0, due - time.monotonic())):
            self._call()
            due += self._period_s
