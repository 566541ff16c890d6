"""A JACK server without a sound card, and two clients that stand for microphones and headphones."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

MISSING = "apt install jackd2 libportaudio2; pip install JACK-Client"


def require_jack() -> None:
    if shutil.which("jackd") is None:
        pytest.skip(f"no jackd: {MISSING}")
    pytest.importorskip("jack", reason=MISSING, exc_type=ImportError)


@contextmanager
def jack_server(
    name: str, rate: int = 16000, period: int = 128, most_s: int = 900, log: Path | str = os.devnull
) -> Iterator[subprocess.Popen]:
    """A server of its own name, found by every client that is started meanwhile; what it says goes to ``log``."""
    before = os.environ.get("JACK_DEFAULT_SERVER")
    os.environ["JACK_DEFAULT_SERVER"] = name
    command = ["timeout", "-s", "KILL", str(most_s), "jackd", "-n", name, "-R", "-P", "70", "-d", "dummy"]
    with open(log, "wb") as said:
        server = subprocess.Popen([*command, "-r", str(rate), "-p", str(period)], stdout=said, stderr=said,
                                  start_new_session=True)  # fmt: skip
    try:
        for _ in range(100):
            done = subprocess.run(["jack_lsp", "-s", name], capture_output=True, text=True, timeout=10)
            if done.returncode == 0 and "system:playback_1" in done.stdout:
                break
            time.sleep(0.1)
        else:
            pytest.skip("jackd does not start here")
        yield server
    finally:
        stop_server(server)
        if before is None:
            del os.environ["JACK_DEFAULT_SERVER"]
        else:
            os.environ["JACK_DEFAULT_SERVER"] = before


def stop_server(server: subprocess.Popen) -> None:
    """End it as an administrator would: ``timeout`` hands the signal on."""
    server.terminate()
    server.wait(timeout=20)


class Mic:
    """A client with two outputs that plays a sound, from when ``begin`` is called; silence before and after."""

    def __init__(self, name: str = "mic"):
        import jack

        self.client = jack.Client(name, no_start_server=True)
        self.ports = [self.client.outports.register(ear) for ear in ("left", "right")]
        self._next: np.ndarray | None = None  # to be begun in the next cycle
        self._sound = np.zeros((2, 0), np.float32)
        self._at = 0
        self.begun = 0  # frame time of the sound's first sample
        self.gaps = 0  # cycles since then that the server did not give us in time
        self.client.set_process_callback(self._process)
        self.client.activate()

    def begin(self, sound: np.ndarray) -> None:
        self._next = np.ascontiguousarray(sound, np.float32)

    def _process(self, frames: int) -> None:
        now = self.client.last_frame_time
        if self._next is not None:
            self._sound, self._next = self._next, None
            self._at, self.begun, self.gaps = 0, now, 0
        self.gaps += now != self.begun + self._at and self._sound.shape[1] > 0
        for port, ear in zip(self.ports, self._sound, strict=True):
            part = ear[self._at : self._at + frames]
            out = port.get_array()
            out[: len(part)] = part
            out[len(part) :] = 0
        self._at += frames

    def close(self) -> None:
        self.client.deactivate()
        self.client.close()


class Ears:
    """A client with two inputs that keeps what it hears."""

    def __init__(self, name: str = "ears", seconds: float = 30, rate: int = 16000):
        import jack

        self.client = jack.Client(name, no_start_server=True)
        self.ports = [self.client.inports.register(ear) for ear in ("left", "right")]
        self._heard = np.full((2, round(seconds * rate)), 0, np.float32)  # written, so that its pages are there
        self._at = 0
        self.begun = 0  # frame time of the first sample that is kept
        self.gaps = 0  # cycles since then that the server did not give us in time
        self.recording = threading.Event()
        self.client.set_process_callback(self._process)
        self.client.activate()

    def _process(self, frames: int) -> None:
        if not self.recording.is_set() or self._at + frames > self._heard.shape[1]:
            return
        now = self.client.last_frame_time
        if self._at == 0:
            self.begun, self.gaps = now, 0
        self.gaps += now != self.begun + self._at
        for port, ear in zip(self.ports, self._heard, strict=True):
            ear[self._at : self._at + frames] = port.get_array()
        self._at += frames

    def start(self) -> None:
        self._at = 0
        self.recording.set()

    def stop(self) -> np.ndarray:
        """What was heard since ``start``: ``[2, samples]``."""
        self.recording.clear()
        return self._heard[:, : self._at].copy()

    def close(self) -> None:
        self.client.deactivate()
        self.client.close()


def publish_toys(folder: Path) -> None:
    """Toy models and two profiles in a folder."""
    from tests import toymodel

    toymodel.save_pair(folder)
    toymodel.save_enroller(folder)
    for name, index in (("anna", 1), ("ben", 5)):
        toymodel.profile(index).save(folder / f"{name}.profile")
