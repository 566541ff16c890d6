"""SELD examples for any network, wherever they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch.utils.data import IterableDataset

from hearable.synthesis.seld_recipe import read_recipe
from training.seld_data import Example, Shape, Store, StoredExamples, shard_examples
from training.seld_scenes import SeldScenes


class SeldDataset:
    """Torch datasets of examples: features ``[channels, 5 * frames, 64]`` and target ``[frames, ...]``, see `Shape`."""

    @staticmethod
    def from_files(audio: Path, labels: Path, shape: Shape, store: Path, folds: Sequence[int] = ()) -> StoredExamples:
        """Of sound files and their csv files, of all folds or some; a ``Dataset`` with a length, to be shuffled.

        Args:
            audio: folder of wav or flac files with 4 channels at 24 kHz, of the shape's format.
            labels: folder of csv files of the same names.
            shape: of the examples.
            store: folder that keeps the features, which are computed once.
            folds: clips named ``fold<number>_...``; none are all.

        Raises:
            LabelError, AudioError: files do not pair up, or are not four channels at 24 kHz.
        """
        kept = Store(store)
        kept.add_files(audio, labels, shape.kind)
        return StoredExamples(kept, kept.names(*folds), shape)

    @staticmethod
    def on_the_fly(recipe: Path, shape: Shape, split: str = "train", workers: int = 1) -> SeldScenes:
        """Of a recipe's scenes, rendered as they are asked for; an endless ``IterableDataset``, see `SeldScenes`.

        Raises:
            LabelError, AudioError: a recipe that cannot be read, or without a fold of the split.
        """
        return SeldScenes(read_recipe(recipe), split, shape, workers=workers)

    @staticmethod
    def from_shards(shards: Sequence[Path], shape: Shape, shuffle: int = 8) -> IterableDataset[Example]:
        """Of what ``hearable seld shards`` wrote, see `shard_examples`."""
        return shard_examples(shards, shape, shuffle)
