"""CPU seconds and memory that the SELD experiment takes: a clip in all cells, an update of the baseline.

Run it with ``python -m benchmarks.seld_speed``.
"""

from __future__ import annotations

import dataclasses
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import typer
from threadpoolctl import threadpool_limits

from hearable.memory import keep_freed_memory
from hearable.synthesis.seld_draw import SeldDraw
from hearable.synthesis.seld_recipe import read_recipe
from training.presets import SeldPreset
from training.seld_cells import CELLS, Clips, cells_of
from training.seld_network import SeldNet
from training.seld_task import SeldTask


@contextmanager
def timed(what: str, times: int) -> Iterator[None]:
    """Print CPU seconds each time."""
    start = time.process_time()
    yield
    print(f"{(time.process_time() - start) / times:.2f} s {what}")


def main(recipe: Path = Path("datasets/dcase2021/recipe.toml"), clips: int = 3, updates: int = 5) -> None:
    """Print both."""
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    draw = SeldDraw(read_recipe(recipe))
    with timed("a clip in eight cells", clips), threadpool_limits(1):
        for number in Clips(train=clips).ids(draw.recipe, "train"):
            for _ in cells_of(draw, draw.draw(number), CELLS, "foa"):
                pass
    print(f"memory at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")
    for half in (False, True):
        preset = dataclasses.replace(SeldPreset(), half=half)
        task = SeldTask(SeldNet(), preset, clips=None)  # type: ignore[arg-type]
        batch = [torch.randn(preset.batch, 7, 300, 64), torch.randn(preset.batch, 60, 3, 12)]
        task.loss(batch).backward()
        with timed(f"an update of {preset.batch} examples, half {half}", updates):
            for _ in range(updates):
                task.loss(batch).backward()


if __name__ == "__main__":
    typer.run(main)
