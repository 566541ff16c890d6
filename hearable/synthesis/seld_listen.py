"""Where sound comes from, found out from the audio alone: intensity (FOA) or steered response (MIC, binaural).

Each estimate is of one label frame (100 ms), and only as good as a single source in it lets it be.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from hearable.synthesis.arrays import receiver
from hearable.synthesis.diffuse import even_directions
from hearable.synthesis.labels import FRAME_S
from hearable.synthesis.seld_scene import Format

Values = NDArray[np.float64]
Spectra = NDArray[np.complex128]

N_FFT = 512
HOP = 240
BAND_HZ = {"foa": (300.0, 8000.0), "mic": (500.0, 10000.0), "binaural": (500.0, 10000.0)}
GRID = 2000  # directions of the steered response, 4.5 degrees apart
# A bin's fit counts by this power: with two channels nearly every direction fits nearly.
SHARPNESS = {"mic": 1, "binaural": 8}
STEEPNESS = 8  # bins count by this power of how much one wave makes them up
LAGS_S = np.arange(-80, 81) * 1e-5  # a head is no wider
SMOOTHED_BLOCKS = 5  # over which a bin's covariance is averaged


def frame_spectra(audio: NDArray[np.float32], rate: int, name: Format) -> tuple[Spectra, Values, NDArray[np.intp]]:
    """Spectra ``[channels, bins, blocks]`` in the band that tells direction, its frequencies, each block's frame."""
    transform = ShortTimeFFT(hann(N_FFT, sym=False), HOP, rate)
    low, high = BAND_HZ[name]
    band = (transform.f >= low) & (transform.f <= high)
    found = transform.stft(audio.astype(np.float64))[:, band]
    times = transform.t(audio.shape[1])
    return found, transform.f[band], (times / FRAME_S).astype(np.intp)


def foa_directions(audio: NDArray[np.float32], rate: int, frames: NDArray[np.int64]) -> Values:
    """Unit vectors ``[frames, 3]``: the mean active intensity, bins with a single wave above all.

    Args:
        audio: ``[4, samples]``, W Y Z X in SN3D.
        rate: in Hz.
        frames: which label frames.
    """
    spectra, _, frame_of = frame_spectra(audio, rate, "foa")
    w, moving = spectra[0], spectra[[3, 1, 2]]  # x, y, z
    flow = _smooth(np.real(w.conj() * moving))
    energy = _smooth((np.abs(w) ** 2 + np.sum(np.abs(moving) ** 2, axis=0)) / 2)
    # The flow of each bin relative to its energy: its length is 1 in a plane wave and 0 in a diffuse field.
    flow /= energy + 1e-20
    flow *= np.linalg.norm(flow, axis=0) ** STEEPNESS
    return _unit(np.array([np.sum(flow[:, :, frame_of == frame], axis=(1, 2)) for frame in frames]).reshape(-1, 3))


def steered_directions(name: Format, audio: NDArray[np.float32], rate: int, frames: NDArray[np.int64]) -> Values:
    """Unit vectors ``[frames, 3]``: the direction whose response in the array fits the frame best.

    Args:
        name: ``mic``, or ``binaural`` for the head that is built in (front and back are then hard to tell apart).
        audio: ``[channels, samples]``.
        rate: in Hz.
        frames: which label frames.
    """
    spectra, frequency, frame_of = frame_spectra(audio, rate, name)
    bins = np.rint(frequency * N_FFT / rate).astype(np.intp)
    directions, steering = _steering(name, rate, bins.tobytes())
    found = []
    for frame in frames:
        block = spectra[:, :, frame_of == frame].transpose(1, 0, 2)  # bins, channels, blocks
        covariance = block @ block.conj().transpose(0, 2, 1)
        covariance /= np.trace(covariance, axis1=1, axis2=2).real[:, None, None] + 1e-20
        # Of each bin: how much of it one wave makes up, from 0 to 1.
        single = (len(audio) * np.linalg.eigvalsh(covariance)[:, -1] - 1) / (len(audio) - 1)
        fit = np.einsum("dfc,fce,dfe->df", steering.conj(), covariance, steering, optimize=True).real
        found.append(directions[int(np.argmax(np.sum(single**2 * fit ** SHARPNESS[name], axis=1)))])
    return np.array(found).reshape(-1, 3)


def itd_s(audio: NDArray[np.float32], rate: int, frames: NDArray[np.int64]) -> Values:
    """Interaural time difference of each frame in seconds, positive from the left.

    That of the direction which fits best, levels included: a correlation of the ears alone follows reflections.

    Args:
        audio: ``[2, samples]``.
        rate: in Hz.
        frames: which label frames.
    """
    return expected_itd_s(steered_directions("binaural", audio, rate, frames), rate)


def expected_itd_s(directions: Values, rate: int) -> Values:
    """What `itd_s` is for unit vectors ``[n, 3]``, for the head that is built in."""
    spectra = receiver(("binaural",), rate, None).spectra(directions, N_FFT).astype(np.complex128)
    frequency = np.fft.rfftfreq(N_FFT, 1 / rate).astype(np.float64)
    band = (frequency >= BAND_HZ["binaural"][0]) & (frequency <= BAND_HZ["binaural"][1])
    cross = spectra[:, 0, band] * spectra[:, 1, band].conj()
    return _lags(cross / np.abs(cross), frequency[band])


@lru_cache(maxsize=4)
def _steering(name: Format, rate: int, bins: bytes) -> tuple[Values, Spectra]:
    directions = even_directions(GRID)
    spectra = receiver((name,), rate, None).spectra(directions, N_FFT)[:, :, np.frombuffer(bins, np.intp)]
    steering = spectra.transpose(0, 2, 1).astype(np.complex128)
    return directions, steering / np.linalg.norm(steering, axis=2, keepdims=True)


def _lags(cross: Spectra, frequency: Values) -> Values:
    correlation = np.real(cross @ np.exp(2j * np.pi * frequency[:, None] * -LAGS_S))
    return np.asarray(LAGS_S[np.argmax(correlation, axis=1)])


def _smooth(values: NDArray[Any]) -> NDArray[Any]:
    """Averaged over neighbouring blocks, along the last axis."""
    kernel = np.ones(SMOOTHED_BLOCKS) / SMOOTHED_BLOCKS
    return np.asarray(np.apply_along_axis(np.convolve, -1, values, kernel, "same"))


def _unit(vectors: Values) -> Values:
    return np.asarray(vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-30))
