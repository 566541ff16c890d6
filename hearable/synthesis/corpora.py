"""Public corpora as they are unpacked, into one data folder that ``hearable.synthesis.sources`` and training read.

Speech and noise are not copied: the data folder links to them. Responses are converted to 16 kHz ``.npz``. A corpus may
be added later; its rows in the manifests replace those it had. Simulated rooms are made from the heads that are there.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.synthesis.hrir import made_from, save_npz
from hearable.synthesis.published import SPLITS, Listeners, read_ash, read_catt, read_cipic, read_surrey
from hearable.synthesis.simulated_rooms import draw_binaural_room, simulate_room
from hearable.synthesis.sources import SoundBank

RATE = 16000
SIMULATION = 1  # rooms simulated by other code than this are made again
Row = dict[str, str]

# LibriSpeech's subsets: the paper trains on train-clean-360; the smaller one adds speakers where it is there.
LIBRISPEECH = {"train-clean-100": "train", "train-clean-360": "train", "dev-clean": "val", "test-clean": "test"}
WHAM = dict(zip(("tr", "cv", "tt"), SPLITS, strict=True))

RESPONSES: Mapping[str, tuple[str, Callable[[Path], Listeners], str]] = {
    "cipic": ("hrtf", read_cipic, "CIPIC: free for any purpose"),
    "surrey": ("brir", read_surrey, "MIT"),
    "ash": ("brir", read_ash, "CC BY-NC-SA 4.0"),
    "catt": ("brir", read_catt, "see iosr.uk"),
}
COLUMNS = {
    "speech": ("path", "source", "split", "licence", "speaker", "gender"),
    "noise": ("path", "source", "split", "licence"),
    "hrtf": ("path", "source", "split", "licence", "directions"),
    "brir": ("path", "source", "split", "licence", "directions"),
}


def gather(corpora: Mapping[str, Path], out: Path) -> dict[str, dict[str, int]]:
    """Make or extend a data folder.

    Args:
        corpora: ``librispeech`` (the folder with SPEAKERS.TXT), ``wham`` (the one with tr/, cv/ and tt/), ``cipic``,
            ``surrey``, ``ash``, ``catt`` (any folder above their files).
        out: the data folder; made where it is missing.

    Returns:
        For each corpus, the number of files in each split.

    Raises:
        AudioError: a corpus is not laid out as its publisher ships it, or the data folder cannot be written.
    """
    counts = {}
    for name, folder in corpora.items():
        if not folder.is_dir():
            raise AudioError(f"{folder}: expected the unpacked {name}, found no such folder")
        kind = {"librispeech": "speech", "wham": "noise"}.get(name) or RESPONSES[name][0]
        place = _folder(out / kind)
        rows = list(_rows(name, folder, place))
        if not rows:
            raise AudioError(f"{folder}: expected {name} as its publisher ships it, found none of its files")
        if name not in RESPONSES:
            _link(place / name, folder)
        _update_manifest(place / "manifest.csv", name, COLUMNS[kind], rows)
        counts[name] = {split: sum(row["split"] == split for row in rows) for split in SPLITS}
    return counts


def room_counts(rooms: int) -> dict[str, int]:
    """How many simulated rooms each split has: so many for training, a tenth of them for each of the others."""
    return {split: rooms if split == "train" else max(1, rooms // 10) for split in SPLITS}


def simulate(
    out: Path, rooms: int, seed: int = 0, done: Callable[[int], object] = lambda count: None
) -> dict[str, int]:
    """Add simulated rooms to a data folder with heads; a split's rooms have heads of that split.

    A room depends on the seed, its split and number, and that split's heads alone. One that is there already is not
    made again.

    Args:
        out: the data folder.
        rooms: how many for training; the other splits: `room_counts`.
        seed: of all rooms.
        done: called with 1 after each room.

    Returns:
        The number of rooms in each split.

    Raises:
        AudioError: a split has no heads that will do, a file cannot be read, or the folder cannot be written.
    """
    bank = SoundBank(out, RATE)
    place, counts, rows = _folder(out / "brir"), room_counts(rooms), []
    for split, count in counts.items():
        heads = {head.name: head for head in bank.heads(split) if head.all_round}
        if not heads:
            raise AudioError(f"{out}: expected heads of split {split!r} in hrtf/, measured all round, found none: "
                             "add --cipic")  # fmt: skip
        for number in range(count):
            drawn = draw_binaural_room(seed, split, number, list(heads))
            path, settings = place / f"{drawn.name}.npz", json.dumps({"simulation": SIMULATION, **asdict(drawn)})
            if made_from(path) != settings:
                try:
                    listener = simulate_room(drawn, heads[drawn.head])
                except ValueError as problem:
                    raise AudioError(f"{out}: {problem}") from problem
                save_npz(listener, path, settings)
            rows.append({"path": path.name, "split": split, "licence": f"that of {drawn.head}"})
            done(1)
    _update_manifest(place / "manifest.csv", "simulated", COLUMNS["brir"], rows)
    return counts


def _folder(place: Path) -> Path:
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise AudioError(f"{place}: cannot make the folder: {problem.strerror}") from problem
    return place


def _rows(name: str, folder: Path, place: Path) -> Iterator[Row]:
    if name == "librispeech":
        yield from _librispeech(folder)
    elif name == "wham":
        yield from _wham(folder)
    else:
        _, read, licence = RESPONSES[name]
        for split, listener in read(folder):
            save_npz(listener.resampled(RATE), place / f"{listener.name}.npz")
            yield {
                "path": f"{listener.name}.npz",
                "split": split,
                "licence": licence,
                "directions": str(len(listener.azimuth_deg)),
            }


def _librispeech(folder: Path) -> Iterator[Row]:
    genders = _speakers(folder / "SPEAKERS.TXT")
    for subset, split in LIBRISPEECH.items():
        for file in sorted((folder / subset).glob("*/*/*.flac")):
            speaker = file.relative_to(folder / subset).parts[0]
            if speaker not in genders:
                raise AudioError(f"{file}: expected a speaker of SPEAKERS.TXT, found {speaker}")
            path = Path("librispeech") / file.relative_to(folder)
            yield {
                "path": path.as_posix(),
                "split": split,
                "licence": "CC BY 4.0",
                "speaker": f"librispeech-{speaker}",
                "gender": genders[speaker],
            }


def _speakers(path: Path) -> dict[str, str]:
    """``f`` or ``m`` for each speaker: lines ``id | F | subset | minutes | name``, comments begin with a semicolon."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise AudioError(f"{path}: expected LibriSpeech's list of speakers, found none that can be read") from problem
    entries = [line.split("|") for line in lines if line.strip() and not line.startswith(";")]
    genders = {entry[0].strip(): entry[1].strip().lower() for entry in entries if len(entry) > 1}
    if not genders or not set(genders.values()) <= {"f", "m"}:
        raise AudioError(f"{path}: expected lines as '14 | F | train-clean-360 | 25.03 | Kristin', found others")
    return genders


def _wham(folder: Path) -> Iterator[Row]:
    for part, split in WHAM.items():
        for file in sorted((folder / part).glob("*.wav")):
            yield {"path": f"wham/{part}/{file.name}", "split": split, "licence": "CC BY-NC 4.0"}


def _link(link: Path, folder: Path) -> None:
    """A link to a corpus; one that is there is set anew."""
    if link.is_symlink():
        link.unlink()
    if link.exists():
        raise AudioError(f"{link}: expected a link or nothing, found something else: remove it")
    try:
        os.symlink(folder.resolve(), link, target_is_directory=True)
    except OSError as problem:
        raise AudioError(f"{link}: cannot link to {folder}: {problem.strerror}") from problem


def _update_manifest(path: Path, source: str, columns: tuple[str, ...], rows: Iterable[Row]) -> None:
    """Put a source's rows in place of those it had; columns that only others have stay empty in them."""
    kept: list[Row] = []
    if path.is_file():
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            found = tuple(reader.fieldnames or ())
            if not {"path", "split"} <= set(found):
                raise AudioError(f"{path}: expected columns path and split, found {', '.join(found)}: "
                                 "choose another folder")  # fmt: skip
            kept = [row for row in reader if row.get("source") != source]
            columns = tuple(dict.fromkeys((*found, *columns)))
    with replacing(path, AudioError) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows([*kept, *({**row, "source": source} for row in rows)])
