"""Evaluating a model on many scenes: resumable, on several processes, the same scores whatever their number.

Needs the extra ``synthesis``. What a scene is: ``hearable.protocol``; what the scores come to: ``hearable.scores``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from hearable.audio import write_audio
from hearable.enrollment import enroll
from hearable.errors import ModelAltered
from hearable.processes import process_map
from hearable.protocol import RATE, Evaluator, Protocol
from hearable.recordings import extract
from hearable.scores import Row, append_rows, read_rows, worst, write_rows


def evaluate(
    evaluator: Evaluator, scenes: int, scores: Path, workers: int = 1, done: Callable[[int], None] = lambda scenes: None
) -> list[Row]:
    """Score the first ``scenes`` scenes; those whose rows are in the file ``scores`` already are not computed again.

    Args:
        evaluator: what to evaluate.
        scenes: how many.
        scores: a csv; rows are added as they come.
        workers: processes, one thread each; the rows are the same, whatever their number.
        done: called with the number of scenes that are done, at first and after each scene.

    Returns:
        The rows of these scenes, in order.

    Raises:
        AudioError: a sound cannot be read, or the file holds scores of another run.
        ModelError: a model cannot be run, or its file was replaced meanwhile.
    """
    protocol = evaluator.protocol
    found: dict[int, list[Row]] = {}
    for row in read_rows(scores, evaluator.run):
        found.setdefault(row.scene, []).append(row)
    rows = {scene: kept for scene, kept in found.items() if _whole(kept, protocol.conditions(scene))}
    write_rows(scores, itertools.chain(*rows.values()))
    missing = [scene for scene in range(scenes) if scene not in rows]
    done(scenes - len(missing))
    for count, (scene, new) in enumerate(zip(missing, _compute(evaluator, missing, workers), strict=True), 1):
        if any(row.run != evaluator.run for row in new):  # a worker opens the files later than we did
            raise ModelAltered("the model or the data changed during the evaluation: run it again")
        append_rows(scores, new)
        rows[scene] = new
        done(scenes - len(missing) + count)
    write_rows(scores, (row for scene in sorted(rows) for row in rows[scene]))
    return [row for scene in range(scenes) for row in rows[scene]]


def _compute(evaluator: Evaluator, scenes: Sequence[int], workers: int) -> Iterator[list[Row]]:
    if min(workers, len(scenes)) <= 1:
        yield from map(evaluator.rows, scenes)
        return
    yield from process_map(partial(_rows_of, evaluator.protocol), scenes, min(workers, len(scenes)))


@lru_cache(maxsize=1)
def _evaluator_of(protocol: Protocol) -> Evaluator:
    """A worker opens data and models once."""
    return Evaluator(protocol)


def _rows_of(protocol: Protocol, scene: int) -> list[Row]:
    return _evaluator_of(protocol).rows(scene)


def save_worst(evaluator: Evaluator, rows: Sequence[Row], count: int, folder: Path) -> list[Path]:
    """Write the scenes with the least SI-SDRi (noisy enrollment) as wav: mixture, enrollment, target, output.

    Returns:
        A folder for each, the worst first.

    Raises:
        AudioError: the system refuses to write.
    """
    return [_save(evaluator, row.scene, folder / f"scene-{row.scene:04d}") for row in worst(rows, count)]


def _save(evaluator: Evaluator, scene: int, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = evaluator.draw(scene)
    rendered = evaluator.render(drawn.mixture)
    clip = evaluator.clips(scene, drawn)["noisy"]
    profile = enroll(clip, RATE, evaluator.enroller)
    output = extract(evaluator.model, profile, rendered.mixture, RATE)
    sounds = {"mixture": rendered.mixture, "enrollment": clip, "target": rendered.images[0], "output": output}
    # One gain for all, so that they can be compared; scenes may be louder than a wav can hold.
    gain = np.float32(0.9 / max(float(np.abs(sound).max()) for sound in sounds.values()))
    for name, sound in sounds.items():
        write_audio(folder / f"{name}.wav", sound * gain, RATE)
    return folder


def _whole(rows: Sequence[Row], conditions: Sequence[str]) -> bool:
    return [row.condition for row in rows] == list(conditions)
