"""Ambience of a scene: diffuse noise, a recording from all around, or what an array recorded in its room."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.arrays import Receiver
from hearable.synthesis.diffuse import N_FFT, diffuse_field
from hearable.synthesis.measured_rooms import RoomResponses
from hearable.synthesis.render import SoundBank
from hearable.synthesis.seld_scene import SeldScene

Audio = NDArray[np.float32]

POLE_HZ = 300.0  # noise falls by 6 dB an octave above this, as of ventilation and distant traffic
SHORTEST_S = 1.0  # of a recording: its stretches must differ from channel to channel
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
    if len(recording) < SHORTEST_S * scene.rate or not np.any(recording):
        raise ValueError(
            f"{name}: expected {SHORTEST_S:g} s or more of sound, found {len(recording) / scene.rate:.2f} s"
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
    length = min(room.ambience[name].shape[1] for name in array.slices)
    if length < scene.samples:
        raise ValueError(f"{room.name}: expected {scene.samples} samples of ambience or more, found {length}")
    begin = int(rng.integers(length - scene.samples + 1))
    return np.concatenate([room.ambience[name][:, begin : begin + scene.samples] for name in array.slices])
