"""Snaps at the left ear, ears swapped or not; bursts that come back."""

from __future__ import annotations

import numpy as np
import pytest

from hearable.errors import AudioError
from hearable.live.ears import check_ears
from hearable.live.probe import Probe


def snaps(rate: int = 48000, delay_us: float = 500, level_db: float = 8, noise: float = 1e-3) -> np.ndarray:
    """Three snaps beside the left ear, in a little noise and a room's answer."""
    rng = np.random.default_rng(0)
    clip = noise * rng.normal(size=(2, 4 * rate))
    burst = rng.normal(size=round(0.003 * rate)) * np.exp(-np.arange(round(0.003 * rate)) / (0.0006 * rate))
    room = rng.normal(size=(2, round(0.1 * rate))) * np.exp(-np.arange(round(0.1 * rate)) / (0.02 * rate)) * 0.02
    late = round(1e-6 * delay_us * rate)
    for at in (0.7, 1.6, 2.9):
        n = round(at * rate)
        clip[0, n : n + burst.size] += 0.3 * burst
        clip[1, n + late : n + late + burst.size] += 0.3 * 10 ** (-level_db / 20) * burst
        clip[:, n + 300 : n + 300 + room.shape[1]] += room
    return clip.astype(np.float32)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_snaps_tell_left_from_right(rate):
    clip = snaps(rate)
    found = check_ears(clip, rate)
    assert found.verdict == "right" and found.snaps == 3
    assert found.earlier_us == pytest.approx(500, abs=1e6 / rate) and found.louder_db == pytest.approx(8, abs=1)
    crossed = check_ears(clip[::-1].copy(), rate)
    assert crossed.verdict == "swapped" and crossed.earlier_us < 0 and "exchange" in crossed.detail


def test_what_cannot_be_told_is_called_unclear():
    assert "no snap" in check_ears(snaps()[:, :24000], 48000).detail
    alike = snaps(delay_us=0, level_db=0)
    assert check_ears(alike, 48000).verdict == "unclear"
    assert "one microphone" in check_ears(np.stack([alike[0]] * 2), 48000).detail


@pytest.mark.parametrize("late", [128, 300, 5000])
def test_the_round_trip_is_measured_to_the_sample(late):
    probe, rng = Probe(16000, 128), np.random.default_rng(0)
    way = (0.002 * rng.normal(size=(2, 200 * 625))).astype(np.float32)  # what comes in, and when
    at = 0
    while not probe.done:
        out = probe.step(way[:, at : at + 128])
        way[:, at + late : at + late + 128] += 0.2 * out
        at += 128
    found = probe.result()
    assert (found.samples, found.spread, found.bursts) == (late, 0, 8)


def test_a_round_trip_that_is_not_there_is_an_error():
    probe = Probe(16000, 128)
    rng = np.random.default_rng(0)
    while not probe.done:
        probe.step((0.01 * rng.normal(size=(2, 128))).astype(np.float32))
    with pytest.raises(AudioError, match="found 0: lead the output back"):
        probe.result()
