"""What can be reached without a network, or at most: the rows beside a model's in ``hearable evaluate --baselines``.

All work at the resolution of the shipped models: frames of 512 samples every 128, of which the newest 192 are
synthesised, so that their latency is the same 12 ms.

* ``ideal_mask`` is told the answer: the ideal ratio mask of each ear. A mask cannot do much better at this window.
* ``known_direction`` is told where the target is, and the listener's own response from there: a binaural MVDR
  beamformer (Capon 1969) with the Wiener post-filter that follows from it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Audio = NDArray[np.float32]
Spectrum = NDArray[np.complex128]

WINDOW, SYNTHESIS, HOP = 512, 192, 128
OVERLAP = SYNTHESIS - HOP
MEMORY_S = 0.04  # of the covariance between the ears: chosen on validation scenes, as is the loading
LOADING = 0.15
RATE = 16000


def window_pair() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Analysis window ``[512]``, a long rise and a short fall, and synthesis window ``[192]``: overlapped, one."""
    rise = np.sin(np.pi / 2 * np.arange(WINDOW - OVERLAP) / (WINDOW - OVERLAP))
    fall = np.cos(np.pi / 2 * np.arange(OVERLAP) / OVERLAP)
    analysis = np.concatenate([rise, fall])
    whole = np.ones(SYNTHESIS)
    whole[:OVERLAP], whole[-OVERLAP:] = 1 - fall**2, fall**2
    return analysis, whole / np.maximum(analysis[-SYNTHESIS:], 1e-9)


def analyse(audio: Audio) -> Spectrum:
    """``[..., samples]`` -> ``[..., frames, 257]``; frame n ends with sample 128 (n + 1)."""
    samples = audio.shape[-1]
    frames = -(-samples // HOP) + 1
    edges = [(0, 0)] * (audio.ndim - 1) + [(WINDOW - HOP, frames * HOP - samples)]
    padded = np.pad(audio.astype(np.float64), edges)
    cut = np.lib.stride_tricks.sliding_window_view(padded, WINDOW, axis=-1)[..., ::HOP, :]
    return np.fft.rfft(cut * window_pair()[0], axis=-1)


def synthesise(spectrum: Spectrum, samples: int) -> Audio:
    """Inverse of `analyse`, aligned with its input: ``[..., frames, 257]`` -> ``[..., samples]``."""
    newest = np.fft.irfft(spectrum, WINDOW, axis=-1)[..., -SYNTHESIS:] * window_pair()[1]
    frames = spectrum.shape[-2]
    sound = np.zeros((*spectrum.shape[:-2], frames * HOP + OVERLAP))
    for n in range(frames):
        sound[..., n * HOP : n * HOP + SYNTHESIS] += newest[..., n, :]
    return sound[..., OVERLAP : OVERLAP + samples].astype(np.float32)


def ideal_mask(mixture: Audio, target: Audio) -> Audio:
    """The target by the ratio of its power to the sum of its and the rest's, in each bin of each ear.

    Args:
        mixture: ``[2, samples]``.
        target: the target's own image in it.

    Returns:
        ``[2, samples]``.
    """
    wanted, rest = np.abs(analyse(target)) ** 2, np.abs(analyse(mixture - target)) ** 2
    return synthesise(analyse(mixture) * wanted / (wanted + rest + 1e-20), mixture.shape[-1])


def known_direction(mixture: Audio, response: Audio) -> Audio:
    """The target by where it is.

    In each bin, the covariance between the ears over the last 40 ms says how much could have come from the target's
    direction (its Capon power); the beamformer keeps that, and the post-filter scales it down to it.

    Args:
        mixture: ``[2, samples]``.
        response: the listener's impulse response from the target's direction, ``[2, taps]``.

    Returns:
        ``[2, samples]``.
    """
    heard = analyse(mixture)
    steering = _steering(response)
    keep = np.exp(-HOP / RATE / MEMORY_S)
    power = np.stack([_smooth(ear * ear.conj(), keep).real for ear in heard])
    cross = _smooth(heard[0] * heard[1].conj(), keep)
    level = power.mean(0) * LOADING + 1e-20
    left, right = power[0] + level, power[1] + level
    # The 2 x 2 inverse by hand: adjugate and determinant.
    determinant = np.maximum(left * right - np.abs(cross) ** 2, 1e-30)
    weights = np.stack([right * steering[0] - cross * steering[1], left * steering[1] - cross.conj() * steering[0]])
    weights /= determinant
    capon = 1 / np.maximum(np.sum(steering.conj()[:, None] * weights, 0).real, 1e-30)
    beam = np.sum((weights * capon).conj() * heard, 0)
    images = steering[:, None] * beam
    gain = np.minimum(np.abs(steering[:, None]) ** 2 * capon / (power + 1e-20), 1)
    return synthesise(images * gain, mixture.shape[-1])


def _smooth(values: Spectrum, keep: float) -> Spectrum:
    """Recursive average along time."""
    return np.asarray(lfilter([1 - keep], [1, -keep], values, axis=0))


def _steering(response: Audio) -> Spectrum:
    """Spectrum ``[2, 257]`` of the direct sound and what follows within a window."""
    loud = np.flatnonzero(np.abs(response).max(0) > 0.1 * np.abs(response).max())
    start = max(0, int(loud[0]) - 8)
    return np.fft.rfft(response[:, start : start + WINDOW].astype(np.float64), WINDOW)
