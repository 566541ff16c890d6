"""Scores of an extraction (NumPy only). Sound is ``[..., channels, samples]``; scores are computed in float64.

SI-SDR: Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019, without removing the mean. Improvements are
output minus mixture, ear by ear, then averaged. Interaural differences are signed: + left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Scores: TypeAlias = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_QUIET = 1e-12  # -120 dB full scale: keeps the level difference of silence at 0 dB
MAX_ITD_S = 1e-3


def si_sdr(estimate: ArrayLike, reference: ArrayLike) -> Scores:
    """Scale-invariant signal-to-distortion ratio in dB: ``[..., samples]`` -> ``[...]``.

    A silent reference gives a very low score for any estimate but silence.
    """
    e, r = _pair(estimate, reference)
    scale = (np.sum(e * r, -1, keepdims=True) + _EPS) / (np.sum(r * r, -1, keepdims=True) + _EPS)
    return _ratio_db(scale * r, e - scale * r)


def snr(estimate: ArrayLike, reference: ArrayLike) -> Scores:
    """Signal-to-noise ratio in dB, which also counts a wrong level: ``[..., samples]`` -> ``[...]``."""
    e, r = _pair(estimate, reference)
    return _ratio_db(r, e - r)


def si_sdr_improvement(estimate: ArrayLike, mixture: ArrayLike, reference: ArrayLike) -> float:
    """SI-SDRi in dB: output minus mixture for each ear of ``[ears, samples]``, then the mean."""
    return float(np.mean(si_sdr(estimate, reference) - si_sdr(mixture, reference)))


def snr_improvement(estimate: ArrayLike, mixture: ArrayLike, reference: ArrayLike) -> float:
    """SNRi in dB: output minus mixture for each ear of ``[ears, samples]``, then the mean."""
    return float(np.mean(snr(estimate, reference) - snr(mixture, reference)))


def ild_db(audio: ArrayLike) -> float:
    """Interaural level difference of ``[2, samples]`` in dB, + if the left ear is louder; 0 for silence."""
    left, right = _ears(audio)
    return float(10 * np.log10((np.mean(left**2) + _QUIET) / (np.mean(right**2) + _QUIET)))


def itd_us(audio: ArrayLike, rate: int) -> float:
    """Interaural time difference of ``[2, samples]`` in microseconds, + if the left ear leads; 0 for silence.

    The highest peak of the cross-correlation within +-1 ms, with its sign (an inverted ear is no match), linear, not
    circular, and refined by a parabola through the peak and its neighbours.
    """
    left, right = _ears(audio)
    reach = round(MAX_ITD_S * rate)
    size = len(left) + reach  # padding: lags up to ``reach`` do not wrap
    lags = np.fft.irfft(np.conj(np.fft.rfft(left, size)) * np.fft.rfft(right, size), size)
    near = np.concatenate([lags[-reach:], lags[: reach + 1]])
    peak = int(np.argmax(near))
    if near[peak] <= _EPS:
        return 0.0
    return (peak - reach + _parabola(near, peak)) / rate * 1e6


def delta_ild_db(estimate: ArrayLike, reference: ArrayLike) -> float:
    """How far the level difference of ``[2, samples]`` is from the reference's, in dB."""
    return abs(ild_db(estimate) - ild_db(reference))


def delta_itd_us(estimate: ArrayLike, reference: ArrayLike, rate: int) -> float:
    """How far the time difference of ``[2, samples]`` is from the reference's, in microseconds."""
    return abs(itd_us(estimate, rate) - itd_us(reference, rate))


def is_confused(estimate: ArrayLike, mixture: ArrayLike, target: ArrayLike, interferers: Iterable[ArrayLike]) -> bool:
    """Whether the wrong person was extracted: an interferer's SI-SDRi is above 0 and above the target's.

    Args:
        estimate: the output ``[ears, samples]``.
        mixture: the input.
        target: the target's own image.
        interferers: the other talkers' own images.
    """
    bar = max(0.0, si_sdr_improvement(estimate, mixture, target))
    return any(si_sdr_improvement(estimate, mixture, other) > bar for other in interferers)


def leak_db(estimate: ArrayLike, mixture: ArrayLike) -> float:
    """Level of the output relative to the input in dB: with the target absent, what should not have come through."""
    e, m = _pair(estimate, mixture)
    return float(10 * np.log10((np.mean(e**2) + _QUIET) / (np.mean(m**2) + _QUIET)))


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Scores, Scores]:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.shape != y.shape or x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"expected two signals of one shape [..., samples], found {list(x.shape)} and {list(y.shape)}")
    return x, y


def _ears(audio: ArrayLike) -> Scores:
    array = np.asarray(audio, np.float64)
    if array.ndim != 2 or array.shape[0] != 2 or array.shape[1] == 0:
        raise ValueError(f"expected [2, samples], found {list(array.shape)}")
    return array


def _ratio_db(signal: Scores, noise: Scores) -> Scores:
    ratio: Scores = 10 * np.log10((np.sum(signal**2, -1) + _EPS) / (np.sum(noise**2, -1) + _EPS))
    return ratio


def _parabola(values: Scores, peak: int) -> float:
    """Where between -0.5 and 0.5 the top of the parabola through a peak and its neighbours lies; 0 at the border."""
    if not 0 < peak < len(values) - 1:
        return 0.0
    before, top, after = values[peak - 1 : peak + 2]
    curvature = before - 2 * top + after
    return float(0.5 * (before - after) / curvature) if curvature < 0 else 0.0
