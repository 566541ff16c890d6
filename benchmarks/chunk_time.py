"""Time of one 8 ms chunk, ours beside the paper's network, in one run and in turns; and memory over time.

    python -m benchmarks.chunk_time [--model base] [--chunks 5000] [--minutes 10]

One thread each. The two take turns, so that a busy machine slows both alike; the ratio is what to quote. Turns of one
chunk are the worst case: each network finds the caches full of the other's weights. In turns of 25 it has them to
itself, as where nothing else runs.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from export.to_onnx import export_extractor
from hearable.session import Graph, State, open_pair
from training.tfgridnet import TFGridNet, TFGridNetConfig

WARM_UP = 200  # chunks


class Stream:
    """A graph with its state and a conditioning, fed with noise."""

    def __init__(self, graph: Graph, conditioner: Graph):
        self.graph = graph
        self.state: State = graph.state()
        embedding = np.full(graph.spec.embedding_values, graph.spec.embedding_values**-0.5, np.float32)
        self.conditioning = conditioner.run({"embedding": embedding})[0]
        self.rng = np.random.default_rng(0)

    def chunk_ms(self) -> float:
        """Milliseconds that one more chunk takes."""
        chunk = self.rng.standard_normal((2, self.graph.spec.chunk_samples), np.float32) * np.float32(0.05)
        start = time.perf_counter()
        self.graph.step(chunk, self.conditioning, self.state)
        return 1000 * (time.perf_counter() - start)


def resident_mb() -> float:
    """Resident memory of this process (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def main(
    model: Annotated[str, typer.Option(help="Ours: a shipped model or a path.")] = "base",
    chunks: Annotated[int, typer.Option(help="Chunks of each network.")] = 5000,
    minutes: Annotated[float, typer.Option(help="Audio of ours over which memory is watched.")] = 10.0,
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        paper, _ = export_extractor(TFGridNet(TFGridNetConfig()), "paper", "untrained", Path(folder))
        streams = {"paper (causal TF-GridNet)": Stream(*open_pair(paper)), model: Stream(*open_pair(model))}
    table = Table("turns of", "network", "M MAC", "mean ms", "p50", "p95", "p99", "ratio of p50")
    for turn in (1, 25):
        times: dict[str, list[float]] = {name: [] for name in streams}
        for i in range(-(-(chunks + WARM_UP) // turn)):
            for name, stream in streams.items():
                spent = [stream.chunk_ms() for _ in range(turn)]
                if i * turn >= WARM_UP:
                    times[name] += spent
        reference = float(np.median(next(iter(times.values()))))
        for name, all_spent in times.items():
            p50, p95, p99 = np.percentile(all_spent, [50, 95, 99])
            macs = streams[name].graph.spec.macs_per_chunk / 1e6
            figures = *(f"{v:.2f}" for v in (np.mean(all_spent), p50, p95, p99)), f"{p50 / reference:.2f}"
            table.add_row(str(turn), name, f"{macs:.1f}", *figures)
    console = Console()
    console.print(table)

    before, stream = resident_mb(), streams[model]
    for _ in range(round(minutes * 60_000 / stream.graph.spec.chunk_ms)):
        stream.chunk_ms()
    after = resident_mb()
    console.print(
        f"{model}: resident memory {before:.1f} MB, after {minutes:g} minutes of audio {after:.1f} MB: "
        f"growth {after - before:+.1f} MB"
    )


if __name__ == "__main__":
    typer.run(main)
