"""How an event sounds at the array, in the free field or in a shoebox room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.arrays import LEAD, TAPS, Receiver
from hearable.synthesis.diffuse import diffuse_field
from hearable.synthesis.propagation import MovingSource, arrivals, convolve, crossfaded
from hearable.synthesis.rooms import SOURCE, Images, image_fade, images, mixing_time_s, tail_envelope, wall_gain
from hearable.synthesis.seld_scene import Event, ShoeboxRoom
from hearable.synthesis.spherical_head import SPEED_OF_SOUND
from hearable.synthesis.trajectories import positions

Audio = NDArray[np.float32]
Values = NDArray[np.float64]

FOLLOWED = 2  # images of a moving source with so many reflections or fewer move with it; the others are crossfaded
FADE_S = 0.25  # between the responses that are crossfaded
NOISE_S = 4.0  # of noise from which late reverberation is cut, beside its own length


@dataclass(frozen=True)
class Heard:
    """An event at the array: float32 ``[channels, samples]`` each, of whatever length they need.

    Attributes:
        direct: what came straight.
        later: everything else.
        lead: how many samples before the event's start both begin.
    """

    direct: Audio
    later: Audio
    lead: int


class Acoustics(Protocol):
    """What is around the array."""

    def heard(self, dry: Audio, event: Event, rng: np.random.Generator) -> Heard:
        """An event's dry sound ``[samples]`` at the array; ``rng`` draws what the room leaves to chance."""


def add(a: Audio, b: Audio) -> Audio:
    """The sum of two sounds ``[channels, samples]`` that begin together, as long as the longer one."""
    long, short = (a, b) if a.shape[1] >= b.shape[1] else (b, a)
    total: Audio = long.copy()
    total[:, : short.shape[1]] += short
    return total


def stands_still(event: Event) -> bool:
    """Whether an event's waypoints are one place."""
    return len({(w.azimuth_deg, w.elevation_deg, w.distance_m) for w in event.path}) == 1


class FreeField:
    """The direct sound alone."""

    def __init__(self, receiver: Receiver):
        self._receiver = receiver

    def heard(self, dry: Audio, event: Event, rng: np.random.Generator) -> Heard:
        """As `Acoustics` says."""
        if stands_still(event):
            direct = convolve(dry, self._response(SOURCE, self._where(event, 0.0)))
        else:
            direct = MovingSource(self._receiver, dry).heard(self._path(SOURCE, event))
        return Heard(direct, np.zeros((self._receiver.channels, 1), np.float32), LEAD)

    def _where(self, event: Event, time: Values | float) -> Values:
        """Metres from the array, ``[..., 3]``, at times in samples since the event's start."""
        return positions(event.path, (event.start + np.asarray(time)) / self._receiver.rate)

    def _arrive(self, of: Images, position: Values) -> tuple[Values, Values]:
        """Where a source at ``[..., 3]`` and its images are, ``[n, ..., 3]``, and their amplitudes ``[n, ...]``."""
        seen = of.seen_from_array(position)
        return seen, 1 / np.linalg.norm(seen, axis=-1)

    def _path(self, of: Images, event: Event) -> Callable[[Values], tuple[Values, Values]]:
        return lambda time: self._arrive(of, self._where(event, time))

    def _response(self, of: Images, position: Values) -> Audio:
        """Impulse response of a source's images, ``[channels, taps]``."""
        seen, gain = self._arrive(of, position)
        last = np.linalg.norm(seen, axis=-1).max() / SPEED_OF_SOUND * self._receiver.rate
        return arrivals(self._receiver, seen, gain, int(last) + TAPS)


class Shoebox(FreeField):
    """A room of image sources and a diffuse tail.

    Args:
        receiver: the array.
        room: in which it is.
        rng: draws the noise of the tails.
    """

    def __init__(self, receiver: Receiver, room: ShoeboxRoom, rng: np.random.Generator):
        super().__init__(receiver)
        self._room, self._wall, self._mixing_s = room, wall_gain(room), mixing_time_s(room)
        reflections = images(room, self._mixing_s * SPEED_OF_SOUND).but_source()
        self._followed = reflections.where(reflections.count <= FOLLOWED)
        self._crossfaded = reflections.where(reflections.count > FOLLOWED)
        self._reflections = reflections
        noise = rng.standard_normal(
            (receiver.channels, int((NOISE_S + room.rt60_s + self._mixing_s) * receiver.rate)), np.float32
        )
        self._noise = diffuse_field(receiver).spread(noise)

    def heard(self, dry: Audio, event: Event, rng: np.random.Generator) -> Heard:
        """As `Acoustics` says."""
        if stands_still(event):
            position = self._where(event, 0.0)
            later = convolve(dry, self._with_tail(self._reflections, position, rng))
            return Heard(convolve(dry, self._response(SOURCE, position)), later, LEAD)
        moving = MovingSource(self._receiver, dry)
        hop = round(FADE_S * self._receiver.rate)
        late = crossfaded(
            dry, hop, lambda time: self._with_tail(self._crossfaded, self._where(event, time), rng), alike=False
        )
        early = moving.heard(self._path(self._followed, event))
        return Heard(moving.heard(self._path(SOURCE, event)), add(early, late), LEAD)

    def response(self, position: Values, rng: np.random.Generator) -> Audio:
        """Impulse response ``[channels, taps]``, from emission on, of a place ``[3]``, 0.5 m or more from the array.

        Whatever the place, it is as long as the room sounds.
        """
        return add(self._response(SOURCE, position), self._with_tail(self._reflections, position, rng))[:, LEAD:]

    def _arrive(self, of: Images, position: Values) -> tuple[Values, Values]:
        seen = of.seen_from_array(position)
        distance = np.linalg.norm(seen, axis=-1)
        walls = self._wall ** of.count.reshape(-1, *(1,) * (distance.ndim - 1))
        fade = np.where(walls < 1, image_fade(distance / SPEED_OF_SOUND, self._mixing_s), 1.0)
        return seen, walls * fade / distance

    def _with_tail(self, of: Images, position: Values, rng: np.random.Generator) -> Audio:
        """Response of some images and the tail that follows them all: ``[channels, taps]``, of one length."""
        distance = np.linalg.norm(self._reflections.seen_from_array(position), axis=-1)
        gain = self._wall**self._reflections.count / distance
        envelope = tail_envelope(self._room, self._receiver.rate, distance, gain)
        cut = int(rng.integers(self._noise.shape[1] - len(envelope)))
        seen, gain = self._arrive(of, position)
        response = arrivals(self._receiver, seen, gain, LEAD + len(envelope))
        response[:, LEAD:] += self._noise[:, cut : cut + len(envelope)] * envelope.astype(np.float32)
        return response
