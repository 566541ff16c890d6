"""A scene as plain data: who sounds, from where, how loud, heard by whom. No audio is held here."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["target", "interferer", "noise"]


@dataclass(frozen=True)
class Clip:
    """A stretch of one recorded sound: its name in a sound bank, first sample and length in samples."""

    sound: str
    start: int
    samples: int


@dataclass(frozen=True)
class Source:
    """One directional source: clips played one after the other.

    Attributes:
        role: what the source is to the listener.
        name: the speaker, or the class of a noise.
        clips: what it plays; together at least as long as the scene.
        azimuth_deg: 0 front, +90 left.
        elevation_deg: + up.
        level_db: RMS level of the dry signal, in dB relative to the scene's reference level.
        turn_deg_s: how fast the azimuth, which is that at the scene's beginning, changes; + to the left.
    """

    role: Role
    name: str
    clips: tuple[Clip, ...]
    azimuth_deg: float
    elevation_deg: float
    level_db: float
    turn_deg_s: float = 0.0


@dataclass(frozen=True)
class Microphones:
    """What the microphones at the ears add to the sound.

    Attributes:
        noise_db: RMS level of their own noise at each ear, in dB relative to full scale; none for ``None``.
        clip_db: level at which they clip, in dB relative to full scale; none for ``None``.
        gain_db: error of each ear's gain, left and right.
    """

    noise_db: float | None = None
    clip_db: float | None = None
    gain_db: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Scene:
    """What is to be rendered.

    Attributes:
        seed: the seed it was drawn from.
        samples: length of the result at the listener's rate.
        listener: name of the impulse response set.
        reference_db: level of 0 dB in ``Source.level_db``, in dB relative to full scale.
        sources: all sources, targets first.
        head_turn_deg_s: how fast the listener's head turns, + to the left: all sources go the other way round it.
        microphones: at the ears; ideal ones for ``None``.
    """

    seed: int
    samples: int
    listener: str
    reference_db: float
    sources: tuple[Source, ...]
    head_turn_deg_s: float = 0.0
    microphones: Microphones | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Scene:
        """Inverse of `to_dict`."""
        sources = tuple(Source(**{**s, "clips": tuple(Clip(**c) for c in s["clips"])}) for s in data["sources"])
        found = data.get("microphones")
        microphones = found and Microphones(**{**found, "gain_db": tuple(found["gain_db"])})
        return Scene(**{**data, "sources": sources, "microphones": microphones})
