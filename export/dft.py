"""Recognises a windowed DFT among constant matrices, so that generated C can use an FFT and store only the window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

TOLERANCE = 1e-5


def _angles(points: int) -> NDArray[np.float64]:
    """``[points, points / 2]``: of samples and bins 1 to points / 2."""
    return 2 * np.pi * np.outer(np.arange(points), np.arange(1, points // 2 + 1)) / points


def _is_power_of_two(n: int) -> bool:
    return n >= 8 and n & (n - 1) == 0


def analysis_window(matrix: NDArray[Any]) -> NDArray[np.float32] | None:
    """The window ``[n]`` if a matrix ``[n, 2 * n / 2]`` is its DFT's real and imaginary parts; else ``None``."""
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not _is_power_of_two(len(matrix)):
        return None
    points = len(matrix)
    window = matrix[:, points // 2 - 1] * (-1.0) ** np.arange(points)  # the Nyquist bin's cosine is 1, -1, ...
    angles = _angles(points)
    expected = np.concatenate([np.cos(angles), -np.sin(angles)], 1) * window[:, None]
    return window.astype(np.float32) if np.abs(matrix - expected).max() < TOLERANCE * np.abs(window).max() else None


def synthesis_window(matrix: NDArray[Any]) -> NDArray[np.float32] | None:
    """The window ``[kept]`` if a matrix ``[2 * n / 2, kept]`` inverts a DFT for the newest samples; else ``None``."""
    if matrix.ndim != 2 or not 0 < matrix.shape[1] < len(matrix) or not _is_power_of_two(len(matrix)):
        return None
    points, kept = matrix.shape
    newest = np.arange(points - kept, points)
    window = matrix[points // 2 - 1] * (-1.0) ** newest
    angles = _angles(points)[newest].T
    weight = np.full((points // 2, 1), 2.0)
    weight[-1] = 1.0  # the Nyquist bin has no mirror
    expected = np.concatenate([np.cos(angles) * weight, -np.sin(angles) * weight]) * window
    return window.astype(np.float32) if np.abs(matrix - expected).max() < TOLERANCE * np.abs(window).max() else None
