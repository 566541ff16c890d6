"""Messages: what a frame's body says (firmware_bridge/PROTOCOL.md). Sound is int16 ``[channels, samples]``."""

from __future__ import annotations

import struct
from dataclasses import astuple, dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

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
_AUDIO_BYTES = 4 + 2 * CHANNELS * CHUNK_SAMPLES
_COPY_BYTES = CHANNELS + CHANNELS * CHUNK_SAMPLES


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
class Copy:
    """A chunk in 8 bits a sample, for each ear with a shift of its own."""

    shift: tuple[int, ...]
    values: NDArray[np.int8]

    @classmethod
    def of(cls, samples: Samples) -> Copy:
        """The copy of int16 ``[channels, samples]``."""
        wide = samples.astype(np.int32)
        shift = tuple(next(s for s in range(MAX_SHIFT + 1) if _rounded(peak, s) <= 127) for peak in _peaks(wide))
        values = [_rounded(ear, s) for ear, s in zip(wide, shift, strict=True)]
        return cls(shift, np.array(values, np.int8))

    def samples(self) -> Samples:
        """The chunk, int16 ``[channels, samples]``."""
        wide = self.values.astype(np.int32) << np.array(self.shift)[:, None]
        samples: Samples = np.clip(wide, -32768, 32767).astype(np.int16)
        return samples


def _peaks(wide: NDArray[np.int32]) -> list[int]:
    return [int(peak) for peak in np.abs(wide).max(axis=1)]


def _rounded(value: NDArray[np.int32] | int, shift: int) -> NDArray[np.int32] | int:
    return (value + ((1 << shift) >> 1)) >> shift


@dataclass(frozen=True, eq=False)
class AudioIn:
    """A chunk of the microphones, and perhaps a copy of the one before."""

    TYPE: ClassVar[int] = 3
    clock: int
    samples: Samples
    copy: Copy | None = None


@dataclass(frozen=True, eq=False)
class AudioOut(AudioIn):
    """The chunk to be heard in place of the microphones' of the same clock."""

    TYPE: ClassVar[int] = 4


@dataclass(frozen=True)
class Controls:
    """What the wearer wants."""

    TYPE: ClassVar[int] = 5
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

    TYPE: ClassVar[int] = 6
    FORMAT: ClassVar[str] = "<5IHh"
    latency_samples: int = 0
    slack_samples: int = 0


@dataclass(frozen=True)
class HostStatus(Counters):
    """How the host fares, and whom it gives."""

    TYPE: ClassVar[int] = 7
    FORMAT: ClassVar[str] = "<5I4B"
    people: int = 0
    person: int = HOSTS_CHOICE
    look: int = LOOK_NONE
    speaking: int = 0


Message: TypeAlias = Hello | Welcome | AudioIn | AudioOut | Controls | DeviceStatus | HostStatus
_PLAIN = {kind.TYPE: kind for kind in (Hello, Welcome, Controls, DeviceStatus, HostStatus)}
_AUDIO = {kind.TYPE: kind for kind in (AudioIn, AudioOut)}


def pack(message: Message, sequence: int) -> bytes:
    """The body of a message.

    Raises:
        struct.error: a number does not fit its field.
    """
    header = _HEADER.pack(message.TYPE, sequence)
    if not isinstance(message, AudioIn):
        return header + struct.pack(message.FORMAT, *astuple(message))
    body: bytes = header + struct.pack("<I", message.clock) + message.samples.T.astype("<i2").tobytes()
    return body if message.copy is None else body + bytes(message.copy.shift) + message.copy.values.T.tobytes()


def parse(body: bytes) -> tuple[int, Message | None]:
    """The sequence number and the message; ``None`` for a type that is not known and a payload that will not do."""
    if len(body) < _HEADER.size:
        return 0, None
    kind, sequence = _HEADER.unpack_from(body)
    payload = body[_HEADER.size :]
    if kind in _AUDIO:
        return sequence, _parse_audio(_AUDIO[kind], payload)
    if kind not in _PLAIN or len(payload) < struct.calcsize(_PLAIN[kind].FORMAT):
        return sequence, None
    return sequence, _PLAIN[kind](*struct.unpack_from(_PLAIN[kind].FORMAT, payload))


def _parse_audio(kind: type[AudioIn], payload: bytes) -> AudioIn | None:
    if len(payload) < _AUDIO_BYTES:
        return None
    clock = int.from_bytes(payload[:4], "little")
    samples = np.frombuffer(payload[4:_AUDIO_BYTES], "<i2").astype(np.int16).reshape(CHUNK_SAMPLES, CHANNELS).T
    copy = None
    if len(payload) >= _AUDIO_BYTES + _COPY_BYTES:
        shift = tuple(payload[_AUDIO_BYTES : _AUDIO_BYTES + CHANNELS])
        if max(shift) > MAX_SHIFT:
            return None
        values = np.frombuffer(payload[_AUDIO_BYTES + CHANNELS : _AUDIO_BYTES + _COPY_BYTES], np.int8)
        copy = Copy(shift, values.reshape(CHUNK_SAMPLES, CHANNELS).T)
    return kind(clock, samples, copy)
