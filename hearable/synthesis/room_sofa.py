"""Measured rooms from SOFA files, one file a format: TAU-SRIR DB, METU SPARG, ARNI and others that are published so."""

from __future__ import annotations

from collections.abc import Mapping
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from hearable.errors import AudioError
from hearable.synthesis.measured_rooms import RoomResponses, direct_span
from hearable.synthesis.seld_scene import CHANNELS, Format

SAME_M = 0.01  # positions of two formats may differ by this

Values = NDArray[np.float64]


def read_room(name: str, files: Mapping[Format, Path], rate: int) -> RoomResponses:
    """Read a room's responses.

    Args:
        name: how scenes refer to it.
        files: for each format a SOFA file with ``Data.IR`` ``[positions, channels, taps]`` (``foa``: ACN/SN3D); all
            of the same positions, seen from the array.
        rate: sample rate wanted, in Hz.

    Raises:
        AudioError: a file cannot be read, has other channels than its format, or other positions than the first.
    """
    responses: dict[Format, NDArray[np.float32]] = {}
    first: Values | None = None
    for kind, path in files.items():
        sofa = _read(path)
        audio = np.asarray(sofa.Data_IR, np.float64)
        if audio.ndim != 3 or audio.shape[1] != CHANNELS[kind] or not np.any(audio) or not np.isfinite(audio).all():
            raise AudioError(f"{path}: expected responses of {CHANNELS[kind]} channels, found an array {audio.shape}")
        places = _places(sofa, len(audio), path)
        first = places if first is None else first
        if first.shape != places.shape or not np.allclose(first, places, atol=SAME_M):
            raise AudioError(f"{path}: expected the positions of the room's other formats, found others")
        measured = round(float(np.ravel(sofa.Data_SamplingRate)[0]))
        step = gcd(rate, measured)
        resampled = audio if measured == rate else resample_poly(audio, rate // step, measured // step, axis=-1)
        responses[kind] = _scaled(resampled.astype(np.float32), np.linalg.norm(places, axis=1), kind, rate)
    if first is None:
        raise AudioError(f"{name}: expected a SOFA file, found none")
    x, y, z = first.T
    azimuth, elevation = np.degrees(np.arctan2(y, x)), np.degrees(np.arctan2(z, np.hypot(x, y)))
    return RoomResponses(name, rate, azimuth, elevation, np.linalg.norm(first, axis=1), responses)


def _read(path: Path) -> Any:
    import sofar

    if not path.is_file():
        raise AudioError(f"{path}: no such file")
    try:
        return sofar.read_sofa(str(path), verify=False, verbose=False)
    except (OSError, ValueError, KeyError) as problem:
        raise AudioError(f"{path}: expected a SOFA file: {problem}") from problem


def _places(sofa: Any, count: int, path: Path) -> Values:
    """Metres from the array ``[positions, 3]``."""
    source = np.broadcast_to(np.atleast_2d(np.asarray(sofa.SourcePosition, np.float64)), (count, 3))
    if sofa.SourcePosition_Type == "cartesian":
        listener = np.atleast_2d(np.asarray(sofa.ListenerPosition, np.float64))
        places = source - (listener if sofa.ListenerPosition_Type == "cartesian" else 0.0)
    else:
        azimuth, elevation, distance = np.radians(source[:, 0]), np.radians(source[:, 1]), source[:, 2]
        level = distance * np.cos(elevation)
        places = np.stack([level * np.cos(azimuth), level * np.sin(azimuth), distance * np.sin(elevation)], axis=1)
    if np.linalg.norm(places, axis=1).min() <= 0:
        raise AudioError(f"{path}: expected positions away from the array, found one in it")
    return np.asarray(places)


def _scaled(audio: NDArray[np.float32], distance_m: Values, kind: Format, rate: int) -> NDArray[np.float32]:
    """Direct sound of unit energy at 1 m, on the average of the positions, in W or the mean of the channels."""
    energy = []
    for response in audio:
        direct = response[:, direct_span(response, rate)].astype(np.float64)
        energy.append(np.sum(direct[:1] ** 2) if kind == "foa" else np.sum(direct**2) / len(direct))
    return np.asarray(audio / np.float32(np.sqrt(np.mean(np.array(energy) * distance_m**2))))
