"""What the experiment found: a table and a plot of all cells, and the effect of each condition."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from hearable.errors import AudioError, LabelError
from hearable.files import replacing
from hearable.seld.scores import Scores
from training.seld_cells import CELLS, Cell
from training.seld_task import MODE

MEASURES = {"er": ("ER 20°", 1, ".2f"), "f": ("F 20°, %", 100, ".1f"), "le": ("LE CD, °", 1, ".1f"),
            "lr": ("LR CD, %", 100, ".1f"), "seld": ("SELD score", 1, ".3f")}  # fmt: skip
CONDITIONS = [field.name for field in dataclasses.fields(Cell)]

Found = dict[Cell, np.ndarray]  # [seeds, measures]


def collect(folder: Path) -> Found:
    """The scores of each cell that has any.

    Raises:
        LabelError: there are none.
    """
    found = {}
    for cell in CELLS:
        results = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{cell.name}-*/result.json"))]
        if results:
            found[cell] = np.array([[r[MODE]["scores"][f.name] for f in dataclasses.fields(Scores)] for r in results])
    if not found:
        raise LabelError(f"{folder}: expected results of the experiment, found none")
    return found


def effects(found: Found) -> dict[str, np.ndarray]:
    """Of each condition: what it adds to each measure, ``[pairs]`` of cells alike but for it, ``[pairs, measures]``."""
    changes = {}
    for name in CONDITIONS:
        pairs = [(cell, dataclasses.replace(cell, **{name: True})) for cell in found if not getattr(cell, name)]
        rows = [found[more].mean(0) - found[less].mean(0) for less, more in pairs if more in found]
        if rows:
            changes[name] = np.array(rows)
    return changes


def table(found: Found) -> str:
    """Markdown: mean and standard deviation over seeds of each cell, then the mean effect of each condition."""
    labels = [label for label, *_ in MEASURES.values()]
    lines = [f"| cell | seeds | {' | '.join(labels)} |", "|---|---|" + "---|" * len(labels)]
    for cell, values in found.items():
        cells = [
            f"{scale * seeds.mean():{form}}" + (f" ± {scale * seeds.std(ddof=1):{form}}" if len(seeds) > 1 else "")
            for (_, scale, form), seeds in zip(MEASURES.values(), values.T, strict=True)
        ]
        lines.append(f"| {cell.name} | {len(values)} | {' | '.join(cells)} |")
    lines += ["", f"| adds, on average | {' | '.join(labels)} |", "|---|" + "---|" * len(labels)]
    for name, change in effects(found).items():
        cells = [f"{scale * v:+{form}}" for (_, scale, form), v in zip(MEASURES.values(), change.mean(0), strict=True)]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def plot(found: Found, path: Path) -> None:
    """Write a png: F-score and localisation error of each cell, a point a seed.

    Raises:
        AudioError: the system refuses to write.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    names = [cell.name for cell in found]
    panels = figure.subplots(1, 2, sharey=True)
    for axes, measure in zip(panels, ("f", "le"), strict=True):
        label, scale, _ = MEASURES[measure]
        column = list(MEASURES).index(measure)
        for place, values in enumerate(found.values()):
            axes.plot(scale * values[:, column], np.full(len(values), place), "o", color="tab:blue", alpha=0.6)
            axes.plot(scale * values[:, column].mean(), place, "|", color="black", markersize=18)
        axes.set_xlabel(label)
        axes.set_xlim(left=0)
        axes.grid(axis="x", alpha=0.3)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    with replacing(path, AudioError) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
