"""Measured rooms from files: SOFA, MATLAB, npz, and the TAU Spatial Room Impulse Response Database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat
from scipy.signal import resample_poly

from hearable.errors import AudioError
from hearable.synthesis.directions import angles_deg, unit_vectors
from hearable.synthesis.measured_rooms import RoomResponses, direct_span
from hearable.synthesis.seld_scene import CHANNELS, Format

Audio = NDArray[np.float32]
Values = NDArray[np.float64]

WXYZ_TO_WYZX = [0, 2, 3, 1]
QUANTISED: dict[Format, str] = {"foa": "foa_q", "binaural": "brir_q"}
TAU_ARRAYS: dict[Format, str] = {"foa": "foa_sn3d", "mic": "tetra"}  # as TAU-SNoise DB calls them


def load_room(paths: Mapping[Format, str | Path], rate: int) -> RoomResponses:
    """Read one room from a file for each format (two may be in one file), measured from the same positions.

    ``.sofa`` is AES69. ``.mat`` (of any version) and ``.npz`` hold ``fs``, and for each position ``azimuth`` and
    ``elevation`` in degrees and, if known, ``distance`` in m; responses ``[positions, channels, taps]`` have the name
    of their format, FOA is W Y Z X in SN3D. Instead of these there may be quantised ones, int16 that times ``scale``
    are responses: ``brir_q``, or ``foa_q`` as W X Y Z; of a single position ``intensity_azimuth`` and
    ``intensity_elevation`` serve, too.

    Raises:
        AudioError: a file cannot be read or is of no such form, or the files do not belong together.
    """
    parts: dict[Format, RoomResponses] = {}
    for name, path in paths.items():
        read = _sofa_room if Path(path).suffix.lower() == ".sofa" else _array_room
        parts[name] = _reading(Path(path), partial(read, name=name, rate=rate))
    first = next(iter(parts.values()))
    for part in parts.values():
        if not (
            len(part.azimuth_deg) == len(first.azimuth_deg)
            and np.allclose(part.azimuth_deg, first.azimuth_deg, atol=0.1)
            and np.allclose(part.elevation_deg, first.elevation_deg, atol=0.1)
        ):
            raise AudioError(f"{part.name}: expected the positions of {first.name}, found others")
    responses = {name: part.responses[name] for name, part in parts.items()}
    return _room(first.name, rate, rate, first.azimuth_deg, first.elevation_deg, first.distance_m, responses)


def load_tau_room(folder: str | Path, room: str, rate: int) -> RoomResponses:
    """Read a room of TAU-SRIR DB: ``rirdata.mat`` and ``rirs_<number>_<room>.mat`` (MATLAB 7.3) in one folder.

    Distances are the radii that ``measinfo.mat`` gives of circles around the array. Positions on straight lines, which
    it describes otherwise, and all without that file count as 1 m away.

    Raises:
        AudioError: no such room, or a file cannot be read or is not of this form.
    """
    folder = Path(folder)
    files = sorted(folder.glob(f"rirs_*_{room}.mat"))
    if not files:
        raise AudioError(f"{folder}: expected rirs_<number>_{room}.mat, found no such file")
    return _reading(files[0], lambda file: _tau_room(folder, file, room, rate))


def find_tau_ambience(folder: str | Path, srirs: str | Path, room: str) -> dict[Format, Path]:
    """The recordings of a room in TAU-SNoise DB: ``<number>_<its own name>/ambience_*.wav``, half an hour each.

    The two databases share the rooms' numbers, not their names.

    Args:
        folder: of TAU-SNoise DB.
        srirs: of TAU-SRIR DB.
        room: its name there.

    Raises:
        AudioError: no such room.
    """
    number = next(iter(sorted(Path(srirs).glob(f"rirs_*_{room}.mat"))), Path("rirs_none")).stem.split("_")[1]
    found: dict[Format, Path] = {}
    for name, array in TAU_ARRAYS.items():
        pattern = f"{number}_*/ambience_{array}_24k_edited.wav"
        files = sorted(Path(folder).expanduser().glob(pattern))
        if not files:
            raise AudioError(f"{folder}: expected {pattern} for the room {room}, found no such file")
        found[name] = files[0]
    return found


def _reading(path: Path, read: Callable[[Path], RoomResponses]) -> RoomResponses:
    try:
        return read(path)
    except (OSError, KeyError, IndexError, TypeError, ValueError, AttributeError) as problem:
        raise AudioError(f"{path}: expected room impulse responses: {problem}") from problem


def _array_room(path: Path, name: Format, rate: int) -> RoomResponses:
    data = _arrays(path)
    if name in data:
        responses = np.asarray(data[name], np.float32)
    elif (quantised := QUANTISED.get(name, name)) in data:
        responses = data[quantised] * np.ravel(data["scale"]).astype(np.float32)
        responses = responses[..., WXYZ_TO_WYZX, :] if name == "foa" else responses
    else:
        raise ValueError(f"expected {name} in it, found {', '.join(data)}")
    azimuth, elevation = (
        np.ravel(data[key] if key in data else data[f"intensity_{key}"]).astype(np.float64)
        for key in ("azimuth", "elevation")
    )
    distance = np.ravel(data.get("distance", 1.0)).astype(np.float64)
    whole = responses.reshape(-1, *responses.shape[-2:])
    return _room(path.stem, int(np.ravel(data["fs"])[0]), rate, azimuth, elevation, distance, {name: whole})


def _arrays(path: Path) -> Mapping[str, Any]:
    """What a file holds, by name."""
    if path.suffix.lower() == ".npz":
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    if path.suffix.lower() != ".mat":
        raise ValueError(f"expected a file .sofa, .mat or .npz, found {path.suffix or 'no ending'}")
    try:
        return dict(loadmat(path))
    except NotImplementedError:  # since MATLAB 7.3 it is HDF5, whose axes are MATLAB's reversed
        with _hdf5(path) as file:
            return {name: np.transpose(values) for name, values in file.items() if hasattr(values, "shape")}


def _hdf5(path: Path) -> Any:
    import h5py  # type: ignore  # has no types, whether installed or not

    return h5py.File(path, "r")


def _sofa_room(path: Path, name: Format, rate: int) -> RoomResponses:
    import sofar

    sofa = sofar.read_sofa(str(path), verify=False, verbose=False)
    responses = np.asarray(sofa.Data_IR, np.float32)
    place = np.atleast_2d(np.asarray(sofa.SourcePosition, np.float64))
    if str(sofa.SourcePosition_Type).lower() == "cartesian":
        place = place - np.atleast_2d(np.asarray(sofa.ListenerPosition, np.float64))
        distance = np.linalg.norm(place, axis=1)
    else:
        place, distance = unit_vectors(place[:, 0], place[:, 1]), place[:, 2]
    azimuth, elevation = _seen_by_listener(sofa, place)
    own = round(float(np.atleast_1d(sofa.Data_SamplingRate)[0]))
    return _room(path.stem, own, rate, azimuth, elevation, distance, {name: responses})


def _seen_by_listener(sofa: Any, place: Values) -> tuple[Values, Values]:
    """Azimuth and elevation, in degrees, of places ``[n, 3]`` for the way the listener looks, in each measurement."""
    ahead = np.atleast_2d(np.asarray(getattr(sofa, "ListenerView", (1, 0, 0)), np.float64))
    if str(getattr(sofa, "ListenerView_Type", "cartesian")).lower() == "spherical":
        ahead = unit_vectors(ahead[:, 0], ahead[:, 1])
    ahead = ahead / np.linalg.norm(ahead, axis=1, keepdims=True)
    left = np.cross(np.atleast_2d(np.asarray(getattr(sofa, "ListenerUp", (0, 0, 1)), np.float64)), ahead)
    left = left / np.linalg.norm(left, axis=1, keepdims=True)
    return angles_deg(np.stack([np.sum(place * axis, axis=1) for axis in (ahead, left, np.cross(ahead, left))], axis=1))


def _tau_room(folder: Path, path: Path, room: str, rate: int) -> RoomResponses:
    data = loadmat(folder / "rirdata.mat", squeeze_me=True)["rirdata"]
    rooms = np.atleast_1d(data["room"].item())
    number = [str(entry[0]) for entry in rooms].index(room)
    paths = [_numbers(cell) for cell in np.ravel(rooms[number][2])]  # of each trajectory, at each height
    directions = np.concatenate(paths)
    radii = _tau_radii(folder / "measinfo.mat", number)
    radius = np.repeat(np.repeat(radii, len(paths) // len(radii)), [len(path) for path in paths])
    responses: dict[Format, Audio] = {}
    with _hdf5(path) as file:
        for name in ("foa", "mic"):
            cells = file["rirs"][name]  # [heights, trajectories] of references: MATLAB's order, reversed
            parts = [np.asarray(file[cell], np.float32) for cell in np.ravel(np.transpose(cells))]
            responses[name] = np.concatenate([part for part in parts if part.ndim == 3])  # [positions, channels, taps]
    azimuth, elevation = angles_deg(directions)
    own = int(np.ravel(data["fs"].item())[0])
    return _room(room, own, rate, azimuth, elevation, radius / np.cos(np.radians(elevation)), responses)


def _tau_radii(path: Path, number: int) -> Values:
    """Of each trajectory of a room, in m on the floor; 1 m where they are not known."""
    if path.is_file():
        fields = list(np.atleast_1d(loadmat(path, squeeze_me=True)["measinfo"])[number])
        if str(fields[9]) == "circular":
            return np.atleast_1d(np.asarray(fields[6], np.float64))
    return np.ones(1)


def _numbers(cell: Any) -> Values:
    """Vectors ``[n, 3]`` of a MATLAB cell, however often it is wrapped; none of an empty one."""
    while isinstance(cell, np.ndarray) and cell.dtype == object and cell.size == 1:
        cell = cell.item()
    return np.asarray(cell, np.float64).reshape(-1, 3)


def _room(
    name: str,
    own_rate: int,
    rate: int,
    azimuth: Values,
    elevation: Values,
    distance: Values,
    responses: Mapping[Format, Audio],
) -> RoomResponses:
    """Check, resample and scale."""
    count = len(azimuth)
    distance = np.broadcast_to(distance, count).astype(np.float64)
    scaled: dict[Format, Audio] = {}
    for key, response in responses.items():
        if response.ndim != 3 or response.shape[:2] != (count, CHANNELS[key]) or not np.isfinite(response).all():
            raise ValueError(f"expected {key} as [{count}, {CHANNELS[key]}, taps], found {list(response.shape)}")
        common = np.gcd(rate, own_rate)
        heard = np.asarray(resample_poly(response, rate // common, own_rate // common, axis=-1), np.float32)
        scaled[key] = heard / np.float32(_direct_gain(key, heard, distance, rate))
    return RoomResponses(name, rate, (azimuth + 180) % 360 - 180, elevation, distance, scaled)


def _direct_gain(name: Format, responses: Audio, distance: Values, rate: int) -> float:
    """How much louder the direct sound is than 1/distance, as an amplitude, on the average of the positions."""
    energy = []
    for response in responses:
        direct = response[:, direct_span(response, rate)].astype(np.float64)
        energy.append(np.sum(direct[:1] ** 2) if name == "foa" else np.sum(direct**2) / len(direct))
    gain = float(np.sqrt(np.mean(np.array(energy) * distance**2)))
    if not gain > 0:
        raise ValueError(f"expected {name} responses with sound in them, found silence")
    return gain
