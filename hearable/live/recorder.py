"""A session on disk, for a bug report: what the microphones heard, what was played, what happened when."""

from __future__ import annotations

import json
import threading
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from hearable.audio import AudioWriter
from hearable.chunks import Audio
from hearable.errors import AudioError, HearableError
from hearable.profiles import SpeakerProfile

MIXTURE, OUTPUT, EVENTS = "mixture.wav", "output.wav", "events.jsonl"


class Recorder:
    """Writes ``mixture.wav``, ``output.wav``, ``events.jsonl`` and the profiles to a new folder.

    ``output.wav`` lags behind ``mixture.wav`` by the network's lookahead, as it was heard. The worker hands over; a
    thread of its own writes.

    Args:
        parent: the folder in which to make a folder named after the time.
        rate: samples a second.

    Attributes:
        folder: what is written.
        chunks: recorded so far.
        problem: why writing stopped, if it did.

    Raises:
        AudioError: the folder cannot be made.
    """

    def __init__(self, parent: str | Path, rate: int):
        self.folder = Path(parent) / datetime.now().strftime("%Y%m%d-%H%M%S")
        try:
            self.folder.mkdir(parents=True)
        except OSError as problem:
            raise AudioError(f"{self.folder}: cannot make the folder: {problem.strerror or problem}") from problem
        self.chunks = 0
        self.problem: str | None = None
        self._rate, self._begun = rate, time.monotonic()
        self._queue: SimpleQueue[tuple[Audio, Audio] | dict[str, Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="hearable-recorder", daemon=True)
        self._thread.start()

    def take(self, before: Audio, after: Audio) -> None:
        """A chunk ``[2, samples]`` before and after the processor; neither is written to any more."""
        self.chunks += 1
        self._queue.put((before, after))

    def event(self, do: str, **details: Any) -> None:
        """Something happened, before the next chunk."""
        at = {"s": round(time.monotonic() - self._begun, 3), "chunk": self.chunks}
        self._queue.put({**at, "do": do, **details})

    def person(self, name: str, profile: SpeakerProfile) -> None:
        """Somebody can be selected from now on: an event, and their profile beside it.

        Raises:
            ProfileError: it cannot be written.
        """
        file = f"person-{len(list(self.folder.glob('person-*.profile')))}.profile"
        profile.save(self.folder / file)
        self.event("add", name=name, profile=file)

    def close(self) -> None:
        """End the files."""
        self._queue.put(None)
        self._thread.join()

    def _write(self) -> None:
        try:
            with ExitStack() as stack:
                mixture, output = (
                    stack.enter_context(AudioWriter(self.folder / name, self._rate, 2, "FLOAT"))
                    for name in (MIXTURE, OUTPUT)
                )
                events = stack.enter_context((self.folder / EVENTS).open("w", encoding="utf-8"))
                while (item := self._queue.get()) is not None:
                    if isinstance(item, dict):
                        events.write(json.dumps(item) + "\n")
                        events.flush()  # there even if the program is killed
                    else:
                        mixture.write(np.nan_to_num(item[0], posinf=0, neginf=0))  # as the processor hears it
                        output.write(item[1])
        except (HearableError, OSError) as problem:
            self.problem = str(problem)
