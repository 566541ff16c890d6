"""Folders of sound events as they are published: which file is of which class, from which recording, in which split.

=============  ========================================================================================
layout         what it is
=============  ========================================================================================
``folders``    ``<class>/**/<sound>``, as NIGENS: a class is a folder; ``<sound>.txt`` beside a sound, with an
               onset and an offset in seconds in each line, says when it sounds
``manifest``   ``manifest.csv`` with columns ``path`` (from the folder or from its parent), ``class`` and, if known,
               ``split`` (train, val, test) and ``origin`` (the recording that it was cut from, or who speaks)
``esc``        ESC-50 and ESC-10: ``meta/esc50.csv`` and ``audio/``
``fsd50k``     FSD50K: ``FSD50K.ground_truth/{dev,eval}.csv`` and ``FSD50K.{dev,eval}_audio/``
=============  ========================================================================================
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hearable.errors import AudioError
from hearable.synthesis.sources import SOUND_SUFFIXES


@dataclass(frozen=True)
class FoundSound:
    """A file that belongs to a class.

    Attributes:
        path: the file.
        label: the class, in the folder's own words.
        origin: sounds of one origin never go into different folds.
        split: train, val or test where the folder says so, else empty.
    """

    path: Path
    label: str
    origin: str
    split: str = ""


NIGENS = {
    "baby": "crying_baby",
    "dog": "barking_dog",
    "femaleScream": "female_scream",
    "femaleSpeech": "female_speech",
    "knock": "knocking",
    "maleScream": "male_scream",
    "maleSpeech": "male_speech",
}
ESC = {
    "siren": "alarm",
    "clock_alarm": "alarm",
    "crying_baby": "crying_baby",
    "glass_breaking": "crash",
    "dog": "barking_dog",
    "footsteps": "footsteps",
    "door_wood_knock": "knocking",
    "engine": "engine",
    "crackling_fire": "fire",
    "vacuum_cleaner": "general",
    "washing_machine": "general",
    "keyboard_typing": "general",
    "clapping": "general",
    "water_drops": "general",
}
FSD50K = {
    "Alarm": "alarm",
    "Siren": "alarm",
    "Shatter": "crash",
    "Bark": "barking_dog",
    "Female_speech_and_woman_speaking": "female_speech",
    "Walk_and_footsteps": "footsteps",
    "Knock": "knocking",
    "Male_speech_and_man_speaking": "male_speech",
    "Ringtone": "phone",
    "Telephone": "phone",
    "Piano": "piano",
    "Engine": "engine",
    "Fire": "fire",
    "Mechanical_fan": "general",
    "Typing": "general",
    "Water_tap_and_faucet": "general",
}


def find_sounds(
    folder: Path, layout: str, labels: Mapping[str, str], columns: Mapping[str, str] | None = None
) -> list[FoundSound]:
    """The sounds of a folder that belong to a class, labelled with our classes, in the order of their paths.

    Args:
        folder: where they are.
        layout: one of `LAYOUTS`.
        labels: our class for each of the folder's words, besides those that the layout knows.
        columns: the names of a manifest's columns where they are not ``path``, ``class``, ``split`` and ``origin``.

    Raises:
        AudioError: no such folder, or not of this layout.
    """
    if not folder.is_dir():
        raise AudioError(f"{folder}: no such folder of sounds")
    find, known = LAYOUTS[layout]
    ours = {**known, **labels}
    sounds = _manifest(folder, columns) if columns else find(folder)
    found = [FoundSound(s.path, ours.get(s.label, s.label), s.origin, s.split) for s in sounds]
    if not found:
        raise AudioError(f"{folder}: expected sounds in the layout {layout!r}, found none")
    return sorted(found, key=lambda s: s.path.as_posix())


def _by_folder(folder: Path) -> Iterator[FoundSound]:
    for path in folder.glob("*/**/*"):
        if path.suffix.lower() in SOUND_SUFFIXES and path.is_file():
            inner = path.relative_to(folder)
            yield FoundSound(path, inner.parts[0], inner.as_posix())


def _manifest(folder: Path, columns: Mapping[str, str] | None = None) -> Iterator[FoundSound]:
    path_, label, split, origin = ((columns or {}).get(key, key) for key in ("path", "class", "split", "origin"))
    for row in _rows(folder / "manifest.csv", (path_, label)):
        path = folder / row[path_]
        path = path if path.is_file() else folder.parent / row[path_]
        if not path.resolve().is_relative_to(folder.resolve()):
            raise AudioError(f"{folder / 'manifest.csv'}: expected paths inside {folder}, found {row[path_]!r}")
        yield FoundSound(path, row[label], row.get(origin) or row[path_], row.get(split) or "")


def _esc(folder: Path) -> Iterator[FoundSound]:
    for row in _rows(folder / "meta" / "esc50.csv", ("filename", "category", "src_file")):
        yield FoundSound(folder / "audio" / row["filename"], row["category"], row["src_file"])


def _fsd50k(folder: Path) -> Iterator[FoundSound]:
    for part in ("dev", "eval"):
        for row in _rows(folder / "FSD50K.ground_truth" / f"{part}.csv", ("fname", "labels")):
            words = [word for word in row["labels"].split(",") if word in FSD50K]
            if words:  # the most special label comes first
                path = folder / f"FSD50K.{part}_audio" / f"{row['fname']}.wav"
                yield FoundSound(path, words[0], row["fname"], row.get("split") or "test")


def _rows(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            missing = [column for column in columns if column not in (reader.fieldnames or ())]
            if missing:
                raise AudioError(
                    f"{path}: expected a column {missing[0]!r}, found {', '.join(reader.fieldnames or ())}"
                )
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise AudioError(f"{path}: cannot read: {problem}") from problem


LAYOUTS: dict[str, tuple[Callable[[Path], Iterator[FoundSound]], Mapping[str, str]]] = {
    "folders": (_by_folder, NIGENS),
    "manifest": (_manifest, {}),
    "esc": (_esc, ESC),
    "fsd50k": (_fsd50k, FSD50K),
}
"""How to find the sounds, and our class for the layout's words."""
