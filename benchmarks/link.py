"""A device and a host on a bad link, on a clock of their own: as fast as the model, the same in every run.

    python -m benchmarks.link [--model base] [--enroller enroll] [--repeat 2]

The demo's mixture is the microphones. For each kind of link: SI-SDR of what is heard, against the target and at the
delay that was agreed on, and how far it falls below that of a perfect link; SI-SDR against what is heard over a perfect
link: what the link alone adds, whatever the model is worth; chunks mended by copies and concealed, in
and out (the first chunks of a session among them, before the first answer); how long a session took to begin, or to
begin again once the cable was back.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hearable import Model, SpeakerProfile, enroll, load_model, metrics, read_audio
from hearable.chunks import Audio
from hearable.link.channel import Channel, Impairments
from hearable.link.device import Device
from hearable.link.host import Host, to_int16
from hearable.link.messages import CHUNK_SAMPLES, COPIES, RATE, Hello, Samples
from hearable.live.processor import LiveProcessor

CHUNK_S = CHUNK_SAMPLES / RATE
STEP_S = 0.001
COMPUTE_S = 0.004  # that the host takes for a chunk, on this clock
BAD = Impairments(loss=0.01, bit_errors=1e-5, jitter_s=0.02)


@dataclass
class Run:
    """What came of it.

    Attributes:
        heard: what the device played, int16 ``[2, samples]``.
        welcome: for each chunk, whether the device was in a session.
    """

    heard: Samples
    welcome: list[bool] = field(default_factory=list)


def simulate(
    device: Device,
    host: Host,
    sound: Samples,
    ways: tuple[Channel, Channel],
    drift_ppm: float = 0.0,
    each: Callable[[float], None] = lambda now: None,
) -> Run:
    """Let the device hear ``sound`` int16 ``[2, samples]``; ``each`` is called before each of its chunks."""
    up, down = ways
    heard, welcome = [], []
    now = 0.0
    for n in range(sound.shape[1] // CHUNK_SAMPLES):
        due = (n + 1) * CHUNK_S / (1 + drift_ppm * 1e-6)  # a chunk is complete
        while now < due:
            now = min(now + STEP_S, due)
            arrived = b"".join(up.receive(now))
            for count, frame in enumerate(host.receive(arrived) if arrived else []):
                down.send(frame, now + (count + 1) * COMPUTE_S)
            device.receive(b"".join(down.receive(now)))
        each(now)
        played, out = device.chunk(sound[:, n * CHUNK_SAMPLES : (n + 1) * CHUNK_SAMPLES])
        if out:
            up.send(out, now)
        heard.append(played)
        welcome.append(device.welcome)
    return Run(np.concatenate(heard, axis=1), welcome)


def ways(impairments: Impairments) -> tuple[Channel, Channel]:
    """Both directions of a link, each with the impairments."""
    return Channel(impairments), Channel(replace(impairments, seed=impairments.seed + 1))


DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo"
DELAY_CHUNKS = 7
CUT_S = (4.0, 9.0)
LINKS = {
    "perfect": (Impairments(), COPIES),
    "1% loss, 1e-5 bit errors, 20 ms jitter": (BAD, COPIES),
    "the same, in order (cable)": (replace(BAD, ordered=True), COPIES),
    "the same, without copies": (BAD, 0),
}


@dataclass(frozen=True)
class Figures:
    """What a run came to; pairs are in and out."""

    heard: Samples
    si_sdr_db: float
    copied: tuple[int, int]
    concealed: tuple[int, int]
    latency_ms: float
    back_s: float
    cut_end_s: float

    def row(self, name: str, perfect: Figures) -> str:
        mended, concealed = (", ".join(map(str, pair)) for pair in (self.copied, self.concealed))
        fall_db = perfect.si_sdr_db - self.si_sdr_db
        begin = round((self.back_s + self.cut_end_s + 1) * RATE)
        added = "-" if self is perfect else f"{compare(self.heard[:, begin:], perfect.heard[:, begin:]):.1f}"
        return (
            f"| {name} | {self.si_sdr_db:.2f} | {fall_db:.2f} | {added} | {mended} | {concealed} "
            f"| {self.latency_ms:.0f} | {self.back_s:.2f} |"
        )


@dataclass
class Bench:
    """The demo, and who is extracted from it."""

    model: Model
    profile: SpeakerProfile
    sound: Samples
    target: Samples

    def run(self, impairments: Impairments, copies: int, cut: tuple[float, float] = (0.0, 0.0)) -> Figures:
        """One link, and from when to when its cable is pulled."""
        processor = LiveProcessor(self.model, {"target": self.profile})
        processor.select("target")
        host = Host(processor, bytes(8), DELAY_CHUNKS * CHUNK_SAMPLES, nobody_looks)
        device, (up, down) = Device(hello=Hello(flags=copies)), ways(impairments)

        def pull(now: float) -> None:
            up.cut = down.cut = cut[0] <= now < cut[1]

        run = simulate(device, host, self.sound, (up, down), each=pull)
        into, out = host.status(), device.status()
        back_s = run.welcome.index(True, round(cut[1] / CHUNK_S)) * CHUNK_S
        return Figures(
            run.heard,
            self.score(run.heard, back_s + 1),
            (into.copied, out.copied),
            (into.concealed, out.concealed),
            1000 * out.latency_samples / RATE,
            back_s - cut[1],
            cut[1],
        )

    def score(self, heard: Samples, from_s: float) -> float:
        """SI-SDR from a second on, at the agreed delay and no other."""
        begin = round(from_s * RATE)
        played = heard[:, begin + DELAY_CHUNKS * CHUNK_SAMPLES + self.model.spec.lookahead_samples :]
        return compare(played, self.target[:, begin : begin + played.shape[1]])


def compare(played: Samples, reference: Samples) -> float:
    """SI-SDR, the mean of both ears."""
    return float(np.mean(metrics.si_sdr(played, reference)))


def nobody_looks(clip: Audio) -> Future[SpeakerProfile]:
    raise AssertionError("the button is never down")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="base")
    parser.add_argument("--enroller", default="enroll")
    parser.add_argument("--repeat", type=int, default=2, help="how often the demo is heard")
    options = parser.parse_args()
    clip, rate = read_audio(DEMO / "enrollment.flac")
    sound, target = (
        to_int16(np.tile(read_audio(DEMO / f"{name}.flac")[0], (1, options.repeat))) for name in ("mixture", "target")
    )
    bench = Bench(load_model(options.model), enroll(clip, rate, options.enroller), sound, target)
    perfect = bench.run(*LINKS["perfect"])
    columns = "SI-SDR dB|fall dB|against perfect dB|mended in, out|concealed in, out|latency ms|session after s"
    print(f"|link|{columns}|\n" + "|---" * (2 + columns.count("|")) + "|")
    for name, link in LINKS.items():
        print((perfect if name == "perfect" else bench.run(*link)).row(name, perfect), flush=True)
    print(bench.run(*LINKS["perfect"], cut=CUT_S).row("perfect, cable pulled for 5 s", perfect))


if __name__ == "__main__":
    main()
