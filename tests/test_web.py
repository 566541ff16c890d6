"""The server of the local page: who may talk to it, what it answers, what it does to sound."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import soundfile
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

import hearable
from hearable.live.processor import LiveProcessor
from hearable.live.web import messages, recording, session
from hearable.live.web.app import STATIC
from hearable.live.web.seats import seats_in_time
from tests import toymodel
from tests.webserver import Served, served


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("models")) as running:
        yield running


def fetch(address: str, data: bytes | None = None, **headers: str) -> tuple[int, bytes, dict]:
    request = urllib.request.Request(address, data, {k.replace("_", "-"): v for k, v in headers.items()})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read(), dict(problem.headers)


class Page:
    """What the page's worker does."""

    def __init__(self, connection: ClientConnection):
        self.connection = connection
        self.texts: list[dict] = []
        self.hello = self.until("hello")

    def say(self, **command) -> None:
        self.connection.send(json.dumps(command))

    def receive(self) -> bytes | dict:
        message = self.connection.recv(timeout=60)
        return message if isinstance(message, bytes) else json.loads(message)

    def until(self, kind: str, fits=lambda value: True):
        while True:
            message = self.receive()
            if isinstance(message, dict) and kind in message and fits(message[kind]):
                return message[kind]

    def hear(self, sound: np.ndarray) -> np.ndarray:
        """The answers to ``[2, samples]``, cut into chunks."""
        chunks = np.split(sound, sound.shape[1] // 128, axis=1)
        heard = []
        for chunk in chunks:
            self.connection.send(chunk.astype(np.float32).tobytes())
            while not isinstance(message := self.receive(), bytes):
                pass
            heard.append(np.frombuffer(message, np.float32).reshape(2, 128))
        return np.concatenate(heard, axis=1)


@pytest.fixture
def page(server) -> Iterator[Page]:
    with connect(server.address("/live", scheme="ws")) as connection:
        yield Page(connection)


class TestStrangers:
    @pytest.mark.parametrize("path", ["/", "/profile", "/nothing"])
    def test_a_wrong_token_or_none_is_refused(self, server, path):
        for token in ("", "wrong", "ünequal".encode().hex()):
            status, body, _ = fetch(server.address(path, token))
            assert status == 403 and b"token" in body
        assert fetch(f"http://127.0.0.1:{server.port}{path}")[0] == 403

    def test_a_recording_from_a_stranger_is_not_read(self, server):
        assert fetch(server.address("/extract", "wrong"), b"x")[0] == 403
        assert fetch(server.address("/extract"), b"x", Origin="http://evil.example")[0] == 403

    @pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:1", "http://[", "null"])
    def test_a_foreign_origin_gets_no_socket(self, server, origin):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.address("/live", scheme="ws"), origin=origin)
        assert refused.value.response.status_code == 403

    def test_a_refused_socket_leaves_no_error_on_the_users_screen(self, server, caplog):
        log = logging.getLogger("uvicorn.error")
        log.addHandler(caplog.handler)
        with pytest.raises(InvalidStatus):
            connect(server.address("/live", "wrong", scheme="ws"))
        fetch(server.address("/"))  # by now the server is done with the socket
        log.removeHandler(caplog.handler)
        assert not caplog.records

    def test_a_wrong_token_gets_no_socket(self, server):
        with pytest.raises(InvalidStatus) as refused:
            connect(server.address("/live", "wrong", scheme="ws"), origin=f"http://127.0.0.1:{server.port}")
        assert refused.value.response.status_code == 403

    def test_another_host_name_is_refused_scripts_included(self, server):
        for path in ("/", "/static/page.js"):
            assert fetch(server.address(path), Host=f"evil.example:{server.port}")[0] == 403
            assert fetch(server.address(path), Host="[")[0] == 403

    def test_its_own_page_is_welcome(self, server):
        with connect(server.address("/live", scheme="ws"), origin=f"http://127.0.0.1:{server.port}") as connection:
            assert Page(connection).hello == {"model": "toy", "rate": 16000, "chunk_samples": 128}
        assert fetch(server.address("/"), Host=f"localhost:{server.port}")[0] == 200


class TestPage:
    def test_is_served_with_headers_that_keep_strangers_out(self, server):
        status, body, headers = fetch(server.address("/"))
        assert status == 200 and b"<title>hearable</title>" in body
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["referrer-policy"] == "no-referrer"

    def test_every_file_it_needs_is_its_own(self, server):
        texts = {path.name: path.read_text() for path in STATIC.iterdir()}
        needed = set(re.findall(r'"/static/([\w.]+)"', texts["index.html"]))
        needed |= {name for text in texts.values() for name in re.findall(r'["(]\.?/?([a-z]+\.js)"', text)}
        assert {"page.js", "ears.js", "socket.js", "style.css", "icon.svg"} <= needed
        for name in needed:
            assert fetch(f"http://127.0.0.1:{server.port}/static/{name}")[0] == 200, name
        for name, text in texts.items():
            assert not re.findall(r"(?:src|href|import|url)\W+https?://", text), name

    def test_nothing_outside_static_is_given(self, server):
        assert fetch(f"http://127.0.0.1:{server.port}/static/../app.py")[0] in (403, 404)
        assert fetch(f"http://127.0.0.1:{server.port}/static/%2e%2e/app.py")[0] == 404


class TestSound:
    def test_everything_passes_until_somebody_is_selected(self, page, noise):
        heard = page.hear(noise[:, :6400])
        np.testing.assert_array_equal(heard[:, 64:], noise[:, : 6400 - 64])

    def test_what_is_heard_is_what_the_processor_makes(self, page, server, noise):
        live = LiveProcessor(server.hearing.model, {"Anna": toymodel.profile(3)})
        page.say(do="background", db=-20)
        page.say(do="select", name="Anna")
        page.until("status", lambda s: s["selected"] == "Anna" and s["background_db"] == -20)
        live.background_db = -20
        live.select("Anna")
        expected = np.concatenate([live.step(c) for c in np.split(noise, 250, axis=1)], axis=1)
        np.testing.assert_array_equal(page.hear(noise), expected)
        status = page.until("status", lambda s: s["chunks"] == 250)
        assert status["p50_ms"] > 0 and status["p99_ms"] >= status["p50_ms"]

    def test_a_look_enrolls_selects_and_judges(self, page, server, noise):
        page.say(do="look")
        page.until("status", lambda s: s["looking_s"] is not None)
        page.hear(noise[:, :32000])
        page.say(do="enroll", name=" Carla ")
        verdict = page.until("verdict")
        assert verdict["name"] == "Carla" and verdict["seconds"] == 2 and verdict["ok"] is False
        assert any("speech" in warning for warning in verdict["warnings"])
        status = page.until("status", lambda s: s["selected"] == "Carla")
        assert status["people"] == ["Anna", "Ben", "Carla"]
        profile = server.hearing.people["Carla"]
        expected = hearable.enroll(noise[:, :32000], 16000, server.hearing.enroller)
        np.testing.assert_array_equal(profile.embedding, expected.embedding)
        page.say(do="forget", name="Carla")
        assert page.until("status", lambda s: s["selected"] is None)["people"] == ["Anna", "Ben"]

    def test_a_look_without_sound_is_explained_and_the_page_stays(self, page, noise):
        page.say(do="look")
        page.say(do="enroll", name="")
        assert "look" in page.until("problem")
        page.say(do="select", name="Nobody")
        assert "Nobody" in page.until("problem")
        assert page.hear(noise[:, :128]).shape == (2, 128)

    def test_bypass_and_mute(self, page):
        page.say(do="bypass", on=True)
        page.say(do="mute", on=True)
        assert page.until("status", lambda s: s["bypass"] and s["muted"])

    def test_nan_from_the_microphone_is_silence(self, page, noise):
        sound = noise[:, :1280].copy()
        sound[0, 200:300] = np.nan
        assert np.isfinite(page.hear(sound)).all()
        assert page.until("status", lambda s: s["chunks"] == 10)["bad_samples"] == 100

    def test_when_too_slow_everything_passes_and_it_recovers(self, page, noise, monkeypatch):
        gate = threading.Event()
        step = LiveProcessor.step

        def slow(self, chunk):
            gate.wait(60)
            return step(self, chunk)

        monkeypatch.setattr(session.LiveProcessor, "step", slow)
        for chunk in np.split(noise[:, : 40 * 128], 40, axis=1):
            page.connection.send(chunk.tobytes())
        page.until("status", lambda s: s["waiting"] == 39)
        gate.set()
        assert page.until("status", lambda s: s["chunks"] == 40 and s["shedding"])["sheds"] == 1
        page.hear(np.tile(noise, 2)[:, : 260 * 128])
        assert page.until("status", lambda s: s["chunks"] == 300)["shedding"] is False


class TestWrongMessages:
    def closed(self, page: Page) -> tuple[int, str]:
        try:
            page.until("nothing")
        except ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason
        raise AssertionError("still open")

    def test_an_oversized_frame_is_refused_unread(self, page):
        page.connection.send(bytes(messages.most_bytes(toymodel.EXTRACTOR) + 1))
        assert self.closed(page)[0] == 1009

    @pytest.mark.parametrize("size", [0, 1020, 1025, 2048])
    def test_a_frame_that_is_no_chunk(self, page, size):
        page.connection.send(bytes(size))
        code, reason = self.closed(page)
        assert code == 1008 and "expected a chunk of 1024 bytes" in reason

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "7",
            '{"do": "run"}',
            '{"do": ["look"]}',
            '{"do": "look", "name": "x"}',
            '{"do": "select"}',
            '{"do": "select", "name": 7}',
            '{"do": "background", "db": NaN}',
            '{"do": "background", "db": 6}',
            '{"do": "bypass", "on": 1}',
            '{"do": "enroll", "name": "a\\nb"}',
            json.dumps({"do": "enroll", "name": "x" * 41}),
            json.dumps({"do": "enroll", "name": "x" * 600}),
            "[" * 500,
        ],
    )
    def test_a_command_that_is_none(self, page, text):
        page.connection.send(text)
        code, reason = self.closed(page)
        assert code == 1008 and "expected a command" in reason


class TestSeats:
    def test_of_four_tabs_three_are_served_and_one_is_told(self, server, noise):
        with (
            connect(server.address("/live", scheme="ws")) as a,
            connect(server.address("/live", scheme="ws")) as b,
            connect(server.address("/live", scheme="ws")) as c,
        ):
            pages = [Page(connection) for connection in (a, b, c)]
            with connect(server.address("/live", scheme="ws")) as late:
                assert "can serve 3 at once" in json.loads(late.recv())["refused"]
                with pytest.raises(ConnectionClosed) as closed:
                    late.recv()
                assert closed.value.rcvd.code == 1013
            for each in pages:
                np.testing.assert_array_equal(each.hear(noise[:, :2560])[:, 64:], noise[:, : 2560 - 64])
            status, body, _ = fetch(server.address("/extract", start="0", seconds="2"), b"x")
            assert status == 503 and b"can serve 3" in body
        deadline = time.monotonic() + 30
        while server.hearing.seats.taken and time.monotonic() < deadline:
            time.sleep(0.01)
        with connect(server.address("/live", scheme="ws")) as connection:
            assert Page(connection).hello

    def test_a_tab_gets_no_seat_for_good_by_leaving_badly(self, server):
        with connect(server.address("/live", scheme="ws")) as connection:
            Page(connection)
            assert server.hearing.seats.taken == 1
            connection.socket.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + 30
        while server.hearing.seats.taken and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.hearing.seats.taken == 0

    def test_a_fast_model_has_at_least_one(self, toy):
        assert 1 <= seats_in_time(toy.extractor) <= 8


def wav(sound: np.ndarray, rate: int = 16000) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.T, rate, "FLOAT", format="WAV")
    return buffer.getvalue()


class TestRecording:
    @pytest.mark.parametrize("rate", [16000, 44100])
    def test_gives_what_the_library_gives(self, server, noise, rate, tmp_path):
        status, body, headers = fetch(
            server.address("/extract", start="0.2", seconds="1.5", background="-12"), wav(noise, rate) if rate == 16000
            else wav(np.tile(noise, 3), rate)
        )  # fmt: skip
        assert status == 200
        clip = noise if rate == 16000 else np.tile(noise, 3)
        start = round(0.2 * rate)
        profile = hearable.enroll(clip[:, start : start + round(1.5 * rate)], rate, server.hearing.enroller)
        expected = hearable.extract(server.hearing.model, profile, clip, rate, background_db=-12)
        (tmp_path / "heard.wav").write_bytes(body)
        heard, found = hearable.read_audio(tmp_path / "heard.wav")
        assert found == rate
        np.testing.assert_allclose(heard, expected, atol=2**-23)
        verdict = json.loads(headers["x-verdict"])
        assert verdict["seconds"] == pytest.approx(1.5, abs=0.01) and isinstance(verdict["warnings"], list)

    @pytest.mark.parametrize(
        ("query", "sound", "said"),
        [
            ({"start": "0", "seconds": "1.5"}, b"no sound", "expected a sound file"),
            ({"start": "0", "seconds": "1.5"}, wav(np.full((1, 32000), 0.1)), "at each ear"),
            ({"start": "0", "seconds": "0.5"}, wav(np.full((2, 32000), 0.1)), "expected 1 to 60 s"),
            ({"start": "9", "seconds": "1.5"}, wav(np.full((2, 32000), 0.1)), "expected sound from 9.0 s on"),
            ({"start": "0", "seconds": "61"}, b"x", "at most 60 s"),
            ({"start": "nan", "seconds": "2"}, wav(np.full((2, 32000), 0.1)), "expected a start"),
            ({"start": "0", "seconds": "2", "background": "20"}, b"x", "expected -60 to 0 dB"),
            ({"start": "x", "seconds": "2"}, b"x", "as numbers"),
            ({"seconds": "2"}, b"x", "as numbers"),
        ],
    )
    def test_what_will_not_do_is_explained(self, server, query, sound, said):
        status, body, _ = fetch(server.address("/extract", **query), sound)
        error = json.loads(body)["error"]
        assert status == 400 and said in error and "/tmp" not in error

    def test_too_large_a_file_is_refused(self, server, monkeypatch):
        monkeypatch.setattr(recording, "MOST_BYTES", 2**20)
        status, body, _ = fetch(server.address("/extract", start="0", seconds="2"), bytes(2**20 + 1))
        assert status == 400 and b"at most 1 MB" in body

    def test_nothing_is_left_behind(self, server, noise, tmp_path, monkeypatch):
        monkeypatch.setattr(recording.tempfile, "tempdir", str(tmp_path))
        assert fetch(server.address("/extract", start="0", seconds="1.5"), wav(noise))[0] == 200
        assert fetch(server.address("/extract", start="0", seconds="1.5"), b"no sound")[0] == 400
        deadline = time.monotonic() + 30
        while list(tmp_path.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not list(tmp_path.iterdir()) and server.hearing.seats.taken == 0


def test_a_profile_can_be_kept(server, tmp_path):
    status, body, _ = fetch(server.address("/profile", name="Ben"))
    (tmp_path / "ben.profile").write_bytes(body)
    assert status == 200
    kept = hearable.SpeakerProfile.load(tmp_path / "ben.profile")
    np.testing.assert_array_equal(kept.embedding, toymodel.profile(7).embedding)
    assert fetch(server.address("/profile", name="Nobody"))[0] == 404


class TestCommand:
    def command(self, folder, *arguments: str) -> list[str]:
        models = ["--model", str(folder / "toy.onnx"), "--enroller", str(folder / "enroll.onnx")]
        return [sys.executable, "-m", "hearable", "web", "--no-browser", *models, *arguments]

    def test_prints_the_address_serves_and_ends_on_interrupt(self, toy_folder, tmp_path):
        toymodel.profile(2).save(tmp_path / "dora.profile")
        kept = tmp_path / "hearable" / "people"  # by hearable live
        kept.mkdir(parents=True)
        toymodel.profile(4).save(kept / "emil.profile")
        toymodel.profile(4, "other-v1").save(kept / "frieda.profile")
        environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path)}
        command = self.command(toy_folder, "--port", "0", "--profile", str(tmp_path / "dora.profile"))
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        ) as running:
            try:
                address = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/\?token=\S{20,})\n", running.stdout.readline())[
                    1
                ]
                assert fetch(address)[0] == 200
                with connect(address.replace("http", "ws").replace("/?", "/live?")) as connection:
                    assert Page(connection).until("status")["people"] == ["dora", "emil"]
                    running.send_signal(signal.SIGINT)
                    assert running.wait(30) == 0
            finally:
                running.kill()
            said = running.stderr.read()
            assert said.startswith("warning: frieda is left out") and said.count("\n") == 1

    def test_a_port_in_use_is_named(self, server, toy_folder):
        command = self.command(toy_folder, "--port", str(server.port))
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "choose another --port" in done.stderr and done.stderr.count("\n") == 1

    def test_no_other_command_loads_a_web_server(self):
        code = "import sys, hearable.cli; print(*sys.modules)"
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert not {"starlette", "uvicorn", "websockets"} & set(loaded)
