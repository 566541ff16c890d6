"""Why sound came too late: the sound system paused, the worker had to wait for a processor, or its work took long."""

from __future__ import annotations

import time
from collections.abc import Callable

APART_S = 10.0  # from one sentence to the next


class Lateness:
    """Follows each block from the device's call to the end of the worker's work; explains what was missed.

    Args:
        tell: takes a sentence for the user.
        now: the time in seconds, of a clock that callbacks and worker see.
    """

    def __init__(self, tell: Callable[[str], None], now: Callable[[], float]):
        self._tell, self._now = tell, now
        self._called = now()
        self._waiting_since: float | None = None
        self._begin = self._begin_cpu = 0.0
        self._told, self._missed = -APART_S, 0
        self._forget()

    def _forget(self) -> None:
        self._pause_s = self._wait_s = self._work_s = self._cpu_s = 0.0  # the longest since the last sentence

    def called(self) -> None:
        """The device calls, in its thread."""
        now = self._now()
        self._pause_s = max(self._pause_s, now - self._called)
        self._called = now
        if self._waiting_since is None:
            self._waiting_since = now

    def begin(self) -> None:
        """The worker begins with what has come."""
        self._begin, self._begin_cpu = self._now(), time.thread_time()
        since, self._waiting_since = self._waiting_since, None
        if since is not None:
            self._wait_s = max(self._wait_s, self._begin - since)

    def end(self, missed: int) -> None:
        """It is done; so many blocks were missed so far."""
        now = self._now()
        if (work_s := now - self._begin) > self._work_s:
            self._work_s, self._cpu_s = work_s, time.thread_time() - self._begin_cpu
        if now - self._told < APART_S:
            return
        if missed > self._missed:
            pause_ms, wait_ms, work_ms, cpu_ms = (
                round(1000 * s) for s in (self._pause_s, self._wait_s, self._work_s, self._cpu_s)
            )
            self._tell(
                f"missed {missed - self._missed}; at most, the sound system paused for {pause_ms} ms, the engine waited"
                f" {wait_ms} ms for a processor and worked {work_ms} ms, {cpu_ms} of them computing"
            )
            self._missed, self._told = missed, now
        self._forget()
