"""``hearable synth``: whole datasets, the same bytes whoever makes them, and a verification that finds faults."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hearable.cli import app
from hearable.errors import AudioError
from hearable.seld.events import read_labels
from hearable.synthesis.generate import generate
from hearable.synthesis.seld_files import fingerprint, read_json, write_manifest
from hearable.synthesis.seld_recipe import SeldRecipe, read_recipe
from hearable.synthesis.verify import Report, reverberation_s, verify_dataset
from hearable.synthesis.verify_clip import click

ROOT = Path(__file__).resolve().parent.parent
RECIPE = """
name = "tiny"
classes = ["crying_baby", "barking_dog", "female_speech", "alarm"]
interferers = ["fire", "engine"]
seed = 5
clip_s = 5.0
formats = ["foa", "mic", "binaural"]
stems = true
events = { layers = 1, sounding_s = 3.0, gap_s = 0.5, distance_m = [0.8, 1.4], longest_s = 1.5, INTERFERERS }
rooms = { rt60_s = [0.15, 0.2], smallest_m = [4, 4, 2.6], largest_m = [5, 5, 3] }
ambience = { snr_db = [20.0, 30.0] }
motion = { share = { female_speech = 1.0 }, longer_than_s = 1.0 }

[[sounds]]
per_class = 4

[[fold]]
number = 1
clips = 2
rooms = 1

[[fold]]
number = 6
clips = 1
rooms = 1
split = "test"
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> SeldRecipe:
    path = tmp_path_factory.mktemp("recipe") / "recipe.toml"
    path.write_text(RECIPE.replace("INTERFERERS", "interferer_layers = 0"))
    return read_recipe(path)


@pytest.fixture(scope="module")
def dataset(recipe, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "one"
    assert generate(recipe, out, workers=1) == 3
    return out


def contents(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_what_a_dataset_holds(dataset, recipe):
    with (dataset / "manifest.csv").open() as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    assert {*rows, "manifest.csv"} == set(contents(dataset))
    name = "fold6_room1_mix001"
    assert fingerprint(dataset / "mic_dev" / f"{name}.wav")["sha256"] == rows[f"mic_dev/{name}.wav"]["sha256"]
    for kind, channels in {"foa": 4, "mic": 4, "binaural": 2}.items():
        found = soundfile.info(dataset / f"{kind}_dev" / f"{name}.wav")
        assert (found.samplerate, found.channels, found.frames, found.subtype) == (24000, channels, 120000, "PCM_16")
    labels = read_labels(dataset / "metadata_dev" / f"{name}.csv")
    assert len(labels) and set(labels.class_index) <= set(range(4)) and labels.frame.max() < 50
    made = read_json(dataset / "scenes" / f"{name}.json")
    assert {event["role"] for event in made["scene"]["events"]} == {"target"}
    assert all(20 <= made["snr_db"][kind] <= 30 for kind in ("foa", "mic", "binaural"))
    assert made["levels"]["foa"][0]["sir_db"] is None  # no interferers: infinite
    card = (dataset / "card.md").read_text()
    assert "3 clips, 0.2 minutes" in card and "| barking_dog | 1 |" in card


def test_stems_add_up_to_the_clip_exactly(dataset):
    for kind in ("foa", "binaural"):
        mix, _ = soundfile.read(dataset / f"{kind}_dev" / "fold1_room1_mix001.wav", dtype="int16")
        parts = (dataset / "stems" / kind).glob("fold1_room1_mix001_*.wav")
        np.testing.assert_array_equal(sum(soundfile.read(part, dtype="int16")[0] for part in parts), mix)


def test_the_same_bytes_from_two_workers_in_other_steps(dataset, recipe, tmp_path):
    out = tmp_path / "two"
    assert generate(recipe, out, clips=1, workers=1) == 1
    assert len(list((out / "scenes").iterdir())) == 1
    assert generate(recipe, out, workers=2) == 3
    assert contents(out) == contents(dataset)


def test_fewer_clips_than_are_there_change_nothing(dataset, recipe, tmp_path):
    out = shutil.copytree(dataset, tmp_path / "copy")
    assert generate(recipe, out, clips=1) == 3
    assert contents(out) == contents(dataset)


def test_the_same_bytes_from_a_dask_cluster(dataset, recipe, tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'hearable[synthesis]'")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert generate(recipe, tmp_path / "dask", dask=cluster.scheduler_address) == 3
    assert contents(tmp_path / "dask") == contents(dataset)


def test_the_same_bytes_after_a_kill(dataset, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("INTERFERERS", "interferer_layers = 0"))
    out = tmp_path / "killed"
    command = [sys.executable, "-m", "hearable", "synth", str(path), str(out)]
    running = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while not list(out.glob("scenes/*.json")) and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not (out / "manifest.csv").exists()
    victim = next(out.glob("scenes/*.json"))
    (out / "foa_dev" / f"{victim.stem}.wav").write_bytes(b"half")  # as if the disk had lost the rest
    (out / "mic_dev" / ".left.wav.0000.tmp").touch()
    generate(read_recipe(path), out)
    assert contents(out) == contents(dataset)


def test_another_seed_is_another_dataset_and_folders_are_not_mixed(dataset, recipe, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.replace("INTERFERERS", "interferer_layers = 1").replace('"mic", "binaural"', '"mic"'))
    done = CliRunner().invoke(app, ["synth", str(path), str(tmp_path / "out"), "--seed", "7", "--clips", "1", "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout) == {"out": str(tmp_path / "out"), "clips": 1, "seconds": 5.0}
    made = read_json(tmp_path / "out" / "scenes" / "fold1_room1_mix001.json")
    interferers = [e["label"] for e in made["scene"]["events"] if e["role"] == "interferer"]
    assert interferers and set(interferers) <= {"fire", "engine"}
    events = set(read_labels(tmp_path / "out" / "metadata_dev" / "fold1_room1_mix001.csv").event)
    assert events <= set(range(len(made["scene"]["events"]) - len(interferers)))
    again = CliRunner().invoke(app, ["synth", str(path), str(tmp_path / "out"), "--seed", "8"])
    assert again.exit_code == 1 and "another recipe or seed" in again.stderr
    with pytest.raises(AudioError, match="found other files"):
        generate(recipe, tmp_path)


def test_bad_recipes_leave_nothing_behind(tmp_path):
    path = tmp_path / "recipe.toml"
    for change, message in {
        "clip_s = 5.0": ("clips_s = 5.0", "unknown field `clips_s`"),
        "distance_m = [0.8, 1.4]": ("distance_m = [9.0, 9.5]", "expected no wall within 9 m"),
        "per_class = 4": ('layout = "folders"\nfolder = "gone"', "gone: no such folder"),
    }.items():
        path.write_text(RECIPE.replace("INTERFERERS", "sir_db = 3").replace(change, message[0]))
        done = CliRunner().invoke(app, ["synth", str(path), str(tmp_path / "out")])
        assert done.exit_code == 1 and not (tmp_path / "out").exists()
        assert done.stderr.count("error: ") == 1 and message[1] in done.stderr.splitlines()[-1]
    done = CliRunner().invoke(app, ["synth", str(path), str(tmp_path / "out"), "--dask", "tcp://127.0.0.1:1"])
    assert done.exit_code == 1


# --- verification


def checks(report: Report) -> set[str]:
    return {check.name for check in report.checks if not check.passed}


@pytest.fixture
def copy(dataset, tmp_path) -> Path:
    return shutil.copytree(dataset, tmp_path / "copy")


def seal(out: Path) -> None:
    """List the files as they are now: what is wrong must show in what they hold."""
    files = [name for name in contents(out) if name != "manifest.csv"]
    write_manifest(out, {name: fingerprint(out / name) for name in files})


def change_audio(out: Path, kind: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    shutil.rmtree(out / "stems", ignore_errors=True)
    for path in (out / f"{kind}_dev").glob("*.wav"):
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
        soundfile.write(path, change(audio), rate, "PCM_16")
    seal(out)


def change_labels(out: Path, change: Callable[[list[int]], list[int]]) -> None:
    for path in (out / "metadata_dev").glob("*.csv"):
        with path.open() as file:
            rows = [change([int(cell) for cell in row]) for row in csv.reader(file)]
        path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    seal(out)


def test_a_good_dataset_passes(dataset):
    done = CliRunner().invoke(app, ["synth", "verify", str(dataset), "--json"])
    report = json.loads(done.stdout)
    assert done.exit_code == 0 and report["passed"] and not report["faults"]
    judged = {check["name"] for check in report["checks"] if check["bound"]}
    assert judged >= {"files", "label grid", "foa DOA", "mic DOA", "binaural ITD", "foa ambience", "RT60"}
    assert judged >= {"foa level", "mic level", "binaural level", "label shift"}


def test_a_crowded_reverberant_dataset_passes(tmp_path):
    """Overlaps, interferers, motion, little ambience, and rooms whose sound outlasts the gaps."""
    text = RECIPE.replace("INTERFERERS", "interferer_layers = 1").replace("layers = 1", "layers = 2", 1)
    for old, new in (("clip_s = 5.0", "clip_s = 10.0"), ("[0.15, 0.2]", "[0.7, 0.9]"), ('"mic", "binaural"', '"mic"')):
        text = text.replace(old, new)
    (tmp_path / "recipe.toml").write_text(text)
    generate(read_recipe(tmp_path / "recipe.toml"), tmp_path / "out", clips=2)
    report = verify_dataset(tmp_path / "out")
    assert report.passed, report.faults


def test_an_altered_file_is_found(copy):
    path = copy / "metadata_dev" / "fold1_room1_mix001.csv"
    path.write_text(path.read_text() + "49,0,0,0,0\n")
    (copy / "mic_dev" / "fold1_room1_mix002.wav").unlink()
    (copy / "foa_dev" / "stray.wav").touch()
    report = verify_dataset(copy)
    assert checks(report) >= {"files", "label grid", "format"}
    assert any("metadata_dev/fold1_room1_mix001.csv: not the file" in fault for fault in report.faults)
    assert "foa_dev/stray.wav: not in the manifest" in report.faults
    done = CliRunner().invoke(app, ["synth", "verify", str(copy)])
    assert done.exit_code == 1 and "fault: " in done.stdout and "faults" in done.stderr


def test_a_scene_that_cannot_be_read_or_cannot_be_is_one_fault_among_others(copy):
    (copy / "scenes" / "fold1_room1_mix001.json").write_text("junk")
    path = copy / "scenes" / "fold1_room1_mix002.json"
    made = read_json(path)
    made["scene"]["events"][0]["path"][0]["distance_m"] = 50.0
    path.write_text(json.dumps(made))
    (copy / "foa_dev" / "fold6_room1_mix001.wav").unlink()
    seal(copy)
    report = verify_dataset(copy)
    assert checks(report) == {"format"} and len(report.faults) == 3
    assert any("mix001.json: cannot read" in fault for fault in report.faults)
    assert any("inside the walls" in fault for fault in report.faults)


@pytest.mark.parametrize("kind", ["foa", "mic", "binaural"])
def test_swapped_channels_are_heard(copy, kind):
    order = {"foa": [0, 3, 2, 1], "mic": [1, 0, 2, 3], "binaural": [1, 0]}[kind]
    change_audio(copy, kind, lambda audio: audio[:, order])
    expected = f"{kind} {'ITD' if kind == 'binaural' else 'DOA'}"
    assert expected in checks(verify_dataset(copy))


def test_shifted_labels_are_found_in_the_scene_and_in_the_sound(copy):
    change_labels(copy, lambda row: [min(row[0] + 2, 49), *row[1:]])
    assert "label grid" in checks(verify_dataset(copy))


def test_sound_that_comes_late_is_heard(copy):
    for kind in ("foa", "mic", "binaural"):
        change_audio(copy, kind, lambda audio: np.roll(audio, 4800, axis=0))  # 0.2 s
    assert "label shift" in checks(verify_dataset(copy))


def test_scenes_that_are_mirrored_are_heard(copy):
    """Labels and scenes agree: only the sound tells."""
    for path in (copy / "scenes").glob("*.json"):
        made = read_json(path)
        for event in made["scene"]["events"]:
            for waypoint in event["path"]:
                waypoint["azimuth_deg"] *= -1
        path.write_text(json.dumps(made))
    change_labels(copy, lambda row: [*row[:3], -row[3] if row[3] > -180 else -180, row[4]])
    found = checks(verify_dataset(copy))
    assert found >= {"foa DOA", "mic DOA", "binaural ITD"} and "label grid" not in found


@pytest.mark.parametrize("kind", ["foa", "mic", "binaural"])
def test_a_wrong_gain_is_heard(copy, kind):
    change_audio(copy, kind, lambda audio: audio // 2)
    assert f"{kind} level" in checks(verify_dataset(copy))


def test_a_wrong_gain_of_one_channel_is_heard(copy):
    for kind in ("foa", "mic"):
        change_audio(copy, kind, lambda audio: (audio * [1, 1.41, 1, 1]).astype("i2"))
    assert checks(verify_dataset(copy)) >= {"foa ambience", "mic ambience"}


def test_turned_labels_are_heard(copy):
    change_labels(copy, lambda row: [*row[:3], (row[3] + 45 + 180) % 360 - 180, row[4]])
    assert checks(verify_dataset(copy)) >= {"label grid", "foa DOA", "mic DOA"}


def test_clipping_clicks_and_flat_ambience_are_found(copy):
    change_audio(copy, "mic", lambda audio: np.clip(audio, -2000, 2000))
    change_audio(copy, "binaural", lambda audio: audio + 6000 * (np.arange(len(audio)) == 60000)[:, None].astype("i2"))
    change_audio(copy, "foa", lambda audio: np.repeat(audio[:, :1], 4, axis=1))
    report = verify_dataset(copy)
    assert checks(report) >= {"clipping", "clicks", "foa DOA", "foa ambience"}
    assert any("mic channel" in fault and "clipped" in fault for fault in report.faults)
    assert any("binaural channel" in fault and "clicks at sample 60000" in fault for fault in report.faults)


def test_a_wrong_room_is_found(copy):
    path = copy / "rooms" / "fold1_room1.wav"
    audio, rate = soundfile.read(path)
    soundfile.write(path, audio * np.exp(-np.arange(len(audio)) / rate * 20)[:, None], rate, "PCM_16")
    seal(copy)
    assert "RT60" in checks(verify_dataset(copy))


def test_reverberation_time_of_a_known_decay():
    time_s = np.arange(24000) / 24000
    noise = np.random.default_rng(1).standard_normal(24000)
    assert reverberation_s((noise * 10 ** (-3 * time_s / 0.4)).astype("f4"), 24000) == pytest.approx(0.4, rel=0.05)


def test_a_jump_is_a_click_and_an_onset_is_none():
    tone = 0.2 * np.sin(2 * np.pi * 500 * np.arange(4800) / 24000)
    jumped = np.concatenate([tone[:2000], tone[2017:]]).astype("f4")
    assert click(jumped) is not None and abs(click(jumped) - 2000) <= 2
    rng = np.random.default_rng(2)
    knock = np.concatenate([np.zeros(1000), rng.standard_normal(2000) * np.exp(-np.arange(2000) / 300)])
    assert click(tone.astype("f4")) is None and click((0.2 * knock + 1e-4).astype("f4")) is None
    voice = np.convolve(np.arange(4800) % 160 == 80, np.exp(-np.arange(150) / 2))  # 150 Hz
    assert click(voice.astype("f4")) is None


def test_there_must_be_a_dataset(tmp_path):
    with pytest.raises(AudioError, match="dataset.json: cannot read"):
        verify_dataset(tmp_path)
