"""What keeps a Python program in time with sound: priority, no collector pauses, quick changes of thread."""

from __future__ import annotations

import gc
import os
import sys

PRIORITY = 60  # below the sound server's own threads (70 and up)
SWITCH_S = 2e-4  # another thread gives way to the worker that soon, instead of after 5 ms


def prepare_process() -> None:
    """Once, when everything is loaded: a collection over all objects may take 250 ms, longer than any buffer."""
    gc.collect()
    gc.freeze()
    gc.disable()  # sound makes no reference cycles
    sys.setswitchinterval(SWITCH_S)


def prepare_thread() -> str:
    """Give the calling thread real-time priority where the system permits; returns what it has."""
    if not hasattr(os, "sched_setscheduler"):
        return "normal priority: this system has no real-time scheduling for us"
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except OSError:
        return "normal priority: allow real-time priority (rtprio in /etc/security/limits.d) against gaps"
    return f"real-time priority {PRIORITY}"
