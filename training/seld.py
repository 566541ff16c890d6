"""Train the SELD baseline on files."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset

from hearable.errors import AudioError, LabelError
from hearable.files import replacing
from hearable.seld.metrics import MODES
from training.presets import SeldPreset
from training.seld_data import Example, Store, StoredClips, StoredExamples
from training.seld_network import SeldNet
from training.seld_task import SeldData, SeldTask, score
from training.train import fit, load_weights

VALIDATE_EVERY = 250


def train(
    preset: SeldPreset,
    folder: Path,
    store: Store,
    names: dict[str, list[str]],
    seed: int,
    scenes: IterableDataset[Example] | None = None,
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
    torch.manual_seed(seed)
    shape = preset.shape
    network = SeldNet(shape.kind, shape.classes, shape.tracks)
    examples = StoredExamples(store, names["train"], shape)
    network.standardise(*examples.statistics())
    source: Dataset[Example] | IterableDataset[Example] = scenes or examples
    val = StoredClips(store, names["val"], shape)
    fit(
        SeldTask(network, preset, val),
        SeldData(preset, seed, source, val),
        preset,
        folder,
        validate_every=min(VALIDATE_EVERY, preset.steps),
    )
    load_weights(network, folder / "weights.safetensors")
    test = StoredClips(store, names["test"], shape)
    scores = {mode: dataclasses.asdict(score(network, test, mode)) for mode in MODES}
    found = {"seed": seed, "clips": {split: len(names[split]) for split in names}, **scores}
    with replacing(result, AudioError) as temporary:
        temporary.write_text(json.dumps(found, indent=1) + "\n")
    return found


def train_on_files(preset: SeldPreset, folder: Path, audio: Path, labels: Path, seed: int) -> dict[str, Any]:
    """On sound files named as DCASE's: folds 1 to 4 to train, 5 to validate, 6 to test."""
    store = Store(folder / "features")
    store.add_files(audio, labels, preset.shape.kind)
    names = {"train": store.names(1, 2, 3, 4), "val": store.names(5), "test": store.names(6)}
    return train(preset, folder, store, names, seed)
