"""Baselines: exact resynthesis, latency, the ideal mask, a source found by its direction."""

from __future__ import annotations

import numpy as np
import pytest

from hearable.baselines import analyse, ideal_mask, known_direction, synthesise, window_pair
from hearable.metrics import si_sdr, si_sdr_improvement
from tests import tinykit


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mixture and two images ``[2, samples]``: voices 60 degrees to the left and 50 to the right."""
    rng = np.random.default_rng(1)
    ears = tinykit.responses()
    images = []
    for pitch, azimuth in ((100.0, 60), (170.0, -50)):
        response = ears[int(np.flatnonzero(azimuth == tinykit.AZIMUTHS)[0])]
        dry = tinykit.voice(pitch, 2.0, rng)
        images.append(np.stack([np.convolve(dry, ear)[: len(dry)] for ear in response]).astype(np.float32))
    return images[0] + images[1], images[0], images[1]


@pytest.mark.parametrize("samples", [16000, 16001, 128, 5])
def test_resynthesis_is_exact(samples: int) -> None:
    sound = np.random.default_rng(0).normal(size=(2, samples)).astype(np.float32)
    np.testing.assert_allclose(synthesise(analyse(sound), samples), sound, atol=1e-5)


def test_nothing_is_known_12_ms_ahead() -> None:
    """A chunk of output is whole 64 samples after its last one: 192 samples behind its first."""
    before = np.random.default_rng(0).normal(size=(2, 4000)).astype(np.float32)
    after = before.copy()
    after[:, 2048:] = 0
    response = tinykit.responses()[0].astype(np.float32)
    changed = np.abs(known_direction(before, response) - known_direction(after, response)).max(0) > 1e-7
    first = int(np.argmax(changed))
    assert 2048 - 192 <= first < 2048


def test_windows_are_those_of_the_network() -> None:
    pytest.importorskip("torch")
    from training.network import window_pair as of_network

    for own, other in zip(window_pair(), of_network(512), strict=True):
        np.testing.assert_allclose(own, other.numpy(), atol=1e-5)


def test_ideal_mask(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    mixture, first, second = scene
    for target in (first, second):
        assert si_sdr_improvement(ideal_mask(mixture, target), mixture, target) > 10
    assert np.mean(si_sdr(ideal_mask(first, first), first)) > 60  # nothing else: nothing taken away


def test_known_direction(scene: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    mixture, first, second = scene
    ears = tinykit.responses().astype(np.float32)
    for azimuth, target in ((60, first), (-50, second)):
        response = ears[int(np.flatnonzero(azimuth == tinykit.AZIMUTHS)[0])]
        assert si_sdr_improvement(known_direction(mixture, response), mixture, target) > 4
    elsewhere = known_direction(mixture, ears[int(np.flatnonzero(tinykit.AZIMUTHS == -50)[0])])
    assert si_sdr_improvement(elsewhere, mixture, first) < 0
