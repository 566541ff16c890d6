"""SELD scenes rendered on the fly as training examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from torch.utils.data import IterableDataset, get_worker_info

from hearable.errors import LabelError
from hearable.memory import keep_freed_memory
from hearable.seld.events import FRAMES_PER_SECOND, Events
from hearable.seld.features import Features, Format, features
from hearable.synthesis.render_seld import render_seld
from hearable.synthesis.seld_draw import ClipId, SeldDraw
from hearable.synthesis.seld_recipe import SeldRecipe
from training.seld_data import Example, Shape


class SeldScenes(IterableDataset[Example]):
    """Endless examples rendered on the fly: no clip is seen twice, and no file is written.

    Args:
        recipe: of the dataset.
        split: ``train``, ``val`` or ``test``: the folds to draw clips of.
        shape: of the examples.
        first: number of the example to begin with; it begins with the clip that holds it.
    """

    def __init__(self, recipe: SeldRecipe, split: str, shape: Shape, first: int = 0):
        self.recipe, self.shape = recipe, shape
        self.first = first // (round(recipe.clip_s * FRAMES_PER_SECOND) // shape.frames)
        self.folds = [fold.number for fold in recipe.fold if fold.split == split]
        if not self.folds:
            raise LabelError(f"{recipe.name}: expected a fold of split {split!r}, found none")

    def __iter__(self) -> Iterator[Example]:
        draw = SeldDraw(self.recipe)
        keep_freed_memory()
        worker = get_worker_info()
        number, step = (self.first + worker.id, worker.num_workers) if worker else (self.first, 1)
        while True:
            yield from zip(*self.shape.cut(*rendered(draw, self.clip(number), self.shape.kind)), strict=True)
            number += step

    def clip(self, number: int) -> ClipId:
        """The clip of that number: the folds take turns."""
        return ClipId(self.folds[number % len(self.folds)], number // len(self.folds))


def rendered(draw: SeldDraw, clip: ClipId, kind: Format) -> tuple[Features, Events]:
    """Features and events of a clip of a recipe."""
    drawn = draw.draw(clip)
    stems = render_seld(dataclasses.replace(drawn.scene, formats=(kind,)), draw.sounds).stems[kind]
    return features(stems.mix(), kind), Events.from_rows(drawn.labels(draw.recipe.classes))
