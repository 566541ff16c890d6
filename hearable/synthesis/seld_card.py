"""The card of a made dataset: figures and plots of what is really in it, from its scenes and labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.seld.events import read_labels
from hearable.synthesis.labels import FRAME_S
from hearable.synthesis.seld_files import LABELS, read_json, scene_path
from hearable.synthesis.seld_recipe import SeldRecipe


@dataclass
class Contents:
    """What is in a dataset, added up clip by clip.

    Attributes:
        frames: of all clips.
        polyphony: frames with so many targets.
        classes: labelled frames of each class.
        moving: events of each label that move, and all of them.
        directions: azimuth and elevation of every labelled frame.
        levels: of each event in the first format: SNR, SIR and DRR of targets, where finite.
        snr_db: of each clip.
    """

    frames: int = 0
    polyphony: Counter[int] = field(default_factory=Counter)
    classes: Counter[int] = field(default_factory=Counter)
    moving: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    directions: list[Any] = field(default_factory=list)
    levels: dict[str, list[float]] = field(default_factory=lambda: {"snr_db": [], "sir_db": [], "drr_db": []})
    snr_db: list[float] = field(default_factory=list)

    def add(self, out: Path, name: str) -> None:
        """Add a clip."""
        made = read_json(scene_path(out, name))
        scene, first = made["scene"], made["scene"]["formats"][0]
        frames = round(scene["samples"] / scene["rate"] / FRAME_S)
        rows = read_labels(out / LABELS / f"{name}.csv")
        self.frames += frames
        self.polyphony.update(np.bincount(rows.frame, minlength=frames)[:frames].tolist())
        self.classes.update(rows.class_index.tolist())
        self.directions.append(np.stack([rows.azimuth_deg, rows.elevation_deg]))
        self.events.update(event["label"] for event in scene["events"])
        self.moving.update(event["label"] for event in scene["events"] if len(event["path"]) > 1)
        targets = [n for n, event in enumerate(scene["events"]) if event["role"] == "target"]
        for key, values in self.levels.items():
            found = (made["levels"][first][n][key] for n in targets)
            values += [value for value in found if value is not None]
        if made["snr_db"][first] is not None:
            self.snr_db.append(made["snr_db"][first])


def write_card(recipe: SeldRecipe, out: Path, names: Sequence[str]) -> None:
    """Write ``card.md`` and ``card.png``.

    Raises:
        AudioError: a scene cannot be read, or the system refuses to write.
    """
    contents = Contents()
    for name in names:
        contents.add(out, name)
    _plot(recipe, contents, out / "card.png")
    with replacing(out / "card.md", AudioError) as temporary:
        temporary.write_text("\n".join(_lines(recipe, contents, names)) + "\n", "utf-8")


def _lines(recipe: SeldRecipe, contents: Contents, names: Sequence[str]) -> Iterable[str]:
    minutes = contents.frames * FRAME_S / 60
    formats = ", ".join(recipe.formats)
    yield from (f"# {recipe.name}", "")
    yield f"{len(names)} clips, {minutes:.1f} minutes, {recipe.rate} Hz, {formats}; seed {recipe.seed}."
    yield "Made with `hearable synth`; `hearable synth verify` checks it."
    yield from ("", "![Directions, polyphony, levels and classes](card.png)", "")
    yield from ("| class | number | events | moving | share of labelled frames |", "|---|---:|---:|---:|---:|")
    labelled = max(contents.classes.total(), 1)
    for number, label in enumerate(recipe.classes):
        share = contents.classes[number] / labelled
        yield f"| {label} | {number} | {contents.events[label]} | {contents.moving[label]} | {share:.1%} |"
    for label in recipe.interferers:
        yield f"| {label} | not labelled | {contents.events[label]} | {contents.moving[label]} | - |"
    yield from ("", "| targets at once | share of frames |", "|---|---:|")
    for count in range(max(contents.polyphony) + 1):
        yield f"| {count} | {contents.polyphony[count] / contents.frames:.1%} |"
    yield from ("", f"| measured on {recipe.formats[0]} | 5% | median | 95% |", "|---|---:|---:|---:|")
    measures = {"SNR of a clip": contents.snr_db} | {
        f"{key[:3].upper()} of a target": values for key, values in contents.levels.items()
    }
    for label, values in measures.items():
        if values:
            low, middle, high = np.percentile(values, [5, 50, 95])
            yield f"| {label}, dB | {low:.1f} | {middle:.1f} | {high:.1f} |"


def _plot(recipe: SeldRecipe, contents: Contents, path: Path) -> None:
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _directions(figure, axes[0, 0], contents)
    counts = range(max(contents.polyphony) + 1)
    axes[0, 1].bar([str(n) for n in counts], [contents.polyphony[n] / contents.frames for n in counts])
    axes[0, 1].set(xlabel="targets at once", ylabel="share of frames", title="Polyphony")
    for key, values in contents.levels.items():
        if values:
            axes[1, 0].hist(
                np.clip(values, -30, 50), bins=np.arange(-30, 51, 2.5).tolist(), histtype="step", label=key[:3].upper()
            )
    axes[1, 0].set(
        xlabel=f"dB ({recipe.formats[0]})",
        ylabel="targets",
        title="Each target over ambience, interferers, reverberation",
    )
    if any(contents.levels.values()):
        axes[1, 0].legend(loc="upper right")
    labelled = max(contents.classes.total(), 1)
    axes[1, 1].barh(recipe.classes, [contents.classes[n] / labelled for n in range(len(recipe.classes))])
    axes[1, 1].invert_yaxis()
    axes[1, 1].set(xlabel="share of labelled frames", title="Classes")
    with replacing(path, AudioError) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _directions(figure: Figure, axes: Axes, contents: Contents) -> None:
    azimuth, elevation = np.concatenate(contents.directions, axis=1)
    bins = [np.arange(-180, 181, 10), np.arange(-90, 91, 10)]
    *_, counted = axes.hist2d(azimuth, elevation, bins=bins, cmap="viridis")
    figure.colorbar(counted, ax=axes, label="frames")
    axes.set(
        xlabel="azimuth (degrees, + left)", ylabel="elevation (degrees, + up)", title="Directions of labelled frames"
    )
    axes.set(xticks=range(-180, 181, 60), yticks=range(-90, 91, 30))
    axes.set_xlim(180, -180)  # left is left
