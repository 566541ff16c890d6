"""What the user should be told about the sound: microphones that are silent, bad samples, a network that failed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from hearable.live.processor import Meters

EARS = ("left", "right")
NOTHING_COMES = "nothing comes from the microphones: are they connected, and not muted?"
SILENT_DB, SILENT_S = -120.0, 3.0  # nothing at all: the quietest microphone has some noise
APART_S = 10.0  # bad samples after so long without any are told again


class SoundWatch:
    """Makes sentences of meters.

    Args:
        now: a steady clock, in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now = now
        self._chunks = self._bad_samples = 0
        self._bad_at = -APART_S
        self._silent: tuple[str, ...] = ()  # ears, at present
        self._since = 0.0
        self._told: tuple[str, ...] = ()
        self._fault: str | None = None

    def news(self, sound: Meters) -> Iterator[str]:
        """To be called some times a second: what has changed since the last time."""
        now = self._now()
        silent = tuple(ear for ear, level_db in zip(EARS, sound.in_db, strict=True) if level_db <= SILENT_DB)
        if silent != self._silent or sound.chunks == self._chunks:  # no chunks: no device runs, that is another matter
            self._silent, self._since = silent, now
        elif silent != self._told and now - self._since >= SILENT_S:
            self._told = silent
            yield _about(silent)
        if sound.bad_samples > self._bad_samples:
            if now - self._bad_at >= APART_S:
                yield "bad samples from the microphones (NaN or infinity): silence in their place"
            self._bad_at = now
        if sound.fault is not None and sound.fault != self._fault:
            yield sound.fault
        self._chunks, self._bad_samples, self._fault = sound.chunks, sound.bad_samples, sound.fault


def _about(silent: tuple[str, ...]) -> str:
    if not silent:
        return "both microphones are heard again"
    if len(silent) == len(EARS):
        return NOTHING_COMES
    return f"nothing comes from the {silent[0]} microphone: is its plug halfway out?"
