"""DCASE scores of SELD: error rate and F-score within 20 degrees, localisation error and recall within a class.

A clip is cut into blocks of one second; in each block every class is counted on its own. Three ways to count:

* ``official2021`` is the code of DCASE 2021 Task 3, to the last bit of its quirks: clips are 60 s; a class that is
  predicted in a block, though never in a frame in which it sounds, is a miss and no false alarm; a second event of a
  class in the block that does not overlap the first costs nothing.
* ``official2022`` is the code of 2022 and later: the same counts, but a misplaced event weighs in the F-score as much
  as a missed and a false one together, and the clip ends with its last labelled frame: what is predicted later is free.
* ``strict`` counts what the rules mean: every event by its number, all false alarms, to the end of the clip; a
  misplaced event is a false alarm and a miss; 20 degrees is 20 degrees. Predictions of one number (a network without
  tracks writes 0) are told apart by how many sound at once.

Rules: Mesaros et al., WASPAA 2019; Politis et al., TASLP 2020. Code: github.com/sharathadavanne/seld-dcase2021 and
seld-dcase2022.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import astuple, dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from hearable.errors import LabelError
from hearable.seld.events import FRAMES_PER_SECOND, Events
from hearable.synthesis.directions import angle_between_deg

Mode = Literal["official2021", "official2022", "strict"]
MODES: tuple[Mode, ...] = get_args(Mode)
CLASSES = {"official2021": 12, "official2022": 13}
THRESHOLD_DEG = 20.0
FRAMES_2021 = 600
EPS = np.finfo(np.float64).eps

Frames = dict[int, list[int]]  # of one class in one block: frame -> rows


@dataclass(frozen=True)
class Count:
    """What came of one class in one block.

    Attributes:
        references: events that sound.
        hits: events found within 20 degrees.
        misplaced: events found farther away.
        missed: events not found.
        false: predictions of no event.
        error_deg: sum of the angles between events found and their predictions.
    """

    references: int = 0
    hits: int = 0
    misplaced: int = 0
    missed: int = 0
    false: int = 0
    error_deg: float = 0.0


@dataclass(frozen=True, eq=False)
class Tally:
    """Counts of some clips: they add up, and one clip can be taken out again.

    Attributes:
        counts: ``[classes, 6]``, columns in the order of `Count`.
        errors: substitutions, deletions and insertions of all blocks.
    """

    counts: NDArray[np.float64]
    errors: int

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.counts + other.counts, self.errors + other.errors)

    def __sub__(self, other: Tally) -> Tally:
        return Tally(self.counts - other.counts, self.errors - other.errors)


def tally(reference: Events, prediction: Events, mode: Mode, classes: int) -> Tally:
    """Count one clip.

    Args:
        reference: what sounds.
        prediction: what was found.
        mode: how to count.
        classes: only class indices below this are counted.

    Raises:
        LabelError: ``official2022`` and a clip without a labelled event: it has no length.
    """
    end = _end(reference, mode)
    sounding, found = (_by_block(events, end, classes) for events in (reference, prediction))
    counts = np.zeros((classes, 6))
    false, missed = Counter[int](), Counter[int]()
    for block, kind in sounding.keys() | found.keys():
        frames, predicted = sounding.get((block, kind), {}), found.get((block, kind), {})
        count = (_strict if mode == "strict" else _official)(frames, predicted, reference, prediction)
        counts[kind] += astuple(count)
        false[block] += count.false + count.misplaced
        missed[block] += count.missed + (count.misplaced if mode == "strict" else 0)
    # A substitution is a false alarm and a miss: substitutions, deletions and insertions are the greater of the two.
    return Tally(counts, sum(max(false[block], missed[block]) for block in false | missed))


def left_out(reference: Events, mode: Mode, classes: int) -> int:
    """How many rows of a reference `tally` does not look at."""
    counted = (reference.frame < _end(reference, mode)) & (reference.class_index < classes)
    return int(np.count_nonzero(~counted))


def _end(reference: Events, mode: Mode) -> float:
    """The first frame that is not counted any more."""
    if mode == "strict":
        return math.inf
    if mode == "official2021":
        return FRAMES_2021
    if not len(reference):
        raise LabelError("official2022 takes a clip's length from its last labelled frame, and it has none: use strict")
    # The official code takes the last frame's number for the number of frames.
    return FRAMES_PER_SECOND * math.ceil(int(reference.frame.max()) / FRAMES_PER_SECOND)


def _by_block(events: Events, end: float, classes: int) -> dict[tuple[int, int], Frames]:
    blocks: dict[tuple[int, int], Frames] = defaultdict(lambda: defaultdict(list))
    for row, (frame, kind) in enumerate(zip(events.frame.tolist(), events.class_index.tolist(), strict=True)):
        if frame < end and kind < classes:
            blocks[frame // FRAMES_PER_SECOND, kind][frame].append(row)
    return blocks


def _official(sounding: Frames, found: Frames, reference: Events, prediction: Events) -> Count:
    references = max(map(len, sounding.values()), default=0)
    predictions = max(map(len, found.values()), default=0)
    if not (references and predictions):
        return Count(references, missed=references, false=predictions)
    distances: dict[int, list[float]] = defaultdict(list)
    for frame in sorted(sounding.keys() & found.keys()):
        cost = _official_angles_deg(reference, sounding[frame], prediction, found[frame])
        for instance, partner in zip(*linear_sum_assignment(cost), strict=True):
            distances[instance].append(cost[instance, partner])
    if not distances:
        return Count(references, missed=predictions)  # a quirk: neither the references nor a false alarm
    means = [sum(angles) / len(angles) for angles in distances.values()]
    hits = sum(mean <= THRESHOLD_DEG for mean in means)
    surplus = predictions - references
    return Count(references, hits, len(means) - hits, max(0, -surplus), max(0, surplus), sum(means))


def _official_angles_deg(a: Events, a_rows: list[int], b: Events, b_rows: list[int]) -> NDArray[np.float64]:
    # The official formula, not `angle_between_deg`: they differ in the last bits, and 20 degrees hangs on those.
    azimuth_a, elevation_a = (v[a_rows, None] * np.pi / 180.0 for v in (a.azimuth_deg, a.elevation_deg))
    azimuth_b, elevation_b = (v[None, b_rows] * np.pi / 180.0 for v in (b.azimuth_deg, b.elevation_deg))
    level = np.cos(elevation_a) * np.cos(elevation_b) * np.cos(np.abs(azimuth_a - azimuth_b))
    cosine = np.sin(elevation_a) * np.sin(elevation_b) + level
    return np.asarray(np.arccos(np.clip(cosine, -1, 1)) * 180 / np.pi)


def _strict(sounding: Frames, found: Frames, reference: Events, prediction: Events) -> Count:
    """An event is what has a number of its own, and each row of a frame at least."""
    references = _instances(reference, sounding)
    distances: dict[tuple[int, int], list[float]] = defaultdict(list)
    for frame in sounding.keys() & found.keys():
        rows, partners = sounding[frame], found[frame]
        cost = angle_between_deg(reference.directions[rows][:, None], prediction.directions[partners][None])
        for i, j in zip(*linear_sum_assignment(cost), strict=True):
            distances[references[rows[i]]].append(cost[i, j])
    means = [sum(angles) / len(angles) for angles in distances.values()]
    hits = sum(mean <= THRESHOLD_DEG + 1e-6 for mean in means)
    events, predictions = (len(set(instances.values())) for instances in (references, _instances(prediction, found)))
    return Count(events, hits, len(means) - hits, events - len(means), max(0, predictions - len(means)), sum(means))


def _instances(events: Events, frames: Frames) -> dict[int, tuple[int, int]]:
    """For each row its event: the number, and which of the frame's rows of this number it is."""
    instances = {}
    for rows in frames.values():
        seen = Counter[int]()
        for row in rows:
            number = int(events.event[row])
            instances[row] = (number, seen[number])
            seen[number] += 1
    return instances
