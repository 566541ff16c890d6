"""A model as C on Cortex-M under QEMU: flash, RAM, stack, instructions a chunk, difference to ONNX.

    python -m benchmarks.microcontroller tiny [--chunks 500]

Instructions are counted by QEMU (-icount), not cycles: the clock is an estimate for one instruction a cycle.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import onnx
import typer
from rich.console import Console
from rich.table import Table

from export.emit_c import emit, half_weights
from export.vectors import anybody, write_vectors
from hearable.session import Graph, open_pair

BOARDS = {"m7": "Cortex-M7 (mps2-an500)", "m55": "Cortex-M55 (mps3-an547)"}
MAKEFILE = Path(__file__).parents[1] / "firmware_bridge" / "port" / "mcu"


@dataclass(frozen=True)
class Report:
    """What a board took; sizes in bytes. ``calibration`` is the count for two million instructions."""

    flash: int
    weights: int
    ram: int
    stack: int
    instructions_mean: int
    instructions_max: int
    calibration: int
    difference: float


def prepare(model: str | Path, folder: Path, chunks: int) -> tuple[str, np.ndarray]:
    """Write C, reference graph and test vectors of a model; returns its name and the expected output."""
    extractor, conditioner = open_pair(model)
    conditioning = anybody(conditioner)
    rounded = half_weights(onnx.load(extractor.path))
    onnx.save(rounded, folder / "reference.onnx")
    header, _ = emit(rounded, folder)
    return header.stem, write_vectors(Graph(folder / "reference.onnx"), conditioning, folder, chunks)


def run(board: str, folder: Path, name: str, expected: np.ndarray) -> Report:
    """Build for a board, run, compare.

    Raises:
        CalledProcessError: it does not build, or its program fails.
    """
    make = ["make", "-s", "-C", str(MAKEFILE), f"BOARD={board}", f"MODEL={folder / name}", "run"]
    printed = subprocess.run(make, check=True, capture_output=True, text=True).stdout
    found = {key: int(value) for key, value in re.findall(r"(\w+) (\d+)", printed)}
    size = ["arm-none-eabi-size", str(folder / f"{board}.elf")]
    text, data, bss = (int(n) for n in subprocess.run(size, capture_output=True, text=True).stdout.split()[6:9])
    output = np.fromfile(folder / "output.f32", "<f4").reshape(expected.shape)
    weights = re.search(r"_WEIGHT_BYTES (\d+)", (folder / f"{name}.h").read_text())
    return Report(
        flash=text + data,
        weights=int(weights[1]) if weights else 0,
        ram=data + bss,
        stack=found["stack_bytes"],
        instructions_mean=found["instructions_mean"],
        instructions_max=found["instructions_max"],
        calibration=found["calibration"],
        difference=float(np.abs(output - expected).max()),
    )


def main(
    model: Annotated[str, typer.Argument(help="An extractor: a shipped model's name, or a path.")],
    chunks: Annotated[int, typer.Option(min=1, help="Length of the chain.")] = 500,
) -> None:
    """Print the table."""
    spec = open_pair(model)[0].spec
    table = Table("", "flash kB", "weights", "RAM kB", "stack", "M instructions, mean", "max", "MHz", "difference")
    with tempfile.TemporaryDirectory() as temporary:
        name, expected = prepare(model, Path(temporary), chunks)
        for board, title in BOARDS.items():
            report = run(board, Path(temporary), name, expected)
            megahertz = report.instructions_max / spec.chunk_ms / 1000
            kilobytes = (f"{n / 1000:.1f}" for n in (report.flash, report.weights, report.ram, report.stack))
            counts = (f"{n / 1e6:.2f}" for n in (report.instructions_mean, report.instructions_max))
            table.add_row(title, *kilobytes, *counts, f"{megahertz:.0f}", f"{report.difference:.1e}")
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
