"""One second of four channels of sound, the same on every machine."""

from __future__ import annotations

import random

import numpy as np

PLACES = 97  # every so many-th value is compared


def sound() -> np.ndarray:
    """``[4, 24000]``: independent noise, and a common part that comes later from channel to channel."""
    draw = random.Random(7).random
    noise = np.array([draw() for _ in range(5 * 24000)], np.float64).reshape(5, 24000) - 0.5
    common = np.stack([np.roll(noise[4], lag) for lag in (0, 2, 5, 9)])
    return (0.05 * noise[:4] + 0.2 * common).astype(np.float32)
