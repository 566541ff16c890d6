"""Head-related and binaural room impulse responses: one listener, many directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.synthesis.directions import angles_deg, unit_vectors

WIDEST_GAP_DEG = 60.0  # between the azimuths of a set that goes all the way round


@dataclass(frozen=True, eq=False)  # a set is itself: arrays have no single equality
class HrirSet:
    """Impulse responses of one listener (in one room, if the responses hold one).

    Attributes:
        name: how scenes refer to it.
        responses: float32 ``[directions, 2, taps]``, left ear first. Scaled so that the source nearest to straight
            ahead arrives with unit energy (mean of both ears): a level in a scene then means the same for every
            listener, and the level differences between directions stay as measured.
        azimuth_deg: ``[directions]``, 0 front, +90 left.
        elevation_deg: ``[directions]``, + up.
        sample_rate_hz: rate of the responses.
    """

    name: str
    responses: NDArray[np.float32]
    azimuth_deg: NDArray[np.float32]
    elevation_deg: NDArray[np.float32]
    sample_rate_hz: int

    @property
    def taps(self) -> int:
        """Length of a response in samples."""
        return int(self.responses.shape[-1])

    @property
    def all_round(self) -> bool:
        """Whether it goes all the way round: no two neighbouring azimuths are more than 60 degrees apart."""
        around = np.sort(self.azimuth_deg.astype(np.float64))
        return bool(np.diff(around, append=around[0] + 360).max() <= WIDEST_GAP_DEG)

    def nearest(self, azimuth_deg: float, elevation_deg: float) -> int:
        """Index of the measured direction with the smallest great-circle distance."""
        wanted = unit_vectors(np.array([azimuth_deg]), np.array([elevation_deg]))[0]
        return int(np.argmax(unit_vectors(self.azimuth_deg, self.elevation_deg) @ wanted))

    def resampled(self, rate: int) -> HrirSet:
        """The same listener at another sample rate in Hz."""
        if rate == self.sample_rate_hz:
            return self
        from scipy.signal import resample_poly

        common = math.gcd(rate, self.sample_rate_hz)
        # Zero phase: the delay between the ears stays.
        responses = resample_poly(self.responses, rate // common, self.sample_rate_hz // common, axis=-1)
        return normalised(self.name, responses.astype(np.float32), self.azimuth_deg, self.elevation_deg, rate)


def normalised(
    name: str, responses: NDArray[np.float32], azimuth: NDArray[np.float32], elevation: NDArray[np.float32], rate: int
) -> HrirSet:
    """A set from responses ``[directions, 2, taps]`` of any level, azimuths of any turn."""
    azimuth = ((azimuth + 180.0) % 360.0 - 180.0).astype(np.float32)
    listener = HrirSet(name, responses, azimuth, elevation, rate)
    front = responses[listener.nearest(0.0, 0.0)]
    gain = 1.0 / np.sqrt(np.mean(np.sum(front.astype(np.float64) ** 2, axis=-1)))
    return HrirSet(name, (responses * gain).astype(np.float32), azimuth, elevation, rate)


def load_npz(path: str | Path) -> HrirSet:
    """Read a set stored as quantised responses (``hrir_q`` or ``brir_q`` int16 ``[directions, 2, taps]`` x ``scale``).

    Raises:
        KeyError: if an array is missing.
    """
    path = Path(path)
    with np.load(path, allow_pickle=False) as data:
        quantised = data["brir_q"] if "brir_q" in data else data["hrir_q"]
        responses = quantised.astype(np.float32) * np.asarray(data["scale"], np.float32)
        rate = int(data["fs"]) if "fs" in data else 16000
        return normalised(
            path.stem, responses, data["azimuth"].astype(np.float32), data["elevation"].astype(np.float32), rate
        )


def made_from(path: Path) -> str | None:
    """What `save_npz` was told that a set is made from; ``None`` without that or a file that can be read."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return str(data["made_from"])
    except (OSError, KeyError, ValueError, BadZipFile):
        return None


def save_npz(listener: HrirSet, path: Path, made_from: str = "") -> None:
    """Write a set for `load_npz`, whole or not at all; 16 bits of the loudest response's range.

    Args:
        listener: the set.
        path: where to.
        made_from: a text to know later whether it is to be made again.

    Raises:
        AudioError: the system refuses.
    """
    scale = float(np.abs(listener.responses).max()) / 32767
    with replacing(path, AudioError) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            hrir_q=np.round(listener.responses / scale).astype(np.int16),
            scale=np.float32(scale),
            azimuth=listener.azimuth_deg,
            elevation=listener.elevation_deg,
            fs=np.int32(listener.sample_rate_hz),
            made_from=made_from,
        )


def load_sofa(path: str | Path, name: str | None = None) -> HrirSet:
    """Read a SOFA file (AES69) of one listener with two receivers; its name is the file's, unless given.

    Publishers bend the convention (Surrey's rooms claim a free field), so only what is used is checked.

    Raises:
        ValueError: if the file does not hold two receivers.
    """
    import sofar

    path = Path(path)
    sofa = sofar.read_sofa(str(path), verify=False, verbose=False)
    responses = np.asarray(sofa.Data_IR, np.float32)
    if responses.ndim != 3 or responses.shape[1] != 2:
        raise ValueError(f"{path.name}: expected responses [directions, 2, taps], found {list(responses.shape)}")
    position = np.asarray(sofa.SourcePosition, np.float64)
    if str(sofa.SourcePosition_Type).lower() == "cartesian":
        azimuth, elevation = angles_deg(position)
    else:
        azimuth, elevation = position[:, 0], position[:, 1]
    rate = round(float(np.atleast_1d(sofa.Data_SamplingRate)[0]))
    return normalised(name or path.stem, responses, azimuth.astype(np.float32), elevation.astype(np.float32), rate)
