"""Random references and predictions that visit the corners of the SELD metrics. The same on every machine."""

from __future__ import annotations

import hashlib
import math
import random
from pathlib import Path

CASES = 200
CLASSES = 14  # two more than the 2021 metrics count

Row = tuple[int, int, int, int, int]  # frame, class, event, azimuth, elevation
Clip = tuple[list[Row], list[str]]  # reference; prediction as lines of 6 columns


class Dice:
    """`random.Random.random` alone: the one method whose numbers Python promises never to change."""

    def __init__(self, seed: int):
        self._random = random.Random(seed).random

    def share(self, probability: float) -> bool:
        return self._random() < probability

    def whole(self, low: int, high: int) -> int:
        """Both ends included."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, choices):
        return choices[self.whole(0, len(choices) - 1)]


def case(number: int) -> list[Clip]:
    """The clips of a case."""
    dice = Dice(1000 + number)
    return [clip(dice) for _ in range(dice.whole(1, 4))]


def clip(dice: Dice) -> Clip:
    """Events of few classes, so that they collide; each is found, missed, misplaced, late or seen double."""
    reference: list[Row] = []
    prediction: list[tuple[int, int, int, float, float]] = []
    kinds = [dice.whole(0, CLASSES - 1) for _ in range(dice.whole(1, 4))]
    length = dice.pick([9, 10, 11, 35, 100, 600, 600])
    for event in range(0 if dice.share(0.02) else dice.whole(1, 8)):
        kind, start = dice.pick(kinds), dice.whole(0, length - 1)
        end = min(length, start + dice.pick([1, 2, 5, 12, 40]))
        azimuth, elevation = dice.whole(-180, 180), dice.pick([dice.whole(-80, 80), dice.whole(-80, 80), 83, -83])
        speed = dice.pick([0, 0, -4, 1, 2])
        rows = [
            (f, kind, event, (azimuth + speed * (f - start) + 180) % 360 - 180, elevation) for f in range(start, end)
        ]
        reference += rows
        prediction += predicted(dice, rows, length)
    for _ in range(dice.whole(0, 3)):  # what is not there; some of it after the end
        kind, start = dice.pick([*kinds, dice.whole(0, CLASSES - 1)]), dice.whole(0, length + 30)
        place = dice.whole(-180, 180), dice.whole(-90, 90)
        prediction += [(f, kind, 0, *place) for f in range(start, start + dice.whole(1, 15))]
    if dice.share(0.7):
        reference.sort(key=lambda row: row[0])
        prediction.sort(key=lambda row: row[0])
    return reference, [line(*row) for row in prediction]


def predicted(dice: Dice, rows: list[Row], length: int) -> list[tuple[int, int, int, float, float]]:
    """What a network might say of one event.

    Never the very direction nor its opposite: there an arccosine is noise of 1e-6 degrees, other on each processor.
    Never the horizon alone nor a pole: there two assignments can cost the same.
    """
    fate = dice.pick(["found", "found", "near", "exactly 20", "far", "missed", "late", "holes", "double", "wrong"])
    turn, rise = {
        "near": (dice.whole(-15, 15), dice.whole(1, 9)),
        "far": (dice.whole(21, 179), 0),
        "exactly 20": (0, dice.pick([20, -20])),
    }.get(fate, (0, 1))
    late = dice.whole(1, 9) if fate == "late" else 0
    kept = [row for row in rows if fate != "missed" and not (fate == "holes" and dice.share(0.5))]
    said = []
    for frame, kind, event, azimuth, elevation in kept:
        kind = (kind + 1) % CLASSES if fate == "wrong" else kind
        said.append((frame + late, kind, event % 3, azimuth + turn, elevation + rise))
        if fate == "double":
            said.append((frame, kind, 1, azimuth + dice.whole(5, 60), elevation))
        if fate == "late":  # twice, so that a block can hold more predictions than events and no common frame
            said.append((frame + late, kind, 2, azimuth + 30, elevation))
    return said


def line(frame: int, kind: int, track: int, azimuth: float, elevation: float) -> str:
    """The prediction as a vector whose length is not one.

    Nine digits: "exactly 20 degrees" then falls to one side by more than the last bits, in which processors differ.
    """
    level = math.cos(math.radians(elevation))
    x, y = math.cos(math.radians(azimuth)) * level, math.sin(math.radians(azimuth)) * level
    vector = ",".join(f"{0.9 * value:.9f}" for value in (x, y, math.sin(math.radians(elevation))))
    return f"{frame},{kind},{track},{vector}"


def write(clips: list[Clip], reference: Path, prediction: Path) -> None:
    """Each clip as ``clip<n>.csv`` in both folders."""
    for folder in (reference, prediction):
        folder.mkdir(parents=True)
    for n, (rows, lines) in enumerate(clips):
        (reference / f"clip{n}.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
        (prediction / f"clip{n}.csv").write_text("".join(text + "\n" for text in lines))


def fingerprint() -> str:
    """Of all cases: stored scores belong to these."""
    return hashlib.sha256(repr([case(n) for n in range(CASES)]).encode()).hexdigest()
