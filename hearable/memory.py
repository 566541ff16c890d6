"""How the C library gives memory back."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # malloc.h
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Let this process keep the memory it frees: large arrays made again and again cost no page faults.

    glibc maps each large array anew and gives it back when it is freed, and the kernel clears every page of it. Where
    arrays of tens of megabytes come and go that is a quarter of the time or more. Elsewhere this does nothing.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _LARGEST)
