"""Perceptual scores: the ears' mean, the published DNSMOS, and nothing where there is nothing to judge."""

from __future__ import annotations

import numpy as np
import pytest

for package in ("pesq", "pystoi", "speechmos", "librosa"):
    pytest.importorskip(package, reason="pip install 'hearable[evaluate]'")

from pystoi import stoi  # noqa: E402
from speechmos import dnsmos  # noqa: E402

from hearable.perceptual import perceptual  # noqa: E402
from hearable.protocol import gains  # noqa: E402
from tests import tinykit  # noqa: E402

RATE = 16000


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return np.stack([tinykit.voice(pitch, 2.6, np.random.default_rng(4)) for pitch in (120.0, 150.0)])


def test_ears_are_averaged_and_the_level_does_not_matter(speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(size=speech.shape).astype(np.float32) * np.float32([[0.003], [0.03]])
    noisy = speech + noise
    found = perceptual(noisy, speech)
    each = [stoi(r, e, RATE, extended=True) for r, e in zip(speech, noisy, strict=True)]
    assert found["estoi"] == pytest.approx(np.mean(each), abs=1e-3) and each[0] > each[1] + 0.05
    assert perceptual(noisy * np.float32(0.01), speech) == pytest.approx(found, abs=0.02)
    best = perceptual(speech, speech)
    assert best["pesq_wb"] > 4.6 > found["pesq_wb"] and best["estoi"] > 0.99


def test_dnsmos_is_the_published_one(speech: np.ndarray) -> None:
    ear = speech[0] * (0.9 / np.abs(speech[0]).max())
    found = perceptual(np.stack([ear, ear]), speech)["dnsmos"]
    assert found == pytest.approx(float(dnsmos.run(ear, RATE)["p808_mos"]), abs=1e-3)


def test_silence_is_not_judged(speech: np.ndarray) -> None:
    assert perceptual(np.zeros_like(speech), speech)["pesq_wb"] is None
    assert perceptual(np.zeros_like(speech), speech)["dnsmos"] is None
    nothing = perceptual(speech, np.zeros_like(speech))
    assert nothing["pesq_wb"] is None and nothing["estoi"] is None and nothing["dnsmos"] > 1


def test_gains() -> None:
    after, before = {"estoi": 0.7, "pesq_wb": None, "dnsmos": 3.0}, {"estoi": 0.5, "pesq_wb": 1.1, "dnsmos": None}
    assert gains(after, before) == {**after, "estoi_gain": 0.2, "pesq_wb_gain": None, "dnsmos_gain": None}
