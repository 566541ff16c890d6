"""Scenes as training examples, rendered on the fly."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset

from hearable.synthesis.recipes import Material, TseRecipe, draw_tse
from hearable.synthesis.render import RenderedScene, render
from hearable.synthesis.scene import Scene
from training.corpus import CachedSounds
from training.enrollments import Enrollments, sounds_of

Audio = NDArray[np.float32]
Example: TypeAlias = tuple[Audio, Audio, Audio, Audio, int]
VOICES = 3  # sources that the network tells apart
ANECHOIC_TAPS = 512  # 32 ms: a longer response holds a room
ENROLLMENT_SAMPLES = 48000  # of teacher embeddings averaged for one speaker
EASY_CHOICES = 8  # easy scenes, of which one is taken
MIXTURE_SEED, ENROLLMENT_SEED, VOICE_SEED = range(3)  # each kind of scenes has draws of its own


@dataclass(frozen=True)
class Curriculum:
    """Easy scenes first: two unlike voices at one level, without a room and with little noise.

    The share of full scenes rises to one over the first ``ramp`` scenes of a run. Of some easy scenes the one with the
    least alike voices is taken: whom to extract is then plain while the network learns how to.
    """

    full: TseRecipe
    ramp: int

    def draw(self, scene: int, rng: np.random.Generator, material: Material, sounds: CachedSounds) -> Scene:
        """The mixture of scene number ``scene`` of a run."""
        if rng.random() * self.ramp <= scene:
            return draw_tse(int(rng.integers(2**62)), material, self.full).mixture
        recipe = replace(self.full, talkers=(2,), talker_level_db=(19.0, 21.0), noise_level_db=(-10.0, 5.0))
        heads = {name: listener for name, listener in material.listeners.items() if listener.taps <= ANECHOIC_TAPS}
        easy = replace(material, listeners=heads, listener_weights=[1 / len(heads)] * len(heads)) if heads else material
        drawn = [draw_tse(int(rng.integers(2**62)), easy, recipe).mixture for _ in range(EASY_CHOICES)]
        return min(drawn, key=lambda s: sounds.likeness(s.sources[0].name, s.sources[1].name))


def teacher_embedding(speaker: str, played: frozenset[str], sounds: CachedSounds, rng: np.random.Generator) -> Audio:
    """Unit-norm ``[256]`` of a speaker, from other utterances than those ``played`` (if there are others)."""
    utterances = [u for u in sounds.speakers[speaker] if u.name not in played] or sounds.speakers[speaker]
    total, samples = np.zeros(256, np.float32), 0
    for i in rng.permutation(len(utterances)):
        total += sounds.embeddings[utterances[i].name] * utterances[i].samples
        samples += utterances[i].samples
        if samples >= ENROLLMENT_SAMPLES:
            break
    return total / np.linalg.norm(total)


def speaker_embedding(
    speaker: str,
    played: frozenset[str],
    sounds: CachedSounds,
    rng: np.random.Generator,
    enrollments: Enrollments | None,
    predicted: float,
) -> Audio:
    """As `teacher_embedding`; in a share ``predicted`` what the enrollment network made of a noisy clip."""
    if enrollments is not None and rng.random() < predicted:
        found = enrollments.draw(speaker, played, rng)
        if found is not None:
            return found
    return teacher_embedding(speaker, played, sounds, rng)


class Source(Protocol):
    """Where examples come from: the same number gives the same ones, so a run can be taken up where it stopped."""

    def examples(self, index: int) -> Iterator[tuple[Any, ...]]:
        """Those of scene number ``index``."""


class Endless(IterableDataset[tuple[Any, ...]]):
    """The examples of a source without end; each of ``world`` processes sees other scenes."""

    def __init__(self, source: Source, first: int = 0, rank: int = 0, world: int = 1):
        self.source, self.first, self.rank, self.world = source, first, rank, world

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for index in itertools.count(self.first * self.world + self.rank, self.world):
            yield from self.source.examples(index)


def talker_images(rendered: RenderedScene, talkers: int) -> Audio:
    """Images of the three loudest sources ``[3, 2, n]``: see `ExtractionScenes`."""
    images = np.zeros((VOICES, *rendered.mixture.shape), np.float32)
    loudest = rendered.images[:VOICES]
    images[: len(loudest)] = loudest
    if talkers < VOICES:
        images[-1] = rendered.images[VOICES - 1 :].sum(0)
    return images


@dataclass(frozen=True)
class ExtractionScenes:
    """Examples for the extraction network.

    An example is: mixture [2, n], target [2, n], teacher embedding [256], images of the three loudest sources
    [3, 2, n] (the talkers, and all noise together where they are two; silence where there are fewer), which of them is
    the target (3: none).

    Every scene gives up to ``targets`` examples, one for each of its first talkers: the same mixture with another
    embedding must give another answer. In a share of the examples, ``absent``, the embedding is of somebody who is not
    there, and the target is silence. In a share ``predicted``, the embedding is what the enrollment network made of a
    noisy clip, not the teacher's.
    """

    sounds: CachedSounds
    material: Material
    curriculum: Curriculum
    targets: int = 1
    absent: float = 0.0
    enrollments: Enrollments | None = None
    predicted: float = 0.0

    def embedding(self, speaker: str, scene: Scene, rng: np.random.Generator) -> Audio:
        """Unit-norm ``[256]`` of a speaker, from other utterances than the scene's."""
        return speaker_embedding(speaker, sounds_of(scene), self.sounds, rng, self.enrollments, self.predicted)

    def examples(self, index: int) -> Iterator[Example]:
        """The examples of one scene."""
        rng = np.random.default_rng([MIXTURE_SEED, index])
        scene = self.curriculum.draw(index, rng, self.material, self.sounds)
        rendered = render(scene, self.sounds, self.material.listeners)
        speakers = [s.name for s in scene.sources if s.role != "noise"]
        voices = talker_images(rendered, len(speakers))
        for i in range(min(self.targets, len(speakers))):
            absent = rng.random() < self.absent
            if absent:
                other = str(rng.choice([s for s in self.sounds.speakers if s not in speakers]))
                target = np.zeros_like(rendered.mixture)
                embedding = self.embedding(other, scene, rng)
            else:
                target = rendered.images[i]
                embedding = self.embedding(speakers[i], scene, rng)
            yield rendered.mixture, target, embedding, voices, VOICES if absent else i


@dataclass(frozen=True)
class Voices:
    """Examples for recognition: one talker's image [2, n], teacher embedding of other utterances [256]."""

    sounds: CachedSounds
    material: Material
    recipe: TseRecipe

    def examples(self, index: int) -> Iterator[tuple[Audio, Audio]]:
        """One talker of one scene."""
        rng = np.random.default_rng([VOICE_SEED, index])
        scene = draw_tse(int(rng.integers(2**62)), self.material, self.recipe).mixture
        talker = scene.sources[0]
        image = render(replace(scene, sources=(talker,)), self.sounds, self.material.listeners).mixture
        yield image, teacher_embedding(talker.name, sounds_of(scene), self.sounds, rng)


@dataclass(frozen=True)
class EnrollmentScenes:
    """Examples: enrollment clip [2, n], its frontal talker alone [2, n], mean teacher embedding of theirs [256]."""

    sounds: CachedSounds
    material: Material
    recipe: TseRecipe

    def examples(self, index: int) -> Iterator[tuple[Audio, Audio, Audio]]:
        """One enrollment scene."""
        seed = int(np.random.default_rng([ENROLLMENT_SEED, index]).integers(2**62))
        scene = draw_tse(seed, self.material, self.recipe).enrollment
        rendered = render(scene, self.sounds, self.material.listeners)
        yield rendered.mixture, rendered.images[0], self.sounds.mean_embedding(scene.sources[0].name)


def collate(examples: list[tuple[Any, ...]]) -> list[Tensor]:
    """Stack arrays into tensors."""
    return [torch.from_numpy(np.stack(column)) for column in zip(*examples, strict=True)]
