"""A recorded mixture in place of the microphones: the same engine hears again what a session heard."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hearable.audio import read_audio, require_stereo
from hearable.chunks import Audio
from hearable.errors import AudioError
from hearable.live.portaudio import BLOCK_S, Callback
from hearable.live.recorder import EVENTS, MIXTURE
from hearable.live.stream import LiveStream

MAX_SECONDS = 4 * 3600
MAX_EVENTS_BYTES = 16 * 2**20


class Replay:
    """A sound file, or a session's folder with its events.

    Args:
        path: a stereo sound file, or a folder that ``hearable live --record`` wrote.

    Attributes:
        rate: of the sound, in Hz.
        over: everything was played.
        events: of the session, in order; each with the ``chunk`` before which it happened.

    Raises:
        AudioError: no such file or folder, or not what it should be.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        folder = self.path if self.path.is_dir() else None
        audio, self.rate = read_audio(folder / MIXTURE if folder else self.path, seconds=MAX_SECONDS)
        self._audio: Audio = require_stereo(audio, str(path))
        self.samples: int = self._audio.shape[1]
        self.events = _events(folder / EVENTS) if folder else []
        self._at = 0.0
        self._chunk = 0
        self._next = 0

    @property
    def over(self) -> bool:
        """Whether everything was played."""
        return self._at >= self.samples

    def feed(self, stream: LiveStream, samples: int) -> None:
        """Let the stream capture as much as ``samples`` at its output last; silence until it runs, and at the end."""
        begin = int(self._at)
        after = self._at + samples * stream.in_hz / stream.out_hz
        block = np.zeros((2, int(after) - begin), np.float32)
        if stream.running:
            part = self._audio[:, begin : int(after)]
            block[:, : part.shape[1]] = part
            self._at = after
        stream.capture(block)

    def apply_due(self, apply: Callable[[dict[str, Any]], None]) -> None:
        """Apply what happened before the present chunk; before the first, what was so when the session began."""
        while self._next < len(self.events) and self.events[self._next]["chunk"] <= self._chunk:
            apply(self.events[self._next])
            self._next += 1

    def after_chunk(self, apply: Callable[[dict[str, Any]], None]) -> None:
        """Call once a chunk, after it: applies what happened before the next one."""
        self._chunk += 1
        self.apply_due(apply)


def _events(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > MAX_EVENTS_BYTES:
            raise AudioError(f"{path}: expected at most {MAX_EVENTS_BYTES} bytes, found {path.stat().st_size}")
        events = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except OSError as problem:
        raise AudioError(f"{path}: cannot read the session's events: {problem.strerror or problem}") from problem
    except (ValueError, RecursionError) as problem:
        raise AudioError(f"{path}: expected a JSON object a line, found something else: {problem}") from problem
    for event in events:
        if not (isinstance(event, dict) and isinstance(event.get("chunk"), int) and isinstance(event.get("do"), str)):
            raise AudioError(f"{path}: expected events with 'chunk' and 'do', found {str(event)[:80]}")
    return events


class NoDevice:
    """Calls as headphones would, where there are none."""

    def __init__(self, rate: int, call: Callback):
        self._out, self._call = np.zeros((2, round(BLOCK_S * rate)), np.float32), call
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hearable-no-device", daemon=True)

    def start(self) -> None:
        """Begin to call."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._closed.wait(max(0.0, due - time.monotonic())):
            self._call(None, self._out, False)
            due += BLOCK_S
