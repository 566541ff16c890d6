"""Scenes a second that one core draws and renders, as the trainer uses them.

Run it with ``python -m benchmarks.scene_rate --data DATA --cache CACHE``.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from training.corpus import load_material
from training.data import Curriculum, ExtractionScenes
from training.presets import EXTRACTORS


def main(
    data: Annotated[Path, typer.Option(help="Data folder with hrtf/ and brir/.")],
    cache: Annotated[Path, typer.Option(help="What `python -m training prepare` wrote.")],
    preset: Annotated[
        str, typer.Option(help="Of an extraction network; scenes of base-long move, for some part.")
    ] = "base",
    scenes: int = 200,
) -> None:
    """Print the rate."""
    recipe = EXTRACTORS[preset].recipe
    sounds, material = load_material(data, cache, "train", (1.0,))
    source = ExtractionScenes(sounds, material, Curriculum(recipe, 0))
    for index in range(10):  # the memory map is read from disk the first time
        list(source.examples(index))
    start = time.perf_counter()
    for index in range(10, 10 + scenes):
        list(source.examples(index))
    rate = scenes / (time.perf_counter() - start)
    print(f"{rate:.0f} scenes of {recipe.samples / 16000:.1f} s a second on one core")


if __name__ == "__main__":
    typer.run(main)
