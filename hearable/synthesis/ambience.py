"""Ambience of a scene: diffuse noise, a recording from all around, or what an array recorded in its room."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hearable.audio import AudioReader
from hearable.errors import AudioError
from hearable.resampling import resample
from hearable.synthesis.arrays import Receiver
from hearable.synthesis.diffuse import N_FFT, diffuse_field
from hearable.synthesis.measured_rooms import RoomResponses
from hearable.synthesis.render import SoundBank
from hearable.synthesis.seld_scene import CHANNELS, Format, SeldScene

Audio = NDArray[np.float32]

POLE_HZ = 300.0  # noise falls by 6 dB an octave above this, as of ventilation and distant traffic
SHORTEST_AMBIENCE_S = 1.0  # of a recording: its stretches must differ from channel to channel
SEAM_S = 0.05  # over which the end of a recording goes over into its beginning


def ambience(scene: SeldScene, bank: SoundBank, array: Receiver, room: RoomResponses | None) -> Audio:
    """The scene's ambience for all channels of an array, ``[channels, samples]``, at no particular level.

    Raises:
        ValueError: too short or silent a recording, or none of the array.
    """
    shape = (array.channels, scene.samples)
    if scene.ambience is None:
        return np.zeros(shape, np.float32)
    rng = np.random.default_rng(scene.ambience.seed)
    if scene.ambience.kind == "array":
        return _of_array(scene, array, room, rng)
    if scene.ambience.kind == "recorded":
        recording = bank.read(scene.ambience.sound, 0, 2**31)
        return diffuse_field(array).spread(_stretches(scene.ambience.sound, recording, scene, array.channels, rng))
    colour = 1 / np.hypot(1, np.fft.rfftfreq(N_FFT, 1 / scene.rate) / POLE_HZ)
    return diffuse_field(array).spread(rng.standard_normal(shape, np.float32), colour.astype(np.float32))


def _stretches(name: str, recording: Audio, scene: SeldScene, count: int, rng: np.random.Generator) -> Audio:
    """Stretches of a recording, as far from each other as it allows: ``[count, samples]``, incoherent."""
    if len(recording) < SHORTEST_AMBIENCE_S * scene.rate or not np.any(recording):
        raise ValueError(
            f"{name}: expected {SHORTEST_AMBIENCE_S:g} s or more of sound, found {len(recording) / scene.rate:.2f} s"
            + ("" if np.any(recording) else " of silence")
        )
    loop = _loop(recording, round(SEAM_S * scene.rate))
    begins = int(rng.integers(len(loop))) + np.arange(count) * len(loop) // count
    return np.stack([np.resize(np.roll(loop, -int(begin)), scene.samples) for begin in begins])


def _loop(recording: Audio, seam: int) -> Audio:
    """A recording whose end goes over into its beginning."""
    fade = np.sin(np.pi / 2 * np.linspace(0, 1, seam, dtype=np.float32))
    loop: Audio = recording[:-seam].copy()
    loop[:seam] = loop[:seam] * fade + recording[-seam:] * fade[::-1]
    return loop


def _of_array(scene: SeldScene, array: Receiver, room: RoomResponses | None, rng: np.random.Generator) -> Audio:
    lacking = [name for name in array.slices if room is None or name not in room.ambience]
    if room is None or lacking:
        raise ValueError(
            f"{room.name if room else 'no measured room'}: expected ambience of {', '.join(array.slices)}, "
            f"found none of {', '.join(lacking)}"
        )
    seconds = scene.samples / scene.rate
    recorded = recorded_s(room, array.slices)
    if recorded < seconds:
        raise ValueError(f"{room.name}: expected {seconds:g} s of ambience or more, found {recorded:.2f} s")
    begin_s = float(rng.uniform(0, recorded - seconds))
    return np.concatenate([_stretch(room.ambience[name], begin_s, scene) for name in array.slices])


def recorded_s(room: RoomResponses, formats: Iterable[Format]) -> float:
    """Seconds of ambience that a room has in all of some formats.

    Raises:
        AudioError: a recording cannot be read, or has not the channels of its format.
    """
    lengths = []
    for name in formats:
        with AudioReader(room.ambience[name]) as file:
            if file.channels != CHANNELS[name]:
                raise AudioError(f"{file.path}: expected {CHANNELS[name]} channels, found {file.channels}")
            lengths.append(file.samples / file.rate)
    return min(lengths)


def _stretch(path: Path, begin_s: float, scene: SeldScene) -> Audio:
    """What a recording holds from ``begin_s`` on, as long as the scene."""
    with AudioReader(path, begin_s, scene.samples / scene.rate + 1 / scene.rate) as file:
        heard = resample(np.concatenate(list(file.blocks()), axis=1), file.rate, scene.rate)[:, : scene.samples]
    return np.pad(heard, ((0, 0), (0, scene.samples - heard.shape[1])))
