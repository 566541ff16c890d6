"""Scenes to binaural audio: every source through the listener's response of its direction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.moving_talkers import moving_image
from hearable.synthesis.scene import Microphones, Scene, Source

Audio = NDArray[np.float32]

MICROPHONES = 1  # with the scene's seed, that of their noise


class SoundBank(Protocol):
    """Where a scene's sounds come from."""

    def read(self, sound: str, start: int, samples: int) -> Audio:
        """``[samples]`` mono at the scene's rate."""


@dataclass(frozen=True)
class RenderedScene:
    """What the listener's ears receive.

    Attributes:
        mixture: float32 ``[2, samples]``, the sum of the images; then the microphones' noise and clipping.
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
        turn = source.turn_deg_s - scene.head_turn_deg_s
        needed = scene.samples + listener.taps - 1
        dry = dry_signal(source, bank, needed, scene.reference_db + source.level_db)
        if turn:
            image[:] = moving_image(listener, dry, source.azimuth_deg, source.elevation_deg, turn)
        else:
            response = listener.responses[listener.nearest(source.azimuth_deg, source.elevation_deg)]
            image[:] = oaconvolve(dry[None], response, mode="valid", axes=-1)
    if scene.microphones is None:
        return RenderedScene(images.sum(0), images)
    images *= 10 ** (np.array(scene.microphones.gain_db, np.float32)[:, None] / 20)
    return RenderedScene(_recorded(images.sum(0), scene.microphones, scene.seed), images)


def _recorded(sound: Audio, microphones: Microphones, seed: int) -> Audio:
    """Sound ``[2, samples]`` with the microphones' noise, clipped."""
    if microphones.noise_db is not None:
        noise = np.random.default_rng([seed, MICROPHONES]).standard_normal(sound.shape, np.float32)
        sound = sound + noise * np.float32(10 ** (microphones.noise_db / 20))
    if microphones.clip_db is not None:
        limit = np.float32(10 ** (microphones.clip_db / 20))
        sound = np.clip(sound, -limit, limit)
    return sound
