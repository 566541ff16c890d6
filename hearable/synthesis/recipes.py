"""Recipes draw scenes from a seed. The default is the test protocol of *Look Once to Hear* (CHI 2024).

Two or three talkers over the whole scene, each 15 to 25 dB above the background at reference level; then the
background is raised by 9.5 to 20 dB. Talkers so lie within 10 dB of each other and -5 to 15.5 dB above the noise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.scene import Clip, Microphones, Role, Scene, Source

REALITY = 1  # with a scene's seed, that of motion and faults
TURN_DEG_S = 45.0  # of talkers and heads that move, at most


@dataclass(frozen=True)
class Sound:
    """An entry of a sound bank: its name and length in samples."""

    name: str
    samples: int


@dataclass(frozen=True)
class Material:
    """What a recipe draws from.

    Attributes:
        speakers: for each speaker, the utterances.
        noises: noise recordings.
        listeners: impulse response sets.
        listener_weights: how often each listener is drawn, in the order of ``listeners``; they sum to one.
    """

    speakers: Mapping[str, Sequence[Sound]]
    noises: Sequence[Sound]
    listeners: Mapping[str, HrirSet]
    listener_weights: Sequence[float]


@dataclass(frozen=True)
class TseRecipe:
    """How target speech extraction scenes are drawn. Ranges are uniform, [low, high].

    Attributes:
        samples: length of the mixture.
        enrollment_samples: length of the enrollment clip.
        talkers: how many talk, each number as often.
        talker_level_db: level of each talker, in dB relative to the scene's reference.
        noise_level_db: level of all noise together.
        noise_directions: from how many directions noise comes, each number as often.
        elevation_deg: of every source but the enrolled one.
        reference_db: level of the reference, in dB relative to full scale.
        off_axis_deg: how far to either side of straight ahead the enrolled speaker may be; mostly it is less: a share
            of sqrt(x) is within x times that.
        absent_share: share of mixtures in which the enrolled speaker does not speak; as many others do.
        turn_deg_s: how fast each talker of the mixture goes round the listener, either way, at most.
        head_turn_deg_s: how fast the listener's head turns in the mixture, either way, at most.
        moving_share: share of mixtures in which talkers and head move at all.
        head_share: share of these in which the head does; it moves the noise, too, which takes time to render.
        microphone_noise_db: level of the microphones' own noise, in dB relative to the reference; none for ``None``.
        clip_db: level at which the microphones clip, in dB relative to the reference; none for ``None``.
        ear_gain_db: error of each ear's gain, either way, at most.
        faulty_share: share of scenes whose microphones have these faults at all.
    """

    samples: int = 80000
    enrollment_samples: int = 80000
    talkers: tuple[int, ...] = (2, 3)
    talker_level_db: tuple[float, float] = (15.0, 25.0)
    noise_level_db: tuple[float, float] = (9.5, 20.0)
    noise_directions: tuple[int, ...] = (1, 2, 3)
    elevation_deg: tuple[float, float] = (-30.0, 30.0)
    reference_db: tuple[float, float] = (-60.0, -40.0)
    off_axis_deg: float = 0.0
    absent_share: float = 0.0
    turn_deg_s: float = 0.0
    head_turn_deg_s: float = 0.0
    moving_share: float = 1.0
    head_share: float = 1.0
    microphone_noise_db: tuple[float, float] | None = None
    clip_db: tuple[float, float] | None = None
    ear_gain_db: float = 0.0
    faulty_share: float = 1.0


def worn(recipe: TseRecipe) -> TseRecipe:
    """The same scenes as microphones worn at the ears meet them: evaluated as ``worn``, and part of training.

    Talkers move, the head turns, the ears' gains are up to 1 dB off. Speech at 60 to 65 dB SPL is 20 dB above the
    reference, a MEMS microphone's own noise at 29 dB SPL (65 dB below 94) some 13 dB below it. Such microphones bear
    120 dB SPL: what clips is the input behind them where it is set too high, here at the peaks of every third scene.
    """
    return replace(
        recipe,
        turn_deg_s=TURN_DEG_S,
        head_turn_deg_s=TURN_DEG_S,
        microphone_noise_db=(-20.0, -10.0),
        clip_db=(36.0, 50.0),
        ear_gain_db=1.0,
    )


@dataclass(frozen=True)
class TseScene:
    """A mixture to extract from and the clip to enroll with.

    Attributes:
        mixture: its first source is the target, unless ``present`` is false.
        enrollment: its first source is the target, in front of the listener.
        present: whether the enrolled speaker speaks in the mixture.
    """

    mixture: Scene
    enrollment: Scene
    present: bool


class _Draw:
    """One scene being drawn: the order of the calls decides what comes out."""

    def __init__(self, seed: int, material: Material, recipe: TseRecipe):
        self.rng = np.random.default_rng(seed)
        self.material, self.recipe = material, recipe
        self.speakers = list(material.speakers)
        name = str(self.rng.choice(list(material.listeners), p=material.listener_weights))
        self.listener = material.listeners[name]
        self.lead = self.listener.taps - 1  # samples that sound before the scene begins

    def speech(self, utterances: Sequence[Sound], samples: int) -> tuple[Clip, ...]:
        """Utterances in random order, from a random point in the first one, until ``samples`` are filled."""
        clips: list[Clip] = []
        filled = 0
        while filled < samples:
            for index in self.rng.permutation(len(utterances)):
                sound = utterances[int(index)]
                start = int(self.rng.integers(0, max(1, sound.samples - samples))) if not clips else 0
                clips.append(Clip(sound.name, start, sound.samples - start))
                filled += sound.samples - start
                if filled >= samples:
                    break
        return tuple(clips)

    def noise(self, samples: int) -> tuple[str, tuple[Clip, ...]]:
        """A stretch of one recording, which is repeated if it is too short."""
        sound = self.material.noises[int(self.rng.integers(len(self.material.noises)))]
        if sound.samples > samples:
            return sound.name, (Clip(sound.name, int(self.rng.integers(sound.samples - samples)), samples),)
        return sound.name, (Clip(sound.name, 0, sound.samples),) * -(-samples // sound.samples)

    def direction(self) -> tuple[float, float]:
        """A measured direction within the recipe's elevations, so that label and rendering agree exactly."""
        ears, (low, high) = self.listener, self.recipe.elevation_deg
        allowed = np.flatnonzero((ears.elevation_deg >= low) & (ears.elevation_deg <= high))
        # Uniform in azimuth, not over the measured points, which crowd where a database measured densely.
        azimuth = self.rng.uniform(ears.azimuth_deg.min(), ears.azimuth_deg.max())
        elevation = self.rng.uniform(low, high)
        distance = np.hypot(
            (ears.azimuth_deg[allowed] - azimuth + 180) % 360 - 180, ears.elevation_deg[allowed] - elevation
        )
        index = allowed[int(np.argmin(distance))]
        return float(ears.azimuth_deg[index]), float(ears.elevation_deg[index])

    def talker(self, role: Role, name: str, utterances: Sequence[Sound], samples: int) -> Source:
        """A talker over ``samples`` and the lead."""
        clips = self.speech(utterances, samples + self.lead)
        level = self.rng.uniform(*self.recipe.talker_level_db)
        return Source(role, name, clips, *self.direction(), level)

    def interferers(self, names: Sequence[str], samples: int) -> list[Source]:
        """Talkers who are not the target."""
        return [self.talker("interferer", name, self.material.speakers[name], samples) for name in names]

    def background(self, samples: int) -> list[Source]:
        """Noise from several directions, which share one level."""
        count = int(self.rng.choice(self.recipe.noise_directions))
        level = float(self.rng.uniform(*self.recipe.noise_level_db) - 10 * np.log10(max(count, 1)))
        sources = []
        for _ in range(count):
            name, clips = self.noise(samples + self.lead)
            sources.append(Source("noise", name, clips, *self.direction(), level))
        return sources


def draw_tse(seed: int, material: Material, recipe: TseRecipe) -> TseScene:
    """Draw mixture and enrollment scene number ``seed``: the same seed gives the same scene on any worker.

    Target and enrollment do not share an utterance, unless the speaker has only one.

    Raises:
        ValueError: fewer speakers than two scenes' talkers.
    """
    draw = _Draw(seed, material, recipe)
    rng = draw.rng
    count = int(rng.choice(recipe.talkers))
    target, *others = (draw.speakers[i] for i in rng.choice(len(draw.speakers), 2 * count, replace=False))
    present = bool(rng.random() >= recipe.absent_share)
    for_mixture, for_enrollment = _deal(rng, material.speakers[target])
    reference = float(rng.uniform(*recipe.reference_db))

    n = recipe.samples
    sources = [draw.talker("target", target, for_mixture, n)] if present else []
    sources += draw.interferers(others[: count - 1] if present else others[:count], n)
    sources += draw.background(n)

    m = recipe.enrollment_samples
    in_front = draw.talker("target", target, for_enrollment, m)
    around = draw.interferers(others[count - 1 : 2 * count - 2], m)
    aside = float(rng.uniform(-1, 1))
    in_front = facing(in_front, draw.listener, recipe.off_axis_deg * aside * abs(aside))
    around += draw.background(m)
    name = draw.listener.name
    # With draws of their own: the same scenes with and without motion and faults can be compared.
    real = np.random.default_rng([seed, REALITY])
    microphones = _microphones(real, recipe, reference)
    turns = [float(real.uniform(-1, 1)) * recipe.turn_deg_s if s.role != "noise" else 0.0 for s in sources]
    head_turn = float(real.uniform(-1, 1)) * recipe.head_turn_deg_s
    if real.random() >= recipe.moving_share:
        turns, head_turn = [0.0] * len(turns), 0.0
    if real.random() >= recipe.faulty_share:
        microphones = None
    if real.random() >= recipe.head_share:
        head_turn = 0.0
    moving = tuple(replace(s, turn_deg_s=turn) for s, turn in zip(sources, turns, strict=True))
    return TseScene(
        mixture=Scene(seed, n, name, reference, moving, head_turn, microphones),
        enrollment=Scene(seed, m, name, reference, (in_front, *around), 0.0, microphones),
        present=present,
    )


def _microphones(rng: np.random.Generator, recipe: TseRecipe, reference_db: float) -> Microphones | None:
    """One pair for the mixture and the enrollment."""
    noise_db, clip_db = (
        None if between is None else reference_db + float(rng.uniform(*between))
        for between in (recipe.microphone_noise_db, recipe.clip_db)
    )
    left, right = (float(gain) for gain in rng.uniform(-1, 1, 2) * recipe.ear_gain_db)
    ideal = noise_db is None and clip_db is None and recipe.ear_gain_db == 0
    return None if ideal else Microphones(noise_db, clip_db, (left, right))


def facing(source: Source, listener: HrirSet, off_axis_deg: float = 0.0) -> Source:
    """A source moved to the measured direction nearest to ``off_axis_deg`` (+ left) at ear height."""
    index = listener.nearest(off_axis_deg, 0.0)
    azimuth, elevation = float(listener.azimuth_deg[index]), float(listener.elevation_deg[index])
    return replace(source, azimuth_deg=azimuth, elevation_deg=elevation)


def _deal(rng: np.random.Generator, utterances: Sequence[Sound]) -> tuple[list[Sound], list[Sound]]:
    """Deal a speaker's utterances out to the mixture and the enrollment; a single one goes to both."""
    order = rng.permutation(len(utterances))
    half = max(1, len(utterances) // 2)
    first = [utterances[int(i)] for i in order[:half]]
    return first, [utterances[int(i)] for i in order[half:]] or first
