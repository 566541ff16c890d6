"""Frames on the wire: COBS, CRC-16, a zero at the end (firmware_bridge/PROTOCOL.md)."""

from __future__ import annotations

import binascii
from collections.abc import Iterator

from cobs import cobs

MAX_BODY_BYTES = 1024
_ENOUGH_BYTES = 2 * MAX_BODY_BYTES  # of a frame that has no end: too long, whatever else comes


def crc16(data: bytes) -> int:
    """CRC-16/IBM-3740: the standard library's CRC-CCITT, started with ones."""
    return binascii.crc_hqx(data, 0xFFFF)


def encode_frame(body: bytes) -> bytes:
    """The frame of a body of 1 to 1024 bytes.

    Raises:
        ValueError: empty or too long.

    Example:
        >>> encode_frame(b"123456789").hex(" ")
        '0c 31 32 33 34 35 36 37 38 39 b1 29 00'
    """
    if not 1 <= len(body) <= MAX_BODY_BYTES:
        raise ValueError(f"body: expected 1 to {MAX_BODY_BYTES} bytes, found {len(body)}")
    frame: bytes = cobs.encode(body + crc16(body).to_bytes(2, "little")) + b"\0"
    return frame


class FrameReader:
    r"""Takes a stream of bytes apart; what is damaged is dropped and counted.

    Attributes:
        damaged: frames that were dropped: wrong CRC, too long, cut short.

    Example:
        >>> reader = FrameReader()
        >>> list(reader.push(b"noise" + b"\0" + encode_frame(b"hello"))), reader.damaged
        ([b'hello'], 1)
    """

    def __init__(self) -> None:
        self.damaged = 0
        self._rest = b""

    def push(self, data: bytes) -> Iterator[bytes]:
        """Take bytes in any pieces; iterate over the bodies that are complete, to the end."""
        *frames, rest = (self._rest + data).split(b"\0")
        self._rest = rest[:_ENOUGH_BYTES]
        for frame in frames:
            body = _decode(frame) if frame else b""
            if body is None:
                self.damaged += 1
            elif body:
                yield body


def _decode(frame: bytes) -> bytes | None:
    try:
        data: bytes = cobs.decode(frame)
    except cobs.DecodeError:
        return None
    body = data[:-2]
    if not 1 <= len(body) <= MAX_BODY_BYTES or crc16(body) != int.from_bytes(data[-2:], "little"):
        return None
    return body
