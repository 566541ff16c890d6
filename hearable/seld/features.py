"""Features of the DCASE 2021 baseline: log-mel spectra with intensity vectors (FOA) or with GCC-PHAT (microphones)."""

from __future__ import annotations

from itertools import combinations
from typing import Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Format = Literal["foa", "mic"]
Features = NDArray[np.float32]
Spectra = NDArray[np.complex64]

RATE = 24000
HOP = 480  # 20 ms: five frames a label frame
WINDOW = 960
FFT = 1024
MELS = 64
FRAMES_PER_LABEL = 5
CHANNELS: dict[Format, int] = {"foa": 7, "mic": 10}
TOGETHER = 256  # frames at a time: a minute's windows at once are hundreds of megabytes
RANGE_DB = 80.0  # below a channel's loudest value in the clip nothing is told apart


def features(audio: NDArray[np.float32], kind: Format) -> Features:
    """Features ``[7 or 10, samples // 480, 64]`` of a clip ``[4, samples]`` at 24 kHz.

    FOA (ACN: W Y Z X): log-mel of the four channels, then the intensity vector's x, y and z in mel bands. Microphones:
    log-mel of the four, then GCC-PHAT of their six pairs at lags -32..31.

    Raises:
        ValueError: not of that shape, or shorter than a frame.
    """
    if audio.ndim != 2 or audio.shape[0] != 4 or audio.shape[1] < HOP:
        raise ValueError(f"expected audio [4, {HOP} samples or more], found {list(audio.shape)}")
    spectra = stft(audio)
    space = intensity(spectra) if kind == "foa" else gcc_phat(spectra)
    return np.concatenate([log_mel(spectra), space])


def stft(audio: NDArray[np.float32]) -> Spectra:
    """``[channels, samples // 480, 513]``: a Hann window of 960 samples, centred at each multiple of 480."""
    window = np.pad(np.hanning(WINDOW + 1)[:-1], (FFT - WINDOW) // 2).astype(np.float32)
    padded = np.pad(np.asarray(audio, np.float32), ((0, 0), (FFT // 2, FFT // 2)))
    frames = sliding_window_view(padded, FFT, axis=-1)[:, ::HOP][:, : audio.shape[1] // HOP]
    spectra = np.empty((*frames.shape[:2], FFT // 2 + 1), np.complex64)
    for part in _parts(frames.shape[1]):
        spectra[:, part] = np.fft.rfft(frames[:, part] * window, axis=-1)
    return spectra


def log_mel(spectra: Spectra) -> Features:
    """Mel power of each channel in dB, ``[channels, frames, 64]``."""
    power = np.maximum(_power(spectra) @ MEL.T, 1e-10)
    level = 10 * np.log10(power)
    loudest = level.max((1, 2), keepdims=True)
    return np.asarray(np.maximum(level, loudest - RANGE_DB), np.float32)


def intensity(spectra: Spectra) -> Features:
    """Active intensity over energy, ``[3, frames, 64]``: x, y, z point to where sound comes from."""
    w, y, z, x = spectra
    energy = 1e-8 + _power(spectra).sum(0) / 2
    vector = np.real(np.conj(w) * np.stack([x, y, z])) / energy
    return np.asarray(vector @ MEL.T, np.float32)


def gcc_phat(spectra: Spectra) -> Features:
    """Cross-correlation of phases ``[6, frames, 64]`` of the pairs 01 02 03 12 13 23; the middle (32) is lag 0."""
    found = np.empty((6, spectra.shape[1], MELS), np.float32)
    for part in _parts(spectra.shape[1]):
        pairs = np.stack([np.conj(spectra[a, part]) * spectra[b, part] for a, b in combinations(range(4), 2)])
        size = np.abs(pairs)
        phases = np.where(size > 0, pairs / np.maximum(size, np.finfo(np.float32).tiny), 1)
        lags = np.fft.irfft(phases, axis=-1)
        found[:, part] = np.concatenate([lags[..., -MELS // 2 :], lags[..., : MELS // 2]], -1)
    return found


def _parts(frames: int) -> list[slice]:
    return [slice(first, first + TOGETHER) for first in range(0, frames, TOGETHER)]


def _power(spectra: Spectra) -> Features:
    return spectra.real**2 + spectra.imag**2


def _mel_bank() -> Features:
    """Triangles ``[64, 513]`` of unit area on Slaney's mel scale (Auditory Toolbox, 1998), as librosa's default."""

    def hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
        """Linear below 1 kHz (mel 15), then 27 mel for a factor of 6.4."""
        return np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))

    top = 15 + 27 * np.log(RATE / 2 / 1000) / np.log(6.4)
    corners = hertz(np.linspace(0, top, MELS + 2))[:, None]
    bins = np.arange(FFT // 2 + 1) * RATE / FFT
    rise = (bins - corners[:-2]) / (corners[1:-1] - corners[:-2])
    fall = (corners[2:] - bins) / (corners[2:] - corners[1:-1])
    triangles = np.maximum(0, np.minimum(rise, fall)) * 2 / (corners[2:] - corners[:-2])
    return triangles.astype(np.float32)


MEL = _mel_bank()
