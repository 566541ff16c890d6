"""A computer that is too slow: when to do without the network, so that sound keeps coming in time."""

from __future__ import annotations

FIRST_REST_S, LONGEST_REST_S = 1.0, 30.0
CALM_S = 60.0  # after so long without trouble, the first rest again


class Overload:
    """Decides, chunk by chunk, whether the network runs or rests.

    Whoever is too late lets everything pass until that is made up for and a rest is over: of 1 s, and of twice the last
    one if that was less than a minute ago.

    Args:
        chunk_s: seconds in a chunk.

    Attributes:
        resting: the network is to rest.
        rest_s: how long the present rest lasts, or the last one did.
    """

    def __init__(self, chunk_s: float):
        self._chunk_s = chunk_s
        self.resting = False
        self.rest_s = FIRST_REST_S
        self._left_s, self._calm_s = 0.0, CALM_S

    def watch(self, late: bool) -> bool:
        """To be called before each chunk, with whether it is too late by now; returns whether a rest begins."""
        begins = late and not self.resting
        if begins:
            self.rest_s = FIRST_REST_S if self._calm_s >= CALM_S else min(2 * self.rest_s, LONGEST_REST_S)
        if late:
            self.resting, self._left_s, self._calm_s = True, self.rest_s, 0.0
        elif self.resting:
            self._left_s -= self._chunk_s
            self.resting = self._left_s > 0
        else:
            self._calm_s += self._chunk_s
        return begins
