"""A device and a host on a bad link, on a clock of their own: as fast as the model, the same in every run.

    python -m benchmarks.link [--model base --enroller enroll] [--seconds 60]

For each kind of link, against a perfect one: SI-SDR of what is heard, losses, and the delay, which must not change.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from hearable.link.channel import Channel, Impairments
from hearable.link.device import Device
from hearable.link.host import Host
from hearable.link.messages import CHUNK_SAMPLES, RATE, Samples

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
