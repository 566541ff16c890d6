"""A source that goes round a listener, or a listener who turns: binaural sound without clicks.

The first milliseconds of the listener's responses (all there is of a head in the free field) turn continuously, their
onsets and shapes interpolated between the measured directions; a room's later sound is cross-faded.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.arrays import LEAD, TAPS, onsets, receiver
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.propagation import MovingSource, crossfaded
from hearable.synthesis.spherical_head import SPEED_OF_SOUND

Audio = NDArray[np.float32]
Values = NDArray[np.float64]

EARLY_S = 0.003  # after the latest onset, for which the direct sound is taken to last
FADE_S = 0.002  # over which it gives way to the later sound
LATE_HOP_S = 0.05  # between the directions of the later sound


def moving_image(listener: HrirSet, dry: Audio, azimuth_deg: float, elevation_deg: float, turn_deg_s: float) -> Audio:
    """What the ears hear of a moving source, ``[2, samples - taps + 1]``: the part with all of the responses in it.

    Args:
        listener: impulse responses, of a head or of a head in a room.
        dry: ``[samples]``, from ``taps - 1`` samples before the result begins.
        azimuth_deg: at the beginning of the result.
        elevation_deg: all the time.
        turn_deg_s: how the azimuth changes; + to the left. At the edge of what was measured it stops.
    """
    early, late, centre = _split(listener)
    rate, lead = listener.sample_rate_hz, listener.taps - 1

    def azimuth(time: Values) -> Values:
        return _within(azimuth_deg + turn_deg_s * (time - lead) / rate, listener)

    # As much later than the set has them as makes the delay a whole number of samples.
    rest = centre - np.floor(centre) + 1

    def path(time: Values) -> tuple[Values, Values]:
        where = unit_vectors(azimuth(time), np.full(time.shape, elevation_deg)) * rest / rate * SPEED_OF_SOUND
        return where[None], np.ones((1, len(time)))

    ears = receiver(("binaural",), rate, early)
    begin = lead + LEAD + 1 - int(np.floor(centre))
    samples = len(dry) - lead
    heard: Audio = MovingSource(ears, dry).heard(path)[:, begin : begin + samples]
    if late is None:
        return heard

    def response(time: int) -> Audio:
        return late[listener.nearest(float(azimuth(np.array(float(time)))), elevation_deg)]

    later = crossfaded(dry, round(LATE_HOP_S * rate), response, alike=True)
    return np.asarray(heard + later[:, lead : lead + samples])


@lru_cache(maxsize=64)
def _split(listener: HrirSet) -> tuple[HrirSet, tuple[Audio, ...] | None, float]:
    """The early part of a set, as a set; the later part of each response, if there is any; when the front arrives."""
    if listener.taps <= TAPS - LEAD:
        return listener, None, _centre(listener)
    rate = listener.sample_rate_hz
    end = onsets(listener.responses).max() + EARLY_S * rate
    place = np.clip((np.arange(listener.taps) - end) / (FADE_S * rate), 0, 1)
    weight = np.cos(np.pi / 2 * place) ** 2
    early = (listener.responses * weight).astype(np.float32)
    name, azimuth, elevation = listener.name, listener.azimuth_deg, listener.elevation_deg
    kept = early[..., : int(np.ceil(end + FADE_S * rate))]
    early_set = HrirSet(name, kept, azimuth, elevation, rate)
    return early_set, tuple(listener.responses - early), _centre(early_set)


def _centre(ears: HrirSet) -> float:
    """When a wave from straight ahead reaches them, in samples: the mean of both."""
    return float(onsets(ears.responses)[ears.nearest(0.0, 0.0)].mean())


def _within(azimuth_deg: Values, listener: HrirSet) -> Values:
    """Azimuths, stopped at the edges of a set that does not go all the way round."""
    if listener.all_round:
        return azimuth_deg
    return np.asarray(np.clip(azimuth_deg, listener.azimuth_deg.min(), listener.azimuth_deg.max()))
