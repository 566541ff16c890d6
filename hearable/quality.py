"""Judging sound by signal processing alone: is there speech, how clean, and from where?

A noise floor is taken in each frequency as a low percentile over time (after Stahl, Fischer and Bippus, "Quantile
based noise estimation for spectral subtraction and Wiener filtering", ICASSP 2000). Speech is what rises above it. The
direction is that of the delay between the ears (GCC-PHAT: Knapp and Carter, 1976) in those parts, through the
spherical-head formula of Woodworth (1938): ``delay = radius / speed of sound * (angle + sin(angle))``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hearable.chunks import Audio

FRAME_S, HOP_S = 0.032, 0.016
BAND_HZ = (250.0, 4000.0)  # where speech is, and where neighbouring periods of the delay do not yet win
FLOOR_QUANTILE, FLOOR_SHARE = 0.3, 0.34
SPEECH_DB = 3.0  # a frame this far above the floor is speech

HEAD_RADIUS_M = 0.0875
SOUND_M_PER_S = 343.0
FINENESS = 16  # steps a sample in the search for the delay
FRONT_DEG, FRONT_SHARE = 25.0, 0.8  # whoever enrolls looks at the talker: the front wins against a slightly higher peak


@dataclass(frozen=True)
class ClipEstimate:
    """What was found in a clip: seconds of speech, dB above the background, degrees (+ left), ear difference in dB."""

    speech_seconds: float
    snr_db: float
    off_axis_deg: float
    ear_difference_db: float


def estimate(clip: Audio, rate: int) -> ClipEstimate:
    """Estimate speech, SNR and direction in float32 ``[2, samples]`` of at least a few frames.

    Example:
        >>> noise = np.random.default_rng(0).normal(size=(2, 16000)).astype(np.float32)
        >>> estimate(noise, 16000).speech_seconds
        0.0
    """
    spectra, in_band = _spectra(clip, rate)
    power = np.sum(np.abs(spectra[..., in_band]) ** 2, axis=0)  # [frame, bin], both ears
    floor = np.maximum(noise_floor(power), 1e-12)
    frame_power, floor_power = power.sum(1), floor.sum()
    speech = frame_power > floor_power * 10 ** (SPEECH_DB / 10)
    excess = max(float(frame_power.mean() - floor_power), 0.0)
    ears = np.mean(np.square(clip, dtype=np.float64), axis=1) + 1e-12
    # Weights between 0 and 1, as of a Wiener filter: what rises above the floor decides the direction.
    weights = np.clip(1 - floor / np.maximum(power, floor), 0, None) * speech[:, None]
    return ClipEstimate(
        speech_seconds=float(speech.sum()) * HOP_S,
        snr_db=float(np.clip(10 * np.log10(excess / floor_power + 1e-9), -20, 60)),
        off_axis_deg=float(azimuth_deg(_delay_s(spectra, in_band, weights, rate))),
        ear_difference_db=float(10 * np.log10(ears[0] / ears[1])),
    )


def clipped_share(clip: Audio) -> float:
    """Share of the samples of ``[2, samples]`` that lie within 0.01 dB of their ear's peak: of speech hardly any do."""
    size = np.abs(clip)
    return float(np.mean(size >= np.maximum(0.999 * size.max(axis=1, keepdims=True), 1e-9)))  # a dead ear clips nothing


def noise_floor(power: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean power of the steady background in each frequency, from ``[frame, bin]``.

    Its 30th percentile over time, divided by what that is of the mean: 0.55 for white noise at two ears, less for
    recorded noise, which is not as steady.
    """
    return np.asarray(np.quantile(power, FLOOR_QUANTILE, axis=0) / FLOOR_SHARE)


def azimuth_deg(delay_s: ArrayLike) -> NDArray[np.float64]:
    """Angles off the median plane for delays of the right ear behind the left one: + left, at most 90."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 361)
    delays = HEAD_RADIUS_M / SOUND_M_PER_S * (angles + np.sin(angles))
    return np.asarray(np.degrees(np.interp(np.asarray(delay_s), delays, angles)))


def _spectra(clip: Audio, rate: int) -> tuple[NDArray[np.complex128], NDArray[np.bool_]]:
    """Hann-windowed spectra ``[ear, frame, bin]``, and which bins lie in the band."""
    frame, hop = round(FRAME_S * rate), round(HOP_S * rate)
    frames = np.lib.stride_tricks.sliding_window_view(clip, frame, axis=1)[:, ::hop]
    spectra = np.fft.rfft(frames * np.hanning(frame), axis=-1)
    hz = np.fft.rfftfreq(frame, 1 / rate)
    return spectra, (hz >= BAND_HZ[0]) & (hz <= BAND_HZ[1])


def _delay_s(
    spectra: NDArray[np.complex128], in_band: NDArray[np.bool_], weights: NDArray[np.float64], rate: int
) -> float:
    """Seconds that the right ear lags behind the left one: the highest peak of the phase-only correlation."""
    cross = np.conj(spectra[0]) * spectra[1]
    phases = np.zeros(cross.shape[1], np.complex128)
    phases[in_band] = np.sum(weights * (cross / np.maximum(np.abs(cross), 1e-12))[:, in_band], axis=0)
    correlation = np.fft.irfft(phases, FINENESS * 2 * (len(phases) - 1))
    reach = int(np.ceil(HEAD_RADIUS_M / SOUND_M_PER_S * (np.pi / 2 + 1) * 1.2 * rate * FINENESS))
    lags = np.arange(-reach, reach + 1)
    seconds, heights = lags / (rate * FINENESS), correlation[lags]
    front = np.flatnonzero(np.abs(azimuth_deg(seconds)) <= FRONT_DEG)
    peak = front[np.argmax(heights[front])]
    # At the border of the front it is no peak, but the flank of one outside.
    if peak in (front[0], front[-1]) or heights[peak] < FRONT_SHARE * heights.max():
        peak = np.argmax(heights)
    return float(seconds[peak]) if weights.any() else 0.0
