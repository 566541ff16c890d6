"""Sound events frame by frame, as DCASE writes them: which class sounds in which 100 ms frame, from where."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hearable.errors import LabelError
from hearable.files import replacing
from hearable.synthesis.directions import unit_vectors

FRAMES_PER_SECOND = 10
LARGEST = 10_000_000  # of frames, classes and event numbers: 11 days
LONGEST = 10.0  # of a predicted vector: networks say about 1, degrees and centimetres are more


@dataclass(frozen=True, eq=False)
class Events:
    """Rows of a label or prediction file, in the file's order.

    Attributes:
        frame: ``[rows]``, counted from 0, 100 ms each.
        class_index: ``[rows]``.
        event: ``[rows]``, number of the event (in predictions: of the track, often 0 throughout).
        azimuth_deg: ``[rows]``, 0 front, +90 left.
        elevation_deg: ``[rows]``, + up.
    """

    frame: NDArray[np.int64]
    class_index: NDArray[np.int64]
    event: NDArray[np.int64]
    azimuth_deg: NDArray[np.float64]
    elevation_deg: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.frame)

    @cached_property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors ``[rows, 3]``: x front, y left, z up."""
        return unit_vectors(self.azimuth_deg, self.elevation_deg)

    def select(self, rows: NDArray[np.bool_]) -> Events:
        """The rows where ``rows`` is true."""
        return Events(
            self.frame[rows],
            self.class_index[rows],
            self.event[rows],
            self.azimuth_deg[rows],
            self.elevation_deg[rows],
        )

    def later(self, frames: int) -> Events:
        """The same, so many frames later."""
        return replace(self, frame=self.frame + frames)

    @staticmethod
    def from_rows(rows: Sequence[tuple[int, int, int, float, float]]) -> Events:
        """From tuples (frame, class, event, azimuth, elevation)."""
        table = np.array(rows, np.float64).reshape(-1, 5).T
        whole = table[:3].astype(np.int64)
        return Events(whole[0], whole[1], whole[2], table[3], table[4])


def read_labels(path: Path) -> Events:
    """Read a reference: ``frame, class, event, azimuth, elevation``, no header; a distance after them is skipped.

    Raises:
        LabelError: the file cannot be read, or a row is not of that form.
    """
    return _read(path, LABELS)


def read_predictions(path: Path) -> Events:
    """Read predictions: ``frame, class, track``, then azimuth and elevation, or x, y, z, or x, y, z and a distance.

    Vectors may have any length up to 10: longer ones are taken for azimuth, elevation and distance.

    Raises:
        LabelError: the file cannot be read, or a row is of no such form.
    """
    return _read(path, PREDICTIONS)


def parse_labels(lines: Iterable[str], where: str) -> Events:
    """`read_labels` of lines that are in memory; ``where`` they are from is for errors."""
    return _parse(lines, LABELS, where)


def write_predictions(path: Path, events: Events) -> None:
    """Write 6 columns, unit vectors: the form that the official scorers take.

    Raises:
        LabelError: the system refuses to write.
    """
    with replacing(path, LabelError) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        for frame, kind, event, vector in zip(
            events.frame, events.class_index, events.event, events.directions, strict=True
        ):
            writer.writerow([frame, kind, event, *(f"{value:.6f}" for value in vector)])


_Form = Callable[[list[float]], tuple[float, float]]


def _read(path: Path, forms: Mapping[int, _Form]) -> Events:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return _parse(file, forms, str(path))
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise LabelError(f"{path}: cannot read: {problem}") from problem


def _parse(lines: Iterable[str], forms: Mapping[int, _Form], where: str) -> Events:
    rows = [_row(cells, forms, f"{where}, line {number}") for number, cells in enumerate(csv.reader(lines), 1) if cells]
    return Events.from_rows(rows)


def _row(cells: list[str], forms: Mapping[int, _Form], where: str) -> tuple[int, int, int, float, float]:
    if len(cells) not in forms:
        expected = " or ".join(f"{count} columns ({form.__doc__})" for count, form in forms.items())
        raise LabelError(f"{where}: expected {expected}, found {len(cells)}")
    try:
        frame, kind, event = (int(cell) for cell in cells[:3])
        place = [float(cell) for cell in cells[3:]]
    except ValueError as problem:
        raise LabelError(f"{where}: expected numbers, the first three whole; found {','.join(cells)!r}") from problem
    if not (0 <= frame <= LARGEST and 0 <= kind <= LARGEST and abs(event) <= LARGEST):
        raise LabelError(f"{where}: expected frame and class from 0 to {LARGEST}, found {','.join(cells)!r}")
    if not all(math.isfinite(value) for value in place):
        raise LabelError(f"{where}: expected a finite direction, found {','.join(cells)!r}")
    try:
        return frame, kind, event, *forms[len(cells)](place)
    except ValueError as problem:
        raise LabelError(f"{where}: {problem}") from problem


def _polar(place: list[float]) -> tuple[float, float]:
    """frame, class, event, azimuth, elevation"""
    return place[0], place[1]


def _polar_and_distance(place: list[float]) -> tuple[float, float]:
    """frame, class, event, azimuth, elevation, distance"""
    if not (place[0].is_integer() and place[1].is_integer()):
        raise ValueError(f"expected whole degrees before a distance, found {place[0]:g}, {place[1]:g}: x, y, z?")
    return _polar(place)


def _cartesian(place: list[float]) -> tuple[float, float]:
    """frame, class, track, x, y, z"""
    # Written as the official code does: an event at exactly 20 degrees hangs on the last bit.
    x, y, z = np.array(place[:3])
    if max(abs(x), abs(y), abs(z)) > LONGEST:
        raise ValueError(
            f"expected x, y, z up to {LONGEST:g}, found {x:g}, {y:g}, {z:g}: azimuth, elevation, distance?"
        )
    return np.arctan2(y, x) * 180 / np.pi, np.arctan2(z, np.sqrt(x**2 + y**2)) * 180 / np.pi


def _cartesian_and_distance(place: list[float]) -> tuple[float, float]:
    """frame, class, track, x, y, z, distance"""
    return _cartesian(place)


LABELS: dict[int, _Form] = {5: _polar, 6: _polar_and_distance}
PREDICTIONS: dict[int, _Form] = {5: _polar, 6: _cartesian, 7: _cartesian_and_distance}
