"""The sound events that SELD scenes are made of: built in or from folders, with the stretches in which they sound."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from hearable.audio import read_audio
from hearable.errors import AudioError
from hearable.resampling import resample
from hearable.synthesis.ambience import SHORTEST_AMBIENCE_S
from hearable.synthesis.built_in_sounds import BUILT_IN, JOINED_S, built_in_sound
from hearable.synthesis.labels import Span
from hearable.synthesis.sound_folders import find_sounds

BUILT_IN_LAYOUT = "built-in"
KEPT_SECONDS = 1000  # of decoded sound kept in memory: 96 MB at 24 kHz
POWER_S = 0.02  # over which the level is measured
QUIET_DB = 40.0  # so far below the loudest level nothing sounds
SHORTEST_S = 0.05  # neither a stretch nor a file is shorter
BLOCK = 1 << 16  # samples


@dataclass(frozen=True)
class SoundEntry:
    """A sound of the bank.

    Attributes:
        name: of the sound in the bank.
        label: class of a target or kind of an interferer.
        origin: the recording that it was cut from.
        split: train, val or test where the source says so, else empty.
    """

    name: str
    label: str
    origin: str
    split: str


@dataclass(frozen=True)
class SoundSource:
    """Where a recipe takes sounds from.

    Attributes:
        layout: ``built-in`` or one of `sound_folders.LAYOUTS`.
        folder: where the sounds are; nothing for ``built-in``.
        per_class: how many sounds of each class are made, for ``built-in``.
        labels: our class for each of the folder's words, besides those that the layout knows.
        columns: of a manifest, see `find_sounds`.
    """

    layout: str = BUILT_IN_LAYOUT
    folder: str = ""
    per_class: int = 40
    labels: Mapping[str, str] | None = None
    columns: Mapping[str, str] | None = None


class SeldSounds:
    """A bank of sound events; what was read last is kept.

    Args:
        sources: where the sounds come from.
        labels: the classes and the kinds of interferers that are needed; other sounds are left out.
        rate: sample rate of everything that comes out, in Hz.

    Attributes:
        entries: all sounds, in a fixed order.

    Raises:
        AudioError: a folder is missing or not of its layout, a file cannot be read or is empty, or there is no sound
            for one of the labels.
    """

    def __init__(self, sources: Iterable[SoundSource], labels: Iterable[str], rate: int):
        self.rate = rate
        self.entries: list[SoundEntry] = []
        self._files: dict[str, Path] = {}
        self._kept: OrderedDict[str, tuple[NDArray[np.float32], list[Span]]] = OrderedDict()
        self._kept_samples = 0
        self._lock = threading.Lock()  # a Dask worker may run several threads
        wanted = set(labels)
        for source in sources:
            self._add(source, wanted)
        missing = sorted(wanted - {entry.label for entry in self.entries})
        if missing:
            raise AudioError(f"expected sounds of every class, found none of {', '.join(missing)}")

    def _add(self, source: SoundSource, wanted: set[str]) -> None:
        if source.layout == BUILT_IN_LAYOUT:
            for label in (label for label in BUILT_IN if label in wanted):
                names = [f"{BUILT_IN_LAYOUT}/{label}/{number}" for number in range(source.per_class)]
                self.entries += [SoundEntry(name, label, name, "") for name in names]
            return
        folder = Path(source.folder)
        for found in find_sounds(folder, source.layout, source.labels or {}, source.columns):
            if found.label in wanted:
                name = f"{folder.name}/{found.path.relative_to(folder).as_posix()}"
                if name in self._files:
                    raise AudioError(f"{folder}: expected folders of distinct names, found {folder.name!r} twice")
                _require_sound(found.path, SHORTEST_AMBIENCE_S if found.label == "ambience" else SHORTEST_S)
                self._files[name] = found.path
                self.entries.append(SoundEntry(name, found.label, found.origin, found.split))

    def read(self, sound: str, start: int, samples: int) -> NDArray[np.float32]:
        """``[samples]`` from sample ``start`` on, channels averaged, in -1..1; fewer where the sound ends.

        Raises:
            AudioError: no such sound, or the file cannot be read.
        """
        return self._get(sound)[0][start : start + samples]

    def spans(self, sound: str) -> list[Span]:
        """The stretches in which it sounds, one at least.

        Raises:
            AudioError: no such sound, the file cannot be read, or it is silent.
        """
        return self._get(sound)[1]

    def _get(self, name: str) -> tuple[NDArray[np.float32], list[Span]]:
        with self._lock:
            if name in self._kept:
                self._kept.move_to_end(name)
            else:
                self._keep(name, self._make(name))
            return self._kept[name]

    def _keep(self, name: str, sound: tuple[NDArray[np.float32], list[Span]]) -> None:
        self._kept[name] = sound
        self._kept_samples += len(sound[0])
        while self._kept_samples > KEPT_SECONDS * self.rate and len(self._kept) > 1:
            self._kept_samples -= len(self._kept.popitem(last=False)[1][0])

    def _make(self, name: str) -> tuple[NDArray[np.float32], list[Span]]:
        if name in self._files:
            return _load(self._files[name], self.rate)
        layout, _, rest = name.partition("/")
        label, _, number = rest.partition("/")
        if layout == BUILT_IN_LAYOUT and label in BUILT_IN and number.isdecimal():
            return built_in_sound(label, int(number), self.rate)
        raise AudioError(f"no sound {name!r} in the bank")


def sounding(audio: NDArray[np.float32], rate: int) -> list[Span]:
    """The stretches of ``[samples]`` that are less than 40 dB below the loudest 20 ms; pauses up to 0.5 s belong in."""
    frame = max(1, round(POWER_S * rate))
    padded = np.pad(audio, (0, -len(audio) % frame)).reshape(-1, frame)
    power = np.mean(np.square(padded, dtype=np.float64), axis=1)
    loud = np.flatnonzero(power > max(float(power.max()) * 10 ** (-QUIET_DB / 10), 1e-14))
    spans: list[Span] = []
    for index in loud.tolist():
        begin, end = index * frame, min((index + 1) * frame, len(audio))
        if spans and begin - spans[-1][1] < JOINED_S * rate:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((begin, end))
    return [s for s in spans if s[1] - s[0] >= SHORTEST_S * rate] or spans[:1]


def _require_sound(path: Path, least_s: float) -> None:
    """No more is read than it takes to meet a sample that is not zero."""
    try:
        with soundfile.SoundFile(path) as file:
            samples, rate = file.frames, file.samplerate
            silent = not any(np.any(block) for block in file.blocks(BLOCK, dtype="float32"))
    except (soundfile.LibsndfileError, OSError) as problem:
        raise AudioError(f"{path}: expected a sound file, found none that can be read") from problem
    if samples == 0:
        raise AudioError(f"{path}: expected sound, found a file of zero length")
    if samples < least_s * rate:
        raise AudioError(f"{path}: expected {least_s:g} s of sound or more, found {samples / rate:.3g} s")
    if silent:
        raise AudioError(f"{path}: expected sound, found silence")
    notes = _notes(path)
    if notes.is_file() and not _annotated(notes, rate, samples):
        raise AudioError(f"{notes}: expected a stretch within the {samples / rate:.3g} s of its sound, found none")


def _load(path: Path, rate: int) -> tuple[NDArray[np.float32], list[Span]]:
    audio, file_rate = read_audio(path)
    mono: NDArray[np.float32] = resample(audio.mean(0, keepdims=True), file_rate, rate)[0]
    notes = _notes(path)
    spans = _annotated(notes, rate, len(mono)) if notes.is_file() else sounding(mono, rate)
    if not spans or not np.any(mono):
        raise AudioError(f"{path}: expected sound, found silence")
    return mono, spans


def _notes(path: Path) -> Path:
    """Where a sound's on- and offsets are, if it has some of its own."""
    return path.with_name(path.name + ".txt")


def _annotated(path: Path, rate: int, samples: int) -> list[Span]:
    spans = []
    try:
        for line in path.read_text("utf-8").splitlines():
            if line.strip():
                onset, offset = (float(word) for word in line.replace(",", " ").split()[:2])
                spans.append((max(0, round(onset * rate)), min(round(offset * rate), samples)))
    except (OSError, ValueError, OverflowError) as problem:
        raise AudioError(f"{path}: expected an onset and an offset in seconds in each line: {problem}") from problem
    return sorted(span for span in spans if span[0] < span[1])
