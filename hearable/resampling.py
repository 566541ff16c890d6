"""Another sample rate, whole or as a stream, aligned to the sample (soxr). Sound is float32 ``[channels, samples]``."""

from __future__ import annotations

import numpy as np
import soxr

from hearable.chunks import Audio
from hearable.errors import AudioError


def require_rate(rate: float) -> int:
    """Check a sample rate from outside.

    Raises:
        AudioError: not a positive whole number of Hz.
    """
    if not (rate >= 1 and float(rate).is_integer()):  # also refuses NaN and infinity
        raise AudioError(f"sample rate: expected a positive whole number of Hz, found {rate}")
    return int(rate)


def resampled_length(samples: int, from_hz: int, to_hz: int) -> int:
    """Samples after resampling: rounded up, so that there and back never loses one."""
    return -(-samples * to_hz // from_hz)


def resample(audio: Audio, from_hz: int, to_hz: int) -> Audio:
    """Resample ``[channels, samples]`` to ``[channels, resampled_length(samples, from_hz, to_hz)]``.

    Raises:
        AudioError: a rate that is not a positive whole number.

    Example:
        >>> resample(np.zeros((2, 441), np.float32), 44100, 16000).shape
        (2, 160)
    """
    stream = StreamResampler(from_hz, to_hz, audio.shape[0])
    return np.concatenate([stream.push(audio), stream.flush()], axis=1)


class StreamResampler:
    """Resamples block by block: the same samples as ``resample``, whatever the blocks.

    Sample ``n`` of the output is the sound at ``n / to_hz`` seconds of the input: the filter's delay is taken off. It
    costs time instead: output comes about 37 ms after its input (48 to 16 kHz), until ``flush`` delivers the rest.
    """

    def __init__(self, from_hz: int, to_hz: int, channels: int):
        self.from_hz, self.to_hz, self.channels = require_rate(from_hz), require_rate(to_hz), channels
        self._stream = soxr.ResampleStream(self.from_hz, self.to_hz, channels, dtype="float32", quality="HQ")
        self._in_samples = self._out_samples = 0

    def push(self, block: Audio) -> Audio:
        """Take ``[channels, samples]``, give ``[channels, as many as are ready]``."""
        if self.from_hz == self.to_hz or not block.shape[1]:
            return block
        self._in_samples += block.shape[1]
        return self._take(block, last=False)

    def flush(self) -> Audio:
        """The rest; the resampler is then at the beginning of a new stream."""
        if self.from_hz == self.to_hz or not self._in_samples:
            return np.zeros((self.channels, 0), np.float32)
        rest = self._take(np.zeros((self.channels, 0), np.float32), last=True)
        # soxr rounds to the nearest length: at most one sample is missing for the length rounded up.
        missing = resampled_length(self._in_samples, self.from_hz, self.to_hz) - self._out_samples
        self._stream.clear()
        self._in_samples = self._out_samples = 0
        return np.pad(rest, ((0, 0), (0, missing))) if missing > 0 else rest[:, : rest.shape[1] + missing]

    def _take(self, block: Audio, last: bool) -> Audio:
        out: Audio = self._stream.resample_chunk(np.ascontiguousarray(block.T), last).T
        self._out_samples += out.shape[1]
        return out
