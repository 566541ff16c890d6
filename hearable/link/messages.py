"""Messages: what a frame's body says (firmware_bridge/PROTOCOL.md). Sound is int16 ``[channels, samples]``."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from typing_extensions import Self

VERSION = 1
RATE = 16000
CHANNELS = 2
CHUNK_SAMPLES = 128
MODEL_BYTES = 8
COPIES = 1  # Hello.flags
MAX_SHIFT = 9

HOSTS_CHOICE = 255  # Controls.person; HostStatus.person: nobody
SILENT_DB, HOSTS_CHOICE_DB = -128, 127  # Controls.background_db
WELCOME, WRONG_VERSION, WRONG_FORMAT, WRONG_MODEL = range(4)  # Welcome.answer
LOOK_NONE, LOOK_LOOKING, LOOK_ENROLLED, LOOK_REFUSED = range(4)  # HostStatus.look

Samples: TypeAlias = NDArray[np.int16]
_HEADER = struct.Struct("<BH")
_AUDIO = struct.Struct(f"<I{2 * CHANNELS * CHUNK_SAMPLES}s")
_COPY = struct.Struct(f"<I{CHANNELS}B{CHANNELS * CHUNK_SAMPLES}s")


@dataclass(frozen=True)
class Hello:
    """A device asks to be served."""

    TYPE: ClassVar[int] = 1
    FORMAT: ClassVar[str] = "<BBBHI8s"
    version: int = VERSION
    flags: int = COPIES
    channels: int = CHANNELS
    chunk_samples: int = CHUNK_SAMPLES
    rate_hz: int = RATE
    model: bytes = bytes(MODEL_BYTES)


@dataclass(frozen=True)
class Welcome:
    """The host's answer: welcome, or why not."""

    TYPE: ClassVar[int] = 2
    FORMAT: ClassVar[str] = "<BBHH8s"
    version: int
    answer: int
    delay_samples: int
    lookahead_samples: int
    model: bytes


@dataclass(frozen=True, eq=False)
class AudioIn:
    """A chunk of the microphones, int16 ``[channels, samples]``."""

    TYPE: ClassVar[int] = 3
    clock: int
    samples: Samples


@dataclass(frozen=True, eq=False)
class AudioOut(AudioIn):
    """The chunk to be heard in place of the microphones' of the same clock."""

    TYPE: ClassVar[int] = 4


@dataclass(frozen=True, eq=False)
class CopyIn:
    """A chunk in 8 bits a sample, ``values`` int8 ``[channels, samples]``, for each ear with a shift of its own."""

    TYPE: ClassVar[int] = 5
    clock: int
    shift: tuple[int, ...]
    values: NDArray[np.int8]

    @classmethod
    def of(cls, clock: int, samples: Samples) -> Self:
        """The copy of a chunk."""
        wide = samples.astype(np.int32)
        peaks = [int(peak) for peak in np.abs(wide).max(axis=1)]
        shift = tuple(next(s for s in range(MAX_SHIFT + 1) if (peak + _half(s)) >> s <= 127) for peak in peaks)
        values = [(ear + _half(s)) >> s for ear, s in zip(wide, shift, strict=True)]
        return cls(clock, shift, np.array(values, np.int8))

    @property
    def samples(self) -> Samples:
        """The chunk, int16 ``[channels, samples]``."""
        wide = self.values.astype(np.int32) << np.array(self.shift)[:, None]
        samples: Samples = np.clip(wide, -32768, 32767).astype(np.int16)
        return samples


def _half(shift: int) -> int:
    return (1 << shift) >> 1


@dataclass(frozen=True, eq=False)
class CopyOut(CopyIn):
    """A copy of what is to be heard."""

    TYPE: ClassVar[int] = 6


@dataclass(frozen=True)
class Controls:
    """What the wearer wants."""

    TYPE: ClassVar[int] = 7
    FORMAT: ClassVar[str] = "<BBb"
    button: int = 0
    person: int = HOSTS_CHOICE
    background_db: int = HOSTS_CHOICE_DB


@dataclass(frozen=True)
class Counters:
    """Frames received, lost and damaged; chunks taken from copies, and concealed."""

    received: int = 0
    lost: int = 0
    damaged: int = 0
    copied: int = 0
    concealed: int = 0


@dataclass(frozen=True)
class DeviceStatus(Counters):
    """How the device fares: from microphone to ear, and the least time that was left to an answer."""

    TYPE: ClassVar[int] = 8
    FORMAT: ClassVar[str] = "<5IHh"
    latency_samples: int = 0
    slack_samples: int = 0


@dataclass(frozen=True)
class HostStatus(Counters):
    """How the host fares, and whom it gives."""

    TYPE: ClassVar[int] = 9
    FORMAT: ClassVar[str] = "<5I4B"
    people: int = 0
    person: int = HOSTS_CHOICE
    look: int = LOOK_NONE
    speaking: int = 0


Message: TypeAlias = Hello | Welcome | AudioIn | AudioOut | CopyIn | CopyOut | Controls | DeviceStatus | HostStatus
_PLAIN = {kind.TYPE: kind for kind in (Hello, Welcome, Controls, DeviceStatus, HostStatus)}


def pack(message: Message, sequence: int) -> bytes:
    """The body of a message.

    Raises:
        struct.error: a number does not fit its field.
    """
    header = _HEADER.pack(message.TYPE, sequence)
    if isinstance(message, AudioIn):
        return header + _AUDIO.pack(message.clock, message.samples.T.astype("<i2").tobytes())
    if isinstance(message, CopyIn):
        return header + _COPY.pack(message.clock, *message.shift, message.values.T.tobytes())
    return header + struct.pack(message.FORMAT, *astuple(message))


def parse(body: bytes) -> tuple[int, Message | None]:
    """The sequence number and the message; ``None`` for a type that is not known and a payload that will not do."""
    if len(body) < _HEADER.size:
        return 0, None
    kind, sequence = _HEADER.unpack_from(body)
    try:
        return sequence, _parse(kind, body[_HEADER.size :])
    except struct.error:  # too short
        return sequence, None


def _parse(kind: int, payload: bytes) -> Message | None:
    if kind in _PLAIN:
        return _PLAIN[kind](*struct.unpack_from(_PLAIN[kind].FORMAT, payload))
    if kind in (AudioIn.TYPE, AudioOut.TYPE):
        clock, sound = _AUDIO.unpack_from(payload)
        samples = np.frombuffer(sound, "<i2").astype(np.int16).reshape(CHUNK_SAMPLES, CHANNELS).T
        return (AudioIn if kind == AudioIn.TYPE else AudioOut)(clock, samples)
    if kind in (CopyIn.TYPE, CopyOut.TYPE):
        clock, *shift, sound = _COPY.unpack_from(payload)
        values = np.frombuffer(sound, np.int8).reshape(CHUNK_SAMPLES, CHANNELS).T
        if max(shift) <= MAX_SHIFT:
            return (CopyIn if kind == CopyIn.TYPE else CopyOut)(clock, tuple(shift), values)
    return None
