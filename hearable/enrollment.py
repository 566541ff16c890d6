"""Enrolling a speaker: a short, noisy, binaural clip of someone in front to a profile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from hearable.audio import require_stereo
from hearable.chunks import Audio
from hearable.errors import EnrollmentError, ModelError
from hearable.profiles import EnrollmentQuality, SpeakerProfile
from hearable.quality import ClipEstimate, clipped_share, estimate
from hearable.resampling import require_rate, resample
from hearable.session import Graph, open_graph

MIN_SECONDS, MAX_SECONDS = 1.0, 60.0
SILENCE_DB = -70.0  # relative to full scale
LEAST_SPEECH_S = 1.0
LEAST_SNR_DB = 0.0
# With less from the front, the network has hardly anybody: the direction is then that of the clip's strongest talker.
# What both numbers are worth is measured by `python -m benchmarks.enrollment_quality`.
LEAST_FRONTAL = 0.1
MOST_OFF_AXIS_DEG = 25.0  # beyond it a talker is aside: the network is trained for 20
MOST_EAR_DIFFERENCE_DB = 20.0  # a head makes less
MOST_CLIPPED = 0.002


def enroll(clip: ArrayLike, rate: int, model: str | Path | Graph = "enroll") -> SpeakerProfile:
    """Make a profile of the person straight ahead.

    Args:
        clip: float32 ``[2, samples]``: 1 to 60 s, best 3 to 5 s, of the person speaking in front of the listener.
        rate: its rate in Hz.
        model: an enroller: the name of a shipped one, a path, or a loaded ``Graph``.

    Returns:
        The profile; its ``quality.ok`` says whether the clip will do, ``quality.warnings`` why not.

    Raises:
        AudioError: not two channels, NaN or infinity.
        EnrollmentError: too short, too long, or silent.
        ModelError: the enroller cannot be used.

    Example:
        >>> profile = enroll(clip, rate)  # doctest: +SKIP
        >>> profile.save("friend.profile")  # doctest: +SKIP
    """
    audio = require_stereo(clip, "enrollment clip")
    require_rate(rate)
    seconds = audio.shape[1] / rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        raise EnrollmentError(f"enrollment clip: expected {MIN_SECONDS:g} to {MAX_SECONDS:g} s, found {seconds:.2f} s: "
                              "record 3 to 5 s of the person speaking in front of you")  # fmt: skip
    level_db = 10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-20)
    if level_db < SILENCE_DB:
        raise EnrollmentError(f"enrollment clip: expected speech, found silence ({level_db:.0f} dB full scale): "
                              "check the microphones and record again")  # fmt: skip
    graph = model if isinstance(model, Graph) else open_graph(model, "enroller")
    graph.require("enroller")
    sound = resample(audio, rate, graph.spec.sample_rate_hz)
    embedding, voice = graph.run({"clip": sound})
    if not (np.isfinite(embedding).all() and np.isfinite(voice).all()):
        raise ModelError(f"{graph.path}: expected finite values, found others: the file is damaged, get it again")
    quality = judge(sound, voice, graph.spec.sample_rate_hz, clipped_share(audio))
    return SpeakerProfile(embedding, graph.spec.embedding_space, quality)


def judge(clip: Audio, voice: Audio, rate: int, clipped: float = 0.0) -> EnrollmentQuality:
    """How good a clip ``[2, samples]`` is for enrollment.

    Args:
        clip: at the network's rate.
        voice: what of it the network took for the frontal talker, likewise.
        rate: in Hz.
        clipped: share of the samples as recorded, before resampling rounded their tops, that clip.
    """
    found = estimate(clip, rate)
    energy, of_all = (np.sum(np.square(sound, dtype=np.float64)) for sound in (voice, clip))
    frontal = min(float(energy / (of_all + 1e-20)), 1.0)
    direction: float | None = None
    if found.speech_seconds and abs(found.ear_difference_db) <= MOST_EAR_DIFFERENCE_DB:
        # Others may be louder than the talker in front; of somebody aside the network leaves too little to tell.
        direction = estimate(voice, rate).off_axis_deg if frontal >= LEAST_FRONTAL else found.off_axis_deg
    return EnrollmentQuality(
        seconds=clip.shape[1] / rate,
        speech_seconds=found.speech_seconds,
        snr_db=found.snr_db,
        off_axis_deg=direction,
        frontal=frontal,
        warnings=tuple(_warnings(clip, found, frontal, direction, clipped)),
    )


def _warnings(
    clip: Audio, found: ClipEstimate, frontal: float, direction: float | None, clipped: float
) -> Iterator[str]:
    if found.speech_seconds < LEAST_SPEECH_S:
        yield f"only {found.speech_seconds:.1f} s of speech: record 3 to 5 s while the person speaks"
    elif found.snr_db < LEAST_SNR_DB:
        yield f"speech is only {found.snr_db:.0f} dB above the background: come closer, or find a quieter moment"
    elif direction is not None and abs(direction) > MOST_OFF_AXIS_DEG:
        # Where speech does not rise above the background, the direction is the background's.
        front = f"only {frontal:.0%} of the sound comes from the front, the strongest"
        who = front if frontal < LEAST_FRONTAL else "the"
        yield f"{who} talker is {towards(direction)}: face the person and record again"
    if abs(found.ear_difference_db) > MOST_EAR_DIFFERENCE_DB:
        ear = "left" if found.ear_difference_db < 0 else "right"
        yield f"the {ear} ear is {abs(found.ear_difference_db):.0f} dB quieter: check its microphone"
    if clipped > MOST_CLIPPED:
        yield f"{clipped:.1%} of the samples clip: lower the microphones' gain and record again"
    if np.array_equal(clip[0], clip[1]):
        yield "both ears hold the same sound: record with a microphone at each ear, not one for both"


def towards(degrees: float | None) -> str:
    """A direction, + left, in words."""
    if degrees is None or not np.isfinite(degrees):
        return "unknown"
    shown = round(abs(degrees))
    side = "left" if degrees > 0 else "right"
    return f"{shown} degree{'s' if shown > 1 else ''} to the {side}" if shown else "straight ahead"
