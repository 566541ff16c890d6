"""The sound bank over a data folder, with manifests and without."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from hearable.errors import AudioError
from hearable.synthesis import sources
from hearable.synthesis.recipes import TseRecipe, draw_tse
from hearable.synthesis.render import render
from hearable.synthesis.sources import SoundBank
from tests import tinykit
from tests.test_synthesis import save_sofa


@pytest.fixture
def kit(tmp_path: Path) -> Path:
    return tinykit.make(tmp_path / "kit")


def test_manifest(kit: Path) -> None:
    bank = SoundBank(kit)
    material = bank.material("test")
    assert list(material.speakers) == [f"s{n}" for n in range(7)]
    assert [len(material.speakers[name]) for name in ("s0", "s6")] == [3, 1]
    assert material.speakers["s0"][1].name == "speech/s0-1.wav"
    assert material.speakers["s0"][1].samples == 24000
    assert bank.genders["s0"] == "m" and bank.genders["s1"] == "f"
    assert [n.name for n in material.noises] == ["noise/n0.wav", "noise/n1.wav"]
    assert list(material.listeners) == ["ball", "hall"] and bank.rooms == {"hall"}
    assert material.listener_weights == [0.5, 0.5]


def test_its_scenes_can_be_rendered(kit: Path) -> None:
    bank = SoundBank(kit)
    material = bank.material("test")
    for seed in range(4):
        scene = draw_tse(seed, material, TseRecipe(samples=16000)).mixture
        assert np.isfinite(render(scene, bank, material.listeners).mixture).all()


def test_read(kit: Path) -> None:
    bank = SoundBank(kit)
    stereo, _ = soundfile.read(kit / "noise" / "n1.wav", dtype="float32")
    part = bank.read("noise/n1.wav", 100, 50)
    assert part.dtype == np.float32
    np.testing.assert_allclose(part, stereo.mean(1)[100:150], atol=1e-7)
    assert len(bank.read("noise/n1.wav", 47990, 50)) == 10


def test_other_rates_are_converted(kit: Path) -> None:
    t = np.arange(44101) / 44100
    soundfile.write(kit / "speech" / "s0-0.wav", 0.5 * np.sin(2 * np.pi * 440 * t), 44100)
    bank = SoundBank(kit)
    first = bank.material("test").speakers["s0"][0]
    sound = bank.read(first.name, 0, 10**6)
    assert len(sound) == first.samples == 16001
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16001) / 16000)
    np.testing.assert_allclose(sound[500:-500], expected[500:-500], atol=1e-3)


def test_what_was_used_last_is_kept(kit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "KEPT_SECONDS", 4.0)
    bank = SoundBank(kit)
    names = [f"speech/s{n}-2.wav" for n in range(3)]  # 1.8 s each: two of them
    decoded = []
    decode = bank._decode
    monkeypatch.setattr(bank, "_decode", lambda name: decoded.append(name) or decode(name))
    for n in (0, 1, 0, 2, 0, 1):
        bank.read(names[n], 0, 10)
    assert decoded == [names[0], names[1], names[2], names[1]]


def test_folders_without_manifests(kit: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    for n in range(3):
        for u in range(2):
            book = plain / "speech" / "test" / f"{1000 + n}" / "42"
            book.mkdir(parents=True, exist_ok=True)
            sound, rate = soundfile.read(kit / "speech" / f"s{n}-{u}.wav")
            soundfile.write(book / f"{1000 + n}-42-{u}.flac", sound, rate)
    (plain / "speech" / "test" / "1000" / "42" / "transcript.txt").write_text("words")
    (plain / "noise" / "test").mkdir(parents=True)
    shutil.copy(kit / "noise" / "n0.wav", plain / "noise" / "test")
    (plain / "hrtf" / "test").mkdir(parents=True)
    shutil.copy(kit / "hrtf" / "ball.npz", plain / "hrtf" / "test")
    bank = SoundBank(plain)
    material = bank.material("test")
    assert {name: len(sounds) for name, sounds in material.speakers.items()} == {"1000": 2, "1001": 2, "1002": 2}
    assert material.speakers["1000"][0].name == "speech/test/1000/42/1000-42-0.flac"
    assert bank.genders["1000"] == "?"
    assert list(material.listeners) == ["ball"] and material.listener_weights == [1.0]
    assert len(bank.read(material.noises[0].name, 0, 100)) == 100


def test_sofa_heads_are_converted_to_the_banks_rate(kit: Path) -> None:
    positions = np.array([[0, 0, 1.2], [90, 0, 1.2], [270, 0, 1.2]], np.float64)
    ears = np.random.default_rng(0).normal(size=(3, 2, 96))
    save_sofa(kit / "hrtf" / "person.sofa", positions, ears, 48000)
    tinykit.write_manifest(kit / "hrtf", [{"path": "person.sofa", "split": "test"}])
    person = SoundBank(kit).material("test").listeners["person"]
    assert (person.sample_rate_hz, person.taps) == (16000, 32)


def test_missing_folder(kit: Path, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="no such folder"):
        SoundBank(tmp_path / "nowhere")
    shutil.rmtree(kit / "noise")
    with pytest.raises(AudioError, match="noise: no such folder"):
        SoundBank(kit).material("test")


def test_missing_column(kit: Path) -> None:
    manifest = kit / "speech" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("speaker", "who", 1))
    with pytest.raises(AudioError, match="expected a column 'speaker', found path, who"):
        SoundBank(kit).material("test")


def test_empty_split(kit: Path) -> None:
    with pytest.raises(AudioError, match="files of split 'tset', found none"):
        SoundBank(kit).material("tset")


def test_no_listener(kit: Path) -> None:
    shutil.rmtree(kit / "hrtf")
    assert SoundBank(kit).material("test").listener_weights == [1.0]
    shutil.rmtree(kit / "brir")
    with pytest.raises(AudioError, match="impulse responses of split 'test'"):
        SoundBank(kit).material("test")


def test_files_that_cannot_be_read(kit: Path) -> None:
    (kit / "speech" / "s1-0.wav").write_text("not sound")
    with pytest.raises(AudioError, match="s1-0.wav: expected a sound file"):
        SoundBank(kit).material("test")
    tinykit.make(kit.parent / "other")
    np.savez(kit.parent / "other" / "hrtf" / "ball.npz", scale=1.0)
    with pytest.raises(AudioError, match="ball.npz: expected impulse responses"):
        SoundBank(kit.parent / "other").material("test")
