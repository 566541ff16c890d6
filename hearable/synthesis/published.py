"""Heads and rooms as their publishers ship them, with the splits of *Look Once to Hear*.

* CIPIC (UC Davis): 45 heads, as SOFA (sofacoustics.org) or in the original ``hrir_final.mat``.
* RRBRIR (Surrey, github.com/IoSR-Surrey/RealRoomBRIRs): ``UniS_Room_?_BRIR_16k.sofa``.
* ASH Listening Set 8.0: ``BRIRs/<room>/BRIR_R<room>_C<place>_E<elevation>_A<azimuth>.wav``.
* CATT (iosr.uk): ``Binaural/16k/<room>/CATT_<room>_<azimuth>.wav``, simulated rooms by reverberation time.

Every reader goes through its folder and yields ``(split, HrirSet)``, one listener at a time: all of ASH at once would
fill the memory. Azimuths come out as everywhere here, counter-clockwise, though the room sets count to the right.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.hrir import HrirSet, load_sofa, normalised

SPLITS = ("train", "val", "test")

CIPIC_SPLITS = {
    **dict.fromkeys(("021", "027", "065", "135", "147"), "val"),
    **dict.fromkeys(("010", "018", "019", "040", "119", "133", "156", "158", "165"), "test"),
}  # all other subjects: train
CIPIC_RATE = 44100
# Interaural-polar: the angle off the median plane, + right, and the angle around the interaural axis.
CIPIC_LATERAL = np.array([-80, -65, -55, *range(-45, 50, 5), 55, 65, 80], np.float64)
CIPIC_POLAR = -45 + 5.625 * np.arange(50, dtype=np.float64)

SURREY_SPLITS = {"A": "test", "B": "train", "C": "val", "D": "train"}

ASH_SPLITS = {
    **dict.fromkeys("05A 05B 06 07 09 12 13 17 18 19 20 21 22 23 24 25 26 27 28 31 32 33 34".split(), "train"),
    **dict.fromkeys("03 04 08 10 11 30".split(), "val"),
    **dict.fromkeys("01 02 14 15 16 29".split(), "test"),
}
ASH_NAME = re.compile(r"BRIR_R(?P<room>[^_]+)_C(?P<place>[^_]+)_E(?P<elevation>-?\d+)_A(?P<azimuth>-?\d+)\.wav")

CATT_SPLITS = {
    **dict.fromkeys(("0_0s", "0_1s", "0_2s", "0_5s", "0_6s", "0_7s", "1_0s"), "train"),
    **dict.fromkeys(("0_3s", "0_9s"), "val"),
    **dict.fromkeys(("0_4s", "0_8s"), "test"),
}
CATT_NAME = re.compile(r"CATT_(?P<room>\d_\ds)_(?P<azimuth>-?\d+)\.wav")

Listeners = Iterator[tuple[str, HrirSet]]


def read_cipic(folder: Path) -> Listeners:
    """The heads of CIPIC below a folder.

    Raises:
        AudioError: none found, or a file is not what its name says.
    """
    files = sorted(folder.rglob("subject_*.sofa")) or sorted(folder.rglob("subject_*/hrir_final.mat"))
    for file in _found(files, folder, "subject_003.sofa or subject_003/hrir_final.mat"):
        subject = _subject(file.stem if file.suffix == ".sofa" else file.parent.name, file)
        name = f"cipic_{subject}"
        head = _sofa(file, name) if file.suffix == ".sofa" else _cipic_mat(file, name)
        yield CIPIC_SPLITS.get(subject, "train"), head


def _subject(name: str, file: Path) -> str:
    number = name.removeprefix("subject_")
    if not re.fullmatch(r"\d{1,3}", number):
        raise AudioError(f"{file}: expected a name as subject_003, found {name}")
    return number.zfill(3)


def _cipic_mat(file: Path, name: str) -> HrirSet:
    from scipy.io import loadmat

    try:
        content = loadmat(str(file), variable_names=("hrir_l", "hrir_r"))
        ears = [np.asarray(content[ear], np.float32) for ear in ("hrir_l", "hrir_r")]
    except (OSError, KeyError, ValueError, NotImplementedError) as problem:
        raise AudioError(f"{file}: expected hrir_l and hrir_r, found something else: {problem}") from problem
    shape = (len(CIPIC_LATERAL), len(CIPIC_POLAR))
    if any(ear.ndim != 3 or ear.shape[:2] != shape for ear in ears):
        raise AudioError(f"{file}: expected responses [25, 50, taps], found {[list(ear.shape) for ear in ears]}")
    azimuth, elevation = from_interaural_polar(CIPIC_LATERAL[:, None], CIPIC_POLAR)
    responses = np.stack(ears, 2).reshape(-1, 2, ears[0].shape[-1])
    return normalised(name, responses, azimuth.ravel(), elevation.ravel(), CIPIC_RATE)


def from_interaural_polar(
    lateral_deg: NDArray[np.float64], polar_deg: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Azimuth and elevation of directions given as angle off the median plane (+ right) and around the ears' axis.

    Example:
        >>> from_interaural_polar(np.array(-80.0), np.array(0.0))[0].round().item()
        80.0
    """
    lateral, polar = np.radians(lateral_deg), np.radians(polar_deg)
    front, left, up = np.broadcast_arrays(
        np.cos(lateral) * np.cos(polar), -np.sin(lateral), np.cos(lateral) * np.sin(polar)
    )
    azimuth, elevation = np.arctan2(left, front), np.arcsin(np.clip(up, -1, 1))
    return np.degrees(azimuth).astype(np.float32), np.degrees(elevation).astype(np.float32)


def read_surrey(folder: Path) -> Listeners:
    """The four rooms of RRBRIR at 16 kHz below a folder.

    Raises:
        AudioError: as `read_cipic`.
    """
    files = sorted(folder.rglob("UniS_Room_[A-D]_BRIR_16k.sofa"))
    for file in _found(files, folder, "UniS_Room_A_BRIR_16k.sofa"):
        room = file.name[len("UniS_Room_")]
        yield SURREY_SPLITS[room], counter_clockwise(_sofa(file, f"surrey_{room}"))


def read_ash(folder: Path) -> Listeners:
    """The rooms of the ASH Listening Set below a folder, a set for each place in a room.

    Raises:
        AudioError: as `read_cipic`.
    """
    places: dict[tuple[str, str], list[tuple[Path, float, float]]] = defaultdict(list)
    for file in sorted(folder.rglob("BRIR_R*.wav")):
        match = ASH_NAME.fullmatch(file.name)
        if match and match["room"] in ASH_SPLITS:
            places[match["room"], match["place"]].append((file, float(match["azimuth"]), float(match["elevation"])))
    _found(list(places), folder, "BRIR_R01_C1_E0_A0.wav")
    for (room, place), files in places.items():
        yield ASH_SPLITS[room], _from_wavs(f"ash_{room}_C{place}", files)


def read_catt(folder: Path) -> Listeners:
    """The rooms of CATT at 16 kHz below a folder.

    Raises:
        AudioError: as `read_cipic`.
    """
    rooms: dict[str, list[tuple[Path, float, float]]] = defaultdict(list)
    for file in sorted(folder.rglob("16k/*/CATT_*.wav")):
        match = CATT_NAME.fullmatch(file.name)
        if match and match["room"] in CATT_SPLITS:
            rooms[match["room"]].append((file, float(match["azimuth"]), 0.0))
    _found(list(rooms), folder, "16k/0_4s/CATT_0_4s_-90.wav")
    for room, files in rooms.items():
        yield CATT_SPLITS[room], _from_wavs(f"catt_{room}", files)


def counter_clockwise(listener: HrirSet) -> HrirSet:
    """The same with azimuths to the left, whichever way they were counted: what is on the left is louder there."""
    energy = np.sum(listener.responses.astype(np.float64) ** 2, -1) + 1e-12
    left = unit_vectors(listener.azimuth_deg, listener.elevation_deg)[:, 1]
    turned = -1 if np.sum(left * np.log(energy[:, 0] / energy[:, 1])) < 0 else 1
    azimuth, rate = turned * listener.azimuth_deg, listener.sample_rate_hz
    return normalised(listener.name, listener.responses, azimuth, listener.elevation_deg, rate)


def _from_wavs(name: str, files: Sequence[tuple[Path, float, float]]) -> HrirSet:
    """One set of many files, each with its azimuth and elevation; shorter responses end in zeros."""
    read = [_stereo(file) for file, _, _ in files]
    rates = {rate for _, rate in read}
    if len(rates) > 1:
        raise AudioError(f"{files[0][0].parent}: expected responses of one rate, found {sorted(rates)}")
    responses = np.zeros((len(read), 2, max(sound.shape[1] for sound, _ in read)), np.float32)
    for response, (sound, _) in zip(responses, read, strict=True):
        response[:, : sound.shape[1]] = sound
    azimuth, elevation = (np.array([entry[n] for entry in files], np.float32) for n in (1, 2))
    return counter_clockwise(normalised(name, responses, azimuth, elevation, rates.pop()))


def _stereo(file: Path) -> tuple[NDArray[np.float32], int]:
    try:
        sound, rate = soundfile.read(file, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as problem:
        raise AudioError(f"{file}: expected a wav of two ears, found none that can be read") from problem
    if sound.shape[1] != 2 or not len(sound):
        raise AudioError(f"{file}: expected two ears, found {sound.shape[1]} channels of {len(sound)} samples")
    return sound.T, rate


def _sofa(file: Path, name: str) -> HrirSet:
    try:
        return load_sofa(file, name)
    except (OSError, ValueError, AttributeError) as problem:
        raise AudioError(f"{file}: expected responses of two ears in SOFA: {problem}") from problem


def _found(files: list, folder: Path, example: str) -> list:  # type: ignore[type-arg]
    if not files:
        raise AudioError(f"{folder}: expected files as {example}, found none: give the folder that was unpacked")
    return files
