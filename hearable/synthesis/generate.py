"""Makes a SELD dataset: resumable, on local processes or a Dask cluster, the same bytes whoever does it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from threadpoolctl import threadpool_limits

from hearable.errors import AudioError
from hearable.memory import keep_freed_memory
from hearable.processes import process_map
from hearable.synthesis.render_seld import render_seld
from hearable.synthesis.seld_card import write_card
from hearable.synthesis.seld_draw import ClipId, SeldDraw
from hearable.synthesis.seld_files import (
    FULL_SCALE,
    LABELS,
    PEAK,
    ROOMS,
    SCENES,
    audio_folder,
    fingerprint,
    is_whole,
    read_json,
    scene_path,
    write_clip,
    write_json,
    write_manifest,
    write_wav,
)
from hearable.synthesis.seld_recipe import SeldRecipe
from hearable.synthesis.seld_scene import Event, SeldScene, ShoeboxRoom, Waypoint

CLICK_DISTANCE_M = 1.0
TAIL = 1.3  # reverberation times that a room's response lasts


def generate(
    recipe: SeldRecipe,
    out: Path,
    clips: int | None = None,
    workers: int = 1,
    dask: str | None = None,
    done: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Make a dataset, or what is still missing of it.

    Args:
        recipe: what is made.
        out: folder to write to; one that holds a part of the same dataset is completed.
        clips: make only the first so many, taking turns among the folds; more that are there already stay.
        workers: local processes.
        dask: address of a Dask scheduler whose workers see ``out`` and the recipe's folders under the same paths; then
            ``workers`` does not count.
        done: called with how many clips there are, at first and after each, and how many there will be.

    Returns:
        How many clips there are now.

    Raises:
        AudioError: a recipe that cannot be rendered, a folder that holds something else, or the system refuses to
            write. What was written until then is kept.
    """
    draw = SeldDraw(recipe)  # here every fault of a recipe comes up, before anything is written
    every = sorted(draw.clips(), key=lambda clip: (clip.index, clip.fold))
    wanted = every[:clips]
    _prepare(recipe, out)
    # Fold by fold: each has sounds of its own, which workers keep in memory.
    missing = sorted((c for c in wanted if not is_whole(out, draw.name(c))), key=lambda c: (c.fold, c.index))
    count = len(wanted) - len(missing)
    done(count, len(wanted))
    job = msgspec.json.encode(recipe)
    with _submitting(min(workers, max(len(missing), 1)), dask) as run:
        for _ in run(job, out, missing):
            count += 1
            done(count, len(wanted))
    made = [name for name in map(draw.name, every) if is_whole(out, name)]  # an earlier run may have made more
    _finish(draw, out, made)
    return len(made)


def _prepare(recipe: SeldRecipe, out: Path) -> None:
    folders = [*(audio_folder(name) for name in recipe.formats), LABELS, SCENES, ROOMS]
    folders += [f"stems/{name}" for name in recipe.formats if recipe.stems]
    # A folder's own name will do: a dataset does not depend on where its sounds lay.
    sounds = tuple(msgspec.structs.replace(s, folder=Path(s.folder).name) for s in recipe.sounds)
    rooms = tuple(
        msgspec.structs.replace(
            room,
            responses={kind: Path(file).name for kind, file in room.responses.items()},
            ambience={kind: Path(file).name for kind, file in room.ambience.items()},
            tau=Path(room.tau).name,
            tau_ambience=Path(room.tau_ambience).name,
        )
        for room in recipe.room
    )
    identity = msgspec.to_builtins(msgspec.structs.replace(recipe, sounds=sounds, room=rooms))
    identity["fold"] = [{**fold, "clips": None} for fold in identity["fold"]]  # more clips may be made later
    path = out / "dataset.json"
    if path.is_file():
        if read_json(path) != {"recipe": _plain(identity)}:
            raise AudioError(f"{out}: expected an empty folder or a part of this dataset, found one of another recipe "
                             "or seed: choose another folder")  # fmt: skip
    elif out.exists() and any(out.iterdir()):
        raise AudioError(f"{out}: expected an empty folder or a part of this dataset, found other files: "
                         "choose another folder")  # fmt: skip
    for folder in folders:
        (out / folder).mkdir(parents=True, exist_ok=True)
    for left in out.rglob(".*.tmp"):  # of a run that was killed
        left.unlink(missing_ok=True)
    if not path.is_file():
        write_json(path, {"recipe": identity})


def _plain(data: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(data))


@contextmanager
def _submitting(workers: int, dask: str | None) -> Iterator[Callable[[bytes, Path, Sequence[ClipId]], Iterator[None]]]:
    """Yields a function that makes clips and yields after each."""
    if dask is None:
        yield lambda job, out, clips: process_map(partial(_make_in_worker, job, str(out)), clips, workers)
        return
    import distributed

    try:
        client = distributed.Client(dask, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as problem:
        raise AudioError(f"{dask}: expected the address of a Dask scheduler, found none that answers") from problem
    with client:
        yield lambda job, out, clips: (
            future.result()
            for future in distributed.as_completed(  # type: ignore[no-untyped-call]
                [client.submit(make_clip, job, os.path.abspath(out), c, pure=False) for c in clips]
            )
        )


def _make_in_worker(job: bytes, out: str, clip: ClipId) -> None:
    keep_freed_memory()
    make_clip(job, out, clip)


@lru_cache(maxsize=1)
def _draw_of(job: bytes) -> SeldDraw:
    """A worker finds the sounds once."""
    # One thread for linear algebra: how a sum is split among threads changes its last bits.
    threadpool_limits(1)
    return SeldDraw(msgspec.json.decode(job, type=SeldRecipe))


def make_clip(job: bytes, out: str, clip: ClipId) -> None:
    """Draw, render and write one clip.

    Args:
        job: the recipe, as JSON.
        out: the dataset's folder.
        clip: which.

    Raises:
        AudioError: a sound cannot be used, or the system refuses to write.
    """
    draw = _draw_of(job)
    drawn = draw.draw(clip)
    try:
        rendered = render_seld(drawn.scene, draw.sounds, draw.measured())
    except ValueError as problem:
        raise AudioError(f"{drawn.name}: {problem}") from problem
    write_clip(Path(out), drawn, rendered, draw.recipe.classes, draw.recipe.stems)


def _finish(draw: SeldDraw, out: Path, names: Sequence[str]) -> None:
    """Rooms, card and manifest."""
    files: dict[str, Any] = {}
    for name in names:
        files |= read_json(scene_path(out, name))["files"]
        files[f"{SCENES}/{name}.json"] = fingerprint(scene_path(out, name))
    if draw.recipe.rooms.reverberant:
        for fold, rooms in draw.rooms.items():
            for number, room in enumerate(rooms, 1):
                if not isinstance(room, ShoeboxRoom):
                    continue
                path = f"{ROOMS}/fold{fold}_room{number}.wav"
                if not (out / path).is_file():
                    write_wav(out / path, _response(room, draw.recipe.rate), draw.recipe.rate)
                files[path] = fingerprint(out / path)
    write_card(draw.recipe, out, names)
    files |= {name: fingerprint(out / name) for name in ("dataset.json", "card.md", "card.png")}
    write_manifest(out, files)


class _Click:
    """A bank of one sound."""

    def read(self, sound: str, start: int, samples: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        return np.ones(samples, np.float32)


def _response(room: ShoeboxRoom, rate: int) -> np.ndarray[Any, np.dtype[np.int16]]:
    """What FOA hears of a click in front, scaled to the peak, ``[4, samples]``."""
    path = (Waypoint(0.0, 0.0, 0.0, CLICK_DISTANCE_M),)
    click = Event("click", "click", "target", 0, 1, 0, 0.0, path)
    scene = SeldScene(rate, round(TAIL * room.rt60_s * rate) + rate // 10, 0, room, (click,), None, ("foa",))
    audio = render_seld(scene, _Click()).stems["foa"].mix()
    return np.asarray(np.rint(audio * (PEAK * FULL_SCALE / np.abs(audio).max())), np.int16)
