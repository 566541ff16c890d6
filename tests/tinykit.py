"""A data folder of a few seconds: buzzing "speakers", noise, a head and a room."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE = 16000
AZIMUTHS = np.arange(-180, 180, 10)
SPLIT = "test"


def voice(pitch_hz: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Syllables of a harmonic buzz with a little noise: ``[samples]``."""
    t = np.arange(round(seconds * RATE)) / RATE
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * t) / k for k in range(1, 15))
    syllables = 0.02 + np.clip(np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6)), 0, 1)
    return (0.1 * buzz * syllables + 0.002 * rng.normal(size=len(t))).astype(np.float32)


def responses(taps: int = 32, tail: float = 0.0) -> np.ndarray:
    """``[directions, 2, taps]``: later and softer at the ear that is turned away, at most 10 samples and 12 dB."""
    rng = np.random.default_rng(3)
    side = np.sin(np.radians(AZIMUTHS))  # + left
    ears = np.zeros((len(AZIMUTHS), 2, taps))
    for n, s in enumerate(side):
        for ear, sign in enumerate((1, -1)):
            ears[n, ear, 6 - round(sign * 5 * s)] = 0.5 * 10 ** (sign * 6 * s / 20)
    return ears + tail * rng.normal(size=ears.shape)


def save_responses(path: Path, key: str, ears: np.ndarray) -> None:
    scale = np.abs(ears).max() / 32767
    np.savez(
        path,
        **{key: np.round(ears / scale).astype(np.int16)},
        scale=np.float32(scale),
        azimuth=AZIMUTHS.astype(np.float32),
        elevation=np.zeros(len(AZIMUTHS), np.float32),
        fs=np.int32(RATE),
    )


def write_manifest(folder: Path, rows: list[dict]) -> None:
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def make(folder: Path, speakers: int = 7) -> Path:
    """A data folder with manifests; the last speaker has one utterance, the others have three."""
    rng = np.random.default_rng(0)
    for kind in ("speech", "noise", "hrtf", "brir"):
        (folder / kind).mkdir(parents=True)
    rows = []
    for n in range(speakers):
        for u in range(1 if n == speakers - 1 else 3):
            path = f"s{n}-{u}.wav"
            sound = voice(90 + 35 * n, 1.2 + 0.3 * u, rng)
            soundfile.write(folder / "speech" / path, sound, RATE)
            rows.append({"path": path, "speaker": f"s{n}", "gender": "mf"[n % 2], "split": SPLIT})
    write_manifest(folder / "speech", rows)
    for n, seconds in enumerate((0.7, 3.0)):
        sound = 0.05 * rng.normal(size=(round(seconds * RATE), 1 + n))
        soundfile.write(folder / "noise" / f"n{n}.wav", sound, RATE)
    write_manifest(folder / "noise", [{"path": f"noise/n{n}.wav", "split": SPLIT} for n in range(2)])
    save_responses(folder / "hrtf" / "ball.npz", "hrir_q", responses())
    save_responses(folder / "brir" / "hall.npz", "brir_q", responses(400, tail=0.005))
    write_manifest(folder / "hrtf", [{"path": "hrtf/ball.npz", "split": SPLIT}])
    write_manifest(folder / "brir", [{"path": "brir/hall.npz", "split": SPLIT}])
    return folder
