"""Diffuse sound: waves from all directions at once, alike loud and independent, as each array receives them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from hearable.synthesis.arrays import Directions, Receiver

Audio = NDArray[np.float32]
N_FFT = 2048
FADE = 512  # by which blocks overlap
HOP = N_FFT - FADE
WAVES = 1024
TOGETHER = 32  # blocks at a time: what the cache holds
_RAMP = np.sin(np.pi / 2 * (np.arange(FADE) + 0.5) / FADE)
WINDOW = np.concatenate([_RAMP, np.ones(HOP - FADE), _RAMP[::-1]]).astype(np.float32)  # twice: before and after


def even_directions(count: int) -> Directions:
    """Unit vectors ``[count, 3]``, evenly spread (Fibonacci spiral)."""
    index = np.arange(count)
    z = 1 - (2 * index + 1) / count
    azimuth = np.pi * (3 - np.sqrt(5)) * index
    level = np.sqrt(1 - z**2)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), z], axis=-1)


def diffuse_covariance(receiver: Receiver) -> NDArray[np.complex128]:
    """Covariance of the channels at each frequency, ``[bins, channels, channels]``, of a field of unit power."""
    total = np.zeros((N_FFT // 2 + 1, receiver.channels, receiver.channels), np.complex128)
    for directions in np.split(even_directions(WAVES), 8):
        waves = receiver.spectra(directions, N_FFT).transpose(2, 1, 0).astype(np.complex128)
        total += waves @ waves.conj().transpose(0, 2, 1) / WAVES
    return total


class DiffuseField:
    """Makes incoherent signals into what a receiver hears of a diffuse field that sounds like them.

    Each frequency of the channels is a mix of the inputs with the field's covariance. All formats hear one field: a
    format's channels come out the same, whichever formats follow it.
    """

    def __init__(self, receiver: Receiver):
        covariance = diffuse_covariance(receiver)
        level = np.trace(covariance, axis1=1, axis2=2).real / receiver.channels
        # FOA nearly decides what the sphere's microphones hear at low frequencies: keep the factor regular.
        covariance += 1e-6 * level[:, None, None] * np.eye(receiver.channels)
        self._factor = np.linalg.cholesky(covariance).astype(np.complex64)

    def spread(self, inputs: Audio, colour: Audio | None = None) -> Audio:
        """What the channels hear, ``[channels, samples]``.

        Args:
            inputs: mutually incoherent signals of the same spectrum, one for each channel.
            colour: gain at each frequency, ``[N_FFT / 2 + 1]``.
        """
        channels, samples = inputs.shape
        count = -(-(samples + FADE) // HOP)
        padded = np.zeros((channels, count * HOP + FADE), np.float32)
        padded[:, FADE : FADE + samples] = inputs
        blocks = np.lib.stride_tricks.sliding_window_view(padded, N_FFT, axis=-1)[:, ::HOP]
        spread = np.zeros_like(padded)
        factor = self._factor if colour is None else self._factor * colour[:, None, None]
        for first in range(0, count, TOGETHER):
            spectra = rfft(blocks[:, first : first + TOGETHER] * WINDOW).transpose(2, 0, 1)
            mixed = irfft((factor @ spectra).transpose(1, 2, 0), N_FFT) * WINDOW
            for number in range(mixed.shape[1]):
                begin = (first + number) * HOP
                spread[:, begin : begin + N_FFT] += mixed[:, number]
        return spread[:, FADE : FADE + samples]


@lru_cache(maxsize=8)
def diffuse_field(receiver: Receiver) -> DiffuseField:
    """The field of a receiver, made once."""
    return DiffuseField(receiver)
