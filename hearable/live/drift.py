"""Two devices never run at quite the same rate: how much to stretch what is played, so that the delay stays."""

from __future__ import annotations

import math

SMOOTHING_S = 1.0
PROPORTIONAL_PER_S, INTEGRAL_PER_S2 = 0.2, 0.01  # critically damped: settles in some 10 s, overshoots nothing
MOST = 2e-3  # of the rate: crystals differ by 2e-4 at most, and a pitch is heard to change from 3e-3 on


class DriftControl:
    """Turns what the delay is, and should be, into a correction of the playing rate (a PI controller).

    Args:
        rate: samples a second of what is played.
    """

    def __init__(self, rate: float):
        self._rate = rate
        self._integral = 0.0
        self.reset()

    def reset(self) -> None:
        """The delay is as it should be again; what was learnt of the clocks stays."""
        self._error = 0.0

    def update(self, error_samples: float, passed_s: float) -> float:
        """The correction for ``Varispeed``, from how many samples the delay is too long, ``passed_s`` after the last.

        The delay is measured by the clock of the computer, between callbacks too (after F. Adriaensen, "Controlling
        adaptive resampling", LAC 2012): counted in blocks it would beat as the two devices' blocks pass each other.
        """
        self._error += (error_samples - self._error) * -math.expm1(-passed_s / SMOOTHING_S)
        integral = self._integral + INTEGRAL_PER_S2 * self._error * passed_s / self._rate
        self._integral = min(max(integral, -MOST), MOST)
        wanted = PROPORTIONAL_PER_S * self._error / self._rate + self._integral
        return min(max(wanted, -MOST), MOST)
