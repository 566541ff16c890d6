"""Left and right swapped? A snap beside the left ear is earlier and louder there, or the wires are crossed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hearable.audio import require_stereo
from hearable.chunks import Audio
from hearable.errors import AudioError

Verdict: TypeAlias = Literal["right", "swapped", "unclear"]

FRAME_S = 0.005
ABOVE_MEDIAN = 10.0  # a snap's frame, in amplitude
OF_LOUDEST = 0.25
APART_S = 0.15
BEFORE_S, AFTER_S = 0.002, 0.004  # around a snap: the direct sound, before the room answers
WIDEST_S = 0.001  # the ears' delay at most, with margin
CLEAR_S, CLEAR_DB = 1e-4, 2.0  # less than this says nothing


@dataclass(frozen=True)
class EarCheck:
    """What snaps beside the left ear showed.

    Attributes:
        verdict: ``right``, ``swapped``, or ``unclear``.
        snaps: how many were found.
        earlier_us: how much earlier the left channel heard them, in microseconds (median).
        louder_db: how much louder it heard them (median).
        detail: what to do.
    """

    verdict: Verdict
    snaps: int
    earlier_us: float
    louder_db: float
    detail: str


def check_ears(clip: Audio, rate: int) -> EarCheck:
    """Judge float32 ``[2, samples]`` in which somebody snaps fingers beside their left ear.

    Raises:
        AudioError: not two channels, or not finite.
    """
    audio = require_stereo(clip, "clip")
    if np.array_equal(audio[0], audio[1]):
        return EarCheck("unclear", 0, 0.0, 0.0, "both channels hold the same sound: this is one microphone, not two")
    sharp = np.diff(audio, axis=1)  # snaps are broad; voices and hum are not
    found = [_compare(sharp[:, begin:end], rate) for begin, end in _snaps(sharp, rate)]
    if not found:
        return EarCheck("unclear", 0, 0.0, 0.0, "no snap heard: snap closer to the left ear, three times")
    earlier_s, louder_db = (float(v) for v in np.median(np.array(found), axis=0))
    votes = _sign(earlier_s, CLEAR_S) + _sign(louder_db, CLEAR_DB)
    verdict: Verdict = "right" if votes > 0 else "swapped" if votes < 0 else "unclear"
    detail = {
        "right": "left is left",
        "swapped": "left and right are swapped: exchange the microphones, or their plugs",
        "unclear": "the two ears hear it alike or contradict each other: snap closer to the left ear",
    }[verdict]
    return EarCheck(verdict, len(found), 1e6 * earlier_s, louder_db, detail)


def _snaps(sharp: Audio, rate: int) -> list[tuple[int, int]]:
    """From and to of each snap."""
    frame = max(1, round(FRAME_S * rate))
    whole = sharp[:, : sharp.shape[1] // frame * frame]
    if not whole.size:
        raise AudioError(f"clip: expected some seconds of sound, found {sharp.shape[1] + 1} samples")
    peaks = np.abs(whole).reshape(2, -1, frame).max(axis=(0, 2))
    threshold = max(ABOVE_MEDIAN * float(np.median(peaks)), OF_LOUDEST * float(peaks.max()), 1e-6)
    snaps, last = [], -math.inf
    for n in map(int, np.flatnonzero(peaks > threshold)):
        if (n - last) * FRAME_S > APART_S:
            first = n * frame + int(np.argmax(np.abs(whole[:, n * frame : (n + 1) * frame]).max(axis=0) > threshold))
            begin = max(0, first - round(BEFORE_S * rate))
            snaps.append((begin, first + round(AFTER_S * rate)))
        last = n
    return snaps


def _compare(snap: Audio, rate: int) -> tuple[float, float]:
    """How much earlier, in s, and louder, in dB, the left channel is."""
    left, right = snap.astype(np.float64)
    lags: NDArray[np.int64] = np.arange(1 - left.size, left.size)
    correlation = np.correlate(right, left, "full")  # high at k: right is left, k samples later
    near = np.abs(lags) <= WIDEST_S * rate
    lag = lags[near][np.argmax(correlation[near])]
    energies = np.sum(np.square(snap, dtype=np.float64), axis=1) + 1e-20
    return float(lag / rate), float(10 * np.log10(energies[0] / energies[1]))


def _sign(value: float, clear: float) -> int:
    return 0 if abs(value) < clear else 1 if value > 0 else -1
