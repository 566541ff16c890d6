"""From counts to scores: micro and macro averages, classes, intervals by the jackknife over clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from hearable.errors import LabelError
from hearable.seld.clips import ROWS, paired
from hearable.seld.events import Events, read_labels, read_predictions
from hearable.seld.metrics import CLASSES, EPS, Mode, Tally, left_out, tally

Values = NDArray[np.float64]
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Scores:
    """The five figures of DCASE.

    Attributes:
        er: error rate within 20 degrees.
        f: F-score within 20 degrees, 0..1.
        le: localisation error within a class, degrees; 180 where nothing is found.
        lr: localisation recall within a class, 0..1.
        seld: mean of er, 1 - f, le / 180 and 1 - lr.
    """

    er: float
    f: float
    le: float
    lr: float
    seld: float


@dataclass(frozen=True)
class ClassScores:
    """Scores of one class, as in `Scores`; ``references``: its events, counted once in each second."""

    references: int
    f: float
    le: float
    lr: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of a set of clips.

    Attributes:
        mode: how it was counted.
        macro: whether f, le and lr are means over classes.
        clips: their number.
        left_out: labelled rows that are not counted: frames or classes that the mode does not know.
        scores: of all clips.
        intervals: 95% interval of each score, from leaving out one clip at a time; empty with a single clip.
        classes: of each class that sounds or was predicted.
    """

    mode: Mode
    macro: bool
    clips: int
    left_out: int
    scores: Scores
    intervals: dict[str, tuple[float, float]]
    classes: dict[int, ClassScores]


def evaluate(clips: Sequence[tuple[Events, Events]], mode: Mode, macro: bool = False, classes: int = 0) -> Evaluation:
    """Score predictions.

    Args:
        clips: reference and prediction of each clip.
        mode: how to count, see `hearable.seld.metrics`.
        macro: average f, le and lr over classes: over all ``classes`` in ``official2022``, over those that occur in
            ``strict``. ``official2021`` has no macro average.
        classes: class indices below this are counted; 0: those of the official data, and in ``strict`` all.

    Raises:
        ValueError: ``macro`` with ``official2021``.
        LabelError: ``strict`` and no labelled event in any clip; ``official2022`` and none in one of them.
    """
    if macro and mode == "official2021":
        raise ValueError("official2021 has no macro average: expected official2022 or strict")
    if mode == "strict" and not any(len(reference) for reference, _ in clips):
        raise LabelError("expected labels with at least one event, found none")
    classes = classes or CLASSES.get(mode) or 1 + max(int(e.class_index.max(initial=0)) for clip in clips for e in clip)
    tallies = [tally(reference, prediction, mode, classes) for reference, prediction in clips]
    total = sum(tallies[1:], tallies[0])
    values = summarise(total, mode, macro)
    intervals = {}
    if len(tallies) > 1:
        partial = np.array([astuple(summarise(total - one, mode, macro)) for one in tallies])
        bounds = jackknife(np.array(astuple(values)), partial)
        intervals = {f.name: (float(low), float(high)) for f, low, high in zip(fields(Scores), *bounds, strict=True)}
    ignored = sum(left_out(reference, mode, classes) for reference, _ in clips)
    return Evaluation(mode, macro, len(clips), ignored, values, intervals, _by_class(total, mode))


def summarise(total: Tally, mode: Mode, macro: bool) -> Scores:
    """The five figures of a tally."""
    er = total.errors / (total.counts[:, 0].sum() + EPS)
    if macro:
        f, le, lr = _ratios(total.counts, mode)
        references, hits, misplaced, _, false = total.counts.T[:5]
        everywhere = mode == "official2022"
        f = f[everywhere | (references + false > 0)].mean()
        lr = lr[everywhere | (references > 0)].mean()
        # Where nothing of a class is found there is no error of its place: the recall tells that, once is enough.
        placed = everywhere | (hits + misplaced > 0)
        le = le[placed].mean() if placed.any() else np.float64(180)
    else:
        f, le, lr = (value[0] for value in _ratios(total.counts.sum(0, keepdims=True), mode))
    return Scores(float(er), float(f), float(le), float(lr), float(np.mean([er, 1 - f, le / 180, 1 - lr])))


def _ratios(counts: Values, mode: Mode) -> tuple[Values, Values, Values]:
    """F-score, localisation error and recall of each row of counts."""
    _, hits, misplaced, missed, false, error_deg = counts.T
    weight = 0.5 if mode == "official2021" else 1.0
    f = hits / (hits + weight * misplaced + 0.5 * (false + missed) + EPS)
    found = hits + misplaced
    le = np.where(found > 0, error_deg / (found + EPS), 180.0)
    return f, le, found / (found + missed + EPS)


def _by_class(total: Tally, mode: Mode) -> dict[int, ClassScores]:
    ratios = np.stack(_ratios(total.counts, mode), 1).tolist()
    occurring = np.flatnonzero(total.counts.any(1)).tolist()
    return {kind: ClassScores(int(total.counts[kind, 0]), *ratios[kind]) for kind in occurring}


def jackknife(whole: Values, partial: Values) -> tuple[Values, Values]:
    """Bounds of the 95% interval (Efron and Stein 1981) around the bias-corrected estimate.

    Args:
        whole: ``[values]`` of all clips.
        partial: ``[clips, values]``, each without one clip.
    """
    n = len(partial)
    mean = partial.mean(0)
    centre = whole - (n - 1) * (mean - whole)
    error = np.sqrt((n - 1) * np.mean((partial - mean) ** 2, axis=0))
    reach = student.ppf((1 + CONFIDENCE) / 2, n - 1) * error
    return centre - reach, centre + reach


def read_pairs(reference: Path, prediction: Path) -> list[tuple[Events, Events]]:
    """References with their predictions: two files, or two folders whose csv files have the same names.

    Folders inside the folders (folds) do not matter.

    Raises:
        LabelError: a prediction is missing or superfluous, a name occurs twice, a file cannot be read.
    """
    if reference.is_file() and prediction.is_file():
        return [(read_labels(reference), read_predictions(prediction))]
    clips = paired(reference, prediction, ROWS, ROWS)
    return [(read_labels(labels), read_predictions(said)) for _, labels, said in clips]
