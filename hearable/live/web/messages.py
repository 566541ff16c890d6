"""What page and server say to each other over the WebSocket.

Binary, both ways: one chunk of sound as float32 little-endian, all of the left ear, then all of the right; each chunk
is answered by one, in order, ``lookahead_samples`` late. Text, both ways: one JSON object.

From the page::

    {"do": "look"}                          begin to look at somebody
    {"do": "enroll", "name": "Anna"}        the look is over; an empty name is made up
    {"do": "select", "name": "Anna"}        hear only that person; null: hear everything
    {"do": "forget", "name": "Anna"}
    {"do": "background", "db": -20}         gain of everything else, -60 to 0; null: silence
    {"do": "bypass", "on": true}
    {"do": "mute", "on": true}

From the server::

    {"hello": {...}}      first of all: model, rate, chunk
    {"status": {...}}     ten times a second
    {"verdict": {...}}    how good a look was
    {"problem": "..."}    something that the user should know; the connection stays
    {"refused": "..."}    the connection is closed
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from hearable.chunks import Audio
from hearable.live.processor import LEAST_BACKGROUND_DB
from hearable.spec import ModelSpec

MOST_TEXT = 512  # characters of a command
MOST_NAME = 40
_FIELDS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "look": {},
    "enroll": {"name": str},
    "select": {"name": (str, type(None))},
    "forget": {"name": str},
    "background": {"db": (int, float, type(None))},
    "bypass": {"on": bool},
    "mute": {"on": bool},
}


class WrongMessage(Exception):
    """Not what a page of ours would send; the connection is closed."""


@dataclass(frozen=True)
class Command:
    """One wish of the user. Fields that its kind does not have are as here."""

    do: str
    name: str | None = None
    db: float | None = None
    on: bool = False


def most_bytes(spec: ModelSpec) -> int:
    """The longest message that is accepted."""
    return max(chunk_bytes(spec), 4 * MOST_TEXT)


def chunk_bytes(spec: ModelSpec) -> int:
    """Length of a chunk as a binary message."""
    return 4 * spec.channels * spec.chunk_samples


def read_chunk(message: bytes, spec: ModelSpec) -> Audio:
    """A chunk ``[channels, chunk_samples]``; NaN and infinity are the processor's business.

    Raises:
        WrongMessage: another length.
    """
    if len(message) != chunk_bytes(spec):
        raise WrongMessage(f"expected a chunk of {chunk_bytes(spec)} bytes, found {len(message)}")
    chunk: Audio = np.frombuffer(message, "<f4").reshape(spec.channels, spec.chunk_samples).astype(np.float32)
    return chunk


def write_chunk(chunk: Audio) -> bytes:
    """A chunk as a binary message."""
    return chunk.astype("<f4").tobytes()


def read_command(text: str) -> Command:
    """Read a command from the page.

    Raises:
        WrongMessage: no such command, or its fields will not do.
    """
    try:
        if len(text) > MOST_TEXT:
            raise ValueError(f"{len(text)} characters")
        values = json.loads(text)
        fields = _FIELDS[values["do"]]
        if set(values) != {"do", *fields} or not all(isinstance(values[k], kind) for k, kind in fields.items()):
            raise ValueError("other fields")
        command = Command(**values)
        if command.db is not None and not LEAST_BACKGROUND_DB <= command.db <= 0:  # also refuses NaN
            raise ValueError(f"{command.db} dB")
        if command.name is not None and not (len(command.name) <= MOST_NAME and command.name.isprintable()):
            raise ValueError("a name that is too long or cannot be printed")
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise WrongMessage(f"expected a command, found something else ({problem})") from problem
    return command
