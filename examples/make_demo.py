"""Render the demo clips: the talkers of ``voices/`` around a spherical head, with others talking and noise.

    python examples/make_demo.py

Writes ``demo/enrollment.flac`` (somebody straight ahead, noisy), ``demo/mixture.flac`` (the same talker among others)
and ``demo/target.flac`` (what the ears receive of that talker alone, to score the result with).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from hearable.synthesis.render import render
from hearable.synthesis.scene import Clip, Scene, Source
from hearable.synthesis.spherical_head import spherical_head

HERE = Path(__file__).parent
RATE = 16000
TARGET, OTHERS = "af_heart", ("am_michael", "bf_emma")


class Voices:
    """The dry voices and shaped noise as a sound bank."""

    def __init__(self, folder: Path):
        self.sounds: dict[str, NDArray[np.float32]] = {}
        for path in sorted(folder.glob("*.opus")):
            audio, rate = soundfile.read(path, dtype="float32")
            self.sounds[path.stem] = soxr.resample(audio, rate, RATE)
        rng = np.random.default_rng(0)
        for name in ("air", "street"):
            spectrum = np.fft.rfft(rng.standard_normal(20 * RATE))
            frequency = np.fft.rfftfreq(20 * RATE, 1 / RATE)
            # -3 dB an octave above 100 Hz, as distant traffic and ventilation.
            self.sounds[name] = np.fft.irfft(spectrum / np.sqrt(np.maximum(frequency, 100.0))).astype(np.float32)

    def read(self, sound: str, start: int, samples: int) -> NDArray[np.float32]:
        """``[samples]`` at 16 kHz."""
        return self.sounds[sound][start : start + samples]

    def clips(self, name: str, samples: int) -> tuple[Clip, ...]:
        """A sound, again and again until ``samples`` are filled."""
        length = len(self.sounds[name])
        return (Clip(name, 0, length),) * -(-samples // length)


def scene(bank: Voices, seconds: float, sources: list[tuple[str, str, float, float]], taps: int) -> Scene:
    """A scene of (role, sound, azimuth in degrees, level in dB)."""
    samples = int(seconds * RATE)
    placed = tuple(
        Source(role, name, bank.clips(name, samples + taps), azimuth, 0.0, level)  # type: ignore[arg-type]
        for role, name, azimuth, level in sources
    )
    return Scene(0, samples, "spherical_head", -30.0, placed)


def main() -> None:
    """Render and write."""
    bank, head = Voices(HERE / "voices"), spherical_head()
    listeners = {head.name: head}
    enrollment = [
        ("target", f"{TARGET}-1", 0.0, 0.0),
        ("interferer", f"{OTHERS[0]}-1", -70.0, -3.0),
        ("noise", "air", 120.0, -12.0),
    ]
    mixture = [
        ("target", f"{TARGET}-2", 40.0, 0.0),
        ("interferer", f"{OTHERS[0]}-2", -35.0, 0.0),
        ("interferer", f"{OTHERS[1]}-2", -80.0, -4.0),
        ("noise", "street", 160.0, -12.0),
    ]
    out = HERE / "demo"
    out.mkdir(exist_ok=True)
    clip = render(scene(bank, 5.0, enrollment, head.taps), bank, listeners).mixture
    whole = render(scene(bank, 9.0, mixture, head.taps), bank, listeners)
    for name, audio in (("enrollment", clip), ("mixture", whole.mixture), ("target", whole.images[0])):
        soundfile.write(out / f"{name}.flac", audio.T, RATE, subtype="PCM_16")
        print(f"{name}: {audio.shape[1] / RATE:.1f} s, {20 * np.log10(np.abs(audio).max()):.1f} dB peak")


if __name__ == "__main__":
    main()
