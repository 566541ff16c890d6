"""Scenes to binaural audio: every source through the listener's response of its direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.scene import Scene, Source

Audio = NDArray[np.float32]
TURN_HOP = 1024  # samples between the directions of a moving source: 3 degrees at 45 degrees a second and 16 kHz


class SoundBank(Protocol):
    """Where a scene's sounds come from."""

    def read(self, sound: str, start: int, samples: int) -> Audio:
        """``[samples]`` mono at the scene's rate."""


@dataclass(frozen=True)
class RenderedScene:
    """What the listener's ears receive.

    Attributes:
        mixture: float32 ``[2, samples]``, the sum of the images.
        images: float32 ``[sources, 2, samples]``: each source alone, in the scene's order.
    """

    mixture: Audio
    images: Audio


def dry_signal(source: Source, bank: SoundBank, samples: int, level_db: float) -> Audio:
    """A source's clips one after the other, the last ``samples`` of them, at an RMS level in dB relative to full scale.

    Raises:
        ValueError: the clips are shorter than that.
    """
    dry = np.concatenate([bank.read(c.sound, c.start, c.samples) for c in source.clips])[-samples:]
    if len(dry) < samples:
        raise ValueError(f"source {source.name!r}: expected at least {samples} samples of sound, found {len(dry)}")
    rms = float(np.sqrt(np.mean(dry.astype(np.float64) ** 2)))
    gain = np.float32(10 ** (level_db / 20) / max(rms, 1e-6))
    scaled: Audio = dry * gain
    return scaled


def render(scene: Scene, bank: SoundBank, listeners: Mapping[str, HrirSet]) -> RenderedScene:
    """Render a scene.

    Each source has been sounding for one response length before the scene begins, so that reverberation is there from
    the first sample.

    Args:
        scene: from a recipe.
        bank: has the sounds that the scene names.
        listeners: has the listener that the scene names.

    Raises:
        KeyError: no such listener.
        ValueError: a source's clips are too short.
    """
    listener = listeners[scene.listener]
    images = np.empty((len(scene.sources), 2, scene.samples), np.float32)
    for image, source in zip(images, scene.sources, strict=True):
        needed = scene.samples + listener.taps - 1
        dry = dry_signal(source, bank, needed, scene.reference_db + source.level_db)
        if source.turn_deg_s:
            image[:] = _turning(dry, source, listener)
        else:
            response = listener.responses[listener.nearest(source.azimuth_deg, source.elevation_deg)]
            image[:] = oaconvolve(dry[None], response, mode="valid", axes=-1)
    return RenderedScene(images.sum(0), images)


def _turning(dry: Audio, source: Source, listener: HrirSet) -> Audio:
    """A source on the move, ``[2, samples]``: the sound is cut into overlapping pieces that sum to it.

    Each piece, reverberation and all, is heard through the response of where the source is in its middle, so nothing
    clicks. Beyond the last measured direction it stands still.
    """
    lead = listener.taps - 1
    window = np.hanning(2 * TURN_HOP + 1)[:-1].astype(np.float32)
    padded = np.pad(dry, (TURN_HOP, 2 * TURN_HOP))
    heard = np.zeros((2, len(padded) + lead), np.float32)
    for begin in range(0, len(dry) + TURN_HOP, TURN_HOP):  # a piece's middle is sample ``begin`` of the dry sound
        seconds = max(0, begin - lead) / listener.sample_rate_hz
        index = listener.nearest(source.azimuth_deg + source.turn_deg_s * seconds, source.elevation_deg)
        piece = padded[begin : begin + 2 * TURN_HOP] * window
        whole = oaconvolve(piece[None], listener.responses[index], axes=-1)
        heard[:, begin : begin + whole.shape[1]] += whole
    return heard[:, TURN_HOP + lead : TURN_HOP + len(dry)]
