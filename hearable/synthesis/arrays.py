"""What an array's channels receive from a direction: FOA, the tetrahedron on a rigid sphere, two ears.

A wave of unit amplitude at the array's centre (with the array away) is 1 in FOA's W. Responses are causal: sample
``LEAD`` of a response is the instant at which the wave passes the centre.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft
from scipy.signal import resample_poly
from scipy.spatial import ConvexHull

from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.seld_scene import Format
from hearable.synthesis.spherical_head import EAR_AZIMUTH_DEG, RADIUS_M, sphere_response

Directions = NDArray[np.float64]
Spectra = NDArray[np.complex64]

LEAD = 64
TAPS = 256
LONG = 2048  # samples in which responses are made before they are cut to TAPS
KEPT = 0.99  # least share of a head's energy that is within TAPS
# Capsules of the DCASE 2021 array (Politis et al. 2021), azimuth and elevation.
MIC_DIRECTIONS_DEG = ((45, 35), (-45, -35), (135, -35), (-135, 35))
MIC_RADIUS_M = 0.042
BAND = 0.92  # share of the band that is passed unchanged; what is above fades, so that responses are short
POLE_CAP = 0.9  # sine of the elevation up to which a head must be measured for nothing to be added at the pole
ANGLE_STEP_DEG = 0.25  # of the tabulated sphere: 0.3 us at the microphones' radius


class Array(Protocol):
    """Several channels at one place."""

    def spectra(self, directions: Directions, n_fft: int) -> Spectra:
        """``[n, channels, n_fft / 2 + 1]`` of unit waves from unit vectors ``[n, 3]``; ``n_fft`` is >= ``TAPS``."""


def foa_gains(directions: Directions) -> NDArray[np.float64]:
    """ACN/SN3D gains ``[..., 4]`` (W Y Z X) of unit vectors ``[..., 3]``."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack([np.ones_like(x), y, z, x], axis=-1)


class FoaArray:
    """First-order ambisonics: an ideal array in one point."""

    def spectra(self, directions: Directions, n_fft: int) -> Spectra:
        """As `Array` says."""
        gains = foa_gains(directions).astype(np.float32)
        return np.asarray(gains[..., None] * delays(np.array(float(LEAD)), n_fft))


class SphereArray:
    """Pressure microphones on a rigid sphere, after the closed form of `sphere_response`.

    Args:
        rate: sample rate in Hz.
        capsules: their unit vectors ``[channels, 3]``.
        radius_m: of the sphere.
        gain: of every channel.
    """

    def __init__(self, rate: int, capsules: Directions, radius_m: float, gain: float = 1.0):
        self.capsules = capsules
        angles = np.arange(0, 180 + ANGLE_STEP_DEG / 2, ANGLE_STEP_DEG)
        wave = sphere_response(np.fft.rfftfreq(LONG, 1 / rate), angles, radius_m)
        # One table serves all capsules: the sphere looks the same from each.
        self._taps = gain * irfft(wave * delays(np.array(float(LEAD)), LONG) * band_edge(LONG))[:, :TAPS]
        self._table = lru_cache(maxsize=4)(self._spectra_of_table)

    def spectra(self, directions: Directions, n_fft: int) -> Spectra:
        """As `Array` says."""
        angle = np.degrees(np.arccos(np.clip(directions @ self.capsules.T, -1, 1)))
        return np.asarray(self._table(n_fft)[np.rint(angle / ANGLE_STEP_DEG).astype(np.intp)])

    def _spectra_of_table(self, n_fft: int) -> Spectra:
        table: Spectra = rfft(self._taps.astype(np.float32), n_fft)
        return table


class HrirArray:
    """A measured head, continuous in direction.

    Between directions, the responses at the corners of the triangle around it, shifted to a common onset, are averaged
    with barycentric weights; their onsets are averaged alike and put back. A measured direction gives the measured
    response. Above and below all measured directions those at the edge serve.

    Raises:
        ValueError: sound beyond ``TAPS`` (a room is in the responses).
    """

    def __init__(self, head: HrirSet):
        onset = onsets(head.responses)
        self._lag = onset - onset[head.nearest(0.0, 0.0)].mean()  # samples after the wave passes the head's centre
        aligned = irfft(rfft(head.responses, LONG) * delays(LEAD - onset, LONG) * band_edge(LONG))
        self._aligned = aligned[..., :TAPS]
        energy, kept = (float(np.sum(taps.astype(np.float64) ** 2)) for taps in (aligned, self._aligned))
        if head.taps > LONG or kept < KEPT * energy:
            raise ValueError(f"{head.name}: expected free-field responses of at most {TAPS - LEAD} samples at "
                             f"{head.sample_rate_hz} Hz, found {head.taps}")  # fmt: skip
        corners = unit_vectors(head.azimuth_deg, head.elevation_deg)
        poles = [[0, 0, pole] for pole in (1.0, -1.0) if np.max(corners[:, 2] * pole) < POLE_CAP]
        net = np.concatenate([corners, np.reshape(poles, (-1, 3))])
        self._triangles = ConvexHull(net).simplices
        self._to_weights = np.linalg.inv(net[self._triangles])
        self._table = lru_cache(maxsize=4)(self._spectra_of_table)

    def spectra(self, directions: Directions, n_fft: int) -> Spectra:
        """As `Array` says."""
        every = np.einsum("nj,tji->nti", directions, self._to_weights, optimize=True)
        around = np.argmax(every.min(-1), axis=-1)
        corner = self._triangles[around]
        weight = np.maximum(every[np.arange(len(around)), around], 1e-9)
        measured = corner < len(self._lag)  # a pole only closes the net
        weight = np.where(measured, weight, 0.0)
        weight /= weight.sum(-1, keepdims=True)
        corner = np.where(measured, corner, 0)
        lag = np.einsum("nk,nkc->nc", weight, self._lag[corner])
        shape = np.einsum("nk,nkcf->ncf", weight.astype(np.float32), self._table(n_fft)[corner])
        return np.asarray(shape * delays(lag, n_fft))

    def _spectra_of_table(self, n_fft: int) -> Spectra:
        table: Spectra = rfft(self._aligned, n_fft)
        return table


class Receiver:
    """The arrays of several formats at one place, their channels one after the other.

    Attributes:
        slices: which channels are a format's.
        channels: how many there are.
    """

    def __init__(self, formats: Iterable[Format], rate: int, listener: HrirSet | None = None):
        arrays = [(name, _array(name, rate, listener)) for name in formats]
        self.rate = rate
        self.slices: dict[Format, slice] = {}
        self.channels = 0
        for name, _ in arrays:
            width = 2 if name == "binaural" else 4
            self.slices[name] = slice(self.channels, self.channels + width)
            self.channels += width
        self._arrays = [array for _, array in arrays]

    def spectra(self, directions: Directions, n_fft: int) -> Spectra:
        """As `Array` says, for all channels."""
        return np.concatenate([array.spectra(directions, n_fft) for array in self._arrays], axis=1)


@lru_cache(maxsize=8)
def receiver(formats: tuple[Format, ...], rate: int, listener: HrirSet | None) -> Receiver:
    """A receiver, made once; no listener is the spherical head."""
    return Receiver(formats, rate, listener)


def _array(name: Format, rate: int, listener: HrirSet | None) -> Array:
    if name == "foa":
        return FoaArray()
    if name == "mic":
        return SphereArray(rate, unit_vectors(*np.array(MIC_DIRECTIONS_DEG, np.float64).T), MIC_RADIUS_M)
    return HrirArray(listener.resampled(rate)) if listener else _spherical_head(rate)


def _spherical_head(rate: int) -> SphereArray:
    """Ears on a sphere, with the gain of an `HrirSet`: from straight ahead, unit energy."""
    ears = unit_vectors([EAR_AZIMUTH_DEG, -EAR_AZIMUTH_DEG], [0.0, 0.0])
    front = sphere_response(np.fft.rfftfreq(TAPS, 1 / rate), [EAR_AZIMUTH_DEG], RADIUS_M)[0]
    energy = np.sum(irfft(front, TAPS) ** 2)
    return SphereArray(rate, ears, RADIUS_M, 1 / np.sqrt(energy))


def delays(samples: NDArray[np.float64], n_fft: int) -> Spectra:
    """Spectra ``[..., n_fft / 2 + 1]`` of delays in samples."""
    turn = -2j * np.pi / n_fft * np.arange(n_fft // 2 + 1)
    return np.exp(samples[..., None] * turn).astype(np.complex64)


def band_edge(n_fft: int) -> NDArray[np.float32]:
    """Gain ``[n_fft / 2 + 1]`` that ends the band smoothly."""
    place = np.clip((np.linspace(0, 1, n_fft // 2 + 1) - BAND) / (1 - BAND), 0, 1)
    return np.asarray(np.cos(np.pi / 2 * place) ** 2, np.float32)


def onsets(responses: NDArray[np.float32]) -> NDArray[np.float64]:
    """Where each response first reaches a fifth of its peak, in samples: ``[directions, ears]``."""
    fine = 8
    wave = np.abs(resample_poly(responses, fine, 1, axis=-1))
    reached = wave >= 0.2 * wave.max(-1, keepdims=True)
    return np.asarray(reached.argmax(-1) / fine, np.float64)
