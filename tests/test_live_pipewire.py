"""A virtual microphone for calls: what ``hearable live`` plays into a PipeWire device is what a call takes from it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hearable.audio import read_audio, write_audio
from tests.jackserver import publish_toys
from tests.tinykit import voice

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ("dbus-run-session", "pipewire", "wireplumber", "pw-cli", "pw-jack", "pw-metadata", "pw-record", "jack_lsp")
MISSING = "apt install dbus jackd2 libportaudio2 pipewire pipewire-jack wireplumber"
SINK = (
    "{ factory.name=support.null-audio-sink node.name=callmic node.description=callmic media.class=Audio/Sink "
    "object.linger=true audio.position=[FL FR] audio.rate=16000 }"
)

pytestmark = pytest.mark.skipif(not all(map(shutil.which, PROGRAMS)), reason=MISSING)


@pytest.fixture
def desktop(tmp_path) -> Iterator[dict[str, str]]:
    """A PipeWire of its own, without a sound card, in blocks of 8 ms at 16 kHz, with the sink ``callmic``."""
    runtime = tmp_path / "run"  # short: a socket's path may have 107 characters
    runtime.mkdir(mode=0o700)
    places = {"XDG_RUNTIME_DIR": runtime, **{f"XDG_{k}_HOME": tmp_path / k for k in ("CONFIG", "DATA", "STATE")}}
    environment = {**os.environ, **{k: str(v) for k, v in places.items()}, "PYTHONPATH": str(ROOT)}
    environment.pop("PIPEWIRE_REMOTE", None)
    server = subprocess.Popen(
        ["dbus-run-session", "--", "sh", "-c", "pipewire & sleep 1; exec wireplumber"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip

    def run(*command: str) -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20).stdout

    try:
        until(lambda: "settings" in run("pw-metadata", "-n", "settings"), "PipeWire does not start here")
        for name, value in (("quantum", "128"), ("rate", "16000")):
            run("pw-metadata", "-n", "settings", "0", f"clock.force-{name}", value)
        run("pw-cli", "create-node", "adapter", SINK)
        until(lambda: "callmic:playback_FR" in run("pw-jack", "jack_lsp"), "PipeWire shows no sink here")
        yield environment
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def until(done, otherwise: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            pytest.skip(otherwise)
        time.sleep(0.2)


def test_what_is_played_into_a_virtual_device_is_what_a_call_takes_from_it(desktop, tmp_path):
    publish_toys(tmp_path)
    talk = np.tile(voice(120, 4.0, np.random.default_rng(0)), (2, 1)).astype(np.float32)
    write_audio(tmp_path / "talk.wav", talk, 16000)
    command = [sys.executable, "-m", "hearable", "live", "--replay", "talk.wav", "--output", "callmic"]
    command += ["--record", "rec", "--profile", "anna.profile", "--model", "toy.onnx", "--enroller", "enroll.onnx"]
    take = ["pw-record", "--target", "callmic", "-P", "{ stream.capture.sink=true }", "--rate", "16000",
            "--channels", "2", "--format", "f32", "call.wav"]  # fmt: skip
    call = subprocess.Popen(take, env=desktop, cwd=tmp_path)
    live = subprocess.run(["pw-jack", *command], env=desktop, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    time.sleep(0.5)
    call.send_signal(signal.SIGINT)
    call.wait(timeout=10)
    assert live.returncode == 0, live.stderr
    assert "listening: talk.wav to callmic (JACK" in live.stdout
    output, _ = read_audio(next((tmp_path / "rec").iterdir()) / "output.wav")
    heard, rate = read_audio(tmp_path / "call.wav")
    assert rate == 16000 and np.abs(output).max() > 0.01
    chunks = {output[:, n : n + 128].tobytes() for n in range(8000 // 128 * 128, 48000, 128)}
    found = chunks & {heard[:, n : n + 128].tobytes() for n in range(heard.shape[1])}
    assert len(found) > 0.5 * len(chunks)  # bit for bit; a busy machine loses some
