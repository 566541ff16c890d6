"""The test protocol of *Look Once to Hear*: scenes, their three enrollments, and a model's scores on them.

Each scene is drawn from the run's seed and its own number alone. Its target is enrolled three times: from the noisy
enrollment scene, from the target's own sound in it, and with the target 20 degrees off to one side. The noisy
enrollment is also tried with the talkers of the mixture on the move, with worn microphones besides and, in every fourth
scene, on a mixture of as many other talkers, in which nobody should be heard, and on the target's own sound, which
should come through as it is.

Needs the extra ``synthesis``.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hearable import metrics
from hearable.baselines import ideal_mask, known_direction
from hearable.checkpoints import conditioner_path
from hearable.enrollment import enroll
from hearable.errors import AudioError, EnrollmentError
from hearable.extractor import load_model
from hearable.profiles import SpeakerProfile
from hearable.recordings import extract
from hearable.scores import BASELINES, ENROLLMENTS, REALITIES, Condition, Row
from hearable.session import open_graph
from hearable.synthesis.directions import angle_between_deg, unit_vectors
from hearable.synthesis.recipes import TURN_DEG_S, TseRecipe, TseScene, draw_tse, facing, worn
from hearable.synthesis.render import RenderedScene, dry_signal, render
from hearable.synthesis.scene import Scene, Source
from hearable.synthesis.sources import SoundBank

Audio = NDArray[np.float32]
RATE = 16000
VERSION = 3  # of the protocol: scores of another one are not taken together
LIKENESS_SAMPLES = 5 * RATE  # of dry speech, for an embedding
PERCEIVED = ("noisy", *BASELINES)


@dataclass(frozen=True)
class Protocol:
    """What is evaluated on what.

    Attributes:
        data: a folder as ``hearable.synthesis.sources`` describes it.
        split: of the data.
        model: an extractor's name or path.
        enroller: an enroller's name or path.
        seed: of all scenes.
        recipe: how scenes are drawn.
        off_axis_deg: where the target is in the off-axis enrollment, to the left and right by turns.
        turn_deg_s: how fast the talkers turn at most, where they move.
        special_every: the target's absence, and the target alone, are tried in one of so many scenes.
        baselines: whether to add ``hearable.baselines``.
        perceptual: whether to add the scores of ``hearable.perceptual``, where enrollment is noisy and for baselines.
    """

    data: Path
    split: str = "test"
    model: str = "base"
    enroller: str = "enroll"
    seed: int = 0
    recipe: TseRecipe = TseRecipe()
    off_axis_deg: float = 20.0
    turn_deg_s: float = TURN_DEG_S
    special_every: int = 4
    baselines: bool = False
    perceptual: bool = False

    def conditions(self, scene: int) -> tuple[Condition, ...]:
        """The rows that a scene has, in order."""
        special: tuple[Condition, ...] = ("absent", "alone") if scene % self.special_every == 0 else ()
        return (*ENROLLMENTS, *REALITIES, *(BASELINES if self.baselines else ()), *special)


class Evaluator:
    """A protocol with its data and models opened: gives the scores of any scene by its number.

    Attributes:
        settings: all that the scores depend on, ready for JSON; nothing of where files lie.
        run: a short text that stands for the settings.

    Raises:
        AudioError: the data cannot be read or do not suffice.
        ModelError: a model cannot be used.
    """

    def __init__(self, protocol: Protocol):
        self.protocol = protocol
        self.model = load_model(protocol.model)
        self.enroller = open_graph(protocol.enroller, "enroller")
        self.bank = SoundBank(protocol.data, RATE)
        self.material = self.bank.material(protocol.split)
        needed = 2 * max(protocol.recipe.talkers)
        speakers = self.material.speakers
        if len(speakers) < needed or all(len(utterances) < 2 for utterances in speakers.values()):
            raise AudioError(
                f"{protocol.data}: expected at least {needed} speakers in split {protocol.split!r}, one of them with "
                f"two utterances, found {len(speakers)} speakers: add speakers, or choose another split"
            )
        self.settings = self._settings()
        self.run = _digest(self.settings)[:12]

    def _settings(self) -> dict[str, Any]:
        extractor = self.model.extractor.path
        files = {"extractor": extractor, "conditioner": conditioner_path(extractor), "enroller": self.enroller.path}
        protocol = {
            key: value for key, value in asdict(self.protocol).items() if key not in ("data", "model", "enroller")
        }
        return {
            "version": VERSION,
            "model": self.model.spec.name,
            "sha256": {kind: hashlib.sha256(path.read_bytes()).hexdigest() for kind, path in files.items()},
            "material": self._material_hash(),
            "worn": asdict(worn(self.protocol.recipe)),
            **protocol,
        }

    def _material_hash(self) -> str:
        m = self.material
        speech = {name: [(u.name, u.samples) for u in utterances] for name, utterances in m.speakers.items()}
        noise = [(n.name, n.samples) for n in m.noises]
        return _digest([list(speech.items()), noise, list(m.listeners), list(m.listener_weights)])

    def draw(self, scene: int) -> TseScene:
        """Scene number ``scene``, whose target has at least two utterances: one to enroll with, one to be extracted.

        A speaker with a single one is drawn as an interferer only.
        """
        attempt = 0
        while True:
            rng = np.random.default_rng([self.protocol.seed, scene, attempt])
            drawn = draw_tse(int(rng.integers(2**62)), self.material, self.protocol.recipe)
            if len(self.material.speakers[drawn.enrollment.sources[0].name]) > 1:
                return drawn
            attempt += 1

    def render(self, scene: Scene) -> RenderedScene:
        """The sound of a scene."""
        return render(scene, self.bank, self.material.listeners)

    def clips(self, scene: int, drawn: TseScene) -> dict[Condition, Audio]:
        """The three enrollment clips of a scene, ``[2, samples]`` each."""
        rendered = self.render(drawn.enrollment)
        side = self.protocol.off_axis_deg * (1 if scene % 2 else -1)
        listener = self.material.listeners[drawn.enrollment.listener]
        moved = facing(drawn.enrollment.sources[0], listener, side)
        aside = self.render(replace(drawn.enrollment, sources=(moved,))).images[0]
        return {
            "noisy": rendered.mixture,
            "clean": rendered.images[0],
            "off-axis": rendered.images[1:].sum(0) + aside,
        }

    def profile(self, clip: Audio) -> SpeakerProfile | None:
        """A profile from a clip, ``None`` if the clip was refused."""
        try:
            return enroll(clip, RATE, self.enroller)
        except EnrollmentError:
            return None

    def rows(self, scene: int) -> list[Row]:
        """The scores of a scene: a row for each of its conditions."""
        drawn = self.draw(scene)
        rendered = self.render(drawn.mixture)
        facts = self._facts(scene, drawn)
        profiles = {condition: self.profile(clip) for condition, clip in self.clips(scene, drawn).items()}
        before = self._perceptual(rendered.mixture, rendered.images[0])
        rows = []
        for condition in self.protocol.conditions(scene):
            profile = profiles.get(condition, profiles["noisy"])
            row = Row(**facts, condition=condition, status="ok" if condition in BASELINES else _status(profile))
            if condition == "absent":
                row = self._absent(row, profile)
            elif condition == "alone":
                row = self._alone(row, profile, rendered.images[0])
            else:
                sound = rendered
                if condition in REALITIES:
                    moving = self._moving(scene, drawn.mixture)
                    sound = self.render(moving if condition == "moving" else self._worn(moving))
                heard = self._hear(condition, profile, sound, drawn.mixture)
                measured = refused(sound) if row.status == "failed" else score(heard, sound, drawn.mixture)
                row = replace(row, **measured)
                if condition in PERCEIVED:
                    row = replace(row, **gains(self._perceptual(heard, rendered.images[0]), before))
            rows.append(row)
        return rows

    def _hear(
        self, condition: Condition, profile: SpeakerProfile | None, rendered: RenderedScene, scene: Scene
    ) -> Audio:
        """What comes out ``[2, samples]``: of a baseline, or of the model; without a profile, the mixture."""
        if condition == "ideal mask":
            return ideal_mask(rendered.mixture, rendered.images[0])
        if condition == "known direction":
            listener, target = self.material.listeners[scene.listener], scene.sources[0]
            response = listener.responses[listener.nearest(target.azimuth_deg, target.elevation_deg)]
            return known_direction(rendered.mixture, response)
        return rendered.mixture if profile is None else extract(self.model, profile, rendered.mixture, RATE)

    def _moving(self, scene: int, mixture: Scene) -> Scene:
        """The same mixture, its talkers on the move from where they were."""
        rng = np.random.default_rng([self.protocol.seed, scene])
        limit = self.protocol.turn_deg_s
        sources = tuple(
            source if source.role == "noise" else replace(source, turn_deg_s=float(rng.uniform(-limit, limit)))
            for source in mixture.sources
        )
        return replace(mixture, sources=sources)

    def _worn(self, moving: Scene) -> Scene:
        """The same mixture to a head that turns, with microphones that have their faults."""
        real = draw_tse(moving.seed, self.material, worn(self.protocol.recipe)).mixture
        return replace(moving, head_turn_deg_s=real.head_turn_deg_s, microphones=real.microphones)

    def _perceptual(self, estimate: Audio, target: Audio) -> dict[str, float | None]:
        if not self.protocol.perceptual:
            return {}
        from hearable.perceptual import perceptual

        return perceptual(estimate, target)

    def _alone(self, row: Row, profile: SpeakerProfile | None, target: Audio) -> Row:
        """The target's own sound is all there is to hear."""
        if profile is None:
            return row
        heard = extract(self.model, profile, target, RATE)
        return replace(row, si_sdr_db=round(float(np.mean(metrics.si_sdr(heard, target))), 4))

    def _absent(self, row: Row, profile: SpeakerProfile | None) -> Row:
        """The scene drawn once more, without its target: the same listener, the same number of talkers."""
        recipe = replace(self.protocol.recipe, absent_share=1.0)
        scene = draw_tse(row.seed, self.material, recipe).mixture
        if row.target in {source.name for source in scene.sources}:
            raise AssertionError("the target speaks in the mixture without it")
        row = replace(row, sex="unknown", nearest_deg=None, azimuth_deg=None, likeness=None)
        if profile is None:
            return row
        mixture = self.render(scene).mixture
        leak = metrics.leak_db(extract(self.model, profile, mixture, RATE), mixture)
        return replace(row, leak_db=round(leak, 4))

    def _likeness(self, drawn: TseScene) -> float | None:
        """Cosine of the target's embedding and the most alike interferer's, from dry speech as if in front."""
        talkers = [source for source in drawn.mixture.sources if source.role == "interferer"]
        profiles = [self._dry_profile(source, drawn.mixture) for source in (drawn.enrollment.sources[0], *talkers)]
        target, *others = (None if profile is None else profile.embedding for profile in profiles)
        known = [float(target @ other) for other in others if other is not None] if target is not None else []
        return round(max(known), 4) if known else None

    def _dry_profile(self, source: Source, scene: Scene) -> SpeakerProfile | None:
        samples = min(sum(clip.samples for clip in source.clips), LIKENESS_SAMPLES)
        dry = dry_signal(source, self.bank, samples, scene.reference_db + source.level_db)
        return self.profile(np.stack([dry, dry]))

    def _facts(self, scene: int, drawn: TseScene) -> dict[str, Any]:
        mixture = drawn.mixture
        talkers = [source for source in mixture.sources if source.role != "noise"]
        places = unit_vectors([t.azimuth_deg for t in talkers], [t.elevation_deg for t in talkers])
        angles = angle_between_deg(places[0], places[1:])
        nearest = int(np.argmin(angles))
        sexes = {self.bank.genders[talkers[0].name], self.bank.genders[talkers[1 + nearest].name]}
        return {
            "run": self.run,
            "scene": scene,
            "seed": mixture.seed,
            "target": talkers[0].name,
            "talkers": len(talkers),
            "listener": mixture.listener,
            "place": mixture.listener if mixture.listener in self.bank.rooms else "head",
            "sex": {1: "same", 2: "different"}[len(sexes)] if sexes <= {"f", "m"} else "unknown",
            "nearest_deg": round(float(angles[nearest]), 1),
            "azimuth_deg": round(talkers[0].azimuth_deg, 1),
            "likeness": self._likeness(drawn),
        }


def score(estimate: Audio, rendered: RenderedScene, scene: Scene) -> dict[str, Any]:
    """The measures of a ``Row`` for an output ``[2, samples]``; the target is the scene's first source."""
    mixture, target = rendered.mixture, rendered.images[0]
    others = [
        image for image, source in zip(rendered.images, scene.sources, strict=True) if source.role == "interferer"
    ]
    values = {
        "input_si_sdr_db": float(np.mean(metrics.si_sdr(mixture, target))),
        "si_sdri_db": metrics.si_sdr_improvement(estimate, mixture, target),
        "snri_db": metrics.snr_improvement(estimate, mixture, target),
        "delta_ild_db": metrics.delta_ild_db(estimate, target),
        "delta_itd_us": metrics.delta_itd_us(estimate, target, RATE),
    }
    rounded: dict[str, Any] = {name: round(value, 4) for name, value in values.items()}
    return {**rounded, "confused": metrics.is_confused(estimate, mixture, target, others)}


def gains(after: dict[str, float | None], before: dict[str, float | None]) -> dict[str, Any]:
    """Scores, and as ``<score>_gain`` how much they are above those of the mixture."""
    gained = {
        f"{name}_gain": None if value is None or (start := before[name]) is None else round(value - start, 4)
        for name, value in after.items()
    }
    return {**after, **gained}


def refused(rendered: RenderedScene) -> dict[str, Any]:
    """The measures of a ``Row`` where nobody could be enrolled: nothing is improved, nobody confused."""
    level = round(float(np.mean(metrics.si_sdr(rendered.mixture, rendered.images[0]))), 4)
    return {"input_si_sdr_db": level, "si_sdri_db": 0.0, "snri_db": 0.0, "confused": False}


def _status(profile: SpeakerProfile | None) -> str:
    if profile is None:
        return "failed"
    return "ok" if profile.quality is None or profile.quality.ok else "warned"


def _digest(data: Any) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
