"""The engine in a process of its own: drawing and collecting garbage here cannot hold it up."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

from hearable.errors import HearableError
from hearable.live.control import Control, Settings, Status
from hearable.live.realtime import prepare_process

STATUS_S = 0.08
STOP_S = 10.0
HUNG_S = 10.0  # no status for that long
START_S = 60.0  # until the first one: a busy computer takes long to load everything


class RemoteControl:
    """A ``Control`` in another process, started anew if that process crashes or hangs: sound systems do both.

    Args:
        settings: how to start.
        log: where the sound system's own chatter goes (file descriptor 2 of that process).

    Attributes:
        ended: why it cannot run; ``None`` while it does.
    """

    def __init__(self, settings: Settings, log: str = os.devnull):
        self._settings, self._log = settings, log
        self.ended: str | None = None
        self._status: Status | None = None
        self._start(patient=False)

    def _start(self, patient: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=serve, args=(self._settings, theirs, self._log, patient), name="hearable-engine", daemon=True
        )
        self._process.start()
        theirs.close()
        self._due = time.monotonic() + START_S  # when something must have been heard of it

    def do(self, command: str, *arguments: Any) -> None:
        """Send a command (see ``Control.do``)."""
        if command == "devices":  # whoever is started anew takes them too
            input, output = arguments
            self._settings = replace(
                self._settings, input=input or self._settings.input, output=output or self._settings.output
            )
        with contextlib.suppress(OSError):  # it crashed: the next news say so
            self._pipe.send((command, *arguments))

    def news(self) -> Iterator[Status | str]:
        """What came since the last time: statuses, and sentences for the user. ``ended`` is set if it has ended."""
        try:
            while self._pipe.poll():
                kind, value = self._pipe.recv()
                self._due = time.monotonic() + HUNG_S
                if kind == "failed":
                    self.ended = value
                    return
                if isinstance(value, Status):
                    self._status = value
                yield value
        except (EOFError, OSError):
            yield from self._again("the sound engine crashed: started anew")
            return
        if time.monotonic() > self._due:
            yield from self._again("the sound engine hung: started anew")

    def _again(self, why: str) -> Iterator[str]:
        """Start anew, with whoever was heard, on the devices that were chosen."""
        self._process.kill()
        self._process.join()
        self._pipe.close()
        if self._status is None:
            self.ended = "the sound engine does not start"
            return
        yield why
        self._start(patient=True)
        sound = self._status.sound
        self.do("background", sound.background_db)
        self.do("mute", sound.muted)
        self.do("bypass", sound.bypass)
        if sound.selected is not None:
            self.do("select", sound.selected)

    def close(self) -> None:
        """End it, and wait until its files are written."""
        self.do("quit")
        self._process.join(STOP_S)
        if self._process.is_alive():
            self._process.kill()
        self._pipe.close()


def serve(settings: Settings, pipe: Connection, log: str, patient: bool) -> None:
    """The other process: run until told to quit, or until nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the display, which tells us to quit
    _redirect(log)
    said: SimpleQueue[str] = SimpleQueue()  # the worker speaks too, and must not wait for whoever reads
    try:
        control = Control(settings, said.put)
        prepare_process()
        control.start(patient)
    except HearableError as problem:
        _send(pipe, "failed", str(problem))
        return
    try:
        due = time.monotonic()
        while True:
            if pipe.poll(max(0.0, due - time.monotonic())):
                command, *arguments = pipe.recv()
                if command == "quit":
                    break
                control.do(command, *arguments)
            elif time.monotonic() >= due:
                control.poll()
                if control.engine.stuck:
                    control.end_recording()
                    os._exit(1)  # nothing else ends a thread in a library; whoever started us starts anew
                while not said.empty():
                    _send(pipe, "said", said.get())
                if not _send(pipe, "status", control.status()):
                    break
                due = time.monotonic() + STATUS_S
    except EOFError:
        pass
    finally:
        control.close()
        pipe.close()


def _send(pipe: Connection, kind: str, value: object) -> bool:
    try:
        pipe.send((kind, value))
    except (OSError, ValueError):
        return False
    return True


def _redirect(log: str) -> None:
    """ALSA and JACK write to the terminal that the display draws on."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 2)
    os.close(file)
