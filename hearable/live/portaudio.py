"""Sound devices through PortAudio: listed, recorded from, opened. The only module that imports sounddevice."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from hearable.chunks import Audio
from hearable.errors import AudioError
from hearable.live.devices import Device, Way, choose, remembered_devices

BLOCK_S = 0.008
OURS_IN_JACK = "PortAudio"  # how PortAudio calls its clients
# Takes float32 [2, n] heard, [2, n] to fill (None where a callback has no such side), and whether sound was lost.
Callback: TypeAlias = Callable[[Audio | None, Audio | None, bool], None]


class OpenDevice(Protocol):
    """A device that calls back once started."""

    def start(self) -> None:
        """Begin to call."""

    def close(self) -> None:
        """End."""


def query_devices() -> list[Device]:
    """All devices that the sound system shows.

    Raises:
        AudioError: there is no PortAudio, or it cannot list them.
    """
    sounddevice = _module()
    with _refusals("sound devices cannot be listed"):
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
            # In JACK, what another process of ours plays: heard again it would howl.
            if not ("JACK" in hosts[d["hostapi"]] and d["name"] == OURS_IN_JACK)
        ]


def _ways(index: int, default_in: int, default_out: int) -> tuple[Way, ...]:
    ways: list[Way] = ["input"] if index == default_in else []
    return (*ways, "output") if index == default_out else tuple(ways)


def rescan() -> None:
    """See devices that came or went; no stream may be open.

    Raises:
        AudioError: the sound system does not start.
    """
    sounddevice = _module()
    with _refusals("the sound system does not start"):
        sounddevice._terminate()
        sounddevice._initialize()


def _module() -> Any:
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
    sounddevice = _module()
    device = choose(query_devices(), "input", input, remembered_devices().get("input")).device
    with _refusals(f"{device} cannot be opened"):
        frames = sounddevice.rec(round(seconds * device.rate), device.rate, 2, "float32", device=device.index)
        sounddevice.wait()
    return np.ascontiguousarray(frames.T), device.rate


def shares_clock(input: Device, output: Device) -> bool:
    """Whether one callback can serve both: one device, or two clients of one JACK server."""
    return input.index == output.index or ("JACK" in input.host and "JACK" in output.host)


def device_rate(device: Device, way: Way, wanted_hz: int) -> int:
    """The wanted rate if the device has it, else the device's own."""
    sounddevice = _module()
    check = sounddevice.check_input_settings if way == "input" else sounddevice.check_output_settings
    try:
        check(device=device.index, channels=2, dtype="float32", samplerate=wanted_hz)
    except sounddevice.PortAudioError:
        return device.rate
    return wanted_hz


def open_device(
    source: Device | None, sink: Device | None, rate: int, call: Callback, ended: Callable[[], None]
) -> OpenDevice:
    """Microphones, headphones, or both in one callback, not started yet; ``ended`` is called when they end.

    Raises:
        AudioError: the system refuses.
    """
    sounddevice = _module()

    def back(*given: Any) -> None:  # what is heard, what is to be filled, or both; their length, time, status
        sides = iter(given)
        call(next(sides).T if source else None, next(sides).T if sink else None, bool(given[-1]))

    used = [device for device in (source, sink) if device is not None]
    alone = sounddevice.InputStream if source else sounddevice.OutputStream
    kind, device = (sounddevice.Stream, tuple(d.index for d in used)) if len(used) == 2 else (alone, used[0].index)
    # JACK calls with its own period; PortAudio would collect others first. Elsewhere, blocks as long as a chunk.
    block = 0 if any("JACK" in d.host for d in used) else round(BLOCK_S * rate)
    with _refusals("the devices cannot be opened"):
        opened: OpenDevice = kind(
            device=device, samplerate=rate, blocksize=block, channels=2, dtype="float32", latency="low",
            callback=back, finished_callback=ended,
        )  # fmt: skip
    return opened


def start_all(devices: Sequence[OpenDevice]) -> None:
    """Let them call from now on.

    Raises:
        AudioError: the system refuses.
    """
    with _refusals("the devices do not start"):
        for device in devices:
            device.start()


@contextlib.contextmanager
def _refusals(what: str) -> Iterator[None]:
    """PortAudio's errors as ours."""
    try:
        yield
    except _module().PortAudioError as problem:
        raise AudioError(f"{what}: {problem}") from problem
