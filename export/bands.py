"""Recognises a matrix that gathers bins in bands, so that generated C can add them up and stores nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bands:
    """``count`` neighbouring bands of ``width`` bins, each of which counts ``weight``."""

    count: int
    width: int
    weight: float


def gathered(matrix: NDArray[Any]) -> list[Bands] | None:
    """What a matrix ``[bins, bands]`` gathers, from low to high, if each bin goes to one band; else ``None``."""
    if matrix.ndim != 2 or (np.count_nonzero(matrix, 1) != 1).any():
        return None
    band, weight = np.abs(matrix).argmax(1), matrix[matrix != 0]
    widths = np.bincount(band, minlength=matrix.shape[1])
    if not (band == np.repeat(np.arange(len(widths)), widths)).all() or not widths.all():
        return None
    starts = np.cumsum(widths) - widths
    if not (weight == np.repeat(weight[starts], widths)).all():
        return None
    found: list[Bands] = []
    for width, each in zip(widths.tolist(), weight[starts].tolist(), strict=True):
        if found and (found[-1].width, found[-1].weight) == (width, each):
            found[-1] = Bands(found[-1].count + 1, width, each)
        else:
            found.append(Bands(1, width, each))
    return found
