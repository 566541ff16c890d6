"""A listener that needs no download: two ears on a rigid sphere.

The pressure on a rigid sphere in a plane wave is known in closed form (Rayleigh 1904; Duda and Martens, JASA 1998).
It has the time and level differences of a head, though no pinnae: front and back differ only because the ears lie
behind the sides. Real heads (SOFA, npz) are better wherever they are at hand.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.hrir import HrirSet

SPEED_OF_SOUND = 343.0
RADIUS_M = 0.0875
EAR_AZIMUTH_DEG = 100.0
ORDER = 40
LEAD_SAMPLES = 24  # the centre of the head; the near ear is earlier


def sphere_response(frequency_hz: ArrayLike, incidence_deg: ArrayLike, radius_m: float) -> NDArray[np.complex128]:
    """Pressure on a rigid sphere in a plane wave, relative to the free field at its centre.

    Args:
        frequency_hz: ``[frequencies]``, not negative.
        incidence_deg: ``[angles]`` between the point on the sphere and the direction that the wave comes from.
        radius_m: of the sphere.

    Returns:
        ``[angles, frequencies]``, for time going as exp(+i w t).
    """
    ka = 2 * np.pi * np.asarray(frequency_hz, np.float64) * radius_m / SPEED_OF_SOUND
    cosine = np.cos(np.radians(np.asarray(incidence_deg, np.float64)))
    safe = np.maximum(ka, 1e-3)  # the response is 1 below; the series divides by zero there
    total = np.zeros((len(cosine), len(safe)), np.complex128)
    for n in range(ORDER + 1):
        slope = spherical_jn(n, safe, derivative=True) - 1j * spherical_yn(n, safe, derivative=True)
        with np.errstate(over="ignore", invalid="ignore"):
            term = 1j ** (n - 1) * (2 * n + 1) / slope
        # High orders of low frequencies overflow in the slope: their terms are nothing.
        total += np.where(np.isfinite(term), term, 0.0) * eval_legendre(n, cosine)[:, None]
    return np.where(ka > 1e-3, total / safe**2, 1.0)


def spherical_head(
    sample_rate_hz: int = 16000, taps: int = 128, azimuth_step_deg: float = 5.0, elevation_step_deg: float = 15.0
) -> HrirSet:
    """Impulse responses of a spherical head on a grid of directions, elevations -45 to 45 degrees.

    Args:
        sample_rate_hz: rate of the responses.
        taps: their length in samples.
        azimuth_step_deg: grid step, dividing 360.
        elevation_step_deg: grid step, dividing 45.
    """
    azimuths = np.arange(-180.0, 180.0, azimuth_step_deg)
    elevations = np.arange(-45.0, 45.0 + elevation_step_deg / 2, elevation_step_deg)
    azimuth, elevation = (g.ravel() for g in np.meshgrid(azimuths, elevations))
    directions = unit_vectors(azimuth, elevation)
    frequency = np.fft.rfftfreq(taps, 1 / sample_rate_hz)
    delay = np.exp(-2j * np.pi * frequency * LEAD_SAMPLES / sample_rate_hz)
    ears = []
    for ear_azimuth in (EAR_AZIMUTH_DEG, -EAR_AZIMUTH_DEG):
        ear = unit_vectors(ear_azimuth, 0.0)
        incidence = np.degrees(np.arccos(np.clip(directions @ ear, -1, 1)))
        spectrum = sphere_response(frequency, incidence, RADIUS_M) * delay
        ears.append(np.fft.irfft(spectrum, taps, axis=-1))
    responses = np.stack(ears, 1)
    front = np.argmin(np.abs(azimuth) + np.abs(elevation))
    gain = 1 / np.sqrt(np.mean(np.sum(responses[front] ** 2, -1)))
    return HrirSet(
        "spherical_head",
        (responses * gain).astype(np.float32),
        azimuth.astype(np.float32),
        elevation.astype(np.float32),
        sample_rate_hz,
    )
