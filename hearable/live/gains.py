"""Gains that change without a click, and a limiter that guards the ears. Sound is float32 ``[channels, samples]``."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hearable.chunks import Audio
from hearable.extractor import FADE_CHUNKS

FULL_SCALE = 1.0
HOLD_S = 0.2  # how long the loudness of the input counts; the ear's own masking lasts about as long
ATTACK_S, RELEASE_S = 0.002, 0.1


class Fade:
    """A gain that reaches each new value in ``FADE_CHUNKS`` chunks (32 ms), in a straight line.

    Args:
        value: the gain to begin with.
        samples: in a chunk.
    """

    def __init__(self, value: float, samples: int):
        self.value = self._target = value
        self._left = 0
        self._ramp = np.arange(1, samples + 1, dtype=np.float32) / samples

    def towards(self, target: float) -> NDArray[np.float32]:
        """The gain at each sample of the next chunk, on the way to ``target``."""
        if target != self._target:
            self._target, self._left = target, FADE_CHUNKS
        before = self.value
        if self._left:
            self.value += (target - before) / self._left
            self._left -= 1
        if not self._left:
            self.value = target
        ramp: NDArray[np.float32] = np.float32(before) + np.float32(self.value - before) * self._ramp
        return ramp


class PeakHold:
    """The highest sample of late: falls by 1/e in ``HOLD_S``."""

    def __init__(self, channels: int, chunk_s: float):
        self.peaks = np.zeros(channels, np.float32)
        self._keep = np.float32(math.exp(-chunk_s / HOLD_S))

    def update(self, chunk: Audio) -> None:
        """Take the next chunk."""
        self.peaks = np.maximum(self.peaks * self._keep, np.abs(chunk).max(axis=1))

    def db(self) -> tuple[float, ...]:
        """Each channel's peak in dB full scale, -120 at least."""
        return tuple(float(v) for v in 20 * np.log10(np.maximum(self.peaks, 1e-6)))


class EarGuard:
    """A limiter: nothing is louder than the ceiling. It turns down within 2 ms and up again within about 0.1 s.

    Args:
        samples: in a chunk.
        rate: samples a second.
    """

    def __init__(self, samples: int, rate: int):
        self._gain = 1.0
        self._release = 1 - math.exp(-samples / rate / RELEASE_S)
        self._ramp = np.minimum(np.arange(1, samples + 1, dtype=np.float32) / (ATTACK_S * rate), 1).astype(np.float32)
        self.limited_chunks = 0

    def limit(self, chunk: Audio, ceiling: float) -> Audio:
        """``chunk``, where needed turned down so that no sample is beyond ``ceiling``."""
        peak = float(np.abs(chunk).max())
        wanted = min(1.0, ceiling / peak) if peak else 1.0
        before = self._gain
        self._gain = wanted if wanted < before else before + (wanted - before) * self._release
        if self._gain > 0.9999:
            self._gain = 1.0
        if before == self._gain == 1.0:
            return chunk
        self.limited_chunks += wanted < 1.0
        turned: Audio = chunk * (np.float32(before) + np.float32(self._gain - before) * self._ramp)
        return np.clip(turned, -ceiling, ceiling)
