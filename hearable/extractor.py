"""Extracting one person from binaural sound, chunk by chunk."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hearable.audio import require_stereo
from hearable.chunks import Audio, Rechunker, SampleQueue
from hearable.errors import ProfileMismatch
from hearable.profiles import SpeakerProfile
from hearable.session import Graph, State, open_pair
from hearable.spec import ModelSpec

FADE_CHUNKS = 4  # 32 ms: long enough not to click, short enough to feel immediate

# When the target counts as speaking: its share of the sound, and its level, smoothed over SMOOTHING_S.
SMOOTHING_S = 0.05
ON_SHARE_DB, OFF_SHARE_DB = -15.0, -20.0
ON_LEVEL_DB, OFF_LEVEL_DB = -60.0, -66.0  # relative to full scale


@dataclass(frozen=True)
class Model:
    """An extractor and its conditioner. Streams and threads may share one: running changes nothing in it."""

    extractor: Graph
    conditioner: Graph

    @property
    def spec(self) -> ModelSpec:
        """What the extractor says about itself."""
        return self.extractor.spec

    def condition(self, profile: SpeakerProfile) -> NDArray[np.float32]:
        """The conditioning ``[conditioning_values]`` for a profile: computed once, used at every chunk.

        Raises:
            ProfileMismatch: the profile's embedding is of another space or length.
        """
        expected = f"{self.spec.embedding_space} of {self.spec.embedding_values} values"
        found = f"{profile.embedding_space} of {len(profile.embedding)} values"
        if expected != found:
            raise ProfileMismatch(
                f"profile: expected an embedding {expected}, found {found}: enroll again for this model"
            )
        return self.conditioner.run({"embedding": profile.embedding})[0]


def load_model(name_or_path: str | Path) -> Model:
    """Load an extractor: a shipped one by name (verified against its published hash), or any by its path.

    Raises:
        ModelError: not found, altered, or not what its metadata says.

    Example:
        >>> load_model("base").spec.latency_samples  # doctest: +SKIP
        192
    """
    return Model(*open_pair(name_or_path))


def remix(target: Audio, mixture: Audio, background_db: float | None = None, remove: bool = False) -> Audio:
    """What is heard, from the target and the mixture at the same time, ``[channels, samples]`` each.

    Args:
        target: the extracted person.
        mixture: everything.
        background_db: gain of everything else in dB; nothing else is heard if ``None``.
        remove: everything but the target.

    Raises:
        ValueError: both options at once, or a gain that is not a finite number.
    """
    if remove and background_db is not None:
        raise ValueError("background_db and remove: expected at most one of them, found both")
    if remove:
        return mixture - target
    if background_db is None:
        return target
    if not math.isfinite(background_db):
        raise ValueError(f"background_db: expected a finite number of dB, or None for silence, found {background_db}")
    background: Audio = np.float32(10 ** (background_db / 20)) * (mixture - target)
    return target + background


class Activity:
    """Whether the target is speaking: from the level of the output, and its share of the input.

    On when the smoothed output is louder than -60 dB full scale and holds more than -15 dB of the input's power; off
    when it falls below -66 dB or -20 dB. In between it stays as it was, so that it does not flicker within a word.
    """

    def __init__(self, chunk_s: float):
        self._keep = math.exp(-chunk_s / SMOOTHING_S)
        self.reset()

    def reset(self) -> None:
        """Nobody has spoken yet."""
        self.active = False
        self._target = self._mixture = 0.0

    def update(self, target: Audio, mixture: Audio) -> None:
        """Take a chunk of output and the input of the same time, ``[channels, samples]``."""
        self._target += (1 - self._keep) * (float(np.vdot(target, target)) / target.size - self._target)
        self._mixture += (1 - self._keep) * (float(np.vdot(mixture, mixture)) / mixture.size - self._mixture)
        level_db = 10 * math.log10(self._target + 1e-20)
        share_db = level_db - 10 * math.log10(self._mixture + 1e-20)
        if level_db > ON_LEVEL_DB and share_db > ON_SHARE_DB:
            self.active = True
        elif level_db < OFF_LEVEL_DB or share_db < OFF_SHARE_DB:
            self.active = False


@dataclass
class _Voice:
    """One conditioning and the state of the stream that runs with it."""

    conditioning: NDArray[np.float32]
    state: State


class ChunkExtractor:
    """The extraction loop on exact chunks: the output lags behind the input by ``lookahead_samples`` only.

    For a device that delivers chunks of exactly ``chunk_samples``; ``StreamingExtractor`` takes any block and pays one
    chunk of delay for it. The options are those of ``StreamingExtractor``.
    """

    def __init__(self, model: Model, profile: SpeakerProfile, background_db: float | None = None, remove: bool = False):
        self._graph = model.extractor
        self._model = model
        self._background_db, self._remove = background_db, remove
        spec = model.spec
        remix(np.zeros((1, 1), np.float32), np.zeros((1, 1), np.float32), background_db, remove)  # checks the options
        self._wanted = model.condition(profile)
        self._activity = Activity(spec.chunk_samples / spec.sample_rate_hz)
        self._ramp = np.arange(1, FADE_CHUNKS * spec.chunk_samples + 1, dtype=np.float32)
        self._ramp = (self._ramp / self._ramp[-1]).reshape(FADE_CHUNKS, spec.chunk_samples)
        self.reset()

    @property
    def target_active(self) -> bool:
        """Whether the target was speaking at the end of the last output (see ``Activity``)."""
        return self._activity.active

    def reset(self) -> None:
        """Begin a new stream, with the profile that was set last."""
        spec = self._graph.spec
        self._voice = _Voice(self._wanted, self._graph.state())
        self._next: _Voice | None = None
        self._faded = 0  # chunks of the crossfade that are done
        self._late = np.zeros((spec.channels, spec.lookahead_samples), np.float32)  # input whose output is to come
        self._activity.reset()

    def set_profile(self, profile: SpeakerProfile) -> None:
        """Change over to another person, from the next chunk on; another thread may call this.

        For 32 ms both conditionings run side by side from the same state, and their outputs are crossfaded: whatever
        the network makes of a new conditioning, the sound does not jump. (Interpolating the conditioning instead would
        cost no second run, but takes the network through voices that it was never trained on.) If the profile is
        changed again meanwhile, the last one wins once the crossfade is done.

        Raises:
            ProfileMismatch: the profile is of another embedding space; the old one stays.
        """
        self._wanted = self._model.condition(profile)

    def step(self, chunk: Audio) -> Audio:
        """One chunk ``[channels, chunk_samples]`` in, one out, ``lookahead_samples`` late.

        The chunk is trusted: finite float32 of this shape. If the graph overflows on absurdly loud sound, its state
        starts anew and the chunk is silent, so that the damage ends there.
        """
        target = self._extract(chunk)
        if not np.isfinite(target).all():
            self._voice, self._next = _Voice(self._wanted, self._graph.state()), None
            target = np.zeros_like(chunk)
        heard = np.concatenate([self._late, chunk], axis=1)
        mixture, self._late = heard[:, : chunk.shape[1]], heard[:, chunk.shape[1] :]
        self._activity.update(target, mixture)
        return remix(target, mixture, self._background_db, self._remove)

    def _extract(self, chunk: Audio) -> Audio:
        wanted = self._wanted
        if self._next is None and wanted is not self._voice.conditioning:
            self._next, self._faded = _Voice(wanted, self._voice.state.copy()), 0
        old = self._graph.step(chunk, self._voice.conditioning, self._voice.state)
        if self._next is None:
            return old
        new = self._graph.step(chunk, self._next.conditioning, self._next.state)
        faded: Audio = old + self._ramp[self._faded] * (new - old)
        self._faded += 1
        if self._faded == FADE_CHUNKS:
            self._voice, self._next = self._next, None
        return faded


class StreamingExtractor:
    """Extracts one person from a stream of binaural sound, in blocks of any size.

    As many samples come out as went in, ``latency_samples`` late; the first ones are silence.

    Args:
        model: from ``load_model``.
        profile: whom to extract.
        background_db: gain of everything else in dB; nothing else is heard if ``None``.
        remove: give everything but that person.

    Raises:
        ProfileMismatch: the profile is of another embedding space than the model.
        ValueError: ``background_db`` and ``remove`` at once.

    Example:
        >>> extractor = StreamingExtractor(model, profile)  # doctest: +SKIP
        >>> extractor.process(np.zeros((2, 480), np.float32)).shape  # doctest: +SKIP
        (2, 480)
    """

    def __init__(self, model: Model, profile: SpeakerProfile, background_db: float | None = None, remove: bool = False):
        spec = model.spec
        self.channels = spec.channels
        self.latency_samples = spec.latency_samples
        self._loop = ChunkExtractor(model, profile, background_db, remove)
        self._in = Rechunker(spec.chunk_samples, spec.channels)
        self._out = SampleQueue(spec.channels)
        self._lead = np.zeros((spec.channels, spec.chunk_samples), np.float32)
        self.reset()

    @property
    def target_active(self) -> bool:
        """Whether the target was speaking at the end of the last chunk (see ``Activity``)."""
        return self._loop.target_active

    def process(self, block: ArrayLike) -> Audio:
        """Take float32 ``[2, samples]`` at the model's rate, any number of samples; give as many.

        Raises:
            AudioError: another shape, not floating point, NaN or infinity. The stream goes on as if the block had not
                been given.
        """
        audio = require_stereo(block, "block", allow_empty=True)
        for chunk in self._in.push(audio):
            self._out.push(self._loop.step(chunk))
        return self._out.pop(audio.shape[1])

    def flush(self) -> Audio:
        """End the stream: the last ``[2, latency_samples]``. The extractor is then at the beginning of a new one."""
        rest = self.process(np.zeros((self.channels, self.latency_samples), np.float32))
        self.reset()
        return rest

    def reset(self) -> None:
        """Begin a new stream, with the profile that was set last."""
        self._loop.reset()
        self._in.reset()
        self._out.clear()
        # One chunk ahead: a chunk is there only when its last sample has come.
        self._out.push(self._lead)

    def set_profile(self, profile: SpeakerProfile) -> None:
        """Change over to another person without a click (see ``ChunkExtractor.set_profile``).

        Raises:
            ProfileMismatch: the profile is of another embedding space; the old one stays.
        """
        self._loop.set_profile(profile)
