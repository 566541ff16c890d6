"""Speech and noise, decoded once into memory-mapped arrays with the teacher's embeddings beside them.

Decoding Opus costs more than rendering a scene; a memory map costs nothing and is shared by the training processes.
Each training utterance is stored at five speeds: a changed speed moves pitch and formants together, so it counts as
another speaker with embeddings of its own.
"""

from __future__ import annotations

import itertools
import json
import logging
import shutil
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray
from rich.progress import track

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.processes import process_map
from hearable.synthesis.recipes import Material, Sound
from hearable.synthesis.sources import SoundBank
from training.teacher import SAMPLE_RATE, embed_many

GROUP = 64  # utterances decoded and embedded together
# That a model's weights should not inherit. Non-commercial ones pass: who trains on such a corpus means to.
EXCLUDED_LICENCES = ("GPL", "CC-BY-SA", "CC BY-SA")
SPEEDS = {"train": (1.0, 0.9, 1.1, 0.8, 1.2), "val": (1.0,), "test": (1.0,)}


def _read(path: Path, speed: float) -> NDArray[np.int16]:
    audio, rate = soundfile.read(path, dtype="float32")
    if audio.ndim == 2:
        audio = audio.mean(1)
    if rate != SAMPLE_RATE or speed != 1.0:
        audio = soxr.resample(audio, rate * speed, SAMPLE_RATE)
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16)


class Corpora(SoundBank):
    """A data folder; to train on, without the files whose licence, if one is named, weights should not inherit."""

    def rows(self, kind: str, split: str) -> list[dict[str, str]]:
        rows = super().rows(kind, split)
        kept = [row for row in rows if split != "train" or not _excluded(row)]
        if len(kept) < len(rows):
            licences = ", ".join(sorted({row["licence"] for row in rows if _excluded(row)}))
            reason = f"{len(rows) - len(kept)} of {len(rows)} files left out: weights should not inherit {licences}"
            if not kept and kind in ("speech", "noise"):
                raise AudioError(f"{self.folder / kind}: {reason}: expected others to train on")
            logging.getLogger(__name__).warning("%s: %s", self.folder / kind, reason)
        return kept


def _excluded(row: dict[str, str]) -> bool:
    return any(word in (row.get("licence") or "") for word in EXCLUDED_LICENCES)


def prepare_speech(data: Path, cache: Path, split: str, workers: int) -> None:
    """Decode one split of ``data/speech`` into ``cache``; a finished split and speed is not made again."""
    missing = [speed for speed in SPEEDS[split] if not (cache / f"speech-{split}-{speed}.json").exists()]
    rows = Corpora(data).rows("speech", split) if missing else []
    paths = [data / row["path"] for row in rows]
    groups = [paths[start : start + GROUP] for start in range(0, len(paths), GROUP)]
    for speed in missing:
        stem = f"speech-{split}-{speed}"
        embeddings: list[NDArray[np.float32]] = []
        decode = partial(_decode, speed=speed)
        decoded = map(decode, groups) if workers == 1 else process_map(decode, groups, workers)
        shown = track(decoded, f"{split} x{speed}", total=len(groups))
        lengths = _save(cache / f"{stem}.npy", _sounds(shown, embeddings))
        np.save(cache / f"{stem}.embeddings.npy", np.concatenate(embeddings))
        suffix = "" if speed == 1.0 else f"@{speed}"
        index = [
            {"speaker": row["speaker"] + suffix, "offset": end - samples, "samples": samples}
            for row, samples, end in zip(rows, lengths, itertools.accumulate(lengths), strict=True)
        ]
        _write_index(cache / f"{stem}.json", index)


Decoded: TypeAlias = tuple[list[NDArray[np.int16]], NDArray[np.float32]]


def _decode(paths: list[Path], speed: float) -> Decoded:
    """Sounds, and their embeddings ``[sounds, 256]``."""
    torch.set_num_threads(1)
    sounds = [_read(path, speed) for path in paths]
    return sounds, embed_many([sound.astype(np.float32) / 32768 for sound in sounds])


def _sounds(decoded: Iterable[Decoded], embeddings: list[NDArray[np.float32]]) -> Iterator[NDArray[np.int16]]:
    """One sound after the other; their embeddings are appended a group at a time."""
    for sounds, embedded in decoded:
        embeddings.append(embedded)
        yield from sounds


def _save(path: Path, pieces: Iterable[NDArray[np.int16]]) -> list[int]:
    """Write pieces end to end as one ``.npy``, one in memory at a time: corpora are larger than it. Their lengths."""
    raw = path.with_suffix(".raw")
    with raw.open("wb") as file:
        lengths = [file.write(piece.tobytes()) // piece.itemsize for piece in pieces]
    with path.open("wb") as target, raw.open("rb") as source:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.int16)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(target, {**header, "shape": (sum(lengths),)})
        shutil.copyfileobj(source, target, 2**24)
    raw.unlink()
    return lengths


def prepare_noise(data: Path, cache: Path, split: str) -> None:
    """Decode one split of ``data/noise``, channels averaged."""
    stem = f"noise-{split}"
    if (cache / f"{stem}.json").exists():
        return
    paths = [data / row["path"] for row in Corpora(data).rows("noise", split)]
    lengths = _save(cache / f"{stem}.npy", (_read(path, 1.0) for path in track(paths, f"noise {split}")))
    _write_index(cache / f"{stem}.json", lengths)


def _write_index(path: Path, index: list[Any]) -> None:
    """Written last: its presence says that the rest is whole."""
    with replacing(path, AudioError) as temporary:
        temporary.write_text(json.dumps(index))


class CachedSounds:
    """The prepared arrays of one split as a sound bank, with speakers, noises and embeddings.

    A sound's name is ``<array>/<index>``.
    """

    def __init__(self, cache: Path, split: str, speeds: tuple[float, ...] | None = None):
        self.speakers: dict[str, list[Sound]] = {}
        self.embeddings: dict[str, NDArray[np.float32]] = {}
        self._arrays: dict[str, NDArray[np.int16]] = {}
        self._offsets: dict[str, tuple[str, int]] = {}
        for speed in speeds or SPEEDS[split]:
            self._add_speech(cache, f"speech-{split}-{speed}")
        self.noises = self._add_noise(cache, f"noise-{split}")
        every = np.stack(list(self.embeddings.values()))
        self._mean = (every / np.linalg.norm(every, axis=1, keepdims=True)).mean(0)

    def _add_speech(self, cache: Path, stem: str) -> None:
        self._arrays[stem] = np.load(cache / f"{stem}.npy", mmap_mode="r")
        embeddings = np.load(cache / f"{stem}.embeddings.npy")
        for i, (entry, embedding) in enumerate(
            zip(json.loads((cache / f"{stem}.json").read_text()), embeddings, strict=True)
        ):
            name = f"{stem}/{i}"
            self._offsets[name] = (stem, entry["offset"])
            self.embeddings[name] = embedding
            self.speakers.setdefault(entry["speaker"], []).append(Sound(name, entry["samples"]))

    def _add_noise(self, cache: Path, stem: str) -> list[Sound]:
        self._arrays[stem] = np.load(cache / f"{stem}.npy", mmap_mode="r")
        sounds, offset = [], 0
        for i, samples in enumerate(json.loads((cache / f"{stem}.json").read_text())):
            name = f"{stem}/{i}"
            self._offsets[name] = (stem, offset)
            sounds.append(Sound(name, samples))
            offset += samples
        return sounds

    def likeness(self, a: str, b: str) -> float:
        """Cosine of two speakers' embeddings, without what all speakers share."""
        x, y = (self.embeddings[self.speakers[s][0].name] for s in (a, b))
        x, y = x / np.linalg.norm(x) - self._mean, y / np.linalg.norm(y) - self._mean
        return float(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))

    def mean_embedding(self, speaker: str) -> NDArray[np.float32]:
        """Unit-norm mean ``[256]`` over all that a speaker says."""
        total = np.sum([self.embeddings[s.name] * s.samples for s in self.speakers[speaker]], 0, dtype=np.float32)
        return cast("NDArray[np.float32]", total / np.linalg.norm(total))

    def read(self, sound: str, start: int, samples: int) -> NDArray[np.float32]:
        """``[samples]`` in -1..1."""
        stem, offset = self._offsets[sound]
        return self._arrays[stem][offset + start : offset + start + samples].astype(np.float32) / 32768


def load_material(
    data: Path, cache: Path, split: str, speeds: tuple[float, ...] | None = None
) -> tuple[CachedSounds, Material]:
    """Sound bank and material of a split, for `hearable.synthesis.recipes.draw_tse` and `render`."""
    sounds = CachedSounds(cache, split, speeds)
    return sounds, Material(sounds.speakers, sounds.noises, *Corpora(data).listeners(split))


def prepare(data: Path, cache: Path, workers: int = 1) -> None:
    """Prepare every split of a data folder; what is there already is kept."""
    cache.mkdir(parents=True, exist_ok=True)
    for split in SPEEDS:
        prepare_speech(data, cache, split, workers)
        prepare_noise(data, cache, split)
