"""ACCDOA: what a network says of each frame and class, a vector as long as the class is active, and back to events.

ACCDOA (Shimada et al., ICASSP 2021) has one vector a class. Multi-ACCDOA (Shimada et al., ICASSP 2022) has three tracks
a class, for events of one class at once; it is trained with targets of every way to spread one, two or three events
over the tracks (ADPIT). Layouts are those of the DCASE baselines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hearable.seld.events import Events
from hearable.synthesis.directions import angle_between_deg, angles_deg

Target = NDArray[np.float32]
TRACKS = 3
ACTIVE = 0.5  # a vector longer than this is an event
UNIFY_DEG = 15.0  # tracks closer than this say the same event
FIRST_SLOT = (0, 1, 3)  # of one, two and three events of a class at once: slots A0, B0 B1, C0 C1 C2


def accdoa(events: Events, frames: int, classes: int) -> Target:
    """Target ``[frames, 3 (x y z), classes]``; of events of one class at once the last row counts, as in the baseline.

    Events of later frames and higher classes are left out.
    """
    target = np.zeros((frames, 3, classes), np.float32)
    kept = events.select((events.frame < frames) & (events.class_index < classes))
    for frame, kind, direction in zip(kept.frame, kept.class_index, kept.directions, strict=True):
        target[frame, :, kind] = direction
    return target


def multi_accdoa(events: Events, frames: int, classes: int) -> Target:
    """Target ``[frames, 6 (A0 B0 B1 C0 C1 C2), 4 (active x y z), classes]`` for the ADPIT loss.

    A class with one event in a frame fills A0, with two B0 and B1, with three or more C0 to C2.
    """
    target = np.zeros((frames, 6, 4, classes), np.float32)
    kept = events.select((events.frame < frames) & (events.class_index < classes))
    at_once: dict[tuple[int, int], list[int]] = {}
    for row, place in enumerate(zip(kept.frame.tolist(), kept.class_index.tolist(), strict=True)):
        at_once.setdefault(place, []).append(row)
    for (frame, kind), rows in at_once.items():
        rows = rows[:TRACKS]
        first = FIRST_SLOT[len(rows) - 1]
        slots = slice(first, first + len(rows))
        target[frame, slots, 0, kind] = 1
        target[frame, slots, 1:, kind] = kept.directions[rows]
    return target


def decode_accdoa(output: Target, active: float = ACTIVE) -> Events:
    """Events of an output ``[frames, 3, classes]``: vectors longer than ``active``."""
    frames, kinds = np.nonzero(np.linalg.norm(output, axis=1) > active)
    return _events(frames, kinds, output[frames, :, kinds])


def decode_multi_accdoa(output: Target, active: float = ACTIVE, unify_deg: float = UNIFY_DEG) -> Events:
    """Events of an output ``[frames, 3 tracks, 3 (x y z), classes]``; tracks that say one event are averaged."""
    lengths = np.linalg.norm(output, axis=2)
    rows: list[tuple[int, int, NDArray[np.float32]]] = []
    for frame, kind in zip(*np.nonzero((lengths > active).any(1)), strict=True):
        tracks = output[frame, lengths[frame, :, kind] > active, :, kind]
        rows += [(frame, kind, vector) for vector in _unified(tracks, unify_deg)]
    if not rows:
        return Events.from_rows([])
    frames, kinds, vectors = zip(*rows, strict=True)
    return _events(np.array(frames), np.array(kinds), np.stack(vectors))


def _unified(tracks: Target, unify_deg: float) -> list[Target]:
    """The tracks, those joined by closeness replaced by their mean."""
    unit = (tracks / np.linalg.norm(tracks, axis=1, keepdims=True)).astype(np.float64)
    close = angle_between_deg(unit[:, None], unit[None]) < unify_deg
    joined = np.linalg.matrix_power(close.astype(int), TRACKS) > 0  # through a third, too
    return [tracks[group].mean(0) for group in np.unique(joined, axis=0)]


def _events(frames: NDArray[np.int64], kinds: NDArray[np.int64], vectors: Target) -> Events:
    azimuth, elevation = angles_deg(vectors.astype(np.float64))
    return Events(frames, kinds, np.zeros_like(frames), azimuth, elevation)
