"""Embeddings that the enrollment network gives noisy clips, computed once: what recognition is trained on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.synthesis.recipes import TseRecipe, draw_tse
from hearable.synthesis.render import render
from hearable.synthesis.scene import Scene
from training.corpus import load_material
from training.enroller import Enroller

BATCH = 16
SECONDS = (2.0, 5.0)  # of an enrollment clip


class Enrollments:
    """The predicted embeddings of a split's speakers."""

    def __init__(self, cache: Path, split: str):
        embeddings = np.load(cache / f"enrollments-{split}.npy")
        self._of: dict[str, list[tuple[frozenset[str], NDArray[np.float32]]]] = {}
        entries = json.loads((cache / f"enrollments-{split}.json").read_text())
        for entry, embedding in zip(entries, embeddings, strict=True):
            self._of.setdefault(entry["speaker"], []).append((frozenset(entry["sounds"]), embedding))

    def draw(self, speaker: str, played: frozenset[str], rng: np.random.Generator) -> NDArray[np.float32] | None:
        """An embedding ``[256]`` from a clip of other utterances than ``played``; None where there is none."""
        fit = [embedding for sounds, embedding in self._of.get(speaker, []) if not sounds & played]
        return fit[int(rng.integers(len(fit)))] if fit else None


def sounds_of(scene: Scene) -> frozenset[str]:
    """The recordings that a scene plays."""
    return frozenset(clip.sound for source in scene.sources for clip in source.clips)


@torch.no_grad()
def predict(network: Enroller, data: Path, cache: Path, split: str, recipe: TseRecipe, clips: int) -> None:
    """Write ``enrollments-<split>.npy`` [clips, 256] and its index: who speaks, from which recordings.

    Args:
        network: the trained enrollment network.
        data: the data folder.
        cache: the prepared corpus; the result goes there too.
        split: whose speakers.
        recipe: how enrollment scenes are drawn, but for their length.
        clips: how many.
    """
    network.eval()
    sounds, material = load_material(data, cache, split)
    rng = np.random.default_rng([3, clips])
    entries, embeddings = [], []
    for _ in track(range(-(-clips // BATCH)), f"enrollments, {split}"):
        same = replace(recipe, enrollment_samples=int(16000 * rng.uniform(*SECONDS)))
        scenes = [draw_tse(int(rng.integers(2**62)), material, same).enrollment for _ in range(BATCH)]
        mixtures = np.stack([render(scene, sounds, material.listeners).mixture for scene in scenes])
        heard = torch.from_numpy(mixtures)
        embeddings.append(network.embed(network.frontal(heard)[0], heard).numpy())
        for scene in scenes:
            in_front = scene.sources[0]
            entries.append({"speaker": in_front.name, "sounds": [clip.sound for clip in in_front.clips]})
    # The index goes first and is written last: its presence says that the rest is whole.
    index = cache / f"enrollments-{split}.json"
    index.unlink(missing_ok=True)
    np.save(cache / f"enrollments-{split}.npy", np.concatenate(embeddings))
    with replacing(index, AudioError) as temporary:
        temporary.write_text(json.dumps(entries))
