"""The audio engine: two devices, their callbacks, the worker, and what to do when a device vanishes."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Literal, TypeAlias

from hearable.chunks import Audio
from hearable.errors import AudioError
from hearable.live.devices import Device, Way, choose, remembered_devices
from hearable.live.portaudio import (
    Callback,
    OpenDevice,
    device_rate,
    open_device,
    query_devices,
    rescan,
    shares_clock,
    start_all,
)
from hearable.live.realtime import prepare_thread
from hearable.live.replay import NoDevice, Replay
from hearable.live.stream import ChunkProcessor, Counts, LiveStream, StreamMeters

LOST_S = 1.0  # no call for that long: the device is gone
RETRY_S = 1.0
STUCK_S = 4.0  # opening and closing take less; PortAudio may never return when a sound server has died
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
        self._open: list[OpenDevice] = []
        self._again: str | None = None  # why the devices are to be opened anew
        self._stopping = threading.Event()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._priority = ""
        self._beat = time.monotonic()
        self._threads = [
            threading.Thread(target=run, name=f"hearable-{run.__name__.strip('_')}", daemon=True)
            for run in (self._worker, self._supervisor)
        ]

    def open(self, patient: bool = False) -> None:
        """Open the devices; nothing is processed before ``start``.

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
            self._again = "no sound yet"

    def start(self) -> None:
        """Begin."""
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
        """The sound system does not return, or a thread has died: only a new process helps."""
        if any(thread.ident is not None and not thread.is_alive() for thread in self._threads):
            return True
        return self._state != "ended" and time.monotonic() - self._beat > STUCK_S

    def use(self, input: str | None, output: str | None) -> None:
        """Change over to other devices; ``None`` keeps the present one."""
        self._wanted = {"input": input or self._wanted["input"], "output": output or self._wanted["output"]}
        self._again = "changing devices"

    def look_again(self) -> None:
        """Open the devices anew when nothing comes: JACK does not say that one is gone, nor leads back to it later."""
        if self.replay is None:
            self._again = "looking for the microphones"

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
            if self._again is None and self._stream is not None and self._stream.silent_s() > LOST_S:
                self._lost()
            if (why := self._again) is not None:
                self._reconnect(why)
            elif self.replay is not None and self.replay.over and self._state == "running":
                self._state = "ended"
                self._tell("the replay is over")

    def _lost(self) -> None:
        self._again = f"sound stopped: {self._names['input']} or {self._names['output']} is gone"

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
        """Choose and open the devices; a replay stands for the microphones, and needs no headphones.

        Raises:
            AudioError: there are none that will do, or the system refuses.
        """
        silent = self._wanted["output"] == NO_DEVICE
        try:
            if self.replay is not None:
                self._open_replay(self.replay, None if silent else self._chosen("output"))
            elif silent:
                raise AudioError(f"--output {NO_DEVICE}: expected a replay, found microphones: choose headphones")
            else:
                self._open_live(self._chosen("input"), self._chosen("output"))
            start_all(self._open)
        except AudioError:
            self._disconnect()
            raise

    def _chosen(self, way: Way) -> Device:
        device = choose(query_devices(), way, self._wanted[way], remembered_devices().get(way)).device
        self._names[way] = str(device)
        return device

    def _open_live(self, source: Device, sink: Device) -> None:
        in_hz = device_rate(source, "input", self.processor.rate)
        out_hz = device_rate(sink, "output", self.processor.rate)
        shared = shares_clock(source, sink)
        if shared and in_hz != out_hz:
            in_hz = out_hz = sink.rate
        call = self._new_stream(in_hz, out_hz, shared)
        if shared:
            self._open.append(open_device(source, sink, in_hz, call, self._lost))
        else:
            self._open.append(open_device(source, None, in_hz, call, self._lost))
            self._open.append(open_device(None, sink, out_hz, call, self._lost))

    def _open_replay(self, replay: Replay, sink: Device | None) -> None:
        out_hz = replay.rate if sink is None else device_rate(sink, "output", self.processor.rate)
        call = self._new_stream(replay.rate, out_hz, replay.rate == out_hz)
        self._names["input"] = str(replay.path)
        if sink is None:
            self._names["output"] = NO_DEVICE
            self._open.append(NoDevice(out_hz, call))
        else:
            self._open.append(open_device(None, sink, out_hz, call, self._lost))

    def _new_stream(self, in_hz: int, out_hz: int, shared: bool) -> Callback:
        """Begin anew; returns what the devices are to call."""
        self.processor.reset()
        stream = LiveStream(self.processor, in_hz, out_hz, shared, self._tell, self._tap, counts=self.counts)
        self._stream = stream
        return functools.partial(self._called, stream)

    def _called(self, stream: LiveStream, heard: Audio | None, out: Audio | None, lost: bool) -> None:
        """In the devices' threads: copies, nothing else."""
        if heard is not None:
            stream.capture(heard)
        if out is not None:
            if self.replay is not None:
                self.replay.feed(stream, out.shape[1])
            stream.play(out)
        stream.counts.xruns += lost
        self._wake.put(None)

    def _disconnect(self) -> None:
        self._stream = None
        for opened in self._open:
            opened.close()
        self._open.clear()
        self._again = None  # what was closed has said that it ended
