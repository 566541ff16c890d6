"""Which microphones and headphones: chosen, explained, remembered. The lists come from the engine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import platformdirs

from hearable.errors import AudioError
from hearable.files import replacing

Way: TypeAlias = Literal["input", "output"]
WHAT: Mapping[Way, str] = {"input": "microphones", "output": "headphones"}
# A card that a system shows through several interfaces: the one with the least delay first.
HOSTS = ("JACK", "Core Audio", "ASIO", "WASAPI", "WDM-KS", "ALSA", "PulseAudio", "DirectSound", "MME", "OSS")
MAX_FILE_BYTES = 65536


@dataclass(frozen=True)
class Device:
    """A sound device as the sound system shows it.

    Attributes:
        index: its number today; it changes when devices come and go.
        name: its name.
        host: the interface through which it is reached (ALSA, JACK, WASAPI, ...).
        inputs: number of channels in.
        outputs: number of channels out.
        rate: its own sample rate in Hz.
        defaults: the ways for which it is the system's default.
    """

    index: int
    name: str
    host: str
    inputs: int
    outputs: int
    rate: int
    defaults: tuple[Way, ...] = ()

    def channels(self, way: Way) -> int:
        """Number of channels in that direction."""
        return self.inputs if way == "input" else self.outputs

    def __str__(self) -> str:
        return f"{self.name} ({self.host})"


@dataclass(frozen=True)
class Choice:
    """A device, and why it is the one."""

    device: Device
    why: str


def choose(devices: Sequence[Device], way: Way, wanted: str | None, remembered: str | None) -> Choice:
    """The device for a direction: the wanted one, else the remembered one, else the default, else the first stereo one.

    Args:
        devices: all there are.
        way: ``input`` or ``output``.
        wanted: an index or a part of a name (and host), in any case.
        remembered: the same, from earlier; passed over while it is not there.

    Raises:
        AudioError: nothing stereo is there, the wanted one is not, or it is not stereo.
    """
    if wanted is not None:
        return Choice(_stereo(_match(devices, way, wanted), way), "asked for")
    if remembered is not None:
        found = _matches(devices, way, remembered)
        if found and found[0].channels(way) >= 2:
            return Choice(found[0], "remembered")
    default = next((d for d in devices if way in d.defaults), None)
    if default is not None and default.channels(way) >= 2:
        return Choice(default, "the system's default")
    stereo = sorted((d for d in devices if d.channels(way) >= 2), key=_preference)
    if not stereo:
        if default is not None:
            _stereo(default, way)
        raise AudioError(f"no {WHAT[way]} found: connect a stereo {way} device, or start the sound server")
    why = "the default is not stereo" if default is not None else "there is no default"
    return Choice(stereo[0], f"the first stereo {way}: {why}")


def _stereo(device: Device, way: Way) -> Device:
    channels = device.channels(way)
    if channels >= 2:
        return device
    if way == "input":
        raise AudioError(f"{device}: expected 2 input channels, one at each ear, found {channels}: "
                         "one microphone cannot tell directions; connect a binaural one")  # fmt: skip
    raise AudioError(f"{device}: expected 2 output channels, one for each ear, found {channels}: choose headphones")


def _match(devices: Sequence[Device], way: Way, wanted: str) -> Device:
    found = _matches(devices, way, wanted)
    if not found:
        there = "; ".join(_listed(devices, way)) or "none"
        raise AudioError(f"{way} device {wanted!r}: expected an index or part of a name, of: {there}")
    names = sorted({d.name for d in found})
    exact = [d for d in found if d.name.lower() == wanted.lower()]
    if len(names) > 1 and not exact:
        raise AudioError(f"{way} device {wanted!r}: fits {', '.join(names)}: give more of the name, or the index")
    return (exact or found)[0]


def _matches(devices: Sequence[Device], way: Way, wanted: str) -> list[Device]:
    if wanted.isdecimal():
        return [d for d in devices if d.index == int(wanted)]
    having = [d for d in devices if d.channels(way) and wanted.lower() in str(d).lower()]
    return sorted(having, key=_preference)


def _preference(device: Device) -> tuple[int, int]:
    ranks = [n for n, host in enumerate(HOSTS) if host.lower() in device.host.lower()]
    return (ranks[0] if ranks else len(HOSTS), device.index)


def _listed(devices: Sequence[Device], way: Way) -> Iterator[str]:
    for device in devices:
        if device.channels(way):
            yield f"{device.index} {device}"


def settings_path() -> Path:
    """The file that remembers the devices."""
    return Path(platformdirs.user_config_path("hearable")) / "devices.json"


def remembered_devices() -> dict[Way, str]:
    """What ``remember`` wrote; empty if there is nothing, or nothing that can be read."""
    path = settings_path()
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return {}
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(values, dict):
        return {}
    return {way: values[way] for way in WHAT if isinstance(values.get(way), str)}


def remember(chosen: Mapping[Way, Device]) -> Path:
    """Keep these devices for the next time, by name and host; others stay as remembered. Returns the file.

    Raises:
        AudioError: the file cannot be written.
    """
    values = remembered_devices() | {way: str(device) for way, device in chosen.items()}
    path = settings_path()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, AudioError) as temporary:
            temporary.write_text(json.dumps(values, indent=1) + "\n", "utf-8")
    except OSError as problem:
        raise AudioError(f"{path}: cannot write: {problem.strerror or problem}") from problem
    return path
