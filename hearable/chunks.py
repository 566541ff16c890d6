"""Any block size to exact chunks, and back to any block size. Sound is float32 ``[channels, samples]``."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Audio: TypeAlias = NDArray[np.float32]


class SampleQueue:
    """First in, first out, in any sizes. What is pushed is copied, so that callers may reuse their memory.

    Example:
        >>> queue = SampleQueue(channels=1)
        >>> queue.push(np.array([[1, 2, 3]], np.float32))
        >>> queue.pop(2)
        array([[1., 2.]], dtype=float32)
        >>> len(queue)
        1
    """

    def __init__(self, channels: int):
        self.channels = channels
        self._blocks: deque[Audio] = deque()
        self._taken = 0  # samples of the first block that were popped already
        self._samples = 0

    def __len__(self) -> int:
        """Samples waiting."""
        return self._samples

    def push(self, block: Audio) -> None:
        """Append ``[channels, samples]``."""
        if block.shape[-1]:
            self._blocks.append(np.array(block, np.float32))
            self._samples += block.shape[-1]

    def pop(self, samples: int) -> Audio:
        """The oldest ``[channels, samples]``.

        Raises:
            ValueError: fewer are waiting.
        """
        if not 0 <= samples <= self._samples:
            raise ValueError(f"expected 0 to {self._samples} samples to be asked for, found {samples}")
        out = np.empty((self.channels, samples), np.float32)
        filled = 0
        while filled < samples:
            block = self._blocks[0]
            part = block[:, self._taken : self._taken + samples - filled]
            out[:, filled : filled + part.shape[1]] = part
            filled += part.shape[1]
            self._taken += part.shape[1]
            if self._taken == block.shape[1]:
                self._blocks.popleft()
                self._taken = 0
        self._samples -= samples
        return out

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()
        self._taken = self._samples = 0


class Rechunker:
    """Cuts a stream into chunks of exactly ``chunk_samples``; a rest waits for the next block.

    Example:
        >>> rechunker = Rechunker(chunk_samples=4, channels=1)
        >>> [chunk.tolist() for chunk in rechunker.push(np.ones((1, 6), np.float32))]
        [[[1.0, 1.0, 1.0, 1.0]]]
        >>> rechunker.pending_samples
        2
    """

    def __init__(self, chunk_samples: int, channels: int):
        self.chunk_samples = chunk_samples
        self._queue = SampleQueue(channels)

    @property
    def pending_samples(self) -> int:
        """Samples waiting for a chunk to be complete: fewer than ``chunk_samples`` once ``push`` is read to its end."""
        return len(self._queue)

    def push(self, block: Audio) -> Iterator[Audio]:
        """Take ``[channels, any number of samples]``; iterate over the complete ``[channels, chunk_samples]``.

        The block is taken at once; a chunk that is not fetched waits for the next call.
        """
        self._queue.push(block)
        return self._chunks()

    def _chunks(self) -> Iterator[Audio]:
        while len(self._queue) >= self.chunk_samples:
            yield self._queue.pop(self.chunk_samples)

    def reset(self) -> None:
        """Forget the rest."""
        self._queue.clear()
