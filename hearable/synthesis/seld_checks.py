"""Whether a SELD scene is possible, found out before anything is rendered."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.seld_scene import CHANNELS, Event, SeldScene, ShoeboxRoom
from hearable.synthesis.trajectories import positions

WALL_M = 0.1  # nothing sounds or listens nearer to a wall
NEAREST_M = 0.3  # nor to the array: its responses are those of plane waves
STEP_S = 0.05  # how finely a path is looked at


def check_scene(scene: SeldScene) -> None:
    """Refuse an impossible scene.

    Raises:
        ValueError: what was expected and what was found.
    """
    if scene.rate < 8000 or scene.samples < 1:
        raise ValueError(f"expected at least 8000 Hz and one sample, found {scene.rate} Hz and {scene.samples} samples")
    if not scene.formats or not set(scene.formats) <= set(CHANNELS):
        raise ValueError(f"expected formats among {', '.join(CHANNELS)}, found {', '.join(scene.formats) or 'none'}")
    if isinstance(scene.room, ShoeboxRoom):
        check_room(scene.room)
    for number, event in enumerate(scene.events):
        _check_event(f"event {number} ({event.label})", event, scene)


def check_room(room: ShoeboxRoom) -> None:
    """Refuse a room without volume, decay or place for the array.

    Raises:
        ValueError: what was expected and what was found.
    """
    if not all(1.0 <= side <= 100.0 for side in room.size_m):
        raise ValueError(f"expected a room of 1 to 100 m a side, found {_metres(room.size_m)}")
    if not 0.05 <= room.rt60_s <= 10.0:
        raise ValueError(f"expected a reverberation time of 0.05 to 10 s, found {room.rt60_s:g} s")
    if not np.all(_inside(np.array(room.array_m), room)):
        raise ValueError(
            f"expected the array {WALL_M} m or more inside the walls of a room of {_metres(room.size_m)}, "
            f"found it at {_metres(room.array_m)}"
        )


def _check_event(name: str, event: Event, scene: SeldScene) -> None:
    if not (0 <= event.start and 1 <= event.samples and event.start + event.samples <= scene.samples):
        raise ValueError(
            f"{name}: expected it within the scene's {scene.samples} samples, "
            f"found {event.samples} samples from {event.start} on"
        )
    if event.clip_start < 0:
        raise ValueError(f"{name}: expected a clip start of 0 or later, found {event.clip_start}")
    times = [w.time_s for w in event.path]
    if not times or any(late <= early for early, late in zip(times, times[1:], strict=False)):
        raise ValueError(f"{name}: expected waypoints one after the other, found times {times}")
    begin, end = event.start / scene.rate, (event.start + event.samples) / scene.rate
    inner = [t for t in times if begin < t < end]
    there = positions(event.path, np.array([*np.arange(begin, end, STEP_S), end, *inner]))
    nearest = float(np.linalg.norm(there, axis=-1).min())
    if not nearest >= NEAREST_M:
        raise ValueError(f"{name}: expected it {NEAREST_M} m or farther from the array, found {nearest:.2f} m")
    if isinstance(scene.room, ShoeboxRoom):
        absolute = there + np.array(scene.room.array_m)
        outside = absolute[~_inside(absolute, scene.room)]
        if len(outside):
            raise ValueError(
                f"{name}: expected it {WALL_M} m or more inside the walls of a room of {_metres(scene.room.size_m)}, "
                f"found it at {_metres(outside[0])}"
            )


def _inside(points: NDArray[np.float64], room: ShoeboxRoom) -> NDArray[np.bool_]:
    """Whether points ``[..., 3]`` are far enough from the walls."""
    margin = WALL_M - 1e-9
    return np.asarray(np.all((points >= margin) & (points <= np.array(room.size_m) - margin), axis=-1))


def _metres(values: tuple[float, ...] | NDArray[np.float64]) -> str:
    return " x ".join(f"{v:.2f}" for v in values) + " m"
