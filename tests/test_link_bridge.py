"""Ports, the loop that serves them, and the two commands, in real time on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hearable.cli import app
from hearable.errors import LinkError
from hearable.link.channel import Impairments
from hearable.link.device import Device
from hearable.link.host import Host, to_int16
from hearable.link.serve import serve
from hearable.link.simulator import PseudoTerminal, Story, play
from hearable.link.transports import TcpHost, Udp, open_port
from hearable.live.processor import LiveProcessor
from tests import tinykit, toymodel

ROOT = Path(__file__).resolve().parent.parent
posix = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")


def free_port(kind: int) -> int:
    with closing(socket.socket(socket.AF_INET, kind)) as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def received(transport, size: int) -> bytes:
    """Everything that comes until it is as long as that, for at most 10 s."""
    data, end = b"", time.monotonic() + 10
    while len(data) < size and time.monotonic() < end:
        data += b"".join(transport.receive(0.1))
    return data


class TestPorts:
    def test_udp(self):
        host = Udp(("127.0.0.1", 0), listen=True)
        device = open_port(f"udp:127.0.0.1:{host.port}", 0, listen=False)
        with closing(host), closing(device):
            host.send([b"nobody has called"])
            device.send([b"one", b"two"])
            assert received(host, 6) == b"onetwo"
            host.send([b"back"])
            assert device.receive(5) == [b"back"]
            with closing(open_port(f"udp:127.0.0.1:{host.port}", 0, listen=False)) as other:
                other.send([b"me too"])
                device.send([b"three"])
                assert received(host, 5) == b"three"  # one device at a time

    def test_tcp_and_a_host_that_is_called_again(self):
        with closing(TcpHost(("127.0.0.1", 0))) as host:
            for word in (b"first", b"second"):
                with closing(open_port(f"tcp:127.0.0.1:{host.port}", 0, listen=False)) as device:
                    device.send([word])
                    assert received(host, len(word)) == word
                    host.send([b"back"])
                    assert device.receive(5) == [b"back"]
            host.receive(1)
            host.send([b"nobody there"])

    def test_a_tcp_device_notices_that_the_host_is_gone(self):
        host = TcpHost(("127.0.0.1", 0))
        with closing(open_port(f"tcp:127.0.0.1:{host.port}", 0, listen=False)) as device:
            device.send([b"x"])
            assert received(host, 1) == b"x"
            host.close()
            with pytest.raises(LinkError, match="tcp: lost"):
                device.receive(5)

    @posix
    def test_serial_and_a_cable_that_is_pulled(self):
        terminal = PseudoTerminal()
        with closing(open_port(terminal.path, 115200, listen=True)) as host:
            terminal.send([bytes(range(256))])
            assert received(host, 256) == bytes(range(256))
            host.send([b"ab", b"cd"])
            assert terminal.receive(5) == [b"abcd"]
            terminal.close()
            with pytest.raises(LinkError, match="lost"):
                host.receive(1)

    @posix
    def test_a_device_that_does_not_read_costs_no_time(self):
        terminal = PseudoTerminal()
        with closing(terminal), closing(open_port(terminal.path, 115200, listen=True)) as host:
            for _ in range(20):
                host.send([bytes(4000)])

    @pytest.mark.parametrize(
        ("port", "reason"),
        [
            ("/dev/nothing", "No such file or directory"),
            ("udp:name", "expected udp:PORT or udp:ADDRESS:PORT"),
            ("tcp:127.0.0.1:99999", "expected udp:PORT"),
            ("tcp:127.0.0.1:1", "refused"),
        ],
    )
    def test_what_cannot_be_opened(self, port, reason):
        with pytest.raises(LinkError, match=f"(?i){reason}"):
            open_port(port, 9600, listen=False)

    def test_a_port_in_use(self):
        with closing(TcpHost(("127.0.0.1", 0))) as host, pytest.raises(LinkError, match="in use"):
            open_port(f"tcp:127.0.0.1:{host.port}", 0, listen=True)


def test_serve_opens_a_lost_port_again(toy):
    class Flaky:
        closed = 0

        def receive(self, timeout_s):
            if self.closed < 2:
                raise LinkError("port: lost")
            stop.set()
            return []

        def close(self):
            self.closed += 1

    def open_flaky():
        opened.append(time.monotonic())
        if len(opened) == 2:
            raise LinkError("port: not yet")
        return flaky

    flaky, opened, said, stop = Flaky(), [], [], threading.Event()
    host = Host(LiveProcessor(toy), bytes(8), 128, lambda clip: None)
    serve(open_flaky, host, stop, said.append)
    assert len(opened) == 4 and flaky.closed == 3
    assert said == ["waiting for a device", "port: lost"] * 2 + ["waiting for a device"]
    with pytest.raises(LinkError, match="no port"):
        serve(lambda: (_ for _ in ()).throw(LinkError("no port")), host, threading.Event())


@posix
@pytest.mark.parametrize("kind", ["pty", "udp"])
def test_a_device_is_served_in_real_time(toy, kind):
    """Little is asked of the computer's pace: some of the sound must be the processor's, not the microphones'."""
    processor = LiveProcessor(toy, {"bob": toymodel.profile(0)})  # a gain of about 0.2
    processor.select("bob")
    stop = threading.Event()
    if kind == "pty":
        near = PseudoTerminal()
        far = open_port(near.path, 1_500_000, listen=True)
    else:
        far = Udp(("127.0.0.1", 0), listen=True)
        near = open_port(f"udp:127.0.0.1:{far.port}", 0, listen=False)
    host = Host(processor, bytes(8), 7 * 128, lambda clip: None)
    thread = threading.Thread(target=serve, args=(lambda: far, host, stop))
    thread.start()
    try:
        sound = to_int16(np.stack([tinykit.voice(120, 2.0, np.random.default_rng(0))] * 2))
        device = Device()
        with closing(near):
            heard = play(device, sound, near, Impairments(loss=0.01), Story(drift_ppm=100))
            stop.set()
            thread.join(10)
    finally:
        stop.set()
    assert heard.shape == (2, 32000) and host.status().received > 20
    assert processor.meters().chunks > 60  # 0.5 s of 2 s, however busy this computer is
    level = np.abs(heard.astype(float)).mean() / np.abs(sound.astype(float)).mean()
    assert level < 0.9


class TestCommands:
    @pytest.fixture
    def folder(self, tmp_path, shipped, monkeypatch):
        monkeypatch.chdir(tmp_path)
        soundfile.write("mix.wav", np.random.default_rng(0).normal(scale=0.1, size=(24000, 2)), 16000)
        toymodel.profile(2).save(tmp_path / "ann.profile")
        return tmp_path

    def run(self, line: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, line.split(), catch_exceptions=False)
        assert done.exit_code == code, done.output
        return done.stderr if code else done.stdout

    def test_bridge_and_device(self, folder, toy_folder):
        kept = folder / "data" / "hearable" / "people"
        kept.mkdir(parents=True)
        for name in ("ann", "bob"):  # of those that were given, one is kept too
            toymodel.profile(3).save(kept / f"{name}.profile")
        port = f"udp:127.0.0.1:{free_port(socket.SOCK_DGRAM)}"
        models = f"--model {toy_folder / 'toy.onnx'} --enroller {toy_folder / 'enroll.onnx'}"
        line = f"bridge --port {port} --profile ann.profile --json {models}"
        bridge = subprocess.Popen(
            [sys.executable, "-m", "hearable", *line.split()],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_DATA_HOME": str(folder / "data")},
        )
        try:
            assert json.loads(bridge.stdout.readline()) == {"event": "waiting for a device"}
            found = json.loads(self.run(f"simulate mix.wav --port {port} --out heard.wav --json"))
        finally:
            bridge.terminate()
            said, _ = bridge.communicate(timeout=30)
        lines = [json.loads(text) for text in said.splitlines()]
        assert bridge.returncode == 128 + signal.SIGTERM and lines[0] == {"event": "device connected"}
        assert found["welcome"] and found["latency_samples"] == 128 + 7 * 128 + 64
        assert soundfile.info("heard.wav").frames == 23936  # whole chunks
        assert {(line["host"]["people"], line["host"]["person"]) for line in lines if "device" in line} == {(2, 0)}

    def test_a_device_that_nobody_serves_hears_its_microphones(self, folder):
        shown = self.run("simulate mix.wav --out heard.wav --cut 0:1")
        assert "hearable bridge --port /dev/" in shown and "in a session  no" in shown
        heard, sound = (soundfile.read(name)[0][100:20000] for name in ("heard.wav", "mix.wav"))
        assert np.abs(heard - sound).max() < 1e-4

    @pytest.mark.parametrize(
        ("line", "code", "part"),
        [
            ("bridge --port /dev/nothing --model toy", 1, "/dev/nothing: cannot be opened: No such file"),
            ("bridge --port udp:1 --model toy --profile nobody.profile", 1, "nobody.profile"),
            ("bridge --port udp:1 --model toy --background 3", 2, "--background"),
            ("simulate mix.wav --look 5", 2, "expected seconds FROM:TO"),
            ("simulate mix.wav --cut 5:4", 2, "expected seconds FROM:TO"),
            ("simulate nothing.wav", 1, "no such file"),
        ],
    )
    def test_what_is_refused(self, folder, line, code, part, monkeypatch):
        for name in ("prepare_process", "prepare_thread"):  # or all later tests run in real time, memory locked
            monkeypatch.setattr(f"hearable.live.realtime.{name}", lambda: None)
        before = os.listdir()
        assert part in " ".join(self.run(line, code).replace("│", "").split())
        assert os.listdir() == before
