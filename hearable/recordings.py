"""Extraction from a whole recording: the streaming loop, aligned with the input and at its rate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from hearable.audio import require_stereo
from hearable.chunks import Audio, SampleQueue
from hearable.extractor import Model, StreamingExtractor, remix
from hearable.profiles import SpeakerProfile
from hearable.resampling import StreamResampler


def extract(
    model: Model,
    profile: SpeakerProfile,
    clip: ArrayLike,
    rate: int,
    background_db: float | None = None,
    remove: bool = False,
) -> Audio:
    """Extract one person from a recording: float32 ``[2, samples]``, aligned with it, at its rate.

    Args:
        model: from ``load_model``.
        profile: whom to extract.
        clip: float32 ``[2, samples]``, at least one sample.
        rate: its rate in Hz.
        background_db: gain of everything else in dB; nothing else is heard if ``None``.
        remove: give everything but that person.

    Raises:
        AudioError: not two channels, empty, NaN or infinity.
        ProfileMismatch: the profile is of another embedding space than the model.
        ValueError: ``background_db`` and ``remove`` at once.

    Example:
        >>> target = extract(model, profile, mixture, rate)  # doctest: +SKIP
    """
    audio = require_stereo(clip, "clip")
    stream = extract_stream(model, [profile], [audio], rate, background_db=background_db, remove=remove)
    return np.concatenate([block[0] for block in stream], axis=1)


def extract_stream(
    model: Model,
    profiles: Sequence[SpeakerProfile],
    blocks: Iterable[Audio],
    rate: int,
    *,
    background_db: float | None = None,
    remove: bool = False,
    separate: bool = False,
) -> Iterator[Audio]:
    """Extract from a recording in blocks, such as ``AudioReader.blocks()`` gives: memory does not grow.

    Args:
        model: from ``load_model``.
        profiles: whom to extract: all of them as one mix, unless ``separate``.
        blocks: float32 ``[2, samples]`` each, any sizes.
        rate: their rate in Hz. Extraction runs at the model's rate; the background keeps the input's full band.
        background_db: gain of everything else in dB; nothing else is heard if ``None``.
        remove: give everything but these people.
        separate: one output for each profile.

    Yields:
        float32 ``[outputs, 2, samples]``: 1 output, or one for each profile. Laid end to end they are as long as the
        input and aligned with it; single blocks are not as long as the input's.

    Raises:
        AudioError: a block that is not two channels, or holds NaN or infinity.
        ProfileMismatch: a profile is of another embedding space than the model.
        ValueError: no profile, or ``background_db`` and ``remove`` at once.
    """
    people = _People(model, profiles, separate)
    spec = model.spec
    inward = StreamResampler(rate, spec.sample_rate_hz, spec.channels)
    outward = StreamResampler(spec.sample_rate_hz, rate, people.outputs * spec.channels)
    waiting = SampleQueue(spec.channels)  # the mixture whose target is to come

    def hear(targets: Audio) -> Audio:
        # Rounding up at both rates may leave a sample too many behind the end.
        samples = min(targets.shape[1], len(waiting))
        pairs = targets[:, :samples].reshape(people.outputs, spec.channels, samples)
        return remix(pairs, waiting.pop(samples), background_db, remove)

    hear(np.zeros((people.outputs * spec.channels, 0), np.float32))  # checks the options before the first block is read
    for block in blocks:
        audio = require_stereo(block, "block", allow_empty=True)
        waiting.push(audio)
        heard = hear(outward.push(people.process(inward.push(audio))))
        if heard.shape[-1]:
            yield heard
    rest = np.concatenate([people.process(inward.flush()), people.flush()], axis=1)
    yield hear(np.concatenate([outward.push(rest), outward.flush()], axis=1))


class _People:
    """One streaming extractor for each person, without their latency. Outputs are ``[outputs * 2, samples]``."""

    def __init__(self, model: Model, profiles: Sequence[SpeakerProfile], separate: bool):
        if not profiles:
            raise ValueError("profiles: expected at least one, found none")
        self._extractors = [StreamingExtractor(model, profile) for profile in profiles]
        self._separate = separate
        self._late = model.spec.latency_samples  # samples of leading silence still to be dropped
        self.outputs = len(profiles) if separate else 1

    def process(self, audio: Audio) -> Audio:
        return self._join([extractor.process(audio) for extractor in self._extractors])

    def flush(self) -> Audio:
        return self._join([extractor.flush() for extractor in self._extractors])

    def _join(self, targets: list[Audio]) -> Audio:
        joined: Audio = np.concatenate(targets) if self._separate else np.stack(targets).sum(axis=0)
        drop = min(self._late, joined.shape[1])
        self._late -= drop
        return joined[:, drop:]
