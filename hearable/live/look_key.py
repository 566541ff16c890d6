"""The look key: hold it, or press it twice. A terminal tells no release: only that a held key repeats."""

from __future__ import annotations

from typing import Literal, TypeAlias

Action: TypeAlias = Literal["start", "stop"]

FIRST_REPEAT_S = 0.8  # terminals begin to repeat a held key after 0.25 to 0.66 s; a look that short makes no sense
RELEASED_S = 0.3  # and then repeat it 15 to 40 times a second


class LookKey:
    """Makes a beginning and an end of presses and repeats; times are in seconds of any steady clock."""

    def __init__(self) -> None:
        self.looking = False
        self._first = self._last = 0.0
        self._held = False

    def press(self, now: float) -> Action | None:
        """The key was pressed, or repeats."""
        if not self.looking:
            self.looking, self._held, self._first, self._last = True, False, now, now
            return "start"
        if self._held or now - self._first < FIRST_REPEAT_S:
            self._held, self._last = True, now
            return None
        return self.end()

    def tick(self, now: float) -> Action | None:
        """To be called some times a second: a held key that no longer repeats was released."""
        return self.end() if self.looking and self._held and now - self._last > RELEASED_S else None

    def end(self) -> Action:
        """The look is over, for whatever reason."""
        self.looking = self._held = False
        return "stop"
