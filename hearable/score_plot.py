"""A picture of an evaluation (matplotlib, of the extra ``synthesis``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.scores import GROUPS, Row

COLORS = {
    "noisy": "tab:blue",
    "clean": "tab:green",
    "off-axis": "tab:orange",
    "moving": "tab:red",
    "worn": "tab:purple",
    "known direction": "tab:grey",
    "ideal mask": "black",
}


def plot(rows: Sequence[Row], summary: dict[str, Any], path: Path) -> None:
    """Write a png: the distribution of SI-SDRi for each enrollment, and its mean by condition.

    Args:
        rows: all rows.
        summary: of these rows, from ``summarise``.
        path: where to.

    Raises:
        AudioError: the system refuses to write.
    """
    # A Figure of its own, not pyplot: no window, nothing shared with the caller's plots.
    results = {**summary["enrollment"], **summary["beside"]}
    rows_right = 1 + sum(len(groups) for groups in results["noisy"]["by"].values())
    figure = Figure(figsize=(11, max(4.5, 1 + 0.28 * rows_right)), layout="constrained")
    left, right = figure.subplots(1, 2)
    _distribution(left, rows)
    _by_condition(right, results)
    with replacing(path, AudioError) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def _distribution(axes: Axes, rows: Sequence[Row]) -> None:
    values = {
        condition: [row.si_sdri_db for row in rows if row.condition == condition and row.si_sdri_db is not None]
        for condition in COLORS
    }
    every = np.concatenate([np.asarray(v, np.float64) for v in values.values()])
    bins = [float(edge) for edge in np.arange(np.floor(every.min()), np.ceil(every.max()) + 1.5)]
    for condition, found in values.items():
        if not found:
            continue
        axes.hist(found, bins=bins, histtype="step", linewidth=1.6, color=COLORS[condition], label=condition)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set(xlabel="SI-SDRi (dB)", ylabel="scenes", title="Improvement, scene by scene")
    axes.legend()


def _by_condition(axes: Axes, results: dict[str, Any]) -> None:
    labels = ["all", *(f"{column}: {value}" for column in GROUPS for value in results["noisy"]["by"][column])]
    for offset, (condition, result) in zip(np.linspace(-0.3, 0.3, len(results)), results.items(), strict=True):
        groups = [result, *(group for column in GROUPS for group in result["by"][column].values())]
        means = [group["si_sdri_db"]["mean"] for group in groups]
        value, low, high = (np.array([mean[key] for mean in means]) for key in ("value", "low", "high"))
        axes.errorbar(
            value,
            np.arange(len(labels)) + offset,
            xerr=np.stack([value - low, high - value]).clip(0),
            fmt="o",
            markersize=4,
            capsize=2,
            color=COLORS[condition],
        )
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_yticks(np.arange(len(labels)), labels)
    axes.invert_yaxis()
    axes.set(xlabel="mean SI-SDRi (dB), 95% interval", title="By condition")
