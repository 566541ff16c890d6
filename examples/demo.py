"""Enroll from a noisy clip, extract from a mixture, show what came of it. No sound card is needed.

    python examples/demo.py [OUT]

Writes to ``demo/`` (or OUT): enrollment, mixture and result as wav, and a picture of the three.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import hearable
from hearable.enrollment import towards
from hearable.metrics import si_sdr

HERE = Path(__file__).parent / "demo"
Audio = NDArray[np.float32]


def draw(sounds: dict[str, tuple[Audio, int]], path: Path) -> None:
    """Spectrogram of each sound's louder ear, with both ears' levels below it."""
    figure = Figure(figsize=(15, 6), layout="constrained")  # not pyplot: it may look for a display
    axes = figure.subplots(2, len(sounds), height_ratios=(3, 1))
    for (title, (audio, rate)), (top, bottom) in zip(sounds.items(), axes.T, strict=True):
        ear = audio[int(np.argmax(np.sum(audio**2, axis=1)))]
        top.specgram(ear, NFFT=512, noverlap=384, Fs=rate, vmin=-140, vmax=-50, cmap="magma")
        top.set(title=title, ylabel="Hz", ylim=(0, 8000))
        frame = rate // 20
        for channel, name in zip(audio, ("left", "right"), strict=True):
            power = channel[: len(channel) // frame * frame].reshape(-1, frame)
            level = 10 * np.log10(np.mean(power**2, axis=1) + 1e-10)
            bottom.plot(np.arange(len(level)) * 0.05, level, label=name)
        bottom.set(xlabel="s", ylabel="dB re full scale", ylim=(-80, -10))
        bottom.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def enroll() -> tuple[hearable.SpeakerProfile, Audio, int]:
    """The profile from the noisy clip, and the clip."""
    clip, rate = hearable.read_audio(HERE / "enrollment.flac")
    profile = hearable.enroll(clip, rate)
    quality = profile.quality
    assert quality is not None  # enroll() always judges
    print(
        f"enrolled from {quality.seconds:.1f} s: {quality.speech_seconds:.1f} s of speech, about "
        f"{quality.snr_db:.0f} dB above the background, {towards(quality.off_axis_deg)}"
    )
    for warning in quality.warnings:
        print(f"warning: {warning}")
    return profile, clip, rate


def main(out: Path) -> None:
    """Run the demo. Nothing is written before everything is computed."""
    model = hearable.load_model("base")
    profile, clip, clip_rate = enroll()
    mixture, rate = hearable.read_audio(HERE / "mixture.flac")
    begin = time.perf_counter()
    extracted = hearable.extract(model, profile, mixture, rate)
    spent = time.perf_counter() - begin

    target, _ = hearable.read_audio(HERE / "target.flac")
    before, after = si_sdr(mixture, target).mean(), si_sdr(extracted, target).mean()
    print(
        f"SI-SDR of the target: {before:.1f} dB in the mixture, {after:.1f} dB in the result ({after - before:+.1f} dB)"
    )
    chunk_ms = model.spec.chunk_ms
    chunks = 1000 * mixture.shape[1] / rate / chunk_ms
    print(f"{1000 * spent / chunks:.2f} ms a chunk of {chunk_ms:g} ms")

    out.mkdir(parents=True, exist_ok=True)
    sounds = {"enrollment": (clip, clip_rate), "mixture": (mixture, rate), "extracted": (extracted, rate)}
    for name, (audio, file_rate) in sounds.items():
        hearable.write_audio(out / f"{name}.wav", audio, file_rate)
    draw(sounds, out / "levels.png")
    print(f"wrote {', '.join(f'{name}.wav' for name in sounds)}, levels.png to {out}/")


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    except hearable.HearableError as problem:
        sys.exit(f"error: {problem}")
