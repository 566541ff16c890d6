"""Recording a session and hearing it again; people, looks, commands. A replay needs no sound card."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hearable.audio import read_audio, write_audio
from hearable.errors import AudioError, ModelAltered
from hearable.extractor import ChunkExtractor, load_model
from hearable.live.control import Control, Settings
from hearable.live.people import keep, new_name, people_folder
from hearable.live.recorder import Recorder
from hearable.live.replay import Replay
from tests import toymodel
from tests.tinykit import voice


@pytest.fixture
def talk(tmp_path) -> Path:
    """Four seconds of somebody in front, in noise."""
    rng = np.random.default_rng(0)
    sound = np.tile(voice(120, 4.0, rng), (2, 1)) + 0.002 * rng.normal(size=(2, 64000))
    write_audio(tmp_path / "talk.wav", sound.astype(np.float32), 16000)
    return tmp_path / "talk.wav"


def until(done: Callable[[], object], control: Control, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        control.poll()
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def controlled(shipped: Path, **settings: object) -> tuple[Control, list[str]]:
    said: list[str] = []
    control = Control(Settings(model="toy", output="none", **settings), said.append)  # type: ignore[arg-type]
    control.start()
    return control, said


def test_a_session_is_recorded_and_a_replay_repeats_it(shipped, talk, tmp_path):
    for name, index in (("anna", 1), ("ben", 5)):
        toymodel.profile(index).save(tmp_path / f"{name}.profile")
    profiles = (tmp_path / "anna.profile", tmp_path / "ben.profile")
    control, _ = controlled(shipped, replay=talk, profiles=profiles, record=tmp_path / "first")
    until(lambda: control.status().sound.chunks > 40, control)
    control.do("select", "ben")
    until(lambda: control.status().sound.chunks > 80, control)
    control.do("background", -12.0)
    until(lambda: control.status().engine.state == "ended", control)
    control.close()
    first = next((tmp_path / "first").iterdir())
    mixture, _ = read_audio(first / "mixture.wav")
    output, _ = read_audio(first / "output.wav")
    events = [json.loads(line) for line in (first / "events.jsonl").read_text().splitlines()]
    assert {"add", "select", "background", "said"} <= {event["do"] for event in events}
    assert mixture.shape == output.shape and mixture.shape[1] > 40000  # a busy machine may skip some
    np.testing.assert_array_equal(mixture[:, :2560], read_audio(talk)[0][:, :2560])  # from the first sample on

    again, _ = controlled(shipped, replay=first, record=tmp_path / "second")
    until(lambda: again.status().engine.state == "ended", again)
    assert again.status().people == ("anna", "ben") and again.status().sound.selected == "ben"
    again.close()
    second = next((tmp_path / "second").iterdir())
    heard, _ = read_audio(second / "mixture.wav")
    repeated, _ = read_audio(second / "output.wav")
    np.testing.assert_array_equal(heard[:, :2560], mixture[:, :2560])
    samples = min(heard.shape[1], mixture.shape[1])
    same = np.array_equal(heard[:, :samples], mixture[:, :samples])
    if same and not (control.engine.counts.sheds or again.engine.counts.sheds):  # a busy machine skips, and rests
        assert np.abs(output[:, :samples] - repeated[:, :samples]).max() < 1e-6


def test_a_look_enrolls_selects_and_keeps_a_person(shipped, talk):
    control, said = controlled(shipped, replay=talk)
    until(lambda: control.status().sound.chunks > 30, control)
    control.do("look", True)
    until(lambda: (control.status().sound.looking_s or 0) > 2.2, control)
    control.do("look", False)
    until(lambda: control.status().sound.selected == "person-1", control)
    until(lambda: any("person-1 enrolled" in text for text in said), control)
    until(lambda: any(f"kept as {people_folder() / 'person-1.profile'}" in text for text in said), control)
    control.close()
    later, _ = controlled(shipped, replay=talk)
    assert later.status().people == ("person-1",) and later.status().sound.selected is None
    later.close()


def test_nobody_who_is_kept_is_written_over():
    said = []
    keep("person-1", toymodel.profile(1), said.append)  # of another model, say: kept, though not among the people
    assert new_name(["person-2"]) == "person-3"
    assert new_name([]) == "person-2"


def test_a_look_ends_by_itself_after_5_s(shipped, talk):
    control, said = controlled(shipped, replay=talk)
    until(lambda: control.status().sound.chunks > 10, control)
    control.do("look", True)
    until(lambda: control.status().sound.looking_s is None, control)
    until(lambda: any("enrolled" in text for text in said), control)
    control.close()


def test_what_goes_wrong_is_told_and_the_sound_goes_on(shipped, talk):
    control, said = controlled(shipped, replay=talk)
    control.do("select", "nobody")
    control.do("look", False)
    control.do("background", 7.0)
    assert len([text for text in said if "expected" in text]) == 3
    chunks = control.status().sound.chunks
    until(lambda: control.status().sound.chunks > chunks + 10, control)
    control.close()


def _device_goes(control: Control) -> None:
    control.engine._open[0].close()


def _worker_fails(control: Control) -> None:
    step = control.processor.step

    def broken(chunk):
        control.processor.step = step
        raise RuntimeError("a bug")

    control.processor.step = broken


def _worker_starves(control: Control) -> None:
    step = control.processor.step

    def late(chunk):
        control.processor.step = step
        time.sleep(2)
        return step(chunk)

    control.processor.step = late


def _input_becomes(value: float, seconds: float) -> Callable[[Control], None]:
    def spoil(control: Control) -> None:
        replay = control._replay
        begin = int(replay._at)
        replay._audio[:, begin : begin + round(seconds * 16000)] = value

    return spoil


@pytest.mark.parametrize(
    ("happens", "told"),
    [
        (_device_goes, "is gone: connecting again"),
        (_worker_fails, "the processing failed"),
        (_worker_starves, "the computer was busy for"),
        (_input_becomes(np.nan, 0.5), "bad samples"),
        (_input_becomes(0.0, 4.0), "nothing comes from the microphones"),
    ],
)
def test_whatever_happens_is_told_and_ends_in_sound(shipped, talk, happens, told, monkeypatch):
    monkeypatch.setattr("hearable.live.watch.SILENT_S", 0.3)
    write_audio(talk, np.tile(read_audio(talk)[0], 4), 16000)
    toymodel.profile(1).save(talk.with_name("anna.profile"))
    control, said = controlled(shipped, replay=talk, profiles=(talk.with_name("anna.profile"),))
    until(lambda: max(control.status().sound.out_db) > -40, control)
    happens(control)
    until(lambda: any(told in text for text in said), control)
    chunks = control.status().sound.chunks

    def sounds() -> bool:
        sound = control.status().sound
        return sound.chunks > chunks + 30 and max(sound.out_db) > -40 and sound.selected == "anna"

    until(sounds, control)
    assert control.status().engine.state == "running"
    control.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_that_has_died_calls_for_a_new_process(shipped, talk):
    control, _ = controlled(shipped, replay=talk)
    until(lambda: control.status().sound.chunks > 10, control)
    assert not control.engine.stuck

    def broken(before, after):
        raise RuntimeError("a bug")

    control.engine._stream.tap = broken
    until(lambda: control.engine.stuck, control)
    control.close()


def test_a_model_file_that_is_altered_meanwhile_changes_nothing_until_it_is_loaded(tmp_path, talk, monkeypatch):
    toymodel.save_pair(tmp_path)
    toymodel.save_enroller(tmp_path)
    toymodel.publish(tmp_path)
    monkeypatch.setattr("hearable.checkpoints.models_folder", lambda: tmp_path)
    toymodel.profile(1).save(tmp_path / "anna.profile")
    control, said = controlled(tmp_path, replay=talk, profiles=(tmp_path / "anna.profile",))
    until(lambda: control.status().sound.chunks > 20, control)
    for name in ("toy.onnx", "enroll.onnx"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes() + b"x")
    until(lambda: control.status().sound.chunks > 60, control)
    assert control.status().sound.fault is None and control.status().sound.selected == "anna"
    control.do("look", True)
    until(lambda: (control.status().sound.looking_s or 0) > 2.1, control)
    control.do("look", False)
    until(lambda: any("person-1 enrolled" in text for text in said), control)
    until(lambda: control.status().sound.selected == "person-1", control)
    control.close()
    with pytest.raises(ModelAltered):
        load_model("toy")


def test_bad_samples_are_recorded_as_the_silence_that_the_processor_hears(tmp_path, noise):
    recorder = Recorder(tmp_path, 16000)
    bad = noise[:, :128].copy()
    bad[0, :3] = np.nan, np.inf, -np.inf
    recorder.take(bad, noise[:, :128])
    recorder.close()
    kept, _ = read_audio(recorder.folder / "mixture.wav")
    assert not kept[0, :3].any() and np.array_equal(kept[:, 3:], noise[:, 3:128])


def test_a_recorder_that_cannot_write_says_why(tmp_path, noise, monkeypatch):
    recorder = Recorder(tmp_path, 16000)
    monkeypatch.setattr(
        "hearable.audio.AudioWriter.write", lambda *args: (_ for _ in ()).throw(AudioError("disk full"))
    )
    recorder.take(noise[:, :128], noise[:, :128])
    recorder.close()
    assert recorder.problem == "disk full"
    assert not list(recorder.folder.glob("*.wav"))
    with pytest.raises(AudioError, match="cannot make the folder"):
        Recorder(recorder.folder / "events.jsonl", 16000)


@pytest.mark.parametrize("content", ["{}", "[1]", "x", '{"chunk": "a", "do": "select"}'])
def test_damaged_events_are_refused(tmp_path, noise, content):
    write_audio(tmp_path / "mixture.wav", noise, 16000)
    (tmp_path / "events.jsonl").write_text(content + "\n")
    with pytest.raises(AudioError, match=r"events\.jsonl"):
        Replay(tmp_path)


def test_a_replay_is_bit_for_bit_what_the_extractor_gives(shipped, tmp_path, noise):
    write_audio(tmp_path / "mixture.wav", noise, 16000)
    toymodel.profile(1).save(tmp_path / "anna.profile")
    control, _ = controlled(shipped, replay=tmp_path / "mixture.wav", profiles=(tmp_path / "anna.profile",),
                            record=tmp_path / "rec")  # fmt: skip
    until(lambda: control.status().engine.state == "ended", control)
    control.close()
    folder = next((tmp_path / "rec").iterdir())
    mixture, _ = read_audio(folder / "mixture.wav")
    output, _ = read_audio(folder / "output.wav")
    extractor = ChunkExtractor(load_model("toy"), toymodel.profile(1))
    wanted = [extractor.step(mixture[:, n : n + 128]) for n in range(0, mixture.shape[1], 128)]
    assert np.abs(output - np.concatenate(wanted, axis=1))[:, 2000:].max() < 1e-4
