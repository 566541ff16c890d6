"""The command line, on toy models: what it writes, what it says, and how it fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hearable import SpeakerProfile, extract, read_audio
from hearable.cli import app
from hearable.extractor import Model
from tests import toymodel

ROOT = Path(__file__).resolve().parent.parent


class Shell:
    """A folder with sound and profiles in which commands run."""

    def __init__(self, folder: Path):
        self.folder = folder
        rng = np.random.default_rng(3)
        self.write("clip.wav", rng.normal(scale=0.1, size=(2, 32000)), 16000)
        self.write("mix.wav", rng.normal(scale=0.1, size=(2, 44100)), 44100, "FLOAT")
        toymodel.profile(2).save(folder / "ann.profile")
        toymodel.profile(5).save(folder / "bob.json")

    def write(self, name: str, audio: np.ndarray, rate: int, subtype: str = "PCM_16") -> None:
        soundfile.write(self.folder / name, audio.T, rate, subtype)

    def run(self, line: str, expected: int = 0) -> str:
        """Run ``hearable <line>``; standard output, or standard error if it is to fail."""
        done = CliRunner().invoke(app, line.split(), catch_exceptions=False)
        assert done.exit_code == expected, done.output
        return done.stderr if expected else done.stdout

    def refused(self, line: str) -> str:
        """The error of a command that fails with exit code 1, one line, and leaves no file behind."""
        before = sorted(os.listdir())
        error = self.run(line, expected=1)
        assert sorted(os.listdir()) == before
        assert error.startswith("error: ") and error.count("\n") == 1
        return error

    def read(self, name: str) -> np.ndarray:
        return read_audio(self.folder / name)[0]


@pytest.fixture
def shell(tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.chdir(tmp_path)
    return Shell(tmp_path)


def python(code: str, **options) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


class TestEnroll:
    def test_writes_a_profile_and_says_what_it_found(self, shell):
        shown = shell.run("enroll clip.wav --out carl.profile")
        assert SpeakerProfile.load("carl.profile").embedding_space == "toy-v1"
        for part in ("speech found", "of 2.0 s", "estimated SNR", "direction", "Wrote carl.profile"):
            assert part in shown

    def test_a_part_of_the_clip_as_json(self, shell):
        data = json.loads(shell.run("enroll clip.wav --out carl.json --start 0.5 --seconds 1.25 --json"))
        assert data["seconds"] == 1.25 and data["ok"] is False and data["warnings"]
        assert SpeakerProfile.load("carl.json").quality.seconds == 1.25

    def test_a_clip_that_will_not_do_is_enrolled_with_a_warning(self, shell):
        done = CliRunner().invoke(app, ["enroll", "clip.wav", "--out", "carl.profile"])
        assert done.exit_code == 0 and "warning: only 0.0 s of speech: record" in done.stderr

    @pytest.mark.parametrize(
        "seconds, scale, error",
        [(0.5, 0.1, "expected 1 to 60 s, found 0.50 s"), (61, 0.1, "--start 12"), (2, 0, "found silence")],
    )
    def test_too_short_too_long_silent(self, shell, seconds, scale, error):
        shell.write("bad.wav", scale * np.ones((2, int(8000 * seconds))), 8000)
        refused = shell.refused("enroll bad.wav --out carl.profile")
        assert error in refused and "bad.wav: " in refused

    def test_a_missing_model(self, shell):
        assert "no model 'other'" in shell.refused("enroll clip.wav --out carl.profile --model other")
        assert "kind enroller, found extractor" in shell.refused("enroll clip.wav --out carl.profile --model toy")

    def test_a_missing_folder(self, shell):
        assert "make it first" in shell.refused("enroll clip.wav --out nowhere/carl.profile")

    def test_the_clip_is_not_overwritten(self, shell):
        assert "would overwrite" in " ".join(shell.run("enroll clip.wav --out clip.wav", expected=2).split())


class TestExtract:
    LINE = "extract mix.wav --model toy --profile ann.profile"

    @pytest.fixture
    def model(self, toy: Model) -> Model:
        return toy

    def test_is_what_the_library_extracts(self, shell, model):
        shown = shell.run(f"{self.LINE} --out out.wav")
        audio, rate = read_audio("mix.wav")
        np.testing.assert_allclose(shell.read("out.wav"), extract(model, toymodel.profile(2), audio, rate), atol=1e-6)
        assert soundfile.info("out.wav").samplerate == 44100
        assert "Wrote out.wav" in shown and "real-time factor" in shown

    def test_target_and_the_rest_sum_to_the_mixture(self, shell):
        shell.run(f"{self.LINE} --out target.wav")
        shell.run(f"{self.LINE} --out rest.wav --remove")
        np.testing.assert_allclose(shell.read("target.wav") + shell.read("rest.wav"), shell.read("mix.wav"), atol=1e-4)

    def test_background(self, shell):
        shell.run(f"{self.LINE} --out target.wav")
        shell.run(f"{self.LINE} --out out.wav --background -20")
        target, mixture = shell.read("target.wav"), shell.read("mix.wav")
        np.testing.assert_allclose(shell.read("out.wav"), target + 0.1 * (mixture - target), atol=1e-5)

    def test_several_people_as_one_mix_or_separate(self, shell):
        shell.run(f"{self.LINE} --profile bob.json --out both.wav")
        data = json.loads(shell.run(f"{self.LINE} --profile bob.json --out out.wav --separate --json"))
        assert data["outputs"] == ["out-ann.wav", "out-bob.wav"] and data["rtf"] > 0
        assert not Path("out.wav").exists()
        ann, bob = shell.read("out-ann.wav"), shell.read("out-bob.wav")
        np.testing.assert_allclose(ann + bob, shell.read("both.wav"), atol=1e-5)
        gains = toymodel.gain(2), toymodel.gain(5)
        assert np.std(ann) / np.std(bob) == pytest.approx(gains[0] / gains[1], rel=1e-3)

    def test_one_person_twice_is_warned_of(self, shell):
        shutil.copy("ann.profile", "again.profile")
        for line, warned in (("again.profile", True), ("bob.json", False), ("again.profile --separate", False)):
            done = CliRunner().invoke(app, f"{self.LINE} --out out.wav --profile {line}".split())
            assert done.exit_code == 0
            assert ("ann.profile and again.profile are as alike" in done.stderr) is warned

    def test_any_format_and_length(self, shell):
        shell.write("one.wav", np.full((2, 1), 0.1), 8000)
        shell.run("extract one.wav --model toy --profile ann.profile --out out.flac")
        assert shell.read("out.flac").shape == (2, 1)

    def test_json(self, shell):
        data = json.loads(shell.run(f"{self.LINE} --out out.wav --json"))
        assert data["seconds"] == 1.0 and data["sample_rate_hz"] == 44100 and data["model"] == "toy"
        assert data["outputs"] == ["out.wav"] and data["clipped"] == []

    def test_clipping_is_told(self, shell):
        shell.write("loud.wav", np.full((2, 16000), 0.99), 16000)
        line = "extract loud.wav --model toy --profile bob.json --out out.wav --background 20"
        done = CliRunner().invoke(app, line.split())
        assert "out.wav: louder than full scale and clipped" in done.stderr

    def test_no_progress_bar_where_no_terminal_is(self, shell):
        done = CliRunner().invoke(app, f"{self.LINE} --out out.wav".split(), env={"FORCE_COLOR": "1"})
        assert done.exit_code == 0 and done.stderr == ""


class TestSoundThatWillNotDo:
    """Each is one line on standard error, exit code 1, and nothing written."""

    @pytest.fixture(params=["enroll {} --out out", "extract {} --model toy --profile ann.profile --out out.wav"])
    def line(self, request) -> str:
        return request.param

    def test_mono(self, shell, line):
        shell.write("bad.wav", np.full((1, 32000), 0.1), 16000)
        assert "bad.wav: expected 2 channels (left and right ear), found 1" in shell.refused(line.format("bad.wav"))

    def test_nan_behind_the_first_block(self, shell, line):
        audio = np.full((2, 80000), 0.1)
        audio[1, 70000] = np.nan
        shell.write("bad.wav", audio, 16000, "FLOAT")
        assert "NaN or infinity" in shell.refused(line.format("bad.wav"))

    def test_truncated(self, shell, line):
        content = Path("clip.wav").read_bytes()
        Path("bad.wav").write_bytes(content[: len(content) // 2])
        assert "the file is truncated: record or copy it again" in shell.refused(line.format("bad.wav"))

    def test_a_damaged_flac_that_ends_early(self, shell, line):
        audio = np.random.default_rng(0).normal(scale=0.1, size=(2, 160000))
        shell.write("good.flac", audio, 16000)
        content = Path("good.flac").read_bytes()
        Path("bad.flac").write_bytes(content[: len(content) * 2 // 3])
        assert "bad.flac" in shell.refused(line.format("bad.flac"))

    def test_not_there_not_sound_a_folder(self, shell, line):
        Path("bad.wav").write_text("no sound")
        Path("folder").mkdir()
        assert "no such file" in shell.refused(line.format("none.wav"))
        assert "expected a sound file" in shell.refused(line.format("bad.wav"))
        assert "no such file" in shell.refused(line.format("folder"))


class TestProfilesAndModels:
    LINE = "extract mix.wav --model {} --profile ann.profile --profile {} --out out.wav --separate"

    def test_a_profile_of_another_model_is_named(self, shell):
        toymodel.profile(2, space="other-v1").save("eve.profile")
        error = shell.refused(self.LINE.format("toy", "eve.profile"))
        assert "eve.profile: expected an embedding toy-v1" in error and "enroll again for this model" in error

    def test_no_profile(self, shell):
        assert "eve.profile: cannot read the profile" in shell.refused(self.LINE.format("toy", "eve.profile"))
        error = shell.refused(self.LINE.format("toy", "clip.wav"))
        assert "clip.wav: expected a profile, found neither npz nor JSON: give what `hearable enroll` wrote" in error

    def test_a_missing_model(self, shell):
        assert "no model 'base'" in shell.refused(self.LINE.format("base", "bob.json"))
        assert "no model file none.onnx" in shell.refused(self.LINE.format("none.onnx", "bob.json"))

    def test_an_altered_model(self, shell, monkeypatch):
        folder = Path("altered")
        folder.mkdir()
        toymodel.save_pair(folder)
        toymodel.publish(folder)
        toymodel.save_pair(folder, space="toy-v2")
        monkeypatch.setattr("hearable.checkpoints.models_folder", lambda: folder)
        assert "toy.onnx: expected SHA-256" in shell.refused(self.LINE.format("toy", "bob.json"))
        assert "toy.onnx: expected SHA-256" in shell.refused("models")
        findings = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
        assert not findings["ok"] and {"toy.onnx", "toy.conditioner.onnx"} <= {
            f["what"] for f in findings["findings"] if f["state"] == "broken"
        }

    def test_a_failure_when_the_second_file_is_finished_leaves_neither(self, shell, monkeypatch):
        from hearable import files

        replace = os.replace

        def fail_once_one_is_there(source, target):
            if Path("out-ann.wav").exists() or Path("out-bob.wav").exists():
                raise OSError(28, "No space left on device")
            replace(source, target)

        monkeypatch.setattr(files.os, "replace", fail_once_one_is_there)
        assert "No space left" in shell.refused(self.LINE.format("toy", "bob.json"))


class TestUsage:
    """Wrong usage is exit code 2, and one line."""

    @pytest.mark.parametrize(
        "line, part",
        [
            ("extract mix.wav --out out.wav", "--profile"),
            ("extract mix.wav --profile ann.profile", "--out"),
            ("extract mix.wav --profile ann.profile --out mix.wav", "would overwrite"),
            ("extract mix.wav --profile ann.profile --out out.wav --background nan", "found nan"),
            ("extract mix.wav --profile ann.profile --out out.wav --background -6 --remove", "--remove"),
            ("extract mix.wav --profile ann.profile --profile x/ann.json --out o.wav --separate", "different names"),
            ("enroll clip.wav --out carl.profile --start -1", "--start"),
            ("nothing", "nothing"),
        ],
    )
    def test_is_exit_code_2(self, shell, line, part):
        before = sorted(os.listdir())
        said = shell.run(line, expected=2)
        assert part in said
        assert said.startswith("error: ") and said.endswith(" --help`\n") and said.count("\n") == 1
        assert sorted(os.listdir()) == before


class TestInfo:
    def test_model(self, shell):
        data = json.loads(shell.run("info toy --json"))
        assert data["kind"] == "extractor" and data["latency_ms"] == 12 and data["verified"]
        assert "latency     12 ms: chunk of 128 samples, lookahead of 64" in shell.run("info toy")
        assert "no such file" in shell.refused("info")  # the default is base, which is not among the toys
        path = shell.folder / "own.onnx"
        toymodel.save_enroller(shell.folder, "own")
        assert json.loads(shell.run(f"info {path} --json"))["kind"] == "enroller"

    def test_profile(self, shell):
        shell.run("enroll clip.wav --out carl.profile")
        data = json.loads(shell.run("info carl.profile --json"))
        assert data["type"] == "profile" and data["quality"]["ok"] is False
        assert "embedding" in shell.run("info carl.profile")
        assert json.loads(shell.run("info bob.json --json"))["quality"] is None
        assert "unknown" in shell.run("info bob.json")

    def test_a_quality_that_is_no_number(self, shell):
        shell.run("enroll clip.wav --out carl.json")
        data = json.loads(Path("carl.json").read_text())
        data["quality"]["off_axis_deg"] = float("nan")
        Path("carl.json").write_text(json.dumps(data))
        assert json.loads(shell.run("info carl.json --json"))["quality"]["off_axis_deg"] is None
        assert "direction" in shell.run("info carl.json")

    def test_sound(self, shell):
        data = json.loads(shell.run("info mix.wav --json"))
        assert (data["seconds"], data["sample_rate_hz"], data["channels"]) == (1.0, 44100, 2)
        assert data["level_db"] == pytest.approx([-20, -20], abs=0.2)
        shell.write("silent.wav", np.zeros((1, 100)), 8000)
        assert json.loads(shell.run("info silent.wav --json"))["peak_db"] is None
        assert "silence" in shell.run("info silent.wav")

    def test_neither(self, shell):
        assert "no such file" in shell.refused("info nobody")
        Path("notes.txt").write_text("hello")
        assert "expected a sound file" in shell.refused("info notes.txt")


class TestModelsDoctorBench:
    def test_models(self, shell):
        assert [m["name"] for m in json.loads(shell.run("models --json"))] == ["enroll", "toy"]
        shown = shell.run("models")
        assert "12 ms" in shown and "toy-v1" in shown

    def test_doctor(self, shell):
        data = json.loads(shell.run("doctor --json"))
        assert data["ok"] and {"onnxruntime", "toy.onnx", "one second, toy"} <= {f["what"] for f in data["findings"]}
        assert "of 125 late" in shell.run("doctor")

    def test_doctor_without_portaudio_says_what_to_install(self, shell, monkeypatch):
        monkeypatch.setitem(sys.modules, "sounddevice", None)
        monkeypatch.setattr("platform.system", lambda: "Linux")
        assert "apt install libportaudio2" in shell.run("doctor")

    def test_doctor_without_models(self, shell, monkeypatch):
        monkeypatch.setattr("hearable.checkpoints.models_folder", lambda: shell.folder)
        assert CliRunner().invoke(app, ["doctor"]).exit_code == 1

    def test_bench(self, shell):
        data = json.loads(shell.run("bench --model toy --seconds 0.5 --json"))
        assert data["chunks"] == 63 and 0 < data["p50_ms"] <= data["p95_ms"] <= data["p99_ms"] <= data["max_ms"]
        assert data["mean_ms"] == pytest.approx(data["rtf"] * 8)
        assert "missed deadlines" in shell.run("bench --model toy --seconds 0.5")


class TestProcess:
    def test_exit_codes_and_streams(self, shell):
        shell.write("mono.wav", np.full((1, 32000), 0.1), 16000)
        command = [sys.executable, "-m", "hearable", "enroll", "mono.wav", "--out", "x.profile", "--json"]
        done = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60
        )
        assert done.returncode == 1 and done.stdout == "" and done.stderr.startswith("error: mono.wav")
        assert not Path("x.profile").exists()

    def test_help_and_library_need_neither_onnxruntime_nor_the_extra(self):
        blocked = ("onnxruntime", "sounddevice", "scipy", "sofar", "matplotlib", "torch")
        code = f"import sys\nfor m in {blocked}: sys.modules[m] = None\nfrom hearable.cli import app\napp(['--help'])"
        run = python(code)
        out, _ = run.communicate(timeout=60)
        assert run.returncode == 0 and "Usage" in out

    def test_evaluate_without_the_extra_says_what_to_install(self, tmp_path):
        code = "import sys\nsys.modules['scipy'] = sys.modules['sofar'] = None\n"
        code += "sys.modules['matplotlib'] = None\n"
        code += f"from hearable.cli import app\napp(['evaluate', '--data', {str(tmp_path)!r}])"
        run = python(code, cwd=tmp_path)
        _, error = run.communicate(timeout=60)
        assert run.returncode == 1 and error.startswith("error: ") and "pip install 'hearable[synthesis]'" in error
        assert not list(tmp_path.iterdir())

    @pytest.mark.skipif(sys.platform == "win32", reason="no termination signal to handle")
    def test_a_terminated_extraction_leaves_nothing(self, shell, toy_folder):
        shell.write("long.wav", np.zeros((2, 48000 * 600)), 48000)
        line = f"extract long.wav --model {toy_folder / 'toy.onnx'} --profile ann.profile --out out.wav"
        before = sorted(os.listdir())
        run = python(f"from hearable.cli import app\napp({line.split()!r})")
        deadline = time.monotonic() + 30
        while sorted(os.listdir()) == before and time.monotonic() < deadline:
            time.sleep(0.01)
        assert run.poll() is None and sorted(os.listdir()) != before
        run.send_signal(signal.SIGTERM)
        run.communicate(timeout=30)
        assert run.returncode == 128 + signal.SIGTERM and sorted(os.listdir()) == before
