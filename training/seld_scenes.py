"""SELD scenes rendered on the fly as training examples."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from functools import cached_property, partial

from threadpoolctl import threadpool_limits
from torch.utils.data import IterableDataset, get_worker_info

from hearable.errors import AudioError, LabelError
from hearable.memory import keep_freed_memory
from hearable.processes import process_map
from hearable.seld.events import FRAMES_PER_SECOND, Events
from hearable.seld.features import RATE, Features, Format, features
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
        workers: processes that render; 1 renders in this one. The examples are the same.

    Raises:
        LabelError: no fold of that split, another number of classes, or clips shorter than an example.
    """

    def __init__(self, recipe: SeldRecipe, split: str, shape: Shape, first: int = 0, workers: int = 1):
        self.recipe, self.shape, self.workers = recipe, shape, workers
        self.folds = [fold.number for fold in recipe.fold if fold.split == split]
        if not self.folds:
            raise LabelError(f"{recipe.name}: expected a fold of split {split!r}, found none")
        if shape.classes != len(recipe.classes):
            raise LabelError(f"{recipe.name}: expected {shape.classes} classes, found {len(recipe.classes)}")
        a_clip = round(recipe.clip_s * FRAMES_PER_SECOND) // shape.frames
        if not a_clip:
            needed = shape.frames / FRAMES_PER_SECOND
            raise LabelError(f"{recipe.name}: expected clips of {needed:g} s or more, found {recipe.clip_s:g} s")
        self.first = first // a_clip

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()  # of a DataLoader: they take turns
        start, step = (worker.id, worker.num_workers) if worker else (0, 1)
        clips = map(self.clip, itertools.count(self.first + start, step))
        render = partial(_rendered, DrawOnce(self.recipe), self.shape.kind)
        for clip in map(render, clips) if self.workers == 1 else process_map(render, clips, self.workers):
            yield from zip(*self.shape.cut(*clip), strict=True)

    def clip(self, number: int) -> ClipId:
        """The clip of that number: the folds take turns."""
        return ClipId(self.folds[number % len(self.folds)], number // len(self.folds))


class DrawOnce:
    """What draws a recipe's clips, found in the process that uses it: it is not sent to workers.

    Raises:
        AudioError: scenes of another rate than the features'.
    """

    def __init__(self, recipe: SeldRecipe):
        if recipe.rate != RATE:
            raise AudioError(f"{recipe.name}: expected scenes at {RATE} Hz for the features, found {recipe.rate} Hz")
        self.recipe = recipe

    @cached_property
    def draw(self) -> SeldDraw:
        """Finds the sounds when it is first asked for."""
        keep_freed_memory()
        return SeldDraw(self.recipe)


def _rendered(once: DrawOnce, kind: Format, clip: ClipId) -> tuple[Features, Events]:
    draw = once.draw
    drawn = draw.draw(clip)
    with threadpool_limits(1):
        stems = render_seld(dataclasses.replace(drawn.scene, formats=(kind,)), draw.sounds, draw.measured()).stems[kind]
        return features(stems.mix(), kind), Events.from_rows(drawn.labels(draw.recipe.classes))
