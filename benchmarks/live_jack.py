"""The terminal app on a JACK server without a sound card: gaps, flags, delay, and whether it plays what it should.

    python benchmarks/live_jack.py [--model base] [--profile P] [--seconds 600]

Needs jackd2, libportaudio2, tmux and JACK-Client. Run it on an idle machine. Two clients stand for microphones and
headphones; the sound is `examples/demo/mixture.flac` over and over. Exits with 1 beyond the bounds: 0 gaps, 2 flags,
1e-4 between what was heard and the offline extractor at the measured delay, 12 ms + 2 blocks.

The two clients are Python too and lose a period now and then on a busy machine; what was heard is compared second by
second, and a second in which they lost something is told apart by the recorded session, which must be exact throughout.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hearable.audio import read_audio, resample
from hearable.extractor import ChunkExtractor, Model, load_model
from hearable.profiles import SpeakerProfile
from tests.jackserver import Ears, Mic, jack_server

ROOT = Path(__file__).resolve().parent.parent
RATE, PERIOD = 16000, 128
BOUND_ERROR, BOUND_FLAGS = 1e-4, 2
BOUND_SAMPLES = 192 + 2 * PERIOD
SETTLE_S = 2.0
FADE = 1024  # samples until the selected person has faded in
SOCKET = f"hearable-bench-{os.getpid()}"


def tmux(*arguments: str) -> str:
    return subprocess.run(["tmux", "-L", SOCKET, *arguments], capture_output=True, text=True, check=True).stdout


def losses(screen: str) -> tuple[int, int]:
    """Flags and missed chunks, from the screen; they count from the start."""
    found = re.search(r"(\d+) xruns, (\d+) missed chunks", screen)
    if found is None:
        raise SystemExit(f"the app does not run:\n{screen}")
    return int(found[1]), int(found[2])


def wait_for(text: str, seconds: float = 60) -> str:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if text in (screen := tmux("capture-pane", "-p", "-t", "live")):
            return screen
        time.sleep(0.2)
    raise SystemExit(f"{text!r} does not appear:\n{screen}")


def profile_for(model: Model, path: Path | None) -> SpeakerProfile:
    if path is not None:
        return SpeakerProfile.load(path)
    values = model.spec.embedding_values
    return SpeakerProfile(np.full(values, values**-0.5, np.float32), model.spec.embedding_space)


def expected(model: Model, profile: SpeakerProfile, sound: np.ndarray, settle_s: float = SETTLE_S) -> np.ndarray:
    """The extractor, chunk by chunk, after as much silence as a state needs to settle."""
    extractor = ChunkExtractor(model, profile)
    chunk = model.spec.chunk_samples
    silence = np.zeros((2, chunk), np.float32)
    for _ in range(round(settle_s * RATE / chunk)):
        extractor.step(silence)
    pieces = range(0, sound.shape[1] - chunk + 1, chunk)
    return np.concatenate([extractor.step(sound[:, n : n + chunk]) for n in pieces], axis=1)


def main(
    model: Annotated[str, typer.Option(help="Extractor: a name or a path.")] = "base",
    profile: Annotated[Path | None, typer.Option(help="Whom to extract; a made-up voice if none.")] = None,
    seconds: Annotated[float, typer.Option(help="How long.")] = 600.0,
) -> None:
    """Run, compare, print."""
    mixture, rate = read_audio(ROOT / "examples" / "demo" / "mixture.flac")
    mixture = resample(mixture, rate, RATE)
    sound = np.tile(mixture, -(-round(seconds * RATE) // mixture.shape[1]))[:, : round(seconds * RATE)]
    loaded = load_model(model)
    person = profile_for(loaded, profile)
    with (
        tempfile.TemporaryDirectory() as folder,
        jack_server(f"bench-{os.getpid()}", RATE, PERIOD, round(seconds) + 120),
    ):
        path = Path(folder) / "voice.profile"
        person.save(path)
        with closing(Mic()) as mic, closing(Ears(seconds=seconds + 2)) as ears:
            app = f"{sys.executable} -m hearable live --input mic --output ears --record {folder}"
            command = f"{app} --model {model} --profile {path}"
            begin = time.monotonic()
            tmux("new-session", "-d", "-s", "live", "-x", "110", "-y", "40", "-c", str(ROOT), command)
            try:
                wait_for("running")
                started_s = time.monotonic() - begin
                time.sleep(SETTLE_S)
                before = losses(wait_for("missed chunks"))
                ears.start()
                mic.begin(sound)
                time.sleep(seconds + 0.5)
                screen = wait_for("missed chunks")
                after = losses(screen)
                heard = ears.stop()
                tmux("send-keys", "-t", "live", "q")
                recorded = wait_for_files(Path(folder))
            finally:
                subprocess.run(["tmux", "-L", SOCKET, "kill-server"], capture_output=True)
    print(screen)
    flags, missed = after[0] - before[0], after[1] - before[1]
    late, equal = compare(heard[:, mic.begun - ears.begun :], expected(loaded, person, sound))
    late += loaded.spec.lookahead_samples  # which is in what the extractor gives
    session = np.abs(recorded[1] - expected(loaded, person, recorded[0], settle_s=0))[:, FADE:].max()
    print(f"started in {started_s:.1f} s; {seconds:g} s: {missed} missed chunks (bound 0), {flags} flags (bound 2)")
    print(f"end to end {late} samples, {1000 * late / RATE:.1f} ms (bound {1000 * BOUND_SAMPLES / RATE:g})")
    print(f"equal to the offline extractor within {BOUND_ERROR:g}: {equal} of {int(seconds)} s as heard; "
          f"the recorded session differs by {session:.1e} at most")  # fmt: skip
    if missed or flags > BOUND_FLAGS or late > BOUND_SAMPLES or session > BOUND_ERROR:
        raise typer.Exit(1)


def wait_for_files(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """The session's mixture and output, once the app has ended."""
    for _ in range(300):
        if found := list(folder.glob("*/output.wav")):
            return read_audio(found[0].with_name("mixture.wav"))[0], read_audio(found[0])[0]
        time.sleep(0.1)
    raise SystemExit("the session was not written")


def compare(heard: np.ndarray, wanted: np.ndarray) -> tuple[int, int]:
    """The delay in samples at which the two agree best, and how many seconds are equal at it."""
    seconds = min(heard.shape[1] - 8 * PERIOD, wanted.shape[1]) // RATE
    errors = np.array([[np.abs(heard[:, late + n : late + n + RATE] - wanted[:, n : n + RATE]).max()
                        for n in range(0, seconds * RATE, RATE)] for late in range(0, 8 * PERIOD, 16)])  # fmt: skip
    late = int(np.argmax((errors < BOUND_ERROR).sum(axis=1) - errors.mean(axis=1)))
    return 16 * late, int((errors[late] < BOUND_ERROR).sum())


if __name__ == "__main__":
    typer.run(main)
