from __future__ import annotations

import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from hearable.chunks import Audio
from hearable.enrollment import enroll, judge
from hearable.errors import AudioError, EnrollmentError, ModelError, ModelNotFound, ProfileError, SpecMismatch
from hearable.profiles import EnrollmentQuality, SpeakerProfile
from hearable.quality import azimuth_deg, estimate
from hearable.session import Graph
from tests import toymodel

RATE = 16000
QUALITY = EnrollmentQuality(4.0, 2.5, 11.25, -3.5, 0.625, ("too far",))


def talker(delay_samples: float = 0.0, seconds: float = 4.0, snr_db: float = 20.0, rate: int = RATE) -> Audio:
    """Noise with the rhythm of syllables and a delay between the ears, in steady noise that is apart at each ear."""
    n = int(seconds * rate)
    rng = np.random.default_rng(11)
    rhythm = np.clip(np.sin(2 * np.pi * 2 * np.arange(n) / rate), 0, None)
    spectrum = np.fft.rfft(rng.normal(size=n) * rhythm)
    late = spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(n) * delay_samples)
    speech = np.stack([np.fft.irfft(spectrum, n), np.fft.irfft(late, n)])
    noise = rng.normal(size=(2, n))
    noise *= np.sqrt(np.mean(speech**2) / np.mean(noise**2)) * 10 ** (-snr_db / 20)
    return (0.1 * (speech + noise)).astype(np.float32)


@pytest.fixture
def enroller(toy_folder) -> Graph:
    return Graph(toy_folder / "enroll.onnx", "enroller")


@pytest.fixture
def good() -> SpeakerProfile:
    embedding = np.random.default_rng(0).normal(size=256).astype(np.float32)
    return SpeakerProfile(embedding / np.linalg.norm(embedding), "enroll-v1", QUALITY)


class TestEnroll:
    def test_a_good_clip(self, enroller):
        profile = enroll(talker(), RATE, enroller)
        assert profile.embedding_space == "toy-v1"
        assert profile.embedding.shape == (8,) and np.linalg.norm(profile.embedding) == pytest.approx(1)
        assert profile.quality.ok and profile.quality.warnings == ()
        assert profile.quality.seconds == pytest.approx(4)
        assert 1.5 < profile.quality.speech_seconds < 3.5
        assert 0.9 < profile.quality.frontal <= 1

    def test_at_another_rate(self, enroller):
        profile = enroll(talker(rate=48000), 48000, enroller)
        assert profile.quality.ok and profile.quality.seconds == pytest.approx(4)

    def test_a_model_by_name_and_by_path(self, shipped):
        by_name, by_path = enroll(talker(), RATE), enroll(talker(), RATE, shipped / "enroll.onnx")
        np.testing.assert_array_equal(by_name.embedding, by_path.embedding)

    def test_the_wrong_model(self, shipped, toy):
        with pytest.raises(ModelNotFound):
            enroll(talker(), RATE, "nobody")
        with pytest.raises(SpecMismatch, match="expected a model of kind enroller, found extractor"):
            enroll(talker(), RATE, "toy")
        with pytest.raises(SpecMismatch, match="expected a model of kind enroller, found extractor"):
            enroll(talker(), RATE, toy.extractor)

    @pytest.mark.parametrize(("seconds", "found"), [(0.5, "0.50"), (61, "61.00")])
    def test_too_short_or_too_long(self, enroller, seconds, found):
        with pytest.raises(EnrollmentError, match=f"expected 1 to 60 s, found {found} s: record 3 to 5 s"):
            enroll(np.ones((2, int(seconds * RATE)), np.float32), RATE, enroller)

    @pytest.mark.parametrize("level", [0.0, 1e-5])
    def test_silence(self, enroller, level):
        with pytest.raises(EnrollmentError, match="expected speech, found silence"):
            enroll(level * talker(), RATE, enroller)

    def test_a_damaged_enroller(self, tmp_path):
        model = toymodel.enroller()
        (rest,) = (i for i, tensor in enumerate(model.graph.initializer) if tensor.name == "rest")
        model.graph.initializer[rest].CopyFrom(numpy_helper.from_array(np.full(6, np.nan, np.float32), "rest"))
        onnx.save(model, tmp_path / "nan.onnx")
        with pytest.raises(ModelError, match=r"nan\.onnx: expected finite values, found others: the file is damaged"):
            enroll(talker(), RATE, tmp_path / "nan.onnx")

    def test_mono_and_nan(self, enroller):
        with pytest.raises(AudioError, match="enrollment clip: expected 2 channels"):
            enroll(talker()[:1], RATE, enroller)
        with pytest.raises(AudioError, match="NaN"):
            enroll(np.full((2, 20000), np.nan, np.float32), RATE, enroller)

    def test_an_impossible_rate(self, enroller):
        with pytest.raises(AudioError, match="sample rate"):
            enroll(talker(), 0, enroller)


class TestQuality:
    def warnings(self, clip: Audio, voice: Audio | None = None, share: float = 0.8) -> str:
        voice = clip if voice is None else voice
        quality = judge(clip, np.sqrt(share * np.sum(clip**2) / np.sum(voice**2)) * voice, RATE)
        assert quality.frontal == pytest.approx(share) and quality.ok == (not quality.warnings)
        return "; ".join(quality.warnings)

    @pytest.mark.parametrize(("delay", "side"), [(8, "left"), (-8, "right")])
    def test_a_talker_at_the_side(self, delay, side):
        # What the network leaves of somebody aside says nothing of where that was.
        nobody = self.warnings(talker(delay), talker(), share=0.05)
        assert "only 5% of the sound comes from the front, the strongest talker is" in nobody
        assert f"degrees to the {side}: face the person" in nobody
        assert not self.warnings(talker(delay), talker(), share=0.3)  # others may be louder than who is in front
        assert self.warnings(talker(), talker(delay), share=0.3).startswith("the talker is ")
        assert not self.warnings(talker(), talker(delay), share=0.05)  # alone, and in front after all

    def test_the_direction_is_that_of_whom_the_network_heard(self):
        clip = talker(1.5) + 2 * np.roll(talker(-7), RATE // 4, axis=1)
        found = judge(clip, talker(1.5), RATE)
        assert found.ok and 5 < found.off_axis_deg < 20 and estimate(clip, RATE).off_axis_deg < -30

    def test_the_shipped_network_tells_where_a_talker_is(self):
        for delay in (0, 1.5, -20):
            found = enroll(talker(delay), RATE).quality
            assert found.off_axis_deg == pytest.approx(estimate(talker(delay), RATE).off_axis_deg, abs=5)
            assert found.ok == (delay != -20)

    def test_steady_noise_holds_no_speech(self):
        noise = np.random.default_rng(0).normal(scale=0.1, size=(2, 64000)).astype(np.float32)
        assert "only 0.0 s of speech: record 3 to 5 s" in self.warnings(noise)
        assert judge(noise, noise, RATE).off_axis_deg is None

    def test_speech_below_the_noise(self):
        clip = talker(snr_db=-12)
        assert self.warnings(clip)
        assert judge(clip, clip, RATE).snr_db < judge(talker(snr_db=10), talker(), RATE).snr_db

    def test_a_dead_microphone(self):
        clip = talker()
        clip[1] *= 0.01
        assert "the right ear is 40 dB quieter: check its microphone" in self.warnings(clip)
        clip[1] = 0
        found = enroll(clip, RATE).quality
        assert len(found.warnings) == 1 and "check its microphone" in found.warnings[0] and found.off_axis_deg is None

    def test_one_microphone_for_both_ears(self):
        clip = talker()
        clip[1] = clip[0]
        assert "both ears hold the same sound" in self.warnings(clip)

    @pytest.mark.parametrize("rate", [RATE, 44100])
    def test_microphones_that_clip(self, enroller, rate):
        loud = np.clip(30 * talker(), -1, 1)
        assert any("of the samples clip: lower" in w for w in enroll(loud, rate, enroller).quality.warnings)
        assert not any("clip:" in w for w in enroll(talker(), rate, enroller).quality.warnings)

    @pytest.mark.parametrize("snr_db", [5, 15, 25])
    def test_snr_is_about_right(self, snr_db):
        assert estimate(talker(snr_db=snr_db), RATE).snr_db == pytest.approx(snr_db, abs=7)

    @pytest.mark.parametrize("degrees", [-80, -45, -10, 0, 30, 60])
    def test_direction_of_a_spherical_head(self, degrees):
        angle = np.radians(degrees)
        delay_s = 0.0875 / 343 * (angle + np.sin(angle))
        assert float(azimuth_deg(delay_s)) == pytest.approx(degrees, abs=0.1)
        assert estimate(talker(delay_s * RATE), RATE).off_axis_deg == pytest.approx(degrees, abs=2)

    def test_a_delay_longer_than_a_head(self):
        assert float(azimuth_deg(1.0)) == 90

    def test_one_silent_ear_is_finite(self):
        clip = talker()
        clip[0] = 0
        found = estimate(clip, RATE)
        assert np.isfinite([found.snr_db, found.off_axis_deg, found.ear_difference_db]).all()


class TestProfile:
    @pytest.mark.parametrize("name", ["a.profile", "a.npz", "a.json", "a", "ä b.JSON"])
    def test_save_and_load(self, tmp_path, good, name):
        good.save(tmp_path / name)
        found = SpeakerProfile.load(tmp_path / name)
        np.testing.assert_array_equal(found.embedding, good.embedding)
        assert found.embedding.dtype == np.float32
        assert (found.embedding_space, found.quality) == (good.embedding_space, good.quality)
        assert [f.name for f in tmp_path.iterdir()] == [name]

    def test_a_direction_that_nobody_knows(self, tmp_path, good):
        for name in ("a.json", "a.profile"):
            replace(good, quality=replace(QUALITY, off_axis_deg=None)).save(tmp_path / name)
            assert SpeakerProfile.load(tmp_path / name).quality.off_axis_deg is None

    def test_without_quality(self, tmp_path, good):
        for name in ("a.json", "a.profile"):
            replace(good, quality=None).save(tmp_path / name)
            assert SpeakerProfile.load(tmp_path / name).quality is None

    def test_the_content_decides_not_the_suffix(self, tmp_path, good):
        good.save(tmp_path / "a.json")
        (tmp_path / "a.json").rename(tmp_path / "a.profile")
        assert SpeakerProfile.load(tmp_path / "a.profile").quality == QUALITY

    def test_json_is_what_it_says(self, tmp_path, good):
        good.save(tmp_path / "a.json")
        values = json.loads((tmp_path / "a.json").read_text())
        assert values["format"] == "hearable-profile-1" and len(values["embedding"]) == 256

    @pytest.mark.parametrize(
        ("embedding", "message"),
        [
            (np.ones(256, np.float32), "expected unit norm, found 16"),
            (np.zeros(256, np.float32), "expected unit norm, found 0"),
            (np.full(256, np.nan, np.float32), "expected unit norm, found nan"),
            (np.ones(1), "expected 1 to 4096 float32 values, found float64"),
            (np.ones((1, 1), np.float32), r"found float32 \[1, 1\]"),
            (np.ones(0, np.float32), r"found float32 \[0\]"),
        ],
    )
    def test_no_embedding(self, embedding, message):
        with pytest.raises(ProfileError, match=message):
            SpeakerProfile(embedding, "enroll-v1")

    def test_no_space(self):
        with pytest.raises(ProfileError, match="embedding_space"):
            SpeakerProfile(np.ones(1, np.float32), "")

    @pytest.mark.parametrize(
        "content",
        [b"", b"PK", b"PK\x03\x04" + b"\0" * 100, b"{}", b"[]", b"{", b"null", b"\xff\xfe", b"[" * 100000, b"RIFF1234"],
    )
    def test_no_profile(self, tmp_path, content):
        (tmp_path / "a.profile").write_bytes(content)
        with pytest.raises(ProfileError, match=r"a\.profile: expected .*found"):
            SpeakerProfile.load(tmp_path / "a.profile")

    def rewritten(self, path: Path, good: SpeakerProfile, **changes: object) -> Path:
        good.save(path)
        values = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({k: v for k, v in values.items() if v != "gone"}))
        return path

    @pytest.mark.parametrize(
        "changes",
        [
            {"format": "hearable-profile-9"},
            {"format": "gone"},
            {"more": 1},
            {"embedding": [0.5] * 256},
            {"embedding": "x"},
            {"embedding": {"a": 1}},
            {"embedding": [[1.0]]},
            {"embedding": [float("nan")] * 256},
            {"embedding": [1e300]},
            {"embedding_space": 7},
            {"quality": 3},
            {"quality": {"seconds": 1}},
            {"quality": {"seconds": "x", "warnings": []}},
        ],
    )
    @pytest.mark.filterwarnings("ignore:overflow")
    def test_damaged_json(self, tmp_path, good, changes):
        with pytest.raises(ProfileError, match=r"a\.json: "):
            SpeakerProfile.load(self.rewritten(tmp_path / "a.json", good, **changes))

    @pytest.mark.parametrize("cut", [10, 300, 1000])
    def test_truncated_npz(self, tmp_path, good, cut):
        good.save(tmp_path / "a.profile")
        os.truncate(tmp_path / "a.profile", cut)
        with pytest.raises(ProfileError, match="unreadable"):
            SpeakerProfile.load(tmp_path / "a.profile")

    def test_a_flipped_bit(self, tmp_path, good):
        good.save(tmp_path / "a.profile")
        content = bytearray((tmp_path / "a.profile").read_bytes())
        content[content.index(good.embedding.tobytes()) + 9] ^= 64
        (tmp_path / "a.profile").write_bytes(content)
        with pytest.raises(ProfileError):
            SpeakerProfile.load(tmp_path / "a.profile")

    def test_a_pickle_is_not_run(self, tmp_path):
        class Bomb:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "boom"),))

        np.savez(tmp_path / "a.npz", embedding=np.array([Bomb()], dtype=object))
        with pytest.raises(ProfileError, match="unreadable"):
            SpeakerProfile.load(tmp_path / "a.npz")
        assert not (tmp_path / "boom").exists()

    def test_a_small_file_that_unpacks_to_a_large_one(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            buffer = io.BytesIO()
            np.save(buffer, np.zeros(2**22, np.float32))
            archive.writestr("embedding.npy", buffer.getvalue())
        with pytest.raises(ProfileError, match="when unpacked"):
            SpeakerProfile.load(tmp_path / "a.npz")

    def test_a_large_file(self, tmp_path):
        (tmp_path / "a.profile").write_bytes(b" " * (2**20 + 1))
        with pytest.raises(ProfileError, match="expected at most 1048576 bytes, found 1048577"):
            SpeakerProfile.load(tmp_path / "a.profile")

    def test_no_file_and_no_folder(self, tmp_path, good):
        with pytest.raises(ProfileError, match="cannot read the profile: No such file"):
            SpeakerProfile.load(tmp_path / "a.profile")
        with pytest.raises(ProfileError, match="make it first"):
            good.save(tmp_path / "no" / "a.profile")

    def test_an_old_file_stays_if_writing_fails(self, tmp_path, good, monkeypatch):
        (tmp_path / "a.profile").write_text("old")
        monkeypatch.setattr(
            Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        with pytest.raises(ProfileError, match="No space left"):
            good.save(tmp_path / "a.profile")
        assert (tmp_path / "a.profile").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
