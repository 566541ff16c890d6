from __future__ import annotations

import numpy as np
import pytest

from hearable import metrics

RATE = 16000


@pytest.fixture
def pair() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    reference = rng.normal(size=(3, 2, 8000))
    return 0.7 * reference + 0.3 * rng.normal(size=reference.shape), reference


def delayed(samples: float, seconds: float = 1.0) -> np.ndarray:
    """Band-limited noise, its right ear delayed by a fraction of samples."""
    n = int(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(5).normal(size=n))
    hz = np.fft.rfftfreq(n, 1 / RATE)
    spectrum *= np.exp(-((hz / 1500) ** 2))
    late = spectrum * np.exp(-2j * np.pi * hz * samples / RATE)
    return np.stack([np.fft.irfft(spectrum, n), np.fft.irfft(late, n)])


def test_si_sdr_and_snr_against_torchmetrics(pair):
    torch = pytest.importorskip("torch")
    audio = pytest.importorskip("torchmetrics.functional.audio")
    estimate, reference = pair
    e, r = torch.from_numpy(estimate), torch.from_numpy(reference)
    np.testing.assert_allclose(
        metrics.si_sdr(estimate, reference), audio.scale_invariant_signal_distortion_ratio(e, r).numpy(), atol=1e-9
    )
    np.testing.assert_allclose(metrics.snr(estimate, reference), audio.signal_noise_ratio(e, r).numpy(), atol=1e-9)


def test_si_sdr_does_not_mind_the_level_and_snr_does(pair):
    estimate, reference = pair
    np.testing.assert_allclose(metrics.si_sdr(5 * estimate, reference), metrics.si_sdr(estimate, reference), atol=1e-9)
    assert np.all(metrics.snr(5 * estimate, reference) < metrics.snr(estimate, reference))


def test_known_ratios():
    reference = np.array([1.0, 0, 1, 0])
    noise = np.array([0, 0.1, 0, 0.1])
    assert metrics.si_sdr(reference + noise, reference) == pytest.approx(20)
    assert metrics.snr(reference + noise, reference) == pytest.approx(20)
    assert metrics.snr(2 * reference, reference) == pytest.approx(0)


def test_improvements_are_by_ear_then_averaged():
    rng = np.random.default_rng(0)
    target = rng.normal(size=(2, 4000))
    noise = rng.normal(size=(2, 4000))
    mixture = target + noise
    estimate = target + noise * np.array([[0.1], [1.0]])  # 20 dB better on the left, nothing on the right
    assert metrics.si_sdr_improvement(estimate, mixture, target) == pytest.approx(10, abs=0.3)
    assert metrics.snr_improvement(estimate, mixture, target) == pytest.approx(10, abs=1e-6)
    assert metrics.si_sdr_improvement(mixture, mixture, target) == 0


def test_silence_is_finite():
    silence, sound = np.zeros((2, 100)), np.ones((2, 100))
    for a, b in ((silence, silence), (silence, sound), (sound, silence)):
        assert np.isfinite(metrics.si_sdr(a, b)).all() and np.isfinite(metrics.snr(a, b)).all()
        assert np.isfinite(metrics.leak_db(a, b))
    assert np.all(metrics.si_sdr(sound, silence) < -100)
    assert metrics.ild_db(silence) == 0 and metrics.itd_us(silence, RATE) == 0
    assert np.isfinite(metrics.ild_db(np.stack([silence[0], sound[0]])))


@pytest.mark.parametrize("db", [-12.0, 0.0, 6.0])
def test_level_difference(db):
    left = np.random.default_rng(0).normal(size=1000)
    audio = np.stack([left * 10 ** (db / 20), left])
    assert metrics.ild_db(audio) == pytest.approx(db, abs=1e-6)
    assert metrics.delta_ild_db(audio, np.stack([left, left])) == pytest.approx(abs(db), abs=1e-6)


@pytest.mark.parametrize("samples", [-11.0, -3.25, 0.0, 0.5, 7.0, 11.8])
def test_time_difference(samples):
    audio = delayed(samples)
    assert metrics.itd_us(audio, RATE) == pytest.approx(samples / RATE * 1e6, abs=2)
    assert metrics.delta_itd_us(audio, delayed(0), RATE) == pytest.approx(abs(samples) / RATE * 1e6, abs=2)


def test_an_inverted_ear_is_no_match():
    audio = delayed(4.0)
    audio[1] *= -1
    assert abs(metrics.itd_us(audio, RATE) - 250) > 100


def test_correlation_does_not_wrap_around():
    audio = np.zeros((2, 100))
    audio[0, 99] = audio[1, 2] = 1  # 97 samples apart, 3 around the end
    assert metrics.itd_us(audio, RATE) == 0


def test_a_clip_shorter_than_the_search():
    assert metrics.itd_us(np.array([[1.0, 0, 0], [0, 1.0, 0]]), RATE) == pytest.approx(62.5)


def test_confusion():
    rng = np.random.default_rng(0)
    target, other = rng.normal(size=(2, 2, 4000))
    mixture = target + other
    assert not metrics.is_confused(target + 0.1 * other, mixture, target, [other])
    assert metrics.is_confused(other + 0.1 * target, mixture, target, [other])
    assert not metrics.is_confused(mixture, mixture, target, [other])
    assert not metrics.is_confused(other, mixture, target, [])


def test_leak():
    mixture = np.ones((2, 100))
    assert metrics.leak_db(0.1 * mixture, mixture) == pytest.approx(-20)
    assert metrics.leak_db(0 * mixture, mixture) < -100


@pytest.mark.parametrize("call", [lambda a, b: metrics.si_sdr(a, b), lambda a, b: metrics.itd_us(a, RATE)])
def test_wrong_shapes_are_shown(call):
    with pytest.raises(ValueError, match=r"\[3, 4\]"):
        call(np.zeros((3, 4)), np.zeros((2, 4)))
