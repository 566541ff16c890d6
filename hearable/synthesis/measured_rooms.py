"""Rooms whose responses were measured: one array, many source positions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.acoustics import Heard, stands_still
from hearable.synthesis.arrays import Receiver
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.propagation import convolve, crossfaded
from hearable.synthesis.seld_scene import Event, Format
from hearable.synthesis.trajectories import along

Audio = NDArray[np.float32]

FADE_S = 0.05  # between the responses along a path
BEFORE_S, AFTER_S = 0.001, 0.0025  # the direct sound, around the response's peak


@dataclass(frozen=True, eq=False)
class RoomResponses:
    """Impulse responses of a room.

    Attributes:
        name: how scenes refer to it.
        rate: in Hz.
        azimuth_deg, elevation_deg, distance_m: of the positions, ``[positions]``, seen from the array.
        responses: for each format, float32 ``[positions, channels, taps]``, time-aligned across formats. Scaled so
            that the direct sound has the energy that 1/distance gives it, on the average of the positions, in W of FOA
            or the mean of the channels: levels then mean the same as in a simulated room.
        ambience: for each format, the file of what the array recorded there: too long to be kept in memory.
    """

    name: str
    rate: int
    azimuth_deg: NDArray[np.float64]
    elevation_deg: NDArray[np.float64]
    distance_m: NDArray[np.float64]
    responses: Mapping[Format, Audio]
    ambience: Mapping[Format, Path] = field(default_factory=dict)

    def nearest(self, azimuth_deg: float, elevation_deg: float, distance_m: float) -> int:
        """Index of the nearest measured position."""
        wanted = unit_vectors(azimuth_deg, elevation_deg) * distance_m
        measured = unit_vectors(self.azimuth_deg, self.elevation_deg) * self.distance_m[:, None]
        return int(np.argmin(np.linalg.norm(measured - wanted, axis=-1)))


class Measured:
    """Events in a measured room: each at the nearest measured position.

    Args:
        receiver: which formats are heard.
        room: has them all.

    Raises:
        ValueError: it lacks a format, or has another rate.
    """

    def __init__(self, receiver: Receiver, room: RoomResponses):
        lacking = [name for name in receiver.slices if name not in room.responses]
        if lacking:
            raise ValueError(
                f"{room.name}: expected responses of {', '.join(receiver.slices)}, found {', '.join(room.responses)}"
            )
        if room.rate != receiver.rate:
            raise ValueError(f"{room.name}: expected responses at {receiver.rate} Hz, found {room.rate} Hz")
        self._room, self._rate = room, receiver.rate
        self._taps = max(room.responses[name].shape[2] for name in receiver.slices)
        self._formats = list(receiver.slices)

    def heard(self, dry: Audio, event: Event, rng: np.random.Generator) -> Heard:
        """As `Acoustics` says."""
        direct, later = (self._through(dry, event, part) for part in (0, 1))
        return Heard(direct, later, 0)

    def _through(self, dry: Audio, event: Event, part: int) -> Audio:
        def at(time: int) -> Audio:
            where = along(event.path, (event.start + time) / self._rate)
            return self._split(self._room.nearest(*(float(value) for value in where)))[part]

        if stands_still(event):
            return convolve(dry, at(0))
        return crossfaded(dry, round(FADE_S * self._rate), at, alike=True)

    def _split(self, index: int) -> tuple[Audio, Audio]:
        """Direct sound and the rest of a position's response, ``[channels, taps]`` each."""
        whole = np.zeros((sum(self._room.responses[name].shape[1] for name in self._formats), self._taps), np.float32)
        row = 0
        for name in self._formats:
            response = self._room.responses[name][index]
            whole[row : row + len(response), : response.shape[1]] = response
            row += len(response)
        direct = np.zeros_like(whole)
        span = direct_span(whole, self._rate)
        direct[:, span] = whole[:, span]
        return direct, whole - direct


def direct_span(response: Audio, rate: int) -> slice:
    """Samples of ``[channels, taps]`` in which the direct sound arrives."""
    peak = int(np.argmax(np.sum(response.astype(np.float64) ** 2, axis=0)))
    return slice(max(peak - round(BEFORE_S * rate), 0), peak + round(AFTER_S * rate))
