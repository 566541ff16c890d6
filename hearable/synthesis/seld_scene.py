"""A SELD scene as plain data: which sounds, on which paths, in which room, at which level. No audio is held here.

Directions are seen from the array: azimuth 0 along the room's x axis, +90 left (y), counter-clockwise; elevation + up.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["foa", "mic", "binaural"]
CHANNELS: dict[Format, int] = {"foa": 4, "mic": 4, "binaural": 2}


@dataclass(frozen=True)
class ShoeboxRoom:
    """A simulated room with flat walls.

    Attributes:
        size_m: length (x), width (y), height (z).
        rt60_s: reverberation time.
        array_m: the array's position from the corner at the origin.
    """

    size_m: tuple[float, float, float]
    rt60_s: float
    array_m: tuple[float, float, float]


@dataclass(frozen=True)
class MeasuredRoom:
    """A room whose responses were measured: its name among those given to the renderer."""

    name: str


@dataclass(frozen=True)
class Waypoint:
    """Where a source is at a time in seconds from the scene's start, seen from the array; distance in metres."""

    time_s: float
    azimuth_deg: float
    elevation_deg: float
    distance_m: float


@dataclass(frozen=True)
class Event:
    """One sound from one place or path.

    Attributes:
        sound: name in the sound bank.
        label: class of a target, kind of an interferer.
        role: targets are labelled, interferers are not.
        start: first sample in the scene.
        samples: how long it lasts at the source; its reverberation goes on after that.
        clip_start: first sample in the sound.
        level_db: RMS over the event, in dB relative to full scale, that it has in the free field 1 m from the source.
            Nearer is louder: the level follows 1/distance, whether the source moves or not.
        path: a single waypoint (whose time does not count) stays there. Between waypoints azimuth (the short way
            round), elevation and distance change linearly; before the first and after the last they stay.
    """

    sound: str
    label: str
    role: Literal["target", "interferer"]
    start: int
    samples: int
    clip_start: int
    level_db: float
    path: tuple[Waypoint, ...]


@dataclass(frozen=True)
class Ambience:
    """Sound from all around.

    Attributes:
        kind: ``diffuse`` is noise; ``recorded`` spreads a mono recording over all directions; ``array`` is what the
            array itself recorded in the scene's measured room.
        snr_db: power of all targets together over the ambience's, both over the whole scene: of W in FOA, the mean of
            the channels in the others. Without targets the ambience is at -snr_db - 30 dB relative to full scale.
        seed: of the noise, and of the place in a recording.
        sound: name in the sound bank of what was ``recorded``.
    """

    kind: Literal["diffuse", "recorded", "array"]
    snr_db: float
    seed: int
    sound: str = ""


@dataclass(frozen=True)
class SeldScene:
    """What is to be rendered.

    Attributes:
        rate: sample rate in Hz.
        samples: length of the result.
        seed: of what the renderer draws (late reverberation).
        room: ``None`` is the free field.
        events: in any order.
        ambience: ``None`` is silence.
        formats: what is rendered, of the same scene: ``foa`` [4, samples] (ACN, SN3D: W Y Z X), ``mic`` [4, samples]
            (tetrahedron on a rigid sphere), ``binaural`` [2, samples].
        listener: name of the HRIR set for ``binaural``; ``spherical_head`` is built in.
    """

    rate: int
    samples: int
    seed: int
    room: ShoeboxRoom | MeasuredRoom | None
    events: tuple[Event, ...]
    ambience: Ambience | None = None
    formats: tuple[Format, ...] = ("foa", "mic")
    listener: str = "spherical_head"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> SeldScene:
        """Inverse of `to_dict`."""
        room = data["room"] and _room(data["room"])
        events = tuple(Event(**{**e, "path": tuple(Waypoint(**w) for w in e["path"])}) for e in data["events"])
        ambience = data["ambience"] and Ambience(**data["ambience"])
        fields = {"room": room, "events": events, "ambience": ambience, "formats": tuple(data["formats"])}
        return SeldScene(**{**data, **fields})


def _room(data: dict[str, Any]) -> ShoeboxRoom | MeasuredRoom:
    if "name" in data:
        return MeasuredRoom(**data)
    return ShoeboxRoom(tuple(data["size_m"]), data["rt60_s"], tuple(data["array_m"]))
