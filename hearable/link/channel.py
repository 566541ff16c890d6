"""A link that is as bad as one likes, on a clock that one gives: for simulated devices, tests and benchmarks."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Impairments:
    """What happens to a packet on its way.

    Attributes:
        loss: share of packets that are lost.
        bit_errors: share of bits that flip.
        jitter_s: a packet takes between nothing and this, each equally likely.
        ordered: a packet waits for those before it, as on a cable; else they overtake each other, as with UDP.
        seed: of the random numbers.
    """

    loss: float = 0.0
    bit_errors: float = 0.0
    jitter_s: float = 0.0
    ordered: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0 <= self.loss <= 1 and 0 <= self.bit_errors <= 1 and self.jitter_s >= 0):
            raise ValueError(f"expected loss and bit errors between 0 and 1 and no negative jitter, found {self}")


class Channel:
    """One direction of a link.

    Attributes:
        cut: the cable is pulled: what is sent meanwhile is lost.
        sent: packets.
        lost: packets, of those sent.
    """

    def __init__(self, impairments: Impairments):
        self.impairments = impairments
        self.cut = False
        self.sent = self.lost = 0
        self._rng = np.random.default_rng(impairments.seed)
        self._waiting: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()
        self._latest = 0.0

    def send(self, packet: bytes, now: float) -> None:
        """Give a packet at a time in seconds."""
        self.sent += 1
        if self.cut or self._rng.random() < self.impairments.loss:
            self.lost += 1
            return
        due = now + self._rng.uniform(0, self.impairments.jitter_s)
        if self.impairments.ordered:
            due = self._latest = max(due, self._latest)
        heapq.heappush(self._waiting, (due, next(self._numbers), self._flipped(packet)))

    def _flipped(self, packet: bytes) -> bytes:
        errors = self._rng.binomial(8 * len(packet), self.impairments.bit_errors)
        damaged = bytearray(packet)
        for bit in self._rng.integers(0, 8 * len(packet), errors):
            damaged[bit // 8] ^= 1 << bit % 8
        return bytes(damaged)

    def receive(self, now: float) -> list[bytes]:
        """The packets that have arrived by now."""
        arrived = []
        while self._waiting and self._waiting[0][0] <= now:
            arrived.append(heapq.heappop(self._waiting)[2])
        return arrived

    @property
    def next_due(self) -> float:
        """When the next packet arrives; infinity if none is under way."""
        return self._waiting[0][0] if self._waiting else float("inf")
