"""Train the SELD baseline: on files, on a recipe's scenes rendered on the fly, or on the cells of the experiment."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from hearable.errors import AudioError, LabelError
from hearable.files import replacing
from hearable.memory import keep_freed_memory
from hearable.seld.features import Format
from hearable.seld.metrics import MODES
from hearable.synthesis.seld_recipe import SeldRecipe
from training.presets import SeldPreset
from training.seld_cells import CELLS, Cell, Clips, prepare, store_of
from training.seld_data import Shuffled, Store, StoredClips, StoredExamples
from training.seld_network import SeldNet
from training.seld_scenes import SeldScenes
from training.seld_task import Examples, SeldData, SeldTask, score
from training.train import fit, load_weights

VALIDATE_EVERY = 250
EVERYTHING = CELLS[-1]


def train(
    preset: SeldPreset,
    folder: Path,
    store: Store,
    names: dict[str, list[str]],
    seed: int,
    scenes: Examples | None = None,
) -> dict[str, Any]:
    """Train, or go on where a run stopped, and score the test clips. What it returns is in ``result.json``, too.

    Args:
        preset: what to train.
        folder: of the run.
        store: holds the clips.
        names: of the clips of ``train``, ``val`` and ``test``.
        seed: of the weights and the order of the examples.
        scenes: where training examples come from, if not from the store; its training clips still set the scale.
    """
    result = folder / "result.json"
    if result.is_file():
        return json.loads(result.read_text())
    missing = [split for split in ("train", "val", "test") if not names[split]]
    if missing:
        raise LabelError(f"{store.folder}: expected clips of {', '.join(missing)}, found none")
    keep_freed_memory()
    torch.manual_seed(seed)
    shape = preset.shape
    network = SeldNet(shape.kind, shape.classes, shape.tracks)
    examples = StoredExamples(store, names["train"], shape)
    network.standardise(*examples.statistics())
    val = StoredClips(store, names["val"], shape)
    task, data = SeldTask(network, preset, val), SeldData(preset, scenes or partial(Shuffled, examples, seed), val)
    fit(task, data, preset, folder, validate_every=min(VALIDATE_EVERY, preset.steps))
    load_weights(network, folder / "weights.safetensors")
    test = StoredClips(store, names["test"], shape)
    scores = {mode: dataclasses.asdict(score(network, test, mode)) for mode in MODES}
    found = {"seed": seed, "clips": {split: len(names[split]) for split in names}, **scores}
    with replacing(result, AudioError) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    return found


def train_on_files(
    preset: SeldPreset, folder: Path, audio: Path, labels: Path, seed: int, val: int = 5, test: int = 6
) -> dict[str, Any]:
    """On sound files named as DCASE's: a fold to validate and one to test (it may be the same), the others to train.

    Raises:
        LabelError: a label of a class that the network does not have.
    """
    store = Store(folder / "features")
    store.add_files(audio, labels, preset.shape.kind)
    classes = 1 + max(int(store.read(name)[1].class_index.max(initial=0)) for name in store.names())
    if classes > preset.shape.classes:
        raise LabelError(f"{labels}: expected {preset.shape.classes} classes, found {classes}")
    kept = {"val": store.names(val), "test": store.names(test)}
    names = {"train": sorted({*store.names()} - {*kept["val"], *kept["test"]}), **kept}
    return train(preset, folder, store, names, seed)


def train_on_scenes(
    preset: SeldPreset, folder: Path, recipe: SeldRecipe, clips: Clips, seed: int, workers: int = 1
) -> dict[str, Any]:
    """On scenes rendered on the fly; few of the training clips, and those to score, are rendered once and kept."""
    few = dataclasses.replace(clips, train=min(clips.train, 20))
    names = render(recipe, few, [EVERYTHING], folder / "features", preset.shape.kind, workers)
    store = store_of(folder / "features", EVERYTHING)
    scenes = partial(SeldScenes, recipe, "train", preset.shape, workers=workers)
    return train(preset, folder, store, names, seed, scenes)


def render(
    recipe: SeldRecipe, clips: Clips, cells: Sequence[Cell], folder: Path, kind: Format, workers: int
) -> dict[str, list[str]]:
    """Render the clips of all splits in some cells, those that are there already excepted; their names."""
    ids = {split: clips.ids(recipe, split) for split in ("train", "val", "test")}
    with tqdm(total=sum(map(len, ids.values())), desc="rendering", unit="clip") as bar:
        return {split: prepare(recipe, ids[split], cells, folder, kind, workers, bar.update) for split in ids}


def experiment(
    preset: SeldPreset,
    folder: Path,
    recipe: SeldRecipe,
    clips: Clips,
    cells: Sequence[Cell],
    seeds: Sequence[int],
    workers: int,
) -> None:
    """Train and score each cell with each seed; whatever is there already is not done again."""
    names = render(recipe, clips, cells, folder / "features", preset.shape.kind, workers)
    for seed in seeds:  # outermost: every cell has a figure early
        for cell in cells:
            train(preset, folder / f"{cell.name}-{seed}", store_of(folder / "features", cell), names, seed)
