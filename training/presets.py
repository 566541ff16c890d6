"""What a run is made of: one frozen dataclass a kind of network, a named preset for each run worth repeating."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hearable.synthesis.recipes import TseRecipe, worn
from training.corpus import SPEEDS
from training.network import ExtractorConfig
from training.seld_data import Shape
from training.tfgridnet import TFGridNetConfig

# For microcontrollers: all in 200,000 parameters, of which most make a bin what it is; the narrow bands are kept, which
# show recognition a voice's pitch.
TINY = ExtractorConfig(
    channels=24,
    mixing_groups=2,
    bands=((16, 2), (12, 4), (2, 8), (10, 16)),
    voice_channels=44,
    key=32,
)


# Beside the test protocol's scenes, those with one talker, and without noise: its voice must not be shared out.
MIXTURES = TseRecipe(
    samples=256 * 128,
    enrollment_samples=16000,
    talkers=(1, 2, 2, 3, 3),
    noise_directions=(0, 1, 1, 2, 2, 3, 3),
)


@dataclass(frozen=True)
class Optimisation:
    """What every run has. ``batch`` counts examples a process; steps and warmup are updates."""

    batch: int = 16
    muon: bool = True
    learning_rate: float = 1e-3
    warmup: int = 50
    steps: int = 3000
    decay_share: float = 0.8  # of the steps: the last, over which the rate falls to 0
    ema: float = 0.998


@dataclass(frozen=True)
class SpeechPreset(Optimisation):
    """A run on scenes of the data's speakers, each speeded up and slowed down to make more of them."""

    recipe: TseRecipe = field(default_factory=lambda: TseRecipe(samples=320 * 128, enrollment_samples=16000))
    speeds: tuple[float, ...] = SPEEDS["train"]
    validation_scenes: int = 256


@dataclass(frozen=True)
class ExtractorPreset(SpeechPreset):
    """A training run of an extraction network: of its separation, or all of the paper's.

    The paper's network takes ``targets`` examples from each scene; ours, which knows no speaker there, one.
    """

    network: ExtractorConfig | TFGridNetConfig = field(default_factory=ExtractorConfig)
    recipe: TseRecipe = MIXTURES
    batch: int = 3
    targets: int = 1
    absent: float = 0.0
    predicted: float = 0.0  # share of embeddings from the enrollment network, for the paper's network
    ramp: int = 6000
    learning_rate: float = 2e-3
    warmup: int = 100
    steps: int = 20000
    decay_share: float = 0.9
    steering: float = 0.2  # weight of a dB of direction beside one of separation
    half: bool = False  # faster where the CPU multiplies in bfloat16
    compiled: bool = False  # a fifth less time, after half a minute
    validation_samples: int = 384 * 128
    validation_scenes: int = 64


@dataclass(frozen=True)
class VoicePreset(SpeechPreset):
    """A training run of the extraction network's recognition on single voices: a start for `RecognitionPreset`."""

    network: ExtractorConfig = field(default_factory=ExtractorConfig)
    batch: int = 48
    learning_rate: float = 2e-3
    steps: int = 2000
    decay_share: float = 0.5


@dataclass(frozen=True)
class RecognitionPreset(SpeechPreset):
    """A training run of the recognition in scenes that a trained network has taken apart."""

    network: ExtractorConfig = field(default_factory=ExtractorConfig)
    recipe: TseRecipe = replace(MIXTURES, samples=320 * 128)
    batch: int = 32
    predicted: float = 0.7  # share of embeddings from the enrollment network; all of validation's are
    heard: float = 0.1  # weight of a dB of what is heard beside the classification
    timbre_db: float = 4.0  # of the frequency responses that scenes are heard through


@dataclass(frozen=True)
class EnrollerPreset(SpeechPreset):
    """A training run of the enrollment network: of its front end alone, or with the encoder behind it (``embed``)."""

    recipe: TseRecipe = field(
        default_factory=lambda: TseRecipe(samples=16000, enrollment_samples=64000, off_axis_deg=20.0)
    )
    warmup: int = 100
    decay_share: float = 0.5
    embed: bool = True
    half: bool = False  # faster where the CPU multiplies in bfloat16
    validation_scenes: int = 64


@dataclass(frozen=True)
class SeldPreset(Optimisation):
    """A training run of the SELD baseline; an example has ``frames`` label frames (60 are 6 s)."""

    shape: Shape = field(default_factory=Shape)
    batch: int = 32
    muon: bool = False
    steps: int = 1500
    decay_share: float = 0.5
    ema: float = 0.99
    half: bool = False  # faster where the CPU multiplies in bfloat16


# To go on from "base": over 2 s a network need not learn to keep a voice to one output; and where nobody ever moves, or
# microphones are always ideal, it learns to rely on that.
LONG = ExtractorPreset(
    recipe=replace(worn(MIXTURES), samples=640 * 128, moving_share=0.2, head_share=0.5, faulty_share=0.2),
    batch=2,
    ramp=0,
    learning_rate=7e-4,
    steps=2000,
    decay_share=1.0,
    validation_samples=640 * 128,
)

EXTRACTORS = {
    "base": ExtractorPreset(),
    "base-long": LONG,
    "tiny": ExtractorPreset(network=TINY),
    "tiny-long": replace(LONG, network=TINY),
    # The paper's network, for comparison: Adam at its rate, the same scenes; as many updates as four hours of one core
    # allow.
    "paper": ExtractorPreset(
        network=TFGridNetConfig(),
        batch=2,
        targets=2,
        absent=0.05,
        predicted=0.5,
        ramp=2000,
        muon=False,
        learning_rate=5e-4,
        steps=2400,
        decay_share=0.5,
    ),
}
VOICES = {"voice": VoicePreset(), "tiny-voice": VoicePreset(network=TINY)}
RECOGNITIONS = {"recognition": RecognitionPreset(), "tiny-recognition": RecognitionPreset(network=TINY)}
ENROLLERS = {"enroll": EnrollerPreset(), "front": EnrollerPreset(embed=False, batch=8)}
