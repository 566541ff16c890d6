"""Scores of an evaluation: a row a scene and condition, the file that keeps them, and what they come to."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.files import replacing

Condition = Literal["noisy", "clean", "off-axis", "absent"]
ENROLLMENTS: tuple[Condition, ...] = ("noisy", "clean", "off-axis")
GROUPS = ("talkers", "place", "sex")
RESAMPLES = 1000  # of the bootstrap; its seed is 0, so that the same rows give the same intervals
ENOUGH_DB = -20.0  # an output this far below the input passes for silence


@dataclass(frozen=True)
class Row:
    """One extraction. What does not apply is ``None``.

    Attributes:
        run: stands for models, data and protocol: rows of one run can be compared and taken together.
        scene: its number.
        condition: how the target was enrolled: from the whole enrollment scene (``noisy``), from the target's own
            sound in it (``clean``), with the target off to one side (``off-axis``); or ``absent``: the noisy
            enrollment, on a mixture in which the target does not speak.
        seed: what to draw the scene with.
        target: the enrolled speaker.
        talkers: how many talk in the mixture.
        listener: name of the impulse responses.
        place: ``head`` for a head in free field, else the listener's name: the room.
        sex: whether the interferer nearest in direction has the target's: ``same``, ``different``, ``unknown``.
        nearest_deg: angle between the target and that interferer.
        status: ``ok``, ``warned`` (the enrollment clip was found wanting) or ``failed`` (and refused).
        input_si_sdr_db: of the mixture, mean of both ears.
        si_sdri_db: improvement, mean of both ears; 0 if enrollment failed: what is heard is then the mixture.
        snri_db: the same for SNR.
        delta_ild_db: error of the level difference between the ears.
        delta_itd_us: error of the time difference between the ears.
        confused: whether somebody else was extracted.
        leak_db: output level below (negative) input level, with the target absent.
    """

    run: str
    scene: int
    condition: Condition
    seed: int
    target: str
    talkers: int
    listener: str
    place: str
    sex: str
    nearest_deg: float | None
    status: str
    input_si_sdr_db: float | None = None
    si_sdri_db: float | None = None
    snri_db: float | None = None
    delta_ild_db: float | None = None
    delta_itd_us: float | None = None
    confused: bool | None = None
    leak_db: float | None = None


_COLUMNS = [field.name for field in fields(Row)]
_PARSE: dict[str, Callable[[str], Any]] = {
    "str": str,
    "Condition": str,
    "int": int,
    "float | None": lambda text: float(text) if text else None,
    "bool | None": lambda text: {"True": True, "False": False, "": None}[text],
}


def read_rows(path: Path, run: str) -> list[Row]:
    """The rows of a file, none if there is no file. A last line that was not written to its end is left out.

    Raises:
        AudioError: the file holds something else, or rows of another run.
    """
    if not path.exists():
        return []
    whole = path.read_text("utf-8").rpartition("\n")[0]
    lines = list(csv.reader(io.StringIO(whole)))
    try:
        if lines and lines[0] != _COLUMNS:
            raise ValueError("other columns")
        rows = [_parse_row(line) for line in lines[1:]]
    except (ValueError, KeyError) as problem:
        raise AudioError(
            f"{path}: expected scores, found something else ({problem}): choose another folder"
        ) from problem
    other = next((row.run for row in rows if row.run != run), None)
    if other is not None:
        raise AudioError(f"{path}: expected scores of run {run}, found {other}, of another model, data or seed: "
                         "choose another folder, or remove the file")  # fmt: skip
    return rows


def _parse_row(line: Sequence[str]) -> Row:
    return Row(**{f.name: _PARSE[str(f.type)](text) for f, text in zip(fields(Row), line, strict=True)})


def _text(rows: Iterable[Row]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(astuple(row) for row in rows)
    return text.getvalue()


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write a file of scores, whole or not at all.

    Raises:
        AudioError: the system refuses.
    """
    with replacing(path, AudioError) as temporary:
        temporary.write_text(",".join(_COLUMNS) + "\n" + _text(rows), "utf-8")


def append_rows(path: Path, rows: Iterable[Row]) -> None:
    """Append to a file that ``write_rows`` began; the rows are on the disk when this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_text(rows))
        file.flush()
        os.fsync(file.fileno())


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
_MEAN: dict[str, Statistic] = {"mean": lambda v: v.mean(-1)}
_SPREAD: dict[str, Statistic] = {
    **_MEAN,
    "median": lambda v: np.asarray(np.median(v, -1)),
    "below_0": lambda v: (v < 0).mean(-1),
}
_MEASURES: dict[str, dict[str, Statistic]] = {
    "si_sdri_db": _SPREAD,
    "snri_db": _SPREAD,
    "input_si_sdr_db": _MEAN,
    "delta_ild_db": {"mean": _SPREAD["mean"], "median": _SPREAD["median"]},
    "delta_itd_us": {"mean": _SPREAD["mean"], "median": _SPREAD["median"]},
    "confused": _MEAN,
}


def estimate(values: Sequence[float], statistic: Statistic) -> dict[str, float]:
    """A statistic of some values with its 95% interval (percentile bootstrap): ``value``, ``low``, ``high``.

    Example:
        >>> estimate([2.0, 2.0, 2.0], lambda v: v.mean(-1))
        {'value': 2.0, 'low': 2.0, 'high': 2.0}
    """
    array = np.asarray(values, np.float64)
    drawn = np.random.default_rng(0).integers(len(array), size=(RESAMPLES, len(array)))
    low, high = np.percentile(statistic(array[drawn]), [2.5, 97.5])
    return {"value": round(float(statistic(array)), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def aggregate(rows: Sequence[Row]) -> dict[str, Any]:
    """What rows of one condition come to; measures that none of them has are left out."""
    result: dict[str, Any] = {"scenes": len(rows)}
    for status in ("warned", "failed"):
        result[status] = sum(row.status == status for row in rows)
    for measure, statistics in _MEASURES.items():
        values = [getattr(row, measure) for row in rows if getattr(row, measure) is not None]
        if values:
            result[measure] = {name: estimate(values, statistic) for name, statistic in statistics.items()}
    return result


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """All conditions, ready for JSON.

    Returns:
        ``enrollment`` -> condition -> what ``aggregate`` gives, with ``by`` -> column -> value -> the same; and
        ``absent``, if the target was absent anywhere: ``leak_db`` and ``kept_quiet``, the share 20 dB or more down.
    """
    summary: dict[str, Any] = {"enrollment": {}}
    for condition in ENROLLMENTS:
        chosen = [row for row in rows if row.condition == condition]
        if chosen:
            by = {column: _grouped(chosen, column) for column in GROUPS}
            summary["enrollment"][condition] = {**aggregate(chosen), "by": by}
    leaks = [row.leak_db for row in rows if row.leak_db is not None]
    if leaks:
        summary["absent"] = {
            "scenes": len(leaks),
            "leak_db": {name: estimate(leaks, _SPREAD[name]) for name in ("mean", "median")},
            "kept_quiet": estimate(leaks, lambda v: (v <= ENOUGH_DB).mean(-1)),
        }
    return summary


def _grouped(rows: Sequence[Row], column: str) -> dict[str, Any]:
    values = sorted({str(getattr(row, column)) for row in rows})
    return {value: aggregate([row for row in rows if str(getattr(row, column)) == value]) for value in values}
