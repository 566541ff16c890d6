"""Where scenes find their sound: a folder of speech, noise and impulse responses, split into train, val and test.

::

    data/
    ├── speech/   talkers
    ├── noise/    background
    ├── hrtf/     heads in free field (.npz or .sofa)
    └── brir/     heads in rooms      (.npz or .sofa); heads and rooms are drawn equally often, one of both will do

Each folder is laid out in one of two ways:

* with a ``manifest.csv``: a row a file, columns ``path`` (from this folder or from ``data``) and ``split``, for speech
  also ``speaker`` and, if known, ``gender`` (``f`` or ``m``);
* without: ``<folder>/<split>/...``, where speech has a folder for each speaker, with sound files at any depth below
  it, as LibriSpeech has: ``speech/test/1089/134686/1089-134686-0000.flac``.
"""

from __future__ import annotations

import csv
from collections import OrderedDict
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from hearable.audio import read_audio
from hearable.errors import AudioError
from hearable.resampling import resample, resampled_length
from hearable.synthesis.hrir import HrirSet, load_npz, load_sofa
from hearable.synthesis.recipes import Material, Sound

SOUND_SUFFIXES = (".flac", ".wav", ".opus", ".ogg", ".mp3")
RESPONSE_SUFFIXES = (".npz", ".sofa")
SUFFIXES = {"speech": SOUND_SUFFIXES, "noise": SOUND_SUFFIXES, "hrtf": RESPONSE_SUFFIXES, "brir": RESPONSE_SUFFIXES}
KEPT_SECONDS = 1200  # of decoded sound kept in memory: 77 MB at 16 kHz


class SoundBank:
    """The sounds of a data folder, decoded when they are needed; the last ones are kept.

    A sound's name is its path from the folder on.

    Args:
        folder: the data folder, laid out as this module says.
        rate: sample rate of everything that comes out, in Hz; other rates are converted.

    Attributes:
        genders: ``f``, ``m`` or ``?`` for each speaker of the splits that were asked for.
        rooms: names of their listeners that are in a room.

    Raises:
        AudioError: no such folder.
    """

    def __init__(self, folder: str | Path, rate: int = 16000):
        self.folder = Path(folder)
        self.rate = rate
        self.genders: dict[str, str] = {}
        self.rooms: set[str] = set()
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()
        self._kept_samples = 0
        if not self.folder.is_dir():
            raise AudioError(f"{folder}: no such folder: give the one that holds speech/, noise/, hrtf/ and brir/")

    def material(self, split: str) -> Material:
        """What the recipes draw scenes of a split from.

        Raises:
            AudioError: a folder or a manifest's column is missing, a split is empty, or a file cannot be read.
        """
        speakers: dict[str, list[Sound]] = {}
        for row in self.rows("speech", split):
            speakers.setdefault(row["speaker"], []).append(self._sound(row["path"]))
            self.genders[row["speaker"]] = row.get("gender") or "?"
        noises = [self._sound(row["path"]) for row in self.rows("noise", split)]
        return Material(speakers, noises, *self.listeners(split))

    def listeners(self, split: str) -> tuple[dict[str, HrirSet], list[float]]:
        """Heads and rooms of a split by name, and how likely each is drawn.

        Raises:
            AudioError: there are none, a file cannot be read, or two have one name.
        """
        heads, rooms = self.heads(split), [self._response(row["path"]) for row in self.rows("brir", split)]
        if not heads and not rooms:
            raise AudioError(
                f"{self.folder}: expected impulse responses of split {split!r} in hrtf/ or brir/, found none"
            )
        listeners = {ears.name: ears for ears in heads + rooms}
        if len(listeners) < len(heads) + len(rooms):
            raise AudioError(f"{self.folder}: expected impulse responses of distinct file names, found one twice")
        self.rooms.update(ears.name for ears in rooms)
        return listeners, _weights(len(heads), len(rooms))

    def rows(self, kind: str, split: str) -> list[dict[str, str]]:
        """The files of a split in one of the four folders: what a manifest says of each, at least its ``path``.

        Paths are from the data folder on; speech has a ``speaker`` each. Heads or rooms may be none.

        Raises:
            AudioError: no speech or noise, or a manifest without one of these columns.
        """
        folder, responses = self.folder / kind, SUFFIXES[kind] == RESPONSE_SUFFIXES
        columns = ("path", "split", "speaker") if kind == "speech" else ("path", "split")
        if not folder.is_dir():
            if responses:
                return []
            raise AudioError(f"{folder}: no such folder: the data folder holds speech/, noise/, hrtf/ and brir/")
        if (folder / "manifest.csv").is_file():
            rows = _read_manifest(folder / "manifest.csv", split, columns)
            for row in rows:
                row["path"] = f"{kind}/{row['path']}" if (folder / row["path"]).is_file() else row["path"]
        else:
            pattern = "*/**/*" if kind == "speech" else "**/*"
            files = sorted(f for f in (folder / split).glob(pattern) if f.suffix.lower() in SUFFIXES[kind])
            rows = [{"path": str(f.relative_to(self.folder)), "speaker": f.relative_to(folder).parts[1]} for f in files]
        if not rows and not responses:
            raise AudioError(f"{folder}: expected files of split {split!r}, found none: see its manifest.csv, "
                             f"or without one put them into {folder / split}")  # fmt: skip
        return rows

    def heads(self, split: str) -> list[HrirSet]:
        """The heads in free field of a split, if there are any.

        Raises:
            AudioError: as `material`.
        """
        return [self._response(row["path"]) for row in self.rows("hrtf", split)]

    def read(self, sound: str, start: int, samples: int) -> NDArray[np.float32]:
        """``[samples]`` from sample ``start`` on, channels averaged, in -1..1; fewer where the sound ends.

        Raises:
            AudioError: the file cannot be read.
        """
        if sound in self._kept:
            self._kept.move_to_end(sound)
        else:
            self._keep(sound, self._decode(sound))
        return self._kept[sound][start : start + samples]

    def _decode(self, sound: str) -> NDArray[np.float32]:
        audio, rate = read_audio(self.folder / sound)
        mono: NDArray[np.float32] = resample(audio.mean(0, keepdims=True), rate, self.rate)[0]
        return mono

    def _keep(self, sound: str, audio: NDArray[np.float32]) -> None:
        self._kept[sound] = audio
        self._kept_samples += len(audio)
        while self._kept_samples > KEPT_SECONDS * self.rate and len(self._kept) > 1:
            self._kept_samples -= len(self._kept.popitem(last=False)[1])

    def _sound(self, path: str) -> Sound:
        """Length without decoding: manifests round it, and scenes need it to the sample."""
        try:
            found = soundfile.info(self.folder / path)
        except (soundfile.LibsndfileError, OSError) as problem:
            raise AudioError(f"{self.folder / path}: expected a sound file, found none that can be read") from problem
        return Sound(path, resampled_length(found.frames, found.samplerate, self.rate))

    def _response(self, path: str) -> HrirSet:
        load = load_sofa if path.endswith(".sofa") else load_npz
        try:
            return load(self.folder / path).resampled(self.rate)
        except (OSError, KeyError, ValueError) as problem:
            raise AudioError(f"{self.folder / path}: expected impulse responses of two ears: {problem}") from problem


def _read_manifest(path: Path, split: str, columns: tuple[str, ...]) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [column for column in columns if column not in (reader.fieldnames or ())]
        if missing:
            raise AudioError(f"{path}: expected a column {missing[0]!r}, found {', '.join(reader.fieldnames or ())}")
        return [row for row in reader if row["split"] == split]


def _weights(heads: int, rooms: int) -> list[float]:
    """Rooms are drawn as often as heads, whatever their numbers."""
    kinds = [n for n in (heads, rooms) if n]
    return [1 / (len(kinds) * n) for n in kinds for _ in range(n)]
