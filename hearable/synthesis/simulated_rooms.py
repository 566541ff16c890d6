"""Simulated rooms as listeners: a measured head in a shoebox room, with a ring of directions around it.

The sound is that of SELD scenes (``hearable.synthesis.acoustics``): the source and its images up to the mixing time,
each through the head's response from where it comes, at its exact delay, and a diffuse tail after them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hearable.synthesis.acoustics import Shoebox
from hearable.synthesis.arrays import Receiver
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.hrir import HrirSet, normalised
from hearable.synthesis.published import SPLITS
from hearable.synthesis.seld_scene import ShoeboxRoom

LENGTH_M, WIDTH_M, HEIGHT_M = (4.5, 9.0), (4.0, 7.0), (2.4, 3.6)
RT60_S = (0.2, 0.8)  # in any of these rooms: walls that swallow a tenth (bare) to a half (lined) of the energy
EARS_M = (1.1, 1.7)  # above the floor: seated to standing
DISTANCE_M = (1.0, 2.0)
WALL_M = 0.3  # from a talker to the next wall, at least
STEP_DEG = 10


@dataclass(frozen=True)
class BinauralRoom:
    """A head in a room.

    Attributes:
        name: of the listener.
        head: name of the head.
        room: with the head's place in it.
        heading_deg: where the head faces in the room, from the x axis, + left.
        distance_m: of all directions of the ring.
        seed: of what the room leaves to chance.
    """

    name: str
    head: str
    room: ShoeboxRoom
    heading_deg: float
    distance_m: float
    seed: int


def draw_binaural_room(seed: int, split: str, number: int, heads: Sequence[str]) -> BinauralRoom:
    """Room ``number`` of a split, with one of some heads; ranges are uniform."""
    rng = np.random.default_rng([seed, SPLITS.index(split), number])
    length, width, height = (float(rng.uniform(*between)) for between in (LENGTH_M, WIDTH_M, HEIGHT_M))
    nearest, farthest = DISTANCE_M
    distance = float(rng.uniform(nearest, min(farthest, min(length, width) / 2 - WALL_M)))
    x, y = (float(rng.uniform(distance + WALL_M, side - distance - WALL_M)) for side in (length, width))
    ears = float(rng.uniform(*EARS_M))
    return BinauralRoom(
        name=f"simulated_{split}_{number:04d}",
        head=heads[int(rng.integers(len(heads)))],
        room=ShoeboxRoom((length, width, height), float(rng.uniform(*RT60_S)), (x, y, ears)),
        heading_deg=float(rng.uniform(-180, 180)),
        distance_m=distance,
        seed=int(rng.integers(2**62)),
    )


def simulate_room(place: BinauralRoom, head: HrirSet) -> HrirSet:
    """The head's responses in the room, every 10 degrees at ear height; sound leaves the source at sample 0.

    Args:
        place: from `draw_binaural_room`.
        head: the one it names, in the free field, measured all round.

    Raises:
        ValueError: a room is in the head's responses already.
    """
    rng = np.random.default_rng(place.seed)
    turned = replace(head, azimuth_deg=head.azimuth_deg + np.float32(place.heading_deg))
    room = Shoebox(Receiver(("binaural",), head.sample_rate_hz, turned), place.room, rng)
    azimuth = np.arange(-180, 180, STEP_DEG, dtype=np.float32)
    ring = place.distance_m * unit_vectors(azimuth + place.heading_deg, np.zeros(len(azimuth)))
    responses = np.stack([room.response(position, rng) for position in ring])
    return normalised(place.name, responses, azimuth, np.zeros_like(azimuth), head.sample_rate_hz)
