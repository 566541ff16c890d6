"""The last seconds of what the microphones heard, to enroll from."""

from __future__ import annotations

import numpy as np

from hearable.chunks import Audio
from hearable.errors import EnrollmentError
from hearable.live.ring import Ring

LOOK_S = (2.0, 5.0)  # the least and the most that is enrolled from
_SPARE_S = 1.0  # what is being written never reaches into what is being copied


class RecentInput:
    """Keeps the newest sound. One thread pushes, another may look; neither waits for the other.

    Args:
        rate: samples a second.
        channels: number of channels.
    """

    def __init__(self, rate: int, channels: int):
        self.rate, self.channels = rate, channels
        self._ring = Ring(channels, round((LOOK_S[1] + _SPARE_S) * rate))
        self._pushed = 0  # samples in all
        self._look_from: int | None = None

    def push(self, block: Audio) -> None:
        """Take ``[channels, samples]``, at most what is kept."""
        self._ring.write(self._pushed, block)
        self._pushed += block.shape[1]  # last: only now may it be read

    @property
    def looking_s(self) -> float | None:
        """Seconds since the look began; ``None`` if nobody is looked at."""
        begin = self._look_from
        return None if begin is None else (self._pushed - begin) / self.rate

    def look_start(self) -> None:
        """The user looks at somebody from now on."""
        self._look_from = self._pushed

    def look_cancel(self) -> None:
        """The look was a mistake."""
        self._look_from = None

    def look_stop(self) -> Audio:
        """End the look: a copy ``[channels, samples]`` of what was heard meanwhile, at least 2 s, at most the last 5 s.

        A look of less than 2 s takes what was heard just before as well.

        Raises:
            EnrollmentError: no look was begun, or less than 2 s were heard since the start.
        """
        begin, end = self._look_from, self._pushed
        self._look_from = None
        if begin is None:
            raise EnrollmentError("look: expected a look to have been begun, found none: begin one first")
        least, most = (round(s * self.rate) for s in LOOK_S)
        samples = min(max(end - begin, least), most)
        if samples > end:
            raise EnrollmentError(f"look: expected {LOOK_S[0]:g} s of sound, found {end / self.rate:.1f} s: "
                                  "keep looking a little longer")  # fmt: skip
        clip = np.empty((self.channels, samples), np.float32)
        self._ring.read(end - samples, clip)
        return clip
