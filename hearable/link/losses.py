"""How many frames came and how many did not, from their sequence numbers."""

from __future__ import annotations


class FrameCounter:
    """Counts frames by their sequence numbers, which wrap at 65536.

    Attributes:
        received: frames that came.

    Example:
        >>> counter = FrameCounter()
        >>> for sequence in (65534, 65535, 2, 1):
        ...     counter.count(sequence)
        >>> counter.received, counter.lost
        (4, 1)
    """

    def __init__(self) -> None:
        self.received = self._expected = self._newest = 0

    def count(self, sequence: int) -> None:
        """Take the sequence number of a frame that came."""
        step = (sequence - self._newest) % 65536 if self._expected else 1
        self.received += 1
        if step < 32768:  # else it comes late
            self._expected += step
            self._newest = sequence

    @property
    def lost(self) -> int:
        """Frames that did not come, or not yet."""
        return max(self._expected - self.received, 0)
