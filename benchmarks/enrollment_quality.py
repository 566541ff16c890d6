"""How right is what enrollment says of a clip: the talker's direction, and whether the clip will do?

Enrollment scenes of the protocol whose talker stands at several angles, alone and among the others. Run it with
``python -m benchmarks.enrollment_quality --data DATA``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.progress import track

from hearable.enrollment import LEAST_FRONTAL, enroll
from hearable.protocol import Evaluator, Protocol
from hearable.quality import estimate
from hearable.synthesis.recipes import facing

DEGREES = (0, 10, -20, 30, -40, 60, -90)


def main(
    data: Annotated[Path, typer.Option(help="Data folder with speech/, noise/, hrtf/ and brir/.")],
    split: str = "val",
    scenes: int = 20,
) -> None:
    """Print error and warnings for each angle."""
    evaluator = Evaluator(Protocol(data=data, split=split))
    found: dict[tuple[str, int], list[tuple[float, bool, bool]]] = {}
    for number in track(range(scenes), "Enrolling"):
        scene = evaluator.draw(number).enrollment
        listener = evaluator.material.listeners[scene.listener]
        others = evaluator.render(scene).images[1:].sum(0)
        for degrees in DEGREES:
            talker = facing(scene.sources[0], listener, degrees)
            alone = evaluator.render(replace(scene, sources=(talker,))).images[0]
            truth = estimate(alone, 16000).off_axis_deg
            for name, clip in (("alone", alone), ("noisy", alone + others)):
                quality = enroll(clip, 16000, evaluator.enroller).quality
                assert quality is not None  # enroll() always judges
                error = np.inf if quality.off_axis_deg is None else abs(quality.off_axis_deg - truth)
                found.setdefault((name, degrees), []).append((error, quality.frontal < LEAST_FRONTAL, quality.ok))
    print("talker           direction: median error, within 10 degrees   nobody found in front   will do")
    for (name, degrees), rows in found.items():
        error, nobody, ok = np.array(rows, float).T
        within, median = np.mean(error <= 10), np.median(error)
        print(f"{name}, {degrees:+4d} deg   {median:20.1f} deg {within:15.0%} {nobody.mean():23.0%} {ok.mean():9.0%}")


if __name__ == "__main__":
    typer.run(main)
