"""Sound events: built in, and from folders laid out as the public collections are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hearable.errors import AudioError
from hearable.synthesis.built_in_sounds import BUILT_IN, built_in_sound
from hearable.synthesis.seld_sounds import SeldSounds, SoundSource, sounding

RATE = 24000


def write(path: Path, seconds: float = 0.5, rate: int = 16000, level: float = 0.1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = level * np.random.default_rng(len(path.name)).standard_normal(round(seconds * rate))
    soundfile.write(path, audio, rate, format="WAV")


def bank(layout: str, folder: Path, *labels: str, **source) -> SeldSounds:
    return SeldSounds([SoundSource(layout, str(folder), **source)], labels, RATE)


@pytest.mark.parametrize("label", BUILT_IN)
def test_built_in_sounds_sound_where_they_say(label):
    audio, spans = built_in_sound(label, 3, RATE)
    again, _ = built_in_sound(label, 3, RATE)
    other, _ = built_in_sound(label, 4, RATE)
    np.testing.assert_array_equal(audio, again)
    assert len(audio) != len(other) or not np.allclose(audio, other)
    assert np.abs(audio).max() == pytest.approx(0.9) and 0.3 * RATE < len(audio) < 12 * RATE
    assert spans[0][0] == 0 and spans[-1][1] == len(audio)
    assert all(a < b for a, b in spans) and all(b < c for (_, b), (c, _) in zip(spans, spans[1:], strict=False))
    silent = np.ones(len(audio), bool)
    for begin, end in spans:
        silent[begin:end] = False
        assert np.sqrt(np.mean(audio[begin:end] ** 2)) > 0.005
    assert not np.any(audio[silent])


def test_built_in_sounds_at_the_lowest_rate():
    for number in range(20):
        assert np.isfinite(built_in_sound("footsteps", number, 8000)[0]).all()


def test_built_in_classes_differ_in_pitch():
    def centroid(label: str) -> float:
        power = np.abs(np.fft.rfft(built_in_sound(label, 1, RATE)[0])) ** 2
        return float(np.sum(power * np.fft.rfftfreq(2 * len(power) - 2, 1 / RATE)[: len(power)]) / power.sum())

    assert centroid("engine") < centroid("female_scream") < centroid("crash")


def test_stretches_that_sound_are_found():
    audio = np.zeros(3 * RATE, np.float32)
    audio[RATE // 2 : RATE] = 0.5
    audio[RATE + RATE // 4 : RATE + RATE // 2] = 0.1  # a quarter of a second later: the same stretch
    audio[5 * RATE // 2 :] = 0.1
    (a, b), (c, d) = sounding(audio, RATE)
    for found, expected in ((a, 0.5), (b, 1.5), (c, 2.5), (d, 3.0)):
        assert found / RATE == pytest.approx(expected, abs=0.02)


def test_folders_as_nigens(tmp_path):
    write(tmp_path / "femaleSpeech" / "a.wav", 1.0)
    (tmp_path / "femaleSpeech" / "a.wav.txt").write_text("0.1\t0.4\n0.6 0.9\n")
    write(tmp_path / "engine" / "deep" / "b.wav")
    write(tmp_path / "other" / "c.wav")
    sounds = bank("folders", tmp_path, "female_speech", "engine")
    assert {(e.name, e.label) for e in sounds.entries} == {
        (f"{tmp_path.name}/femaleSpeech/a.wav", "female_speech"),
        (f"{tmp_path.name}/engine/deep/b.wav", "engine"),
    }
    speech = next(e.name for e in sounds.entries if e.label == "female_speech")
    assert sounds.spans(speech) == [(2400, 9600), (14400, 21600)]
    assert len(sounds.read(speech, 0, 10**9)) == RATE and len(sounds.read(speech, 100, 50)) == 50
    mended = bank("folders", tmp_path, "engine", labels={"other": "engine"})
    assert len(mended.entries) == 2


def test_a_manifest_tells_splits_and_origins(tmp_path):
    write(tmp_path / "events" / "x" / "a.wav")
    write(tmp_path / "events" / "b.wav")
    rows = "path,class,split,origin\nevents/x/a.wav,piano,train,tape 1\nb.wav,interf_fire,test,tape 2\n"
    (tmp_path / "events" / "manifest.csv").write_text(rows)
    sounds = bank("manifest", tmp_path / "events", "piano", "fire", labels={"interf_fire": "fire"})
    assert [(e.label, e.split, e.origin) for e in sounds.entries] == [
        ("fire", "test", "tape 2"),
        ("piano", "train", "tape 1"),
    ]
    (tmp_path / "events" / "manifest.csv").write_text("path,gender,speaker\nb.wav,f,ann\nx/a.wav,m,bob\n")
    columns = {"class": "gender", "origin": "speaker"}
    speech = bank("manifest", tmp_path / "events", "female_speech", labels={"f": "female_speech"}, columns=columns)
    assert [(e.name, e.origin) for e in speech.entries] == [("events/b.wav", "ann")]
    (tmp_path / "events" / "manifest.csv").write_text("path,class\n../../secret.wav,piano\n")
    with pytest.raises(AudioError, match="paths inside"):
        bank("manifest", tmp_path / "events", "piano")


def test_esc_and_fsd50k(tmp_path):
    esc, fsd = tmp_path / "ESC-50-master", tmp_path / "FSD50K"
    for name in ("1-1-A-0.wav", "1-1-B-0.wav"):
        write(esc / "audio" / name)
    (esc / "meta").mkdir()
    (esc / "meta" / "esc50.csv").write_text(
        "filename,fold,target,category,esc10,src_file,take\n1-1-A-0.wav,1,0,dog,True,1,A\n1-1-B-0.wav,1,0,dog,True,1,B\n"
    )
    write(fsd / "FSD50K.dev_audio" / "10.wav")
    write(fsd / "FSD50K.eval_audio" / "20.wav")
    (fsd / "FSD50K.ground_truth").mkdir()
    (fsd / "FSD50K.ground_truth" / "dev.csv").write_text(
        'fname,labels,mids,split\n10,"Bark,Dog,Animal",x,val\n11,"Cat",x,val\n'
    )
    (fsd / "FSD50K.ground_truth" / "eval.csv").write_text('fname,labels,mids\n20,"Knock,Door",x\n')
    dogs = bank("esc", esc, "barking_dog").entries
    assert [e.origin for e in dogs] == ["1", "1"]
    found = bank("fsd50k", fsd, "barking_dog", "knocking").entries
    assert [(e.label, e.split) for e in found] == [("barking_dog", "val"), ("knocking", "test")]


def test_what_cannot_be_is_said_before_anything_is_rendered(tmp_path):
    def refused(message: str, layout: str = "folders", folder: Path = tmp_path) -> None:
        with pytest.raises(AudioError, match=message):
            bank(layout, folder, "piano")

    refused("none: no such folder", folder=tmp_path / "none")
    refused("expected sounds in the layout 'folders', found none")
    refused("manifest.csv: cannot read", layout="manifest")
    write(tmp_path / "dog" / "a.wav")
    refused("found none of piano")
    write(tmp_path / "piano" / "empty.wav", 0.0)
    refused("empty.wav: expected sound, found a file of zero length")
    (tmp_path / "piano" / "empty.wav").write_text("no sound")
    refused("empty.wav: expected a sound file")
    write(tmp_path / "piano" / "empty.wav", level=0.0)
    refused("empty.wav: expected sound, found silence")
    write(tmp_path / "piano" / "empty.wav", 0.01)
    refused("empty.wav: expected 0.05 s of sound or more, found 0.01 s")
    write(tmp_path / "piano" / "empty.wav")
    (tmp_path / "piano" / "empty.wav.txt").write_text("3.0 4.0\n")
    refused("empty.wav.txt: expected a stretch within the 0.5 s of its sound, found none")
    write(tmp_path / "ambience" / "rain.wav", 0.5)
    with pytest.raises(AudioError, match="rain.wav: expected 1 s of sound or more, found 0.5 s"):
        bank("folders", tmp_path, "ambience")
