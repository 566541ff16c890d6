"""Is it fast enough? Real-time factor, percentiles and missed deadlines."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hearable.session import Graph


@dataclass(frozen=True)
class Timing:
    """How long chunks took.

    Attributes:
        chunks: how many were timed.
        rtf: real-time factor: time to compute / duration of the sound.
        p50_ms: half of the chunks took at most this long.
        p95_ms: 95 in 100 did.
        p99_ms: 99 in 100 did.
        max_ms: the slowest.
        missed: chunks that took longer than they last.
    """

    chunks: int
    rtf: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float
    missed: int


def summarize(seconds: Sequence[float], chunk_s: float) -> Timing:
    """Summarise the seconds that each chunk of ``chunk_s`` seconds took.

    Raises:
        ValueError: no chunks.

    Example:
        >>> summarize([0.002, 0.002, 0.002, 0.010], chunk_s=0.008).missed
        1
    """
    if not len(seconds):
        raise ValueError("seconds: expected the time of at least one chunk, found none")
    taken = np.asarray(seconds, np.float64)
    p50, p95, p99 = np.percentile(taken, [50, 95, 99]) * 1e3
    return Timing(
        chunks=len(taken),
        rtf=float(taken.mean() / chunk_s),
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        max_ms=float(taken.max() * 1e3),
        missed=int(np.sum(taken > chunk_s)),
    )


def measure(graph: Graph, chunks: int = 1000, warmup: int = 50, seed: int = 0) -> Timing:
    """Time an extractor on noise, chunk by chunk, its state carried along.

    Args:
        graph: of the kind ``extractor``.
        chunks: how many to time.
        warmup: how many to run before: the first ones allocate.
        seed: of the noise and the conditioning.
    """
    spec = graph.spec
    rng = np.random.default_rng(seed)
    noise = rng.normal(scale=0.1, size=(64, spec.channels, spec.chunk_samples)).astype(np.float32)
    conditioning = rng.normal(size=spec.conditioning_values).astype(np.float32)
    state = graph.state()
    seconds = []
    for n in range(warmup + chunks):
        begin = time.perf_counter()
        graph.step(noise[n % len(noise)], conditioning, state)
        seconds.append(time.perf_counter() - begin)
    return summarize(seconds[warmup:], spec.chunk_samples / spec.sample_rate_hz)
