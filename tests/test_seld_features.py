"""Features and targets of SELD: as the official code computes them, and meaning what they say."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

from hearable.seld.accdoa import accdoa, decode_accdoa, decode_multi_accdoa, multi_accdoa
from hearable.seld.events import Events
from hearable.seld.features import CHANNELS, MEL, MELS, RATE, features, gcc_phat, intensity, stft
from hearable.synthesis.directions import angle_between_deg, unit_vectors
from tests.seld_sound import PLACES, sound

OFFICIAL = json.loads(Path(__file__).with_name("official_seld.json").read_text())


@pytest.mark.parametrize("kind", ["foa", "mic"])
def test_as_the_official_code(kind):
    found = features(sound(), kind)
    assert found.shape == (CHANNELS[kind], RATE // 480, MELS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.ravel()[::PLACES], OFFICIAL[kind], rtol=1e-4, atol=2e-4)


def test_mel_bands_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    np.testing.assert_allclose(MEL, librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=MELS), atol=1e-8)


@pytest.mark.parametrize(("azimuth", "elevation"), [(0, 0), (90, 0), (-135, 30), (20, -60)])
def test_intensity_points_to_the_source(azimuth, elevation):
    x, y, z = unit_vectors(azimuth, elevation)
    noise = np.random.default_rng(0).normal(size=RATE)
    foa = (noise * np.array([1, y, z, x])[:, None]).astype(np.float32)
    found = intensity(stft(foa)).mean((1, 2)).astype(np.float64)
    assert angle_between_deg(found / np.linalg.norm(found), np.array([x, y, z])) < 0.01


def test_gcc_phat_peaks_at_the_lag():
    noise = np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    audio = np.stack([np.roll(noise, lag) for lag in (0, 3, -5, 0)])
    peaks = gcc_phat(stft(audio)).mean(1).argmax(-1) - MELS // 2
    np.testing.assert_array_equal(peaks, [3, -5, 0, -8, -3, 5])


def test_silence_has_finite_features():
    for kind in CHANNELS:
        assert np.isfinite(features(np.zeros((4, RATE), np.float32), kind)).all()
    with pytest.raises(ValueError, match="expected audio"):
        features(np.zeros((2, RATE), np.float32), "foa")


ROWS = [(0, 2, 0, 10.0, 5.0), (0, 2, 1, 100.0, -40.0), (0, 2, 2, -100.0, 0.0), (3, 0, 3, 179.0, 80.0)]


def as_set(events: Events):
    rows = zip(events.frame, events.class_index, events.azimuth_deg, events.elevation_deg, strict=True)
    return {(int(f), int(k), round(float(a), 3), round(float(e), 3)) for f, k, a, e in rows}


def test_accdoa_and_back():
    events = Events.from_rows([ROWS[0], ROWS[3]])
    target = accdoa(events, 5, 4)
    assert target.shape == (5, 3, 4)
    assert np.linalg.norm(target, axis=1).sum() == pytest.approx(2)
    assert as_set(decode_accdoa(target)) == as_set(events)
    assert not len(decode_accdoa(0.4 * target))
    assert not accdoa(events, 5, 4)[[1, 2, 4]].any() and not accdoa(Events.from_rows([(9, 0, 0, 0, 0)]), 5, 4).any()


def test_of_events_of_one_class_at_once_accdoa_keeps_the_last():
    assert as_set(decode_accdoa(accdoa(Events.from_rows(ROWS[:2]), 1, 3))) == as_set(Events.from_rows(ROWS[1:2]))


@pytest.mark.parametrize(("count", "slots"), [(1, [0]), (2, [1, 2]), (3, [3, 4, 5])])
def test_multi_accdoa_spreads_events_over_slots(count, slots):
    target = multi_accdoa(Events.from_rows(ROWS[:count]), 1, 3)
    assert target.shape == (1, 6, 4, 3)
    np.testing.assert_array_equal(np.flatnonzero(target[0, :, 0, 2]), slots)
    directions = Events.from_rows(ROWS[:count]).directions
    np.testing.assert_allclose(target[0, slots, 1:, 2], directions, atol=1e-6)


def test_multi_accdoa_output_and_back():
    """One event that three tracks say, two of which two tracks say one, and three apart."""
    a, b, c = (Events.from_rows([row]).directions[0] for row in ROWS[:3])
    output = np.zeros((4, 3, 3, 3), np.float32)
    output[0, :, :, 2] = a, a, a
    output[1, :, :, 2] = b, a, b
    output[2, :, :, 2] = a, b, c
    output[3, :, :, 2] = 0.4 * a, 0.9 * b, 0 * c
    found = decode_multi_accdoa(output)
    expected = [(0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (3, 1)]
    assert as_set(found) == as_set(Events.from_rows([(frame, 2, 0, *ROWS[n][3:]) for frame, n in expected]))
    assert not len(decode_multi_accdoa(np.zeros((2, 3, 3, 3), np.float32)))


def test_close_tracks_are_averaged():
    output = np.zeros((1, 3, 3, 1), np.float32)
    output[0, :, :, 0] = unit_vectors([0, 10, 90], [0, 0, 0])
    found = decode_multi_accdoa(output)
    np.testing.assert_allclose(sorted(found.azimuth_deg), [5, 90], atol=1e-4)
