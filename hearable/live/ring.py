"""A ring of sound between a device's callback and the worker: no lock, no growth. Float32 ``[channels, samples]``."""

from __future__ import annotations

import numpy as np

from hearable.chunks import Audio


class Ring:
    """Holds the newest ``samples`` of a stream, by their number since its beginning.

    One thread writes and publishes how far; another reads below that. Neither asks the other.
    """

    def __init__(self, channels: int, samples: int):
        self.samples = samples
        self._kept = np.zeros((channels, samples), np.float32)

    def write(self, at: int, block: Audio) -> None:
        """Put ``block``, at most ``samples`` long, at the stream's samples ``at`` and on."""
        begin = at % self.samples
        first = min(block.shape[1], self.samples - begin)
        self._kept[:, begin : begin + first] = block[:, :first]
        self._kept[:, : block.shape[1] - first] = block[:, first:]

    def read(self, at: int, out: Audio) -> None:
        """Copy the stream's samples from ``at`` on into ``out``."""
        begin = at % self.samples
        first = min(out.shape[1], self.samples - begin)
        out[:, :first] = self._kept[:, begin : begin + first]
        out[:, first:] = self._kept[:, : out.shape[1] - first]
