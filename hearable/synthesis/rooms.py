"""Shoebox rooms: image sources up to the mixing time, diffuse reverberation after it.

Image sources (Allen and Berkley, JASA 1979) are counted until reflections are so dense that no direction is heard
(50 ms and more: Lindau, Kosanke and Weinzierl, JAES 2012, perceptual mixing time of 95% of listeners). What follows
is diffuse noise that decays with the reverberation time and goes on from the level of the last images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.seld_scene import ShoeboxRoom
from hearable.synthesis.spherical_head import SPEED_OF_SOUND

Values = NDArray[np.float64]
DECAY = 3 * np.log(10)  # amplitude falls by exp(-DECAY) in a reverberation time
FADE = 0.75  # from this share of the mixing time on, images give way to the diffuse tail
ENOUGH_IMAGES = 20  # to read the tail's level from


@dataclass(frozen=True)
class Images:
    """Image sources of a source: mirror it by ``sign``, move it by ``shift``; both ``[n, 3]``.

    Attributes:
        sign: -1 or 1 for each axis.
        shift: metres, so that the result is seen from the array.
        count: reflections that the sound has met, ``[n]``; the source itself, with none, comes first.
    """

    sign: Values
    shift: Values
    count: NDArray[np.intp]

    def seen_from_array(self, position: Values) -> Values:
        """Positions ``[n, ..., 3]`` of the images of a source at ``[..., 3]``, both in metres from the array."""
        shape = (len(self.sign),) + (1,) * (np.ndim(position) - 1) + (3,)
        return self.sign.reshape(shape) * position + self.shift.reshape(shape)

    def where(self, chosen: NDArray[np.bool_]) -> Images:
        """Some of them."""
        return Images(self.sign[chosen], self.shift[chosen], self.count[chosen])

    def but_source(self) -> Images:
        """The reflections alone."""
        return self.where(self.count > 0)


SOURCE = Images(np.ones((1, 3)), np.zeros((1, 3)), np.zeros(1, np.intp))


def wall_gain(room: ShoeboxRoom) -> float:
    """Amplitude left by one reflection, the same at all walls: Eyring's formula solved for it."""
    x, y, z = room.size_m
    surface = 2 * (x * y + y * z + x * z)
    return float(np.exp(-DECAY * 4 * x * y * z / (SPEED_OF_SOUND * surface * room.rt60_s)))


def mixing_time_s(room: ShoeboxRoom) -> float:
    """Until when reflections are told apart."""
    return 0.0501 + 0.0117e-3 * float(np.prod(room.size_m))


def images(room: ShoeboxRoom, reach_m: float) -> Images:
    """All images that may be within ``reach_m`` of the array, whatever the source's place in the room."""
    axes = []
    for size, array in zip(room.size_m, room.array_m, strict=True):
        most = int(np.ceil(reach_m / size)) + 1
        cell = np.arange(-most, most + 1)
        even = cell % 2 == 0
        # The source is `array + p`: its image in cell n lies at n size + s, or mirrored at (n + 1) size - s.
        shift = np.where(even, cell * size, (cell + 1) * size - 2 * array)
        nearest = np.maximum(np.abs((cell + 0.5) * size - array) - size / 2, 0)
        axes.append((np.where(even, 1.0, -1.0), shift, np.abs(cell), nearest))
    sign, shift, crossed, nearest = (
        np.stack(np.meshgrid(*values, indexing="ij"), -1).reshape(-1, 3) for values in zip(*axes, strict=True)
    )
    near = np.linalg.norm(nearest, axis=-1) <= reach_m
    reflections = crossed.sum(-1).astype(np.intp)
    order = np.flatnonzero(near)[np.argsort(reflections[near], kind="stable")]
    return Images(sign[order], shift[order], reflections[order])


def image_fade(time_s: Values, mixing_s: float) -> Values:
    """Weight of an image that arrives at ``time_s``; with the tail's weight its squares sum to one."""
    return np.asarray(np.cos(np.pi / 2 * np.clip((time_s / mixing_s - FADE) / (1 - FADE), 0, 1)))


def tail_envelope(room: ShoeboxRoom, rate: int, distance_m: Values, gain: Values) -> Values:
    """Envelope of the diffuse tail from emission on, ``[samples]``, for unit-variance noise.

    Args:
        room: its volume and reverberation time.
        rate: in Hz.
        distance_m: of the images ``[n]``.
        gain: of the images, before `image_fade`.
    """
    mixing = mixing_time_s(room)
    time = np.arange(int(np.ceil(max(room.rt60_s, mixing) * rate))) / rate
    decay = np.exp(-DECAY * time / room.rt60_s)
    arrival = distance_m / SPEED_OF_SOUND
    last = (arrival > mixing / 2) & (arrival <= mixing)
    if np.count_nonzero(last) >= ENOUGH_IMAGES:
        among = decay[(time > mixing / 2) & (time <= mixing)]
        power = np.sum(gain[last] ** 2) / np.sum(among**2)
    else:  # as many images a second as the room's volume says, each as loud as its distance says
        power = 4 * np.pi * SPEED_OF_SOUND / (np.prod(room.size_m) * rate)
    fade_in = np.sqrt(1 - image_fade(time, mixing) ** 2)
    return np.asarray(np.sqrt(power) * decay * fade_in)
