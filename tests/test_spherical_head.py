"""The analytic head: time and level differences as theory says, with their signs."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

from hearable.metrics import ild_db, itd_us
from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.spherical_head import (
    EAR_AZIMUTH_DEG,
    RADIUS_M,
    SPEED_OF_SOUND,
    sphere_response,
    spherical_head,
)


@pytest.fixture(scope="module")
def head() -> HrirSet:
    return spherical_head()


def response(head: HrirSet, azimuth: float, elevation: float = 0.0) -> np.ndarray:
    return head.responses[head.nearest(azimuth, elevation)]


def woodworth_us(azimuth: float) -> float:
    """Right ear's path minus the left one's: straight in the light, along the surface in the shadow."""

    def path(ear: float) -> float:
        angle = abs((azimuth - ear + 180) % 360 - 180)
        return -np.cos(np.radians(angle)) if angle <= 90 else np.radians(angle - 90)

    return 1e6 * RADIUS_M / SPEED_OF_SOUND * (path(-EAR_AZIMUTH_DEG) - path(EAR_AZIMUTH_DEG))


class TestSphere:
    def test_low_frequencies_pass_and_the_lit_side_gains_6_db(self):
        h = np.abs(sphere_response([0.0, 20.0, 20000.0], [0.0, 180.0], RADIUS_M))
        np.testing.assert_allclose(h[:, :2], 1.0, atol=0.03)
        assert 20 * np.log10(h[0, 2]) == pytest.approx(6.0, abs=0.5)

    def test_the_back_is_a_bright_spot(self):
        # Waves from all around meet behind the sphere: louder there than at its edge.
        h = np.abs(sphere_response([4000.0], [120.0, 150.0, 180.0], RADIUS_M))[:, 0]
        assert h[2] > max(h[0], h[1])

    def test_low_frequencies_lag_by_half_as_much_again(self):
        # Kuhn, JASA 1977: interaural delay is 3 (a / c) sin(angle) at low frequencies, 2 at high ones.
        hz = 100.0
        lit, dark = sphere_response([hz], [90 - 30, 90 + 30], RADIUS_M)[:, 0]
        delay = np.angle(lit / dark) / (2 * np.pi * hz)
        assert delay == pytest.approx(3 * RADIUS_M / SPEED_OF_SOUND * np.sin(np.radians(30)), rel=0.05)


class TestHead:
    @pytest.mark.parametrize("azimuth", [-90, -80, -45, -20, 0, 30, 60, 85, 120, -150])
    def test_itd_follows_woodworth_with_its_sign(self, head, azimuth):
        assert itd_us(response(head, azimuth), 16000) == pytest.approx(woodworth_us(azimuth), abs=80)

    @pytest.mark.parametrize("azimuth", [15, 30, 60, 90, 120, 150])
    def test_left_sources_are_louder_and_earlier_at_the_left_ear(self, head, azimuth):
        left, right = response(head, azimuth), response(head, -azimuth)
        assert ild_db(left) > 2 and itd_us(left, 16000) > 80
        assert ild_db(right) < -2 and itd_us(right, 16000) < -80

    def test_left_and_right_mirror(self, head):
        for azimuth, elevation in ((40, 0), (90, 30), (-135, -45)):
            mirrored = response(head, -azimuth, elevation)[::-1]
            np.testing.assert_allclose(response(head, azimuth, elevation), mirrored, atol=1e-5)

    def test_a_source_ahead_reaches_both_ears_alike_with_unit_energy(self, head):
        left, right = response(head, 0)
        np.testing.assert_allclose(left, right, atol=1e-6)
        assert np.sum(left**2) == pytest.approx(1, rel=1e-4)

    def test_the_response_is_over_within_its_taps(self, head):
        energy = np.sum(head.responses.astype(np.float64) ** 2, axis=(0, 1))
        assert energy[-16:].sum() < 1e-3 * energy.sum()

    def test_the_grid_is_as_asked(self):
        coarse = spherical_head(48000, 256, azimuth_step_deg=30, elevation_step_deg=45)
        assert coarse.responses.shape == (12 * 3, 2, 256) and coarse.responses.dtype == np.float32
        assert coarse.sample_rate_hz == 48000
        assert set(coarse.elevation_deg) == {-45, 0, 45}
        assert itd_us(response(coarse, 90), 48000) == pytest.approx(woodworth_us(90), abs=80)

    def test_serves_scenes_and_listeners_of_another_rate(self, head):
        assert head.resampled(48000).responses.shape == (len(head.responses), 2, 3 * head.taps)
