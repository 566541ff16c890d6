"""The terminal app: its keys, and its picture in a real terminal."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from hearable.audio import write_audio
from hearable.live.devices import Device, remembered_devices
from hearable.live.look_key import LookKey
from hearable.live.meters import level_bar
from hearable.live.terminal import TerminalApp
from tests.jackserver import publish_toys
from tests.tinykit import voice

ROOT = Path(__file__).resolve().parent.parent


def test_the_look_key_held_and_pressed_twice():
    held = LookKey()
    assert held.press(0.0) == "start"
    assert [held.press(t) for t in (0.5, 0.53, 0.56)] == [None] * 3
    assert held.tick(0.7) is None and held.tick(0.9) == "stop" and not held.looking
    twice = LookKey()
    assert twice.press(0.0) == "start" and twice.tick(2.9) is None and twice.press(3.0) == "stop"
    assert twice.press(3.5) == "start"


def test_a_level_is_a_bar_and_a_number():
    assert level_bar(-30).plain.count("█") == 12 and "-30.0 dB" in level_bar(-30).plain
    assert "silent" in level_bar(-120).plain and level_bar(0).plain.count("█") == 24


class NoEngine:
    """Keeps what it is told to do."""

    ended = None

    def __init__(self) -> None:
        self.done: list[tuple] = []

    def news(self) -> Iterator:
        return iter(())

    def do(self, command: str, *arguments: object) -> None:
        self.done.append((command, *arguments))


def test_devices_are_chosen_or_kept_and_remembered(monkeypatch):
    found = [Device(0, "Built-in", "ALSA", 1, 2, 48000, ("input", "output")), Device(1, "Ears", "ALSA", 2, 0, 48000)]
    listed = subprocess.CompletedProcess("devices", 0, json.dumps({"devices": [asdict(device) for device in found]}))
    monkeypatch.setattr("hearable.live.terminal.subprocess.run", lambda *args, **kwargs: listed)
    control = NoEngine()

    async def choose() -> None:
        app = TerminalApp(control)  # type: ignore[arg-type]
        async with app.run_test() as pilot:
            for key in ("d", "enter", "escape"):  # one microphone is no choice; the headphones stay
                await pilot.press(key)
                await app.workers.wait_for_complete()
                await pilot.pause()

    asyncio.run(choose())
    assert control.done == [("devices", "Ears (ALSA)", None)]
    assert remembered_devices() == {"input": "Ears (ALSA)"}


class Screen:
    """A terminal of tmux with a program in it."""

    def __init__(self, command: str, environment: dict[str, str]):
        self.socket = f"hearable-test-{os.getpid()}"
        self.run("new-session", "-d", "-s", "t", "-x", "80", "-y", "32", command, environment=environment)

    def run(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        done = subprocess.run(["tmux", "-L", self.socket, *arguments], capture_output=True, text=True, timeout=20,
                              env=environment or os.environ.copy(), cwd=ROOT)  # fmt: skip
        return done.stdout

    def until(self, text: str, seconds: float = 30) -> str:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if text in (shown := self.run("capture-pane", "-p", "-t", "t")):
                return shown
            time.sleep(0.1)
        raise AssertionError(f"{text!r} does not appear:\n{shown}")

    def press(self, *keys: str) -> None:
        self.run("send-keys", "-t", "t", *keys)


def test_the_app_in_a_terminal(tmp_path):
    if shutil.which("tmux") is None:
        pytest.skip("no tmux: apt install tmux")
    publish_toys(tmp_path)
    rng = np.random.default_rng(0)
    sound = np.tile(voice(120, 40.0, rng), (2, 1))
    write_audio(tmp_path / "talk.wav", (sound + 0.002 * rng.normal(size=sound.shape)).astype(np.float32), 16000)
    people = " ".join(f"--profile {tmp_path / name}.profile" for name in ("anna", "ben"))
    models = f"--model {tmp_path / 'toy.onnx'} --enroller {tmp_path / 'enroll.onnx'}"
    source = f"--replay {tmp_path / 'talk.wav'} --output none"
    command = f"{sys.executable} -m hearable live {source} {models} {people}; echo ended $?; sleep 30"
    home = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    screen = Screen(command, {**os.environ, **home, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"})
    try:
        shown = screen.until("speaking")
        for meter in (
            "in left",
            "out right",
            "target",
            "chunk time  p50",
            "xruns",
            "missed chunks",
            "buffer",
            "latency",
        ):
            assert meter in shown
        assert "█" in shown and "1  anna" in shown and "2  ben" in shown
        assert shown.rstrip().endswith("q Quit")
        screen.press("2", "b", "m")
        assert "MUTED" in screen.until("BYPASS")
        screen.press("b", "m", "+", "+")
        assert "BYPASS" not in screen.until("-57 dB")
        screen.press("Space")
        screen.until("enough; ends in")
        screen.press("Space")
        screen.until("person-1 enrolled")
        screen.until("3  person-1")
        screen.press("r")
        screen.until("RECORDING")
        screen.press("r")
        screen.until("recorded to")
        screen.press("q")
        screen.until("ended 0")
    finally:
        screen.run("kill-server")
    assert list((tmp_path / "data" / "hearable" / "sessions").glob("*/output.wav"))
