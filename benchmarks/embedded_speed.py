"""Time of a chunk: each model and the paper's network, float32 and 8 bits, through Python and through C, in one run.

    python -m benchmarks.embedded_speed base tiny [--rounds 10] [--chunks 100]

One thread. Time is the processor's, without waiting for it. All take turns, a round of chunks each, and the fastest
round is shown, the one least disturbed. "C" is hearable-rt, on onnxruntime as Python is; "C, generated" is a model's
own C, of half precision, in the same program. 8 bits are the dynamic variant of `python -m export`. What a generator
has no operator for is shown as "-".
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import onnxruntime
import typer
from rich.console import Console
from rich.table import Table

from export.emit_c import emit, half_weights
from export.lower import UnsupportedGraph
from export.quantise import dynamic
from export.to_onnx import export_extractor
from export.variants import save
from export.vectors import noise
from hearable.checkpoints import conditioner_path
from hearable.session import Graph, open_pair
from training.tfgridnet import TFGridNet, TFGridNetConfig

PORT = Path(__file__).parents[1] / "firmware_bridge" / "port" / "linux"
LIBRARY = sorted((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*"))
KINDS = ("Python, float32", "Python, 8 bits", "C, float32", "C, 8 bits", "C, generated")

Round = Callable[[], float]


def in_python(path: Path, chunks: int) -> Round:
    """A round of chunks through `hearable.session`: mean milliseconds of the processor."""
    graph = Graph(path)
    state, sound = graph.state(), noise(graph.spec, chunks)
    conditioning = np.zeros(graph.spec.conditioning_values, np.float32)

    def measure() -> float:
        begin = time.process_time()
        for chunk in sound:
            graph.step(chunk, conditioning, state)
        return 1000 * (time.process_time() - begin) / chunks

    return measure


def in_c(program: Path, path: Path, folder: Path, chunks: int) -> Round:
    """A round of chunks through hearable-rt: mean milliseconds of the processor, as it reports them."""
    spec = Graph(path).spec
    conditioning = folder / f"{spec.name}.f32"
    np.zeros(spec.conditioning_values, np.float32).tofile(conditioning)
    frames = noise(spec, chunks).transpose(0, 2, 1).tobytes()
    environment = os.environ | {"ONNXRUNTIME": str(LIBRARY[0]), "HB_REPORT": "1"}

    def measure() -> float:
        done = subprocess.run(
            [program, path, conditioning], input=frames, capture_output=True, env=environment, check=True
        )
        found = re.search(rb"processor_us (\d+)", done.stderr)
        return int(found[1]) / 1000 if found else float("nan")

    return measure


def rounds_of(path: Path, folder: Path, chunks: int) -> dict[str, Round]:
    """What is to be measured of a model."""
    model, conditioner = onnx.load(path), onnx.load(conditioner_path(path))
    name = Graph(path).spec.name
    eight = save(dynamic(model), conditioner, f"{name}-int8", folder)
    found = {
        "Python, float32": in_python(path, chunks),
        "Python, 8 bits": in_python(eight, chunks),
        "C, float32": in_c(folder / "hearable-rt", path, folder, chunks),
        "C, 8 bits": in_c(folder / "hearable-rt", eight, folder, chunks),
    }
    try:
        _, source = emit(half_weights(model), folder)
    except UnsupportedGraph:
        return found
    make = ["make", "-s", "-C", PORT, "static", f"MODEL={source.with_suffix('')}", f"BUILD={folder}", "CC=gcc"]
    subprocess.run(make, check=True)
    return found | {"C, generated": in_c(folder / f"{name}-rt", path, folder, chunks)}


def main(
    models: Annotated[list[str], typer.Argument(help="Extractors: shipped models' names, or paths.")],
    rounds: Annotated[int, typer.Option(min=1)] = 10,
    chunks: Annotated[int, typer.Option(min=1, help="In a round.")] = 100,
) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        subprocess.run(["make", "-s", "-C", PORT, f"{folder}/hearable-rt", f"BUILD={folder}"], check=True)
        paper, _ = export_extractor(TFGridNet(TFGridNetConfig()), "paper", "enroll-1", folder)
        paths = [paper, *(open_pair(model)[0].path for model in models)]
        measures = {path: rounds_of(path, folder, chunks) for path in paths}
        taken: dict[tuple[Path, str], list[float]] = {}
        for n in range(rounds + 1):
            for path, kinds in measures.items():
                for kind, measure in kinds.items():
                    milliseconds = measure()
                    if n:  # the first round warms up
                        taken.setdefault((path, kind), []).append(milliseconds)
        table = Table("processor ms a chunk", "M MAC", *KINDS)
        for path in paths:
            spec = Graph(path).spec
            cells = (f"{min(t):.2f}" if (t := taken.get((path, kind))) else "-" for kind in KINDS)
            table.add_row(spec.name, f"{spec.macs_per_chunk / 1e6:.1f}", *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
