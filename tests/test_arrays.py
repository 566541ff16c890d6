"""What arrays receive: closed forms, diffuse coherence, heads between their measured directions."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")
from scipy.special import eval_legendre, spherical_jn, spherical_yn

from hearable.metrics import itd_us
from hearable.synthesis.arrays import LEAD, MIC_DIRECTIONS_DEG, TAPS, HrirArray, Receiver, foa_gains
from hearable.synthesis.diffuse import DiffuseField, diffuse_covariance, even_directions
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.spherical_head import spherical_head

RATE = 24000
DIRECTIONS = unit_vectors([0.0, 45.0, 133.3, -90.0, -17.1], [0.0, 35.0, -20.4, 60.0, -45.0])


def dcase_sphere(frequency_hz: np.ndarray, cosine: float) -> np.ndarray:
    """The formula that the DCASE 2021 data set paper gives for its array, term by term."""
    kr = 2 * np.pi * frequency_hz * 0.042 / 343.0
    total = np.zeros(len(kr), complex)
    for n in range(31):
        slope = spherical_jn(n, kr, derivative=True) - 1j * spherical_yn(n, kr, derivative=True)
        total += 1j ** (n - 1) / slope * (2 * n + 1) * eval_legendre(n, cosine)
    return total / kr**2


def test_foa_is_acn_sn3d():
    gains = foa_gains(unit_vectors([0, 90, 0, 30], [0, 0, 90, 40]))
    azimuth, elevation = np.radians(30), np.radians(40)
    oblique = [1, np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
    np.testing.assert_allclose(gains, [[1, 0, 0, 1], [1, 1, 0, 0], [1, 0, 1, 0], oblique], atol=1e-12)


@pytest.mark.parametrize("n_fft", [TAPS, 1024])
def test_microphones_follow_the_closed_form(n_fft):
    frequency = np.fft.rfftfreq(n_fft, 1 / RATE)
    heard = Receiver(("mic",), RATE).spectra(DIRECTIONS, n_fft) * np.exp(2j * np.pi * frequency * LEAD / RATE)
    band = (frequency >= 100) & (frequency <= 11000)
    capsules = unit_vectors(*np.array(MIC_DIRECTIONS_DEG).T)
    for spectra, direction in zip(heard, DIRECTIONS, strict=True):
        for spectrum, capsule in zip(spectra, capsules, strict=True):
            ratio = spectrum[band] / dcase_sphere(frequency[band], float(direction @ capsule))
            assert np.abs(20 * np.log10(np.abs(ratio))).max() < 0.1
            assert np.abs(np.angle(ratio) / (2 * np.pi * frequency[band])).max() < 2e-6


def coherence(audio: np.ndarray, n_fft: int = 128) -> np.ndarray:
    """``[bins, channels, channels]``, complex."""
    blocks = np.lib.stride_tricks.sliding_window_view(audio, n_fft, -1)[:, :: n_fft // 2] * np.hanning(n_fft)
    spectra = np.fft.rfft(blocks).transpose(2, 0, 1)
    cross = spectra @ spectra.conj().transpose(0, 2, 1)
    power = np.sqrt(np.einsum("fcc->fc", cross).real)
    return cross / (power[:, :, None] * power[:, None, :])


@pytest.fixture(scope="module")
def diffuse():
    receiver = Receiver(("foa", "mic", "binaural"), RATE)
    noise = np.random.default_rng(0).standard_normal((receiver.channels, 40 * RATE)).astype(np.float32)
    return DiffuseField(receiver).spread(noise), receiver.slices


def test_diffuse_foa_has_a_third_of_the_power_in_each_of_y_z_x(diffuse):
    audio = diffuse[0][diffuse[1]["foa"]]
    np.testing.assert_allclose(audio.var(axis=1), [1, 1 / 3, 1 / 3, 1 / 3], rtol=0.03)
    np.testing.assert_allclose(np.abs(coherence(audio)), np.broadcast_to(np.eye(4), (65, 4, 4)), atol=0.05)


def test_diffuse_microphones_are_as_coherent_as_on_a_sphere(diffuse):
    found = coherence(diffuse[0][diffuse[1]["mic"]])
    kr = 2 * np.pi * np.fft.rfftfreq(128, 1 / RATE)[1:] * 0.042 / 343.0
    same, other = np.zeros(len(kr)), np.zeros(len(kr))
    for n in range(31):
        weight = (2 * n + 1) / np.abs(spherical_jn(n, kr, True) - 1j * spherical_yn(n, kr, True)) ** 2
        same, other = same + weight, other + weight * eval_legendre(n, -1 / 3)  # a tetrahedron's corners
    # Nearly regular: the array's 35 degrees stand for 35.26.
    for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        np.testing.assert_allclose(found[1:, a, b], other / same, atol=0.05)


def test_diffuse_ears_are_coherent_as_the_head_says(diffuse):
    found = coherence(diffuse[0][diffuse[1]["binaural"]], TAPS)[1:115, 0, 1]  # to 10.8 kHz
    waves = Receiver(("binaural",), RATE).spectra(even_directions(3000), TAPS)[:, :, 1:115]
    left, right = waves[:, 0], waves[:, 1]
    theory = (left * right.conj()).mean(0) / np.sqrt((np.abs(left) ** 2).mean(0) * (np.abs(right) ** 2).mean(0))
    np.testing.assert_allclose(found, theory, atol=0.05)


def test_formats_hear_one_diffuse_field():
    inputs = np.random.default_rng(1).standard_normal((8, RATE)).astype(np.float32)
    both, alone = DiffuseField(Receiver(("foa", "mic"), RATE)), DiffuseField(Receiver(("foa",), RATE))
    np.testing.assert_allclose(both.spread(inputs)[:4], alone.spread(inputs[:4]), atol=1e-4)
    # W is the pressure at the centre, which is nearly that on the sphere at low frequencies.
    cross = diffuse_covariance(Receiver(("foa", "mic"), RATE))[4]
    assert abs(cross[0, 4]) / np.sqrt(cross[0, 0].real * cross[4, 4].real) > 0.95


class TestHead:
    def test_measured_directions_come_out_as_measured(self):
        head = spherical_head(RATE, taps=128)
        index = [head.nearest(a, e) for a, e in ((0, 0), (60, 15), (-120, -30))]
        directions = unit_vectors(head.azimuth_deg[index], head.elevation_deg[index])
        heard = np.fft.irfft(HrirArray(head).spectra(directions, TAPS), TAPS)
        for response, i in zip(heard, index, strict=True):
            found, measured = (np.abs(np.fft.rfft(r, TAPS))[:, 2:115] for r in (response, head.responses[i]))
            assert np.abs(20 * np.log10(found / measured)).max() < 0.1
            assert itd_us(response, RATE) == pytest.approx(itd_us(head.responses[i], RATE), abs=2)

    def test_a_coarse_head_is_continuous_between_its_directions(self):
        coarse, fine = (HrirArray(spherical_head(RATE, azimuth_step_deg=step)) for step in (15.0, 2.5))
        azimuth = np.arange(0.0, 90.0, 1.0)
        directions = unit_vectors(azimuth, np.zeros_like(azimuth))
        delays = [
            np.array([itd_us(r, RATE) for r in np.fft.irfft(array.spectra(directions, TAPS), TAPS)])
            for array in (coarse, fine)
        ]
        assert np.abs(delays[0] - delays[1]).max() < 30
        assert np.abs(np.diff(delays[0])).max() < 20  # 8.6 us a degree in front

    def test_rooms_are_refused(self):
        hall = HrirSet(
            "hall", np.ones((1, 2, 4000), np.float32), np.zeros(1, np.float32), np.zeros(1, np.float32), RATE
        )
        with pytest.raises(
            ValueError, match="hall: expected free-field responses of at most 192 samples at 24000 Hz, found 4000"
        ):
            HrirArray(hall)
