"""Puts chunks into order and fills what is missing (firmware_bridge/PROTOCOL.md, "Losses").

The twin of ``firmware_bridge/link/hb_jitter.c``: the same chunks in give the same samples out, to the bit.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from hearable.link.messages import CHANNELS, CHUNK_SAMPLES, AudioIn, CopyIn, Samples

CLOCKS = 2**32  # the clock wraps
_FADE_SAMPLES = 32

Kind: TypeAlias = Literal["sent", "copied", "missing"]


def ahead(clock: int, of: int) -> int:
    """How many samples a clock is ahead of another one, the short way round: negative if it is behind."""
    return (clock - of + CLOCKS // 2) % CLOCKS - CLOCKS // 2


class JitterBuffer:
    """Chunks come in any order; they are taken in theirs, and each is there when it is taken.

    Args:
        count: chunks that it can hold.
        clock: of the first chunk.

    Attributes:
        next: clock of the chunk that is taken next.
        copied: chunks that were taken from copies.
        concealed: chunks that were missing.
    """

    def __init__(self, count: int, clock: int = 0):
        self.count = count
        self.copied = self.concealed = 0
        self._last = np.zeros((CHANNELS, CHUNK_SAMPLES), np.int16)
        self._gap = True  # the first sound is faded in
        self.restart(clock)

    def restart(self, clock: int) -> None:
        """Forget what is held, and go on at another clock."""
        self.next = clock
        self._sent: dict[int, Samples] = {}
        self._copies: dict[int, CopyIn] = {}

    @property
    def ready(self) -> bool:
        """Whether the next chunk is there."""
        return self.next in self._sent or self.next in self._copies

    def put(self, chunk: AudioIn | CopyIn) -> None:
        """Keep a chunk or a copy, if it is among the next ``count`` chunks."""
        clock = chunk.clock
        if clock % CHUNK_SAMPLES or (clock - self.next) % CLOCKS >= self.count * CHUNK_SAMPLES:
            return
        if isinstance(chunk, CopyIn):
            self._copies.setdefault(clock, chunk)
        else:
            self._sent.setdefault(clock, chunk.samples)

    def take(self) -> tuple[Samples, Kind]:
        """The next chunk, int16 ``[channels, samples]``, and where it is from; a missing one is concealed."""
        sent, copy = self._sent.pop(self.next, None), self._copies.pop(self.next, None)
        self.next = (self.next + CHUNK_SAMPLES) % CLOCKS
        if sent is not None:
            return self._resume(sent), "sent"
        if copy is not None:
            self.copied += 1
            return self._resume(copy.samples), "copied"
        self.concealed += 1
        return self._conceal(), "missing"

    def through(self, samples: Samples) -> Samples:
        """Sound from elsewhere, as if it had been taken: it sets in without a click."""
        self._sent.pop(self.next, None)
        self._copies.pop(self.next, None)
        self.next = (self.next + CHUNK_SAMPLES) % CLOCKS
        return self._resume(samples)

    def _resume(self, samples: Samples) -> Samples:
        if self._gap:
            samples = _scaled(samples, np.minimum(np.arange(1, CHUNK_SAMPLES + 1), _FADE_SAMPLES), 5)
        self._gap, self._last = False, samples
        return samples

    def _conceal(self) -> Samples:
        if self._gap:
            self._last = np.zeros_like(self._last)
        else:
            self._last = _scaled(self._last[:, ::-1], np.arange(CHUNK_SAMPLES, 0, -1), 7)
        self._gap = True
        return self._last


def _scaled(samples: Samples, gain: np.ndarray[tuple[int], np.dtype[np.int64]], shift: int) -> Samples:
    scaled: Samples = ((samples.astype(np.int32) * gain) >> shift).astype(np.int16)
    return scaled
