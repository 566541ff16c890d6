"""SELD clips as training examples: from sound files or from shards."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset

from hearable.audio import read_audio
from hearable.errors import AudioError
from hearable.files import replacing
from hearable.seld.accdoa import accdoa, multi_accdoa
from hearable.seld.clips import ROWS, SOUND, paired
from hearable.seld.events import Events, parse_labels, read_labels, read_predictions, write_predictions
from hearable.seld.features import FRAMES_PER_LABEL, RATE, Features, Format, features

Example = tuple[Features, NDArray[np.float32]]
Clip = tuple[Features, NDArray[np.float32], Events]


@dataclass(frozen=True)
class Shape:
    """What an example is made of.

    Attributes:
        kind: ``foa`` or ``mic``.
        classes: number of classes.
        tracks: 1 for ACCDOA targets, 3 for multi-ACCDOA.
        frames: label frames an example; 60 are 6 s.
    """

    kind: Format = "foa"
    classes: int = 12
    tracks: int = 1
    frames: int = 60

    def target(self, events: Events, frames: int) -> NDArray[np.float32]:
        """``[frames, 3, classes]``, or ``[frames, 6, 4, classes]`` for three tracks."""
        return (accdoa if self.tracks == 1 else multi_accdoa)(events, frames, self.classes)

    def cut(self, spectra: Features, events: Events) -> Example:
        """A clip as examples one after the other: features ``[n, channels, 5 * frames, 64]`` and ``[n, frames, ...]``.

        What is left over at the end is left out.
        """
        count = spectra.shape[1] // (FRAMES_PER_LABEL * self.frames)
        kept = np.asarray(spectra[:, : count * FRAMES_PER_LABEL * self.frames], np.float32)
        parts = kept.reshape(len(kept), count, -1, kept.shape[-1]).swapaxes(0, 1)
        target = self.target(events, count * self.frames)
        return parts, target.reshape(count, self.frames, *target.shape[1:])


class Store:
    """A folder of clips whose features are computed: ``<name>.npy`` (16-bit floats) and ``<name>.csv``."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def __contains__(self, name: str) -> bool:
        return (self.folder / f"{name}.npy").is_file()

    def names(self, *folds: int) -> list[str]:
        """The clips of some folds, by name: ``fold1_...``; of all without a fold."""
        found = {path.stem for path in self.folder.glob("*.npy")}
        return sorted(n for n in found if not folds or n.startswith(tuple(f"fold{fold}_" for fold in folds)))

    def add(self, name: str, spectra: Features, events: Events) -> None:
        """Keep a clip; the features come last, so that a clip that is in the store is whole."""
        write_predictions(self.folder / f"{name}.csv", events)
        with replacing(self.folder / f"{name}.npy", AudioError) as temporary, temporary.open("wb") as file:
            np.save(file, spectra.astype(np.float16), allow_pickle=False)

    def read(self, name: str) -> tuple[Features, Events]:
        """Features (in the file, not in memory) and events of a clip."""
        spectra = np.load(self.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return spectra, read_predictions(self.folder / f"{name}.csv")

    def add_files(self, audio: Path, labels: Path, kind: Format) -> None:
        """Compute the features of a folder of sounds; those that are here already stay.

        Raises:
            LabelError, AudioError: files do not pair up, or are not four channels at 24 kHz.
        """
        for name, sound, rows in paired(audio, labels, SOUND, ROWS):
            if name not in self:
                clip, rate = read_audio(sound)
                _require(str(sound), clip, rate)
                self.add(name, features(clip, kind), read_labels(rows))


def _require(name: str, clip: NDArray[np.float32], rate: int) -> None:
    if rate != RATE or len(clip) != 4:
        raise AudioError(f"{name}: expected 4 channels at {RATE} Hz, found {len(clip)} at {rate} Hz")


class StoredExamples(Dataset[Example]):
    """Examples of some clips of a store: features ``[channels, 5 * frames, 64]``, target ``[frames, ...]``."""

    def __init__(self, store: Store, names: Sequence[str], shape: Shape):
        self.shape = shape
        self.clips = [store.read(name) for name in names]
        per_clip = [spectra.shape[1] // (FRAMES_PER_LABEL * shape.frames) for spectra, _ in self.clips]
        self.places = [(clip, part) for clip, count in enumerate(per_clip) for part in range(count)]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        clip, part = self.places[index]
        spectra, events = self.clips[clip]
        size, first = self.shape.frames, part * self.shape.frames
        chosen = events.select((events.frame >= first) & (events.frame < first + size))
        window = spectra[:, FRAMES_PER_LABEL * first : FRAMES_PER_LABEL * (first + size)]
        return np.asarray(window, np.float32), self.shape.target(chosen.later(-first), size)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation over clips and frames, ``[channels, 1, 64]``."""
        total = square = 0.0
        count = 0
        for spectra, _ in self.clips:
            whole = np.asarray(spectra, np.float64)
            total, square, count = total + whole.sum(1), square + (whole**2).sum(1), count + whole.shape[1]
        mean = total / count
        deviation = np.sqrt(np.maximum(square / count - mean**2, 0))
        return tuple(torch.from_numpy(v[:, None].astype(np.float32)) for v in (mean, deviation))  # type: ignore[return-value]


class StoredClips(Dataset[Clip]):
    """Whole clips of a store, cut into examples, with their events: for scoring."""

    def __init__(self, store: Store, names: Sequence[str], shape: Shape):
        self.store, self.names, self.shape = store, names, shape

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Clip:
        spectra, events = self.store.read(self.names[index])
        return (*self.shape.cut(spectra, events), events)


class Shuffled(IterableDataset[Example]):
    """Endless examples of a dataset, in another order each time round; from example ``first`` on, to take up a run."""

    def __init__(self, examples: Dataset[Example], seed: int, first: int):
        self.examples, self.seed, self.first = examples, seed, first

    def __iter__(self) -> Iterator[Example]:
        size = len(self.examples)  # type: ignore[arg-type]
        round_, skip = divmod(self.first, size)
        while True:
            for index in np.random.default_rng([self.seed, round_]).permutation(size)[skip:]:
                yield self.examples[int(index)]
            round_, skip = round_ + 1, 0


def shard_examples(shards: Sequence[Path], shape: Shape, shuffle: int = 8) -> IterableDataset[Example]:
    """Examples from shards, once through, in the order that webdataset shuffles shards and clips into.

    Args:
        shards: what `hearable seld shards` wrote.
        shape: of the examples.
        shuffle: clips held in memory to mix their order; 0 keeps it.
    """
    import webdataset

    def examples(samples: Iterator[dict[str, bytes]]) -> Iterator[Example]:
        for sample in samples:
            suffix = next((s for s in SOUND if s[1:] in sample), SOUND[0])
            audio, rate = soundfile.read(io.BytesIO(sample[suffix[1:]]), dtype="float32", always_2d=True)
            _require(str(sample["__key__"]), audio.T, rate)
            events = parse_labels(sample["csv"].decode("utf-8").splitlines(), str(sample["__key__"]))
            yield from zip(*shape.cut(features(audio.T, shape.kind), events), strict=True)

    dataset = webdataset.WebDataset([str(path) for path in shards], shardshuffle=len(shards) if shuffle else False)
    return (dataset.shuffle(shuffle) if shuffle else dataset).compose(examples)
