"""Places and paths of sources in a room: anywhere around the array, on a circle or along a line, never in a wall."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hearable.synthesis.directions import angle_between_deg, unit_vectors
from hearable.synthesis.measured_rooms import RoomResponses
from hearable.synthesis.seld_checks import WALL_M
from hearable.synthesis.seld_scene import ShoeboxRoom, Waypoint

STEP_DEG = 3.0  # between waypoints on a line: linear interpolation is then within 0.05 degrees of it
LONGEST_LINE_DEG = 100.0  # as seen from the array; what turns farther goes on a circle
TRIES = 20
MARGIN_M = WALL_M + 0.01
POLE_DEG = 87.0  # nearer to a pole the azimuth changes no faster: at the pole it would be without end


def free_distance_m(room: ShoeboxRoom, azimuth_deg: ArrayLike, elevation_deg: ArrayLike) -> NDArray[np.float64]:
    """How far a source may be from the array in each direction."""
    directions = unit_vectors(*np.broadcast_arrays(azimuth_deg, elevation_deg))
    array, size = np.array(room.array_m), np.array(room.size_m)
    ahead = np.where(directions > 0, size - MARGIN_M - array, array - MARGIN_M)
    return np.asarray(np.min(ahead / np.maximum(np.abs(directions), 1e-9), axis=-1))


def least_free_distance_m(room: ShoeboxRoom, elevation_deg: tuple[float, float]) -> float:
    """How far a source may be in every direction between two elevations."""
    azimuth, elevation = np.meshgrid(np.arange(-180, 180), np.linspace(*elevation_deg, 91))
    return float(free_distance_m(room, azimuth, elevation).min())


class Places:
    """Draws places and paths in a room.

    Args:
        rng: what is drawn from.
        room: where; at least the nearest distance must be free in every direction.
        elevation_deg: lowest and highest.
        distance_m: nearest and farthest.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        room: ShoeboxRoom,
        elevation_deg: tuple[float, float],
        distance_m: tuple[float, float],
    ):
        self.rng, self.room, self.elevation_deg, self.distance_m = rng, room, elevation_deg, distance_m

    def place(self) -> tuple[Waypoint, ...]:
        """Somewhere."""
        azimuth, elevation = self.rng.uniform(-180, 180), self.rng.uniform(*self.elevation_deg)
        return (Waypoint(0.0, azimuth, elevation, self._distance(free_distance_m(self.room, azimuth, elevation))),)

    def path(self, begin_s: float, end_s: float, speed_deg_s: float) -> tuple[Waypoint, ...]:
        """A path at an angular speed: half of them lines, unless they would go too far."""
        turn = speed_deg_s * (end_s - begin_s)
        if turn <= LONGEST_LINE_DEG and self.rng.random() < 0.5:
            for _ in range(TRIES):
                line = self._line(begin_s, end_s, turn)
                if line:
                    return line
        return self._circle(begin_s, end_s, turn)

    def _distance(self, free_m: ArrayLike) -> float:
        nearest, farthest = self.distance_m
        return float(self.rng.uniform(nearest, max(nearest, min(farthest, float(np.min(free_m))))))

    def _circle(self, begin_s: float, end_s: float, turn_deg: float) -> tuple[Waypoint, ...]:
        """Level around the array; nearer to the poles the azimuth changes faster."""
        elevation = self.rng.uniform(*self.elevation_deg)
        sweep = self.rng.choice([-1, 1]) * _azimuth_of(turn_deg, elevation)
        along = np.linspace(0, 1, 2 + int(abs(sweep) // 90))  # less than half a turn between waypoints
        azimuth = self.rng.uniform(-180, 180) + sweep * along
        fine = azimuth[0] + sweep * np.linspace(0, 1, 2 + int(abs(sweep)))
        distance = self._distance(free_distance_m(self.room, fine, elevation))
        return _waypoints(begin_s, end_s, azimuth, np.full_like(azimuth, elevation), np.full_like(azimuth, distance))

    def _line(self, begin_s: float, end_s: float, turn_deg: float) -> tuple[Waypoint, ...]:
        """Straight and level past the array, at a constant angular speed as seen from above; none if in a wall."""
        middle, elevation = self.rng.uniform(-180, 180), self.rng.uniform(*self.elevation_deg)
        nearest = self.rng.uniform(*self.distance_m)
        beside, height = nearest * np.cos(np.radians(elevation)), nearest * np.sin(np.radians(elevation))
        before = self.rng.uniform(0.2, 0.8) * turn_deg
        angle = np.linspace(-before, turn_deg - before, 2 + int(turn_deg // STEP_DEG))
        level = beside / np.cos(np.radians(angle))
        distance, elevations = np.hypot(level, height), np.degrees(np.arctan2(height, level))
        azimuth = middle + self.rng.choice([-1, 1]) * angle
        if np.abs(angle).max() > 80 or np.any(distance > free_distance_m(self.room, azimuth, elevations)):
            return ()
        return _waypoints(begin_s, end_s, azimuth, elevations, distance)


class MeasuredPlaces:
    """Draws places and paths among the positions at which a room was measured.

    Args:
        rng: what is drawn from.
        room: where.
        elevation_deg: lowest and highest.
        distance_m: nearest and farthest.

    Raises:
        ValueError: no position is within these.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        room: RoomResponses,
        elevation_deg: tuple[float, float],
        distance_m: tuple[float, float],
    ):
        self.rng, self.room = rng, room
        inside = (room.elevation_deg >= elevation_deg[0]) & (room.elevation_deg <= elevation_deg[1])
        inside &= (room.distance_m >= distance_m[0]) & (room.distance_m <= distance_m[1])
        self.allowed = np.flatnonzero(inside)
        if not len(self.allowed):
            raise ValueError(
                f"expected positions between elevations {elevation_deg[0]:g} and {elevation_deg[1]:g} at "
                f"{distance_m[0]:g} to {distance_m[1]:g} m, found {len(room.distance_m)} others"
            )

    def place(self) -> tuple[Waypoint, ...]:
        """One of the positions."""
        return (self._waypoint(0.0, int(self.rng.choice(self.allowed))),)

    def path(self, begin_s: float, end_s: float, speed_deg_s: float) -> tuple[Waypoint, ...]:
        """Around the array from position to position, or one position where they are too far apart for that."""
        for _ in range(TRIES):
            start = self._waypoint(begin_s, int(self.rng.choice(self.allowed)))
            turn = _azimuth_of(speed_deg_s * (end_s - begin_s), start.elevation_deg)
            azimuth = start.azimuth_deg + self.rng.choice([-1, 1]) * np.arange(0, turn + STEP_DEG, STEP_DEG)
            passed = [self.room.nearest(float(a), start.elevation_deg, start.distance_m) for a in azimuth]
            wanted = unit_vectors(azimuth, np.full_like(azimuth, start.elevation_deg))
            found = unit_vectors(self.room.azimuth_deg[passed], self.room.elevation_deg[passed])
            if np.isin(passed, self.allowed).all() and angle_between_deg(wanted, found).max() <= STEP_DEG:
                times = np.linspace(begin_s, end_s, len(azimuth))
                return tuple(self._waypoint(float(time), index) for time, index in zip(times, passed, strict=True))
        return self.place()

    def _waypoint(self, time_s: float, index: int) -> Waypoint:
        room = self.room
        place = (float(v[index]) for v in (room.azimuth_deg, room.elevation_deg, room.distance_m))
        return Waypoint(time_s, *place)


def _azimuth_of(turn_deg: float, elevation_deg: float) -> float:
    """By how much the azimuth changes where a source at an elevation turns around the array."""
    return float(turn_deg / np.cos(np.radians(min(abs(elevation_deg), POLE_DEG))))


def _waypoints(
    begin_s: float,
    end_s: float,
    azimuth: NDArray[np.float64],
    elevation: NDArray[np.float64],
    distance: NDArray[np.float64],
) -> tuple[Waypoint, ...]:
    times = np.linspace(begin_s, end_s, len(azimuth))
    around = (azimuth + 180) % 360 - 180
    return tuple(Waypoint(*map(float, point)) for point in zip(times, around, elevation, distance, strict=True))
