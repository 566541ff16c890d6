"""The eight cells of the experiment: the same scenes with and without interferers, ambience and reverberation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from hearable.processes import process_map
from hearable.seld.events import Events
from hearable.seld.features import Features, Format, features
from hearable.synthesis.render_seld import Audio, Stems, render_seld
from hearable.synthesis.seld_draw import ClipId, SeldClip, SeldDraw
from hearable.synthesis.seld_recipe import SeldRecipe
from hearable.synthesis.seld_scene import SeldScene
from training.seld_data import Store
from training.seld_scenes import DrawOnce


@dataclass(frozen=True)
class Cell:
    """What a scene is left with."""

    interferers: bool
    ambience: bool
    reverberation: bool

    @property
    def name(self) -> str:
        """``clean`` or what is there, as in ``interferers+ambience``."""
        return "+".join(field for field, there in dataclasses.asdict(self).items() if there) or "clean"


CELLS = [Cell(*there) for there in product((False, True), repeat=3)]


@dataclass(frozen=True)
class Clips:
    """How many clips of each split, shared out evenly among its folds."""

    train: int = 200
    val: int = 20
    test: int = 50

    def ids(self, recipe: SeldRecipe, split: str) -> list[ClipId]:
        """The clips of a split, fold by fold: each has sounds of its own, which are read once then."""
        folds = [fold.number for fold in recipe.fold if fold.split == split]
        numbers = sorted((n % len(folds), n // len(folds)) for n in range(getattr(self, split)))
        return [ClipId(folds[fold], index) for fold, index in numbers]


def without(scene: SeldScene, cells: Sequence[Cell]) -> SeldScene:
    """The scene, what none of the cells has left out; what stays sounds as it did."""
    events = scene.events
    if not any(cell.interferers for cell in cells):
        events = tuple(event for event in events if event.role == "target")
    return dataclasses.replace(
        scene, events=events, ambience=scene.ambience if any(cell.ambience for cell in cells) else None
    )


def mix(scene: SeldScene, stems: Stems, cell: Cell) -> Audio:
    """The stems that a cell has, ``[channels, samples]``."""
    total = stems.ambience.copy() if cell.ambience else np.zeros_like(stems.ambience)
    for event, image in zip(scene.events, stems.events, strict=True):
        if event.role == "target" or cell.interferers:
            total[:, image.start : image.start + image.audio.shape[1]] += image.audio
    return total


def cells_of(draw: SeldDraw, clip: SeldClip, cells: Sequence[Cell], kind: Format) -> Iterator[tuple[Cell, Features]]:
    """Features of a clip in each cell: rendered once with and once without a room, the rest are sums of stems."""
    for reverberation in (False, True):
        chosen = [cell for cell in cells if cell.reverberation is reverberation]
        if chosen:
            room = clip.scene.room if reverberation else None
            scene = without(dataclasses.replace(clip.scene, room=room, formats=(kind,)), chosen)
            stems = render_seld(scene, draw.sounds, draw.measured()).stems[kind]
            for cell in chosen:
                yield cell, features(mix(scene, stems, cell), kind)


def store_of(folder: Path, cell: Cell) -> Store:
    """Where the clips of a cell are kept."""
    return Store(folder / cell.name)


def prepare(
    recipe: SeldRecipe,
    ids: Sequence[ClipId],
    cells: Sequence[Cell],
    folder: Path,
    kind: Format,
    workers: int,
    progress: Callable[[int], object] = lambda clips: None,
) -> list[str]:
    """Render what is not there yet; the names of the clips."""
    keep = partial(_keep, DrawOnce(recipe), cells, folder, kind)
    names = []
    for name in map(keep, ids) if workers == 1 else process_map(keep, ids, workers):
        names.append(name)
        progress(1)
    return names


def _keep(once: DrawOnce, cells: Sequence[Cell], folder: Path, kind: Format, id_: ClipId) -> str:
    """Keep a clip in the cells that do not have it; its name."""
    draw = once.draw
    name = draw.name(id_)
    missing = [cell for cell in cells if name not in store_of(folder, cell)]
    if missing:
        clip = draw.draw(id_)
        events = Events.from_rows(clip.labels(draw.recipe.classes))
        with threadpool_limits(1):
            for cell, spectra in cells_of(draw, clip, missing, kind):
                store_of(folder, cell).add(name, spectra, events)
    return name
