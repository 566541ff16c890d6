"""SI-SDRi of variants of a model: each scene is drawn, rendered and enrolled once for all. Goes on where it stopped."""

from __future__ import annotations

import csv
import hashlib
import os
import statistics
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from hearable.checkpoints import conditioner_path
from hearable.extractor import load_model
from hearable.metrics import si_sdr_improvement
from hearable.protocol import RATE, Evaluator, Protocol
from hearable.recordings import extract

Key = tuple[str, int]  # variant and scene


@dataclass(frozen=True)
class Scoring:
    """On what variants are scored: a data folder, the split of the scenes, that of the calibration, an enroller."""

    data: Path
    scenes: int
    split: str
    calibration_split: str
    enroller: str


def score(paths: list[Path], scoring: Scoring, file: Path) -> list[float]:
    """Mean SI-SDRi in dB with noisy enrollment, of each variant.

    Args:
        paths: of extractors that share an embedding space; the first is what the others are variants of.
        scoring: on what.
        file: a csv to which each scene is added as it is done; scenes that it holds are not computed again.
    """
    evaluator = Evaluator(Protocol(scoring.data, scoring.split, str(paths[0]), scoring.enroller))
    names = [_fingerprint(evaluator.run, path) for path in paths]
    models = {name: load_model(path) for name, path in zip(names, paths, strict=True)}
    known = _read(file)
    for scene in track(range(scoring.scenes), "scenes", console=Console(stderr=True)):
        missing = [name for name in models if (name, scene) not in known]
        if not missing:
            continue
        drawn = evaluator.draw(scene)
        profile, sound = evaluator.profile(evaluator.clips(scene, drawn)["noisy"]), evaluator.render(drawn.mixture)
        new: dict[Key, float] = {}
        for name in missing:  # who cannot be enrolled hears no better than before
            heard = sound.mixture if profile is None else extract(models[name], profile, sound.mixture, RATE)
            new[name, scene] = round(si_sdr_improvement(heard, sound.mixture, sound.images[0]), 4)
        with file.open("a", newline="") as table:
            csv.writer(table).writerows([name, number, value] for (name, number), value in new.items())
            table.flush()
            os.fsync(table.fileno())
        known |= new
    return [statistics.fmean(known[name, scene] for scene in range(scoring.scenes)) for name in names]


def _fingerprint(run: str, path: Path) -> str:
    """Stands for a variant and all that its scores depend on."""
    content = b"".join(p.read_bytes() for p in (path, conditioner_path(path)))
    return hashlib.sha256(run.encode() + content).hexdigest()[:16]


def _read(file: Path) -> dict[Key, float]:
    """What the file holds; a last line that was not written to its end is cut off."""
    if not file.exists():
        return {}
    content = file.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    os.truncate(file, len(whole))
    return {(name, int(scene)): float(value) for name, scene, value in csv.reader(whole.decode().splitlines())}
