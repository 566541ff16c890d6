"""What keeps a Python program in time with sound: priority, no collector pauses, quick changes of thread."""

from __future__ import annotations

import ctypes
import gc
import os
import sys

PRIORITY = 60  # below the sound server's own threads (70 and up)
# Whoever holds the interpreter's lock must not be put aside by other programs: the worker would wait for it.
OTHERS_PRIORITY = 5
# mlockall: present and future pages stay in memory, from when they are first used (sys/mman.h of Linux).
MCL_CURRENT, MCL_FUTURE, MCL_ONFAULT = 1, 2, 4
SWITCH_S = 2e-4  # another thread gives way to the worker that soon, instead of after 5 ms


def prepare_process() -> None:
    """Once, in the main thread, when everything is loaded, before other threads start."""
    gc.collect()  # over all objects it may take 250 ms, longer than any buffer
    gc.freeze()
    gc.disable()  # sound makes no reference cycles
    sys.setswitchinterval(SWITCH_S)
    if sys.platform == "linux":  # where it is not permitted, nothing changes
        ctypes.CDLL(None).mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)
    _realtime(OTHERS_PRIORITY)  # threads that are started from now on inherit it


def prepare_thread() -> str:
    """Give the calling thread real-time priority where the system permits; returns what it has."""
    if not hasattr(os, "sched_setscheduler"):
        return "normal priority: this system has no real-time scheduling for us"
    if not _realtime(PRIORITY):
        return "normal priority: allow real-time priority (rtprio in /etc/security/limits.d) against gaps"
    return f"real-time priority {PRIORITY}"


def _realtime(priority: int) -> bool:
    """Let the calling thread go before everything of lower priority; whether the system permits it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except (AttributeError, OSError):
        return False
    return True
