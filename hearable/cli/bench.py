"""``hearable bench``: is this computer fast enough?"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated, Any

import typer

from hearable.cli.console import Json, emit, lines
from hearable.session import open_graph
from hearable.timing import measure


def bench(
    seconds: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds of sound to time.")] = 10.0,
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    as_json: Json = False,
) -> None:
    """Time an extractor chunk by chunk, on one thread, on noise."""
    graph = open_graph(model, "extractor")
    chunk_ms = graph.spec.chunk_ms
    timing = measure(graph, math.ceil(1000 * seconds / chunk_ms))
    data: dict[str, Any] = {
        "model": graph.spec.name,
        "chunk_ms": chunk_ms,
        "mean_ms": timing.rtf * chunk_ms,  # the real-time factor is the mean over the chunk's duration
        **asdict(timing),
    }
    if as_json:
        emit(data)
        return
    lines(
        [
            ("model", f"{graph.spec.name}, one thread"),
            ("chunks", f"{timing.chunks} of {chunk_ms:g} ms"),
            ("ms a chunk", f"{data['mean_ms']:.3f} mean"),
            *(("", f"{data[f'{name}_ms']:.3f} {name}") for name in ("p50", "p95", "p99", "max")),
            ("real-time factor", f"{timing.rtf:.4f}"),
            ("missed deadlines", str(timing.missed)),
        ]
    )
