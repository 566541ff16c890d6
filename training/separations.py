"""Scenes that a trained network has taken apart, computed once: what its recognition is trained on.

Separation costs a hundred times what recognition does, and does not change while recognition learns.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.processes import process_map
from hearable.synthesis.recipes import TseRecipe, draw_tse
from hearable.synthesis.render import render
from training.corpus import CachedSounds, load_material
from training.data import speaker_embedding, talker_images
from training.enrollments import Enrollments, sounds_of
from training.fused import FUSED
from training.losses import separation_loss
from training.network import LOUDNESS, Extractor

BATCH = 8
SEED, ORDER_SEED = 4, 5
# Of each frame: loudness of the voices in the bands; inner products, by ear, of voices with voices, with the talkers,
# and of the talkers with themselves; and which voice is each talker's.
FIELDS = ("levels", "voices", "talkers", "power", "order")


def take_apart(network: Extractor, mixture: Tensor, talkers: Tensor, half: bool) -> list[Tensor]:
    """What `FIELDS` names, of scenes ``[batch, 2, samples]`` with sources ``[batch, n, 2, samples]``: batch first."""
    spectra, _, _ = network.separate(network.analyse(mixture), network.silence(len(mixture)), FUSED, half)
    _, order = separation_loss(network.synthesise(spectra, mixture.shape[-1]), talkers)
    truth = network.analyse(talkers.flatten(0, 1)).unflatten(1, order.shape)
    with_voices = torch.einsum("tbvecf,tbwecf->btevw", spectra, spectra)
    with_talkers = torch.einsum("tbvecf,tbnecf->btevn", spectra, truth)
    power = truth.square().sum((-2, -1)).permute(1, 0, 3, 2)
    return [network.levels(spectra).transpose(0, 1), with_voices, with_talkers, power, order]


@dataclass(frozen=True)
class _Separating:
    """Takes scenes apart, in whichever process."""

    network: Extractor
    data: Path
    cache: Path
    split: str
    speeds: tuple[float, ...] | None
    recipe: TseRecipe
    half: bool

    @torch.no_grad()
    def __call__(self, numbers: range) -> tuple[list[NDArray[np.float32]], list[dict[str, Any]]]:
        """The columns of scenes with these numbers, and their entries in the index."""
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)
        sounds, material = _material(self.data, self.cache, self.split, self.speeds)
        seeds = [int(np.random.default_rng([SEED, number]).integers(2**62)) for number in numbers]
        drawn = [draw_tse(seed, material, self.recipe) for seed in seeds]
        scenes = [render(scene.mixture, sounds, material.listeners) for scene in drawn]
        speakers = [[source.name for source in scene.mixture.sources if source.role != "noise"] for scene in drawn]
        mixture = torch.from_numpy(np.stack([scene.mixture for scene in scenes]))
        talkers = torch.from_numpy(
            np.stack([talker_images(scene, len(names)) for scene, names in zip(scenes, speakers, strict=True)])
        )
        columns = take_apart(self.network, mixture, talkers, self.half)
        entries = [
            {"speakers": names, "sounds": sorted(sounds_of(scene.mixture))}
            for scene, names in zip(drawn, speakers, strict=True)
        ]
        return [column.numpy() for column in columns], entries


_material = functools.cache(load_material)


def separate_scenes(
    network: Extractor,
    data: Path,
    cache: Path,
    split: str,
    recipe: TseRecipe,
    numbers: range,
    half: bool,
    workers: int = 1,
    speeds: tuple[float, ...] | None = None,
) -> None:
    """Write ``separations-<split>-<field>.npy`` for each of `FIELDS`, and the index: who speaks, from which recordings.

    Args:
        network: that separates.
        data: the data folder.
        cache: the prepared corpus; the result goes there too.
        split: whose speakers.
        recipe: of the scenes.
        numbers: of the scenes: the same number is the same scene.
        half: compute in bfloat16.
        workers: processes.
        speeds: of the speech; all that are prepared for ``None``.
    """
    network.eval()
    (cache / f"separations-{split}.json").unlink(missing_ok=True)  # until the rest is whole again
    separate = _Separating(network, data, cache, split, speeds, recipe, half)
    jobs = [numbers[start : start + BATCH] for start in range(0, len(numbers), BATCH)]
    done = map(separate, jobs) if workers == 1 else process_map(separate, jobs, workers)
    index: list[dict[str, Any]] = []
    files: list[NDArray[np.generic]] = []
    for columns, entries in track(done, f"separations, {split}", total=len(jobs)):
        for i, (field, column) in enumerate(zip(FIELDS, columns, strict=True)):
            if not index:
                dtype = np.float16 if field == "levels" else column.dtype
                path = cache / f"separations-{split}-{field}.npy"
                path.unlink(missing_ok=True)  # another folder's that is linked here keeps its own
                files.append(np.lib.format.open_memmap(path, "w+", dtype, (len(numbers), *column.shape[1:])))
            files[i][len(index) : len(index) + len(column)] = column
        index += entries
    for file in files:
        file.flush()  # type: ignore[attr-defined]
    # Written last: its presence says that the rest is whole.
    with replacing(cache / f"separations-{split}.json", AudioError) as temporary:
        temporary.write_text(json.dumps(index))


class SeparatedScenes:
    """Examples: `FIELDS` of a scene, as `separate_scenes` wrote them, and embeddings ``[2, 256]`` of its first talkers.

    Of talkers and ``order`` these two are left; who is alone is both. In a share ``predicted`` an embedding is what the
    enrollment network made of a noisy clip, not the teacher's. Scenes are heard through a random frequency response of
    about ``timbre_db``. They repeat, in another order each time.
    """

    def __init__(self, sounds: CachedSounds, cache: Path, split: str, predicted: float, timbre_db: float):
        self.columns = [np.load(cache / f"separations-{split}-{field}.npy", mmap_mode="r") for field in FIELDS]
        self.entries = json.loads((cache / f"separations-{split}.json").read_text())
        self.sounds, self.enrollments = sounds, Enrollments(cache, split)
        self.predicted, self.timbre_db = predicted, timbre_db

    def examples(self, index: int) -> Iterator[tuple[NDArray[np.float32], ...]]:
        """One scene."""
        count = len(self.entries)
        scene = int(np.random.default_rng([ORDER_SEED, index // count]).permutation(count)[index % count])
        rng = np.random.default_rng([ORDER_SEED, index])
        entry = self.entries[scene]
        played = frozenset(entry["sounds"])
        sought = [0, min(1, len(entry["speakers"]) - 1)]
        embeddings = [
            speaker_embedding(entry["speakers"][n], played, self.sounds, rng, self.enrollments, self.predicted)
            for n in sought
        ]
        levels, voices, talkers, power, order = (np.array(column[scene]) for column in self.columns)
        # Recognition must not lean on a microphone, room or head.
        factor = 10 ** (LOUDNESS / 10 * self.timbre_db * smooth_response(levels.shape[-1], rng))
        heard = (levels * factor).astype(np.float32)
        yield heard, voices, talkers[..., sought], power[..., sought], order[sought], np.stack(embeddings)


def smooth_response(bands: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random frequency response in dB ``[bands]``: a level and six cosines, the slower the stronger."""
    order = np.arange(7)
    cosines = np.cos(np.pi * np.outer(order, (np.arange(bands) + 0.5) / bands))
    return (rng.standard_normal(7) / np.maximum(order, 1) ** 0.5) @ cosines
