"""How many can be served in time at once; whoever comes later is told so."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from hearable.session import Graph
from hearable.timing import measure

MOST_SEATS = 8
MOST_LOAD = 0.7  # of the cores: the browser and everybody else need some too


class NoSeat(Exception):
    """All seats are taken; the message says so to the user."""


class Seats:
    """Places for pages that listen and recordings that are being extracted."""

    def __init__(self, count: int):
        self.count, self.taken = count, 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a seat.

        Raises:
            NoSeat: there is none left.
        """
        if self.taken >= self.count:
            raise NoSeat(
                f"This computer can serve {self.count} at once in time, and {self.taken} are: "
                "stop listening in another tab, or wait for its recording."
            )
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def seats_in_time(extractor: Graph) -> int:
    """How many streams the cores can extract from, by timing one second of sound; at least 1."""
    timing = measure(extractor, round(1000 / extractor.spec.chunk_ms))
    return max(1, min(MOST_SEATS, int((os.cpu_count() or 1) * MOST_LOAD / timing.rtf)))
