"""Directions: azimuth 0 front, +90 left, counter-clockwise; elevation + up; degrees."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def unit_vectors(azimuth_deg: ArrayLike, elevation_deg: ArrayLike) -> NDArray[np.float64]:
    """Unit vectors ``[..., 3]``: x front, y left, z up."""
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    level = np.cos(elevation)
    return np.stack(
        [np.cos(azimuth) * level, np.sin(azimuth) * level, np.broadcast_to(np.sin(elevation), level.shape)], axis=-1
    )


def angles_deg(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Azimuth within -180..180 and elevation of vectors ``[..., 3]`` of any length: the inverse of `unit_vectors`."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))


def angle_between_deg(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Angle in degrees between unit vectors ``[..., 3]``."""
    # arctan2 keeps its precision near 0 and 180 degrees, where arccos loses it.
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.asarray(np.degrees(np.arctan2(cross, np.sum(a * b, axis=-1))))
