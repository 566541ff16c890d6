"""The terminal app on a JACK server without a sound card: gaps, flags, delay, and whether it plays what it should.

    python -m benchmarks.live_jack [--model base] [--profile P] [--seconds 600]

Needs a C compiler, jackd2, libjack-jackd2-dev, libportaudio2 and tmux. Run it on an idle machine. Two clients in C
(`jack_ends.c`) stand for microphones and headphones; the sound is `examples/demo/mixture.flac` over and over, and
after it, with bypass pressed, impulses. Exits with 1 beyond the bounds: 2 s until it runs, 0 chunks missed by us,
2 flags, 1e-4 between what was computed and the offline extractor, 12 ms + 2 blocks from microphone to headphone.

Every chunk that was not heard as it was computed has its cause told: the *machine*, if a thread above all others could
not run either within 48 ms of it (its processors were taken away, or its kernel was busy); the *harness*, if the
microphones' client was late then; everything else is *ours*. So have flags, which JACK gives to all of its clients
when one is late.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hearable.audio import read_audio, resample
from hearable.extractor import ChunkExtractor, Model, load_model
from hearable.profiles import SpeakerProfile
from tests.jackserver import jack_server

ROOT = Path(__file__).resolve().parent.parent
RATE, PERIOD = 16000, 128
BOUND_ERROR, BOUND_FLAGS, BOUND_START_S = 1e-4, 2, 2.0
BOUND_SAMPLES = 192 + 2 * PERIOD
SETTLE_S = 2.0
FADE = 1024  # samples until the selected person has faded in
QUIET_S, IMPULSES, APART_S = 8.0, 8, 0.25  # bypass is pressed in the quiet
IMPULSE, NOISE = 0.5, 1e-5  # noise, so that no two chunks are equal; microphones without any are taken for lost
# Chunks around one that was not heard in which its cause is looked for: the server's frame time, by which both are
# placed, falls behind when the machine stands still, and catches up later.
REACH = 6
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


def wait_for_end(seconds: float = 10) -> None:
    """Let the app go in peace: JACK remembers clients that were killed."""
    end = time.monotonic() + seconds
    running = ["tmux", "-L", SOCKET, "has-session"]
    while time.monotonic() < end and subprocess.run(running, capture_output=True).returncode == 0:
        time.sleep(0.1)


def profile_for(model: Model, path: Path | None) -> SpeakerProfile:
    if path is not None:
        return SpeakerProfile.load(path)
    values = model.spec.embedding_values
    return SpeakerProfile(np.full(values, values**-0.5, np.float32), model.spec.embedding_space)


# ---- the two ends


@dataclass
class Ends:
    """Microphones and headphones: a program of their own, from ``go`` on at work.

    Attributes:
        heard: what reached the headphones ``[2, samples]``, NaN where their client was late.
        lost: stretches, in samples of the sound, of which the microphones' client was late.
        stalls: stretches in which the machine stood still.
        flags: when the server said that somebody was late.
    """

    process: subprocess.Popen[str]
    path: Path
    heard: np.ndarray = field(default_factory=lambda: np.zeros((2, 0), np.float32))
    lost: list[tuple[int, int]] = field(default_factory=list)
    stalls: list[tuple[int, int]] = field(default_factory=list)
    flags: list[tuple[int, int]] = field(default_factory=list)

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """Wait for the end, and read what was kept."""
        assert self.process.stdout is not None
        kinds = {"lost mic": self.lost, "stall": self.stalls, "xrun": self.flags}
        for what, begin, samples in (line.rsplit(" ", 2) for line in self.process.stdout):
            if what in kinds:
                kinds[what].append((int(begin), int(begin) + int(samples)))
        self.heard = np.fromfile(self.path, np.float32).reshape(-1, 2).T


@contextmanager
def both_ends(sound: np.ndarray, folder: Path) -> Iterator[Ends]:
    program, source, kept = folder / "jack_ends", folder / "sound.f32", folder / "heard.f32"
    code = Path(__file__).with_suffix("").with_name("jack_ends.c")
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", str(code), "-o", str(program), "-ljack", "-lpthread"], check=True)
    np.ascontiguousarray(sound.T, np.float32).tofile(source)
    process = subprocess.Popen([str(program), str(source), str(kept)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("the two ends do not start")
        yield Ends(process, kept)
    finally:
        process.kill()
        process.wait()


# ---- what happened


def expected(model: Model, profile: SpeakerProfile, sound: np.ndarray) -> np.ndarray:
    """The extractor, chunk by chunk, over all that it was given."""
    extractor = ChunkExtractor(model, profile)
    return np.concatenate([extractor.step(chunk) for chunk in periods(sound)], axis=1)


def periods(sound: np.ndarray) -> list[np.ndarray]:
    return [sound[:, n : n + PERIOD] for n in range(0, sound.shape[1] - PERIOD + 1, PERIOD)]


@dataclass
class Way:
    """What became of each chunk of the sound, followed by its bits: no two are equal.

    Attributes:
        taken: number of chunks that the session's mixture holds.
        lags: from the microphones' client to the headphones', in samples, and for how many chunks.
        causes: why a chunk was not heard as it was computed.
    """

    taken: int
    lags: Counter[int]
    causes: Counter[str]


def follow(sound: np.ndarray, ends: Ends, mixture: np.ndarray, output: np.ndarray) -> Way:
    played = {chunk.tobytes(): n for n, chunk in enumerate(periods(sound))}
    came = [played.get(chunk.tobytes()) for chunk in periods(mixture)]  # which of them each of the session's chunks is
    computed = {chunk.tobytes(): n for n, chunk in zip(came, periods(output), strict=True) if n is not None}
    way = Way(sum(n is not None for n in came), Counter(), Counter())
    for n, chunk in enumerate(periods(ends.heard[:, : sound.shape[1] + PERIOD])):
        begun = computed.get(chunk.tobytes())
        if begun is not None:
            way.lags[(n - begun) * PERIOD] += 1
        elif way.lags:  # the first one was heard
            way.causes[cause((n - REACH) * PERIOD, (n + REACH) * PERIOD, ends)] += 1
    return way


def cause(begin: int, end: int, ends: Ends) -> str:
    """Why something went wrong between two samples of the sound."""
    for name, stretches in (("machine", ends.stalls), ("harness", ends.lost)):
        if any(first < end and begin < last for first, last in stretches):
            return name
    return "ours"


def impulse_lags(heard: np.ndarray, begin: int) -> list[int]:
    """By how many samples each impulse was late."""
    lags = []
    for n in range(IMPULSES):
        at = begin + round(n * APART_S * RATE)
        part = np.abs(np.nan_to_num(heard[0, at : at + round(APART_S * RATE)]))
        if part.size and part.max() > IMPULSE / 2:
            lags.append(int(np.argmax(part)))
    return lags


def session(folder: Path) -> Path:
    """The folder of the recorded session, once it is complete."""
    for _ in range(300):
        if found := list(folder.glob("*/output.wav")):
            return found[0].parent
        time.sleep(0.1)
    raise SystemExit("the session was not written")


def explanations(folder: Path) -> list[str]:
    """What the app said of what it missed."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]
    return [f"  {event['s']:7.1f} s  {event['text']}" for event in events if "missed" in event.get("text", "")]


def main(
    model: Annotated[str, typer.Option(help="Extractor: a name or a path.")] = "base",
    profile: Annotated[Path | None, typer.Option(help="Whom to extract; a made-up voice if none.")] = None,
    seconds: Annotated[float, typer.Option(help="How long.")] = 600.0,
) -> None:
    """Run, follow every chunk, print."""
    mixture, rate = read_audio(ROOT / "examples" / "demo" / "mixture.flac")
    mixture = resample(mixture, rate, RATE)
    samples = round(seconds * RATE) // PERIOD * PERIOD
    sound = np.tile(mixture, -(-samples // mixture.shape[1]))[:, :samples]
    sound += np.random.default_rng(0).normal(scale=NOISE, size=sound.shape).astype(np.float32)
    after = np.full((2, round((QUIET_S + IMPULSES * APART_S) * RATE)), NOISE, np.float32)
    after[:, round(QUIET_S * RATE) :: round(APART_S * RATE)] = IMPULSE
    loaded = load_model(model)
    person = profile_for(loaded, profile)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "voice.profile"
        person.save(path)
        with (
            jack_server(f"bench-{os.getpid()}", RATE, PERIOD, round(seconds) + 120),
            both_ends(np.concatenate([sound, after], axis=1), folder) as ends,
        ):
            app = f"{sys.executable} -m hearable live --input mic --output ears --record {folder}"
            begin = time.monotonic()
            tmux("new-session", "-d", "-s", "live", "-x", "110", "-y", "40", "-c", str(ROOT),
                 f"{app} --model {model} --profile {path} || sleep 60")  # fmt: skip
            try:
                wait_for("running")
                started_s = time.monotonic() - begin
                time.sleep(SETTLE_S)
                before = losses(wait_for("missed chunks"))
                ends.say("go")
                time.sleep(seconds + QUIET_S / 4)
                screen = wait_for("missed chunks")
                counted = losses(screen)
                tmux("send-keys", "-t", "live", "r", "b")
                kept = session(folder)
                recorded = tuple(read_audio(kept / name)[0] for name in ("mixture.wav", "output.wav"))
                said = explanations(kept)
                ends.finish()
                tmux("send-keys", "-t", "live", "q")
                wait_for_end()
            finally:
                subprocess.run(["tmux", "-L", SOCKET, "kill-server"], capture_output=True)
    xruns, missed = (b - a for a, b in zip(before, counted, strict=True))
    way = follow(sound, ends, *recorded)
    flags = Counter(cause(at - RATE // 4, at, ends) for at, _ in ends.flags if at < sound.shape[1])
    lags = impulse_lags(ends.heard, sound.shape[1] + round(QUIET_S * RATE))
    error = float(np.abs(recorded[1] - expected(loaded, person, recorded[0]))[:, FADE:].max())
    stalls_ms = [1000 * (last - first) / RATE for first, last in ends.stalls]
    by_content = [f"{lag + loaded.spec.lookahead_samples} samples in {n} chunks" for lag, n in way.lags.most_common()]
    print(f"""{screen}
started      in {started_s:.1f} s (bound {BOUND_START_S:g})
chunks       {len(periods(sound))}: {way.taken} taken, {sum(way.lags.values())} heard exactly as computed
not heard    {shares(way.causes, 0)}; the app counts {missed}
flags        {shares(flags, BOUND_FLAGS)}; the app counts {xruns}
the machine  stood still {len(stalls_ms)} times for 2 ms and more, {max(stalls_ms, default=0):.0f} ms at most
delay        by content, lookahead included: {", ".join(by_content)}
             by {len(lags)} of {IMPULSES} impulses: {sorted(set(lags))} samples (bound {BOUND_SAMPLES}); 16 are 1 ms
the sound    differs from the offline extractor's by {error:.1e} at most (bound {BOUND_ERROR:g})
what the app says of what it missed: {"nothing" if not said else ""}""")
    print(*said, sep="\n")
    late = max(lags, default=BOUND_SAMPLES + 1)
    wrong = (
        started_s > BOUND_START_S,
        way.causes["ours"] > 0,
        flags["ours"] > BOUND_FLAGS,
        late > BOUND_SAMPLES,
        error > BOUND_ERROR,
    )
    if any(wrong):
        raise typer.Exit(1)


def shares(causes: Counter[str], bound: int) -> str:
    names = {"machine": "the machine's standstills", "harness": "the benchmark's own clients"}
    others = ", ".join(f"{causes[key]} by {name}" for key, name in names.items())
    return f"{causes['ours']} by hearable (bound {bound}), {others}"


if __name__ == "__main__":
    typer.run(main)
