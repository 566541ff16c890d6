"""Resampling with little delay, at a ratio that may change while sound flows. Sound is float32 ``[channels, samples]``.

Two things that a live stream needs and soxr does not give: its streams hold back 20 to 37 ms (its variable-rate ones 12
to 15 ms) each way, and a person hears themselves late. This one holds back 2 ms. Band-limited interpolation after
J. O. Smith, "Digital Audio Resampling", https://ccrma.stanford.edu/~jos/resample/: a Kaiser-windowed sinc, tabulated at
512 phases, linear in between; images and aliases are below -80 dB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hearable.chunks import Audio
from hearable.resampling import require_rate

ZERO_CROSSINGS = 32  # on each side, at the lower of the two rates
BANDWIDTH = 0.95  # of the lower rate's half, where the filter is at -6 dB
KAISER_BETA = 8.0
PHASES = 512


class Varispeed:
    """Resamples block by block, about as many samples at a time as the ratio says.

    Args:
        from_hz: samples a second of what is pushed, nominally.
        to_hz: samples a second of what comes out, nominally.
        channels: number of channels.

    Attributes:
        correction: makes the output this share shorter, such as 2e-4: 200 samples in a million. A new value is reached
            over the next block.
        delay_s: how late the output is.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int):
        self.from_hz, self.to_hz = require_rate(from_hz), require_rate(to_hz)
        self.correction = 0.0
        self._step = self.from_hz / self.to_hz  # input samples for each output sample
        self._half = int(np.ceil(ZERO_CROSSINGS * max(1.0, self._step)))
        self._table = _table(self._half, min(1.0, 1 / self._step) * BANDWIDTH)
        self._channels = channels
        self.delay_s = self._half / self.from_hz
        self.reset()

    def reset(self) -> None:
        """Begin a new stream."""
        # As much silence before as the filter reaches forward: the first block already gives its share of output.
        self._held = np.zeros((self._channels, 2 * self._half), np.float32)
        self._at = float(self._half)  # in the held sound: where the next output sample lies
        self._corrected = self.correction

    def push(self, block: Audio) -> Audio:
        """Take ``[channels, samples]``, give ``[channels, about samples * to_hz / from_hz]``."""
        held = np.concatenate([self._held, block], axis=1)
        positions = self._positions(held.shape[1] - self._half)
        whole = positions.astype(np.int64)
        phase = (positions - whole) * PHASES
        row = phase.astype(np.int64)
        share = (phase - row).astype(np.float32)[:, None]
        weights = self._table[row] + share * (self._table[row + 1] - self._table[row])
        windows = np.lib.stride_tricks.sliding_window_view(held, 2 * self._half, axis=1)
        out: Audio = np.einsum("cnt,nt->cn", windows[:, whole - self._half + 1], weights)
        done = int(self._at) - self._half
        self._held, self._at = held[:, done:], self._at - done
        return out

    def _positions(self, end: int) -> NDArray[np.float64]:
        """Where the output samples before ``end`` lie; the ratio glides to the new correction."""
        before, after = self._step * (1 + self._corrected), self._step * (1 + self.correction)
        samples = max(0, int(np.ceil((end - self._at) / ((before + after) / 2))))
        n = np.arange(samples + 2)
        positions = self._at + n * before + (after - before) * n * (n - 1) / max(1, 2 * samples)
        samples = min(int(np.searchsorted(positions, end)), samples + 1)
        self._at, self._corrected = float(positions[samples]), self.correction
        return positions[:samples]


def _table(half: int, bandwidth: float) -> NDArray[np.float32]:
    """Weights ``[phases + 1, 2 * half]`` of the input samples around a position, by the position's fraction."""
    fractions = np.arange(PHASES + 1) / PHASES
    offsets = fractions[:, None] - np.arange(1 - half, half + 1)
    window = np.i0(KAISER_BETA * np.sqrt(np.maximum(0, 1 - (offsets / half) ** 2))) / np.i0(KAISER_BETA)
    table = bandwidth * np.sinc(bandwidth * offsets) * window
    return np.asarray(table / table.sum(axis=1, keepdims=True), np.float32)
