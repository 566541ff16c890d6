"""Scores of an evaluation: a row a scene and condition, the file that keeps them, and what they come to."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.files import replacing

Condition = Literal["noisy", "clean", "off-axis", "moving", "worn", "known direction", "ideal mask", "absent", "alone"]
ENROLLMENTS: tuple[Condition, ...] = ("noisy", "clean", "off-axis")
REALITIES: tuple[Condition, ...] = ("moving", "worn")
BASELINES: tuple[Condition, ...] = ("known direction", "ideal mask")
COSTS: tuple[tuple[Condition, Condition], ...] = (  # what the first costs against the second
    ("noisy", "clean"),
    ("off-axis", "noisy"),
    ("moving", "noisy"),
    ("worn", "noisy"),
)
GROUPS = ("talkers", "place", "sex", "likeness", "apart", "target", "level")
THIRDS = {  # of the scenes, by a column of their rows
    "likeness": ("likeness", ("least alike third", "middle third", "most alike third")),
    "level": ("input_si_sdr_db", ("quietest third", "medium third", "loudest third")),
}
APART = ("below 30 deg", "30 to 90 deg", "from 90 deg")
APART_DEG = (30.0, 90.0)
RESAMPLES = 1000  # of the bootstrap; its seed is 0, so that the same rows give the same intervals
ENOUGH_DB = 20.0  # an output so far below the input passes for silence; one so near the target alone, for untouched
WORST = 20


@dataclass(frozen=True)
class Row:
    """One extraction. What does not apply is ``None``.

    Attributes:
        run: stands for models, data and protocol: rows of one run can be compared and taken together.
        scene: its number.
        condition: how the target was enrolled: from the whole enrollment scene (``noisy``), from the target's own
            sound in it (``clean``), with the target off to one side (``off-axis``); or, with the noisy enrollment,
            another mixture: the same with all talkers on the move (``moving``), that as worn microphones hear it
            (``worn``), one in which the target does not speak (``absent``), the target's own sound (``alone``);
            or what needs no enrollment (``hearable.baselines``).
        seed: what to draw the scene with.
        target: the enrolled speaker.
        talkers: how many talk in the mixture.
        listener: name of the impulse responses.
        place: ``head`` for a head in free field, else the listener's name: the room.
        sex: whether the interferer nearest in direction has the target's: ``same``, ``different``, ``unknown``.
        nearest_deg: angle between the target and that interferer.
        azimuth_deg: where the target is, + left.
        likeness: cosine of the target's embedding and that of the interferer whose voice is most alike, both from dry
            speech.
        status: ``ok``, ``warned`` (the enrollment clip was found wanting) or ``failed`` (and refused).
        input_si_sdr_db: of the mixture, mean of both ears.
        si_sdri_db: improvement, mean of both ears; 0 if enrollment failed: what is heard is then the mixture.
        snri_db: the same for SNR.
        delta_ild_db: error of the level difference between the ears.
        delta_itd_us: error of the time difference between the ears.
        confused: whether somebody else was extracted.
        leak_db: output level below (negative) input level, with the target absent.
        si_sdr_db: of the output, with the target alone.
        pesq_wb: PESQ, wide band, mean of both ears; this and what follows, where asked for.
        pesq_wb_gain: over the mixture's.
        estoi: extended short-time objective intelligibility.
        estoi_gain: over the mixture's.
        dnsmos: DNSMOS P.808.
        dnsmos_gain: over the mixture's.
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
    azimuth_deg: float | None
    likeness: float | None
    status: str
    input_si_sdr_db: float | None = None
    si_sdri_db: float | None = None
    snri_db: float | None = None
    delta_ild_db: float | None = None
    delta_itd_us: float | None = None
    confused: bool | None = None
    leak_db: float | None = None
    si_sdr_db: float | None = None
    pesq_wb: float | None = None
    pesq_wb_gain: float | None = None
    estoi: float | None = None
    estoi_gain: float | None = None
    dnsmos: float | None = None
    dnsmos_gain: float | None = None


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
    **{f"{name}{what}": _MEAN for name in ("pesq_wb", "estoi", "dnsmos") for what in ("", "_gain")},
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
        ``enrollment`` and ``beside`` (moving talkers, worn microphones, baselines) -> condition -> what ``aggregate``
        gives, with ``by`` -> column -> value -> the same; ``costs``, how much SI-SDRi one condition loses against
        another on the same scenes; and where they were tried, ``absent``: ``leak_db`` and ``kept_quiet``, the share
        20 dB or more down, and ``alone``: ``si_sdr_db`` and ``untouched``, the share of 20 dB or more.
    """
    of = {condition: [row for row in rows if row.condition == condition] for condition in get_args(Condition)}
    summary: dict[str, Any] = {
        "enrollment": {c: _with_groups(of[c]) for c in ENROLLMENTS if of[c]},
        "beside": {c: _with_groups(of[c]) for c in (*REALITIES, *BASELINES) if of[c]},
        "costs": {f"{a} for {b}": cost for a, b in COSTS if (cost := _cost(of[a], of[b]))},
    }
    leaks = [row.leak_db for row in of["absent"] if row.leak_db is not None]
    if leaks:
        summary["absent"] = {
            "scenes": len(leaks),
            "leak_db": {name: estimate(leaks, _SPREAD[name]) for name in ("mean", "median")},
            "kept_quiet": estimate(leaks, lambda v: (v <= -ENOUGH_DB).mean(-1)),
        }
    alone = [row.si_sdr_db for row in of["alone"] if row.si_sdr_db is not None]
    if alone:
        summary["alone"] = {
            "scenes": len(alone),
            "si_sdr_db": {name: estimate(alone, _SPREAD[name]) for name in ("mean", "median")},
            "untouched": estimate(alone, lambda v: (v >= ENOUGH_DB).mean(-1)),
        }
    return summary


def worst(rows: Iterable[Row], count: int = WORST) -> list[Row]:
    """The rows with noisy enrollment that improve least, the worst first; refused clips are left out."""
    noisy = [row for row in rows if row.condition == "noisy" and row.si_sdri_db is not None and row.status != "failed"]
    return sorted(noisy, key=lambda row: row.si_sdri_db or 0.0)[:count]


def _with_groups(rows: Sequence[Row]) -> dict[str, Any]:
    return {**aggregate(rows), "by": {column: _grouped(rows, column) for column in GROUPS}}


def _grouped(rows: Sequence[Row], column: str) -> dict[str, Any]:
    labels = _labels(rows, column)
    ranked = (*(name for _, names in THIRDS.values() for name in names), *APART)
    order = [*ranked, *sorted(set(labels) - set(ranked))]
    groups = {label: [row for row, own in zip(rows, labels, strict=True) if own == label] for label in order}
    return {label: aggregate(group) for label, group in groups.items() if group}


def _labels(rows: Sequence[Row], column: str) -> list[str]:
    """What group each row is in."""
    if column in THIRDS:
        measure, names = THIRDS[column]
        values = [getattr(row, measure) for row in rows]
        known = [value for value in values if value is not None]
        bounds = np.quantile(known, [1 / 3, 2 / 3]) if known else np.zeros(2)
        return ["?" if value is None else names[int(np.sum(value >= bounds))] for value in values]
    if column == "apart":
        return ["?" if r.nearest_deg is None else APART[sum(r.nearest_deg >= b for b in APART_DEG)] for r in rows]
    if column == "target":
        return ["?" if r.azimuth_deg is None else "behind" if abs(r.azimuth_deg) > 90 else "before" for r in rows]
    return [str(getattr(row, column)) for row in rows]


def _cost(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, float] | None:
    """Mean SI-SDRi of ``others`` minus that of ``rows``, scene by scene, with its interval."""
    reference = {row.scene: row.si_sdri_db for row in others if row.si_sdri_db is not None}
    pairs = [
        reference[row.scene] - row.si_sdri_db for row in rows if row.si_sdri_db is not None and row.scene in reference
    ]
    return estimate(pairs, _SPREAD["mean"]) if pairs else None
