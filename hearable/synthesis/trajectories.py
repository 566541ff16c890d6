"""Where a moving source is at any time: the one definition, for rendering and for labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.seld_scene import Waypoint

Values = NDArray[np.float64]


def along(path: Sequence[Waypoint], time_s: ArrayLike) -> tuple[Values, Values, Values]:
    """Azimuth in [-180, 180), elevation (degrees) and distance (m) at times in seconds from the scene's start."""
    times = [w.time_s for w in path]
    azimuth = np.unwrap([w.azimuth_deg for w in path], period=360)  # the short way across the back
    at = np.asarray(time_s, np.float64)
    turned = (np.interp(at, times, azimuth) + 180) % 360 - 180
    elevation = np.interp(at, times, [w.elevation_deg for w in path])
    return turned, elevation, np.interp(at, times, [w.distance_m for w in path])


def positions(path: Sequence[Waypoint], time_s: ArrayLike) -> Values:
    """Metres from the array ``[..., 3]``: x front, y left, z up."""
    azimuth, elevation, distance = along(path, time_s)
    return unit_vectors(azimuth, elevation) * distance[..., None]
