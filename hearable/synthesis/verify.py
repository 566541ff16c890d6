"""Checks a made dataset from what is on the disk: every file, the label grid, and what can be heard.

Directions are judged in frames in which a single source sounds, clearly; a dataset that has none is not judged by ear.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.processes import process_map
from hearable.synthesis.arrays import receiver
from hearable.synthesis.diffuse import N_FFT, diffuse_covariance
from hearable.synthesis.seld_files import LABELS, MANIFEST, ROOMS, SCENES, audio_folder, fingerprint, read_json
from hearable.synthesis.seld_scene import Format
from hearable.synthesis.verify_clip import AMBIENCE_N_FFT, ClipFindings, check_clip, read_wav

LEAST_FRAMES = 20  # to judge a dataset by
LEAST_SHIFT_FRAMES = 60  # to judge when sounds begin and end: it takes several of them
LEAST_CLIP_FRAMES = 15  # to judge a clip by
LEAST_BLOCKS = 100  # of ambience
BOUNDS = {"foa": 15.0, "mic": 15.0, "binaural": 100.0}  # median error: degrees, microseconds for ITD
CLIP_BOUNDS = {"foa": 40.0, "mic": 40.0, "binaural": 300.0}  # of one clip
MEASURES = {"foa": "DOA", "mic": "DOA", "binaural": "ITD"}
UNITS = {"foa": "deg", "mic": "deg", "binaural": "us"}
LEVEL_BOUND_DB, CLIP_LEVEL_BOUND_DB = 1.0, 3.0  # median error, of all events and of one clip's
CLEARLY = 1.25  # worse by this factor than at another shift
SHIFT_FRAMES = 1.0  # reverberation and sounds that fade away move what is heard by less
COHERENCE_BOUND = 0.1
RT60_BOUND = 0.2


@dataclass(frozen=True)
class Check:
    """One thing that was measured.

    Attributes:
        name: of what.
        measured: value and unit.
        bound: what it may be; empty for what could not be judged.
        passed: whether it is.
    """

    name: str
    measured: str
    bound: str
    passed: bool

    def cells(self) -> tuple[str, str, str, str]:
        """For a table."""
        return "ok" if self.passed else "FAULT", self.name, self.measured, self.bound


@dataclass
class Report:
    """What a verification found.

    Attributes:
        checks: in the order in which they were made.
        faults: each in one line.
    """

    checks: list[Check] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def add(self, name: str, measured: str, bound: str, faults: Sequence[str] = ()) -> None:
        """Add a check and its faults."""
        self.checks.append(Check(name, measured, bound, not faults))
        self.faults += faults

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {"passed": self.passed, "checks": [asdict(check) for check in self.checks], "faults": self.faults}


def verify_dataset(out: Path, workers: int = 1, done: Callable[[int, int], None] = lambda done, total: None) -> Report:
    """Check a dataset.

    Args:
        out: its folder.
        workers: processes.
        done: called with how many clips are checked, and how many there are.

    Raises:
        AudioError: no dataset there.
    """
    recipe = read_json(out / "dataset.json")["recipe"]
    paths = sorted((out / SCENES).glob("*.json"))
    if not paths:
        raise AudioError(f"{out}: expected a dataset with clips, found none")
    report = Report()
    _check_files(report, out, [*map(audio_folder, recipe["formats"]), LABELS, SCENES])
    clips: list[ClipFindings] = []
    done(0, len(paths))
    for found in _each(out, paths, recipe, min(workers, len(paths))):
        clips.append(found)
        done(len(clips), len(paths))
    for name in ("label grid", "format", "clipping", "clicks", "stems"):
        faults = [fault for clip in clips for fault in clip.faults.get(name, [])]
        report.add(name, f"{len(clips)} clips, {len(faults)} faults", "0 faults", faults)
    for kind in recipe["formats"]:
        _check_directions(report, kind, clips)
        _check_levels(report, kind, clips)
        _check_coherence(report, kind, clips, recipe["rate"])
    _check_shift(report, clips)
    _check_rooms(report, out, clips)
    return report


def _each(out: Path, paths: Sequence[Path], recipe: dict[str, Any], workers: int) -> Iterator[ClipFindings]:
    check = partial(check_clip, out, recipe=recipe)
    yield from map(check, paths) if workers == 1 else process_map(check, paths, workers)


def _check_files(report: Report, out: Path, folders: Sequence[str]) -> None:
    faults, listed = [], set()
    try:
        with (out / MANIFEST).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                listed.add(row["path"])
                if not (out / row["path"]).is_file():
                    faults.append(f"{row['path']}: in the manifest, but not there")
                elif fingerprint(out / row["path"])["sha256"] != row["sha256"]:
                    faults.append(f"{row['path']}: not the file that the manifest lists: its hash differs")
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as problem:
        faults.append(f"{MANIFEST}: cannot read: {problem!r}")
    there = [f"{folder}/{path.name}" for folder in folders for path in sorted((out / folder).glob("*"))]
    faults += [f"{name}: not in the manifest" for name in there if name not in listed]
    report.add("files", f"{len(listed)} files, {len(faults)} faults", "0 faults", faults)


def _check_directions(report: Report, kind: Format, clips: Sequence[ClipFindings]) -> None:
    every = [clip.errors[kind] for clip in clips if kind in clip.errors]
    errors = np.concatenate([*every, np.zeros(0)])
    name, unit = f"{kind} {MEASURES[kind]}", UNITS[kind]
    if len(errors) < LEAST_FRAMES:
        report.add(name, f"not judged: {len(errors)} frames of one source", "")
        return
    middle = float(np.median(errors))
    faults = [f"{name}: median error {middle:.1f} {unit}"] if middle > BOUNDS[kind] else []
    for clip in clips:
        own = clip.errors.get(kind, np.zeros(0))
        if len(own) >= LEAST_CLIP_FRAMES and np.median(own) > CLIP_BOUNDS[kind]:
            faults.append(f"{clip.name}: {name}: median error {np.median(own):.1f} {unit}")
    report.add(name, f"median error {middle:.1f} {unit}, {len(errors)} frames", f"<= {BOUNDS[kind]:g} {unit}", faults)


def _check_levels(report: Report, kind: Format, clips: Sequence[ClipFindings]) -> None:
    """Whether events are as loud as their scenes say."""
    every = {clip.name: clip.level_errors_db.get(kind, np.zeros(0)) for clip in clips}
    errors = np.concatenate([*every.values(), np.zeros(0)])
    if not len(errors):
        report.add(f"{kind} level", "not judged: no event is alone", "")
        return
    middle = float(np.median(errors))
    faults = [f"{kind} level: {middle:+.1f} dB from what the scenes say"] if abs(middle) > LEVEL_BOUND_DB else []
    for name, own in every.items():
        if len(own) and abs(np.median(own)) > CLIP_LEVEL_BOUND_DB:
            faults.append(f"{name}: {kind} level: {np.median(own):+.1f} dB from what the scene says")
    report.add(
        f"{kind} level", f"median error {middle:+.2f} dB, {len(errors)} events", f"<= {LEVEL_BOUND_DB:g} dB", faults
    )


def _check_shift(report: Report, clips: Sequence[ClipFindings]) -> None:
    """Around which shift of the labels they fit what is heard."""
    found = [clip.by_shift for clip in clips if clip.by_shift is not None]
    if not found:
        report.add("label shift", "not judged", "")
        return
    totals: NDArray[np.float64] = np.sum(found, axis=0)  # sum of errors, frames
    if totals[1].min() < LEAST_SHIFT_FRAMES:
        report.add("label shift", f"not judged: {totals[1].min():.0f} frames of one source", "")
        return
    mean = totals[0] / totals[1]
    shift = middle_of(mean)
    # Long events hardly tell one shift from the next: a fault must be clearly better.
    clear = mean[len(mean) // 2] > CLEARLY * mean.min()
    faults = [f"labels: fit the sound when moved by {shift:.1f} frames"] if abs(shift) > SHIFT_FRAMES and clear else []
    report.add("label shift", f"{shift:+.1f} frames", f"within {SHIFT_FRAMES:g}", faults)


def middle_of(errors: NDArray[np.float64]) -> float:
    """The shift around which errors rise alike on both sides, of errors at shifts ``-n .. n``; within ``-n/2 .. n/2``.

    The least error says less: it is flat between a frame before the onset, part of which is heard, and the first frame.
    """
    n = len(errors) // 2
    shifts, away = np.arange(-n, n + 1), np.arange(1, n // 2 + 1)
    middles = np.linspace(-n / 2, n / 2, 10 * n + 1)[:, None]
    left, right = (np.interp(middles + side * away, shifts, errors) for side in (-1, 1))
    return float(middles[np.argmin(np.sum((right - left) ** 2, axis=1)), 0])


def _check_coherence(report: Report, kind: Format, clips: Sequence[ClipFindings], rate: int) -> None:
    found = [clip.covariance[kind] for clip in clips if kind in clip.covariance]
    blocks = sum(count for _, count in found)
    name = f"{kind} ambience"
    if blocks < LEAST_BLOCKS:
        report.add(name, f"not judged: {blocks} blocks without events", "")
        return
    total = np.sum([covariance for covariance, _ in found], axis=0)
    theory = diffuse_covariance(receiver((kind,), rate, None))[:: N_FFT // AMBIENCE_N_FFT]
    band = slice(len(total) // 64, len(total) * 3 // 4)
    apart = np.abs(_coherence(total) - _coherence(theory))[band]
    first, second = np.triu_indices(total.shape[1], 1)
    pairs = apart[:, first, second]
    level_db = 10 * np.log10(np.mean((_powers(total) / _powers(theory))[band], axis=0) + 1e-9)
    # Averaged over neighbouring frequencies, which the theory hardly tells apart; noise in the estimate is left out.
    worst = float(np.mean(pairs)) - 0.9 / np.sqrt(blocks)
    level = float(np.abs(level_db).max())
    faults = []
    if worst > COHERENCE_BOUND:
        faults.append(f"{name}: coherence between the channels is {worst:.2f} from that of a diffuse field")
    if level > 1.0:
        faults.append(f"{name}: levels of the channels are {level:.1f} dB from those of a diffuse field")
    report.add(name, f"coherence off by {max(worst, 0):.2f}, {blocks} blocks", f"<= {COHERENCE_BOUND}", faults)


def _coherence(covariance: NDArray[np.complex128]) -> NDArray[np.complex128]:
    level = np.sqrt(np.real(np.diagonal(covariance, axis1=1, axis2=2)))
    return np.asarray(covariance / (level[:, :, None] * level[:, None, :] + 1e-30))


def _powers(covariance: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Of each channel, relative to the first."""
    level = np.real(np.diagonal(covariance, axis1=1, axis2=2))
    return np.asarray(level / (level[:, :1] + 1e-30))


def _check_rooms(report: Report, out: Path, clips: Sequence[ClipFindings]) -> None:
    wanted = {clip.name.rpartition("_")[0]: clip.rt60_s for clip in clips if clip.rt60_s is not None}
    faults, apart = [], []
    for room, rt60_s in sorted(wanted.items()):
        try:
            audio, rate = read_wav(out / ROOMS / f"{room}.wav")
            found = reverberation_s(audio[0], rate)
        except AudioError as problem:
            faults.append(str(problem))
            continue
        apart.append(abs(found / rt60_s - 1))
        if apart[-1] > RT60_BOUND:
            faults.append(f"{room}: reverberation time {found:.2f} s, expected {rt60_s:.2f} s")
    if wanted:
        report.add(
            "RT60",
            f"off by up to {max(apart, default=0):.0%}, {len(wanted)} rooms",
            f"<= {RT60_BOUND:.0%}",
            faults,
        )


def reverberation_s(response: NDArray[np.float32], rate: int) -> float:
    """Reverberation time of ``[samples]``, from the decay between -5 and -25 dB of its backward integral."""
    left = np.cumsum(response[::-1].astype(np.float64) ** 2)[::-1]
    decay_db = 10 * np.log10(left / left[0] + 1e-12)
    begin, end = (int(np.argmax(decay_db <= level)) for level in (-5, -25))
    if end - begin < 2:
        return 0.0
    slope = np.polyfit(np.arange(begin, end) / rate, decay_db[begin:end], 1)[0]
    return float(-60 / slope)
