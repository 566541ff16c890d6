from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from hearable.audio import AudioReader, AudioWriter, read_audio, require_audio, require_stereo, write_audio
from hearable.errors import AudioError
from hearable.resampling import StreamResampler, resample, resampled_length

RATE = 16000


def tone(samples: int = RATE, rate: int = RATE, hz: float = 440.0) -> np.ndarray:
    t = np.arange(samples) / rate
    return np.stack([np.sin(2 * np.pi * hz * t), np.cos(2 * np.pi * hz * t)]).astype(np.float32) * 0.5


def leftovers(folder: Path) -> list[str]:
    return [f.name for f in folder.iterdir()]


class TestValidation:
    def test_float64_becomes_float32(self):
        assert require_stereo(np.zeros((2, 3))).dtype == np.float32

    def test_mono_is_refused_with_its_mend(self):
        with pytest.raises(AudioError, match="expected 2 channels .* found 1: record with a microphone at each ear"):
            require_stereo(np.zeros((1, 100), np.float32), "clip")

    @pytest.mark.parametrize(
        ("audio", "message"),
        [
            (np.zeros(100, np.float32), r"expected an array \[channels, samples\], found shape \[100\]"),
            (np.zeros((6, 100), np.float32), "found 6"),
            (np.zeros((2, 0), np.float32), "at least one sample, found none"),
            (np.zeros((2, 10), np.int16), "expected floating-point .*, found int16"),
            (np.full((2, 10), 1e300), "NaN or infinity at sample 0"),
        ],
    )
    def test_other_sound_is_refused(self, audio, message):
        with pytest.raises(AudioError, match=message):
            require_stereo(audio)

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_the_first_bad_sample_is_named(self, value):
        audio = np.zeros((2, 10), np.float32)
        audio[1, 7] = value
        with pytest.raises(AudioError, match="at sample 7"):
            require_audio(audio)


class TestReading:
    @pytest.mark.parametrize("suffix", [".wav", ".flac"])
    def test_what_was_written_is_read(self, tmp_path, suffix):
        write_audio(tmp_path / f"a{suffix}", tone(), RATE)
        audio, rate = read_audio(tmp_path / f"a{suffix}")
        assert rate == RATE and audio.dtype == np.float32 and audio.flags.c_contiguous
        np.testing.assert_allclose(audio, tone(), atol=2**-23)

    def test_a_part(self, tmp_path):
        write_audio(tmp_path / "a.wav", tone(), RATE)
        audio, _ = read_audio(tmp_path / "a.wav", start_s=0.25, seconds=0.5)
        np.testing.assert_allclose(audio, tone()[:, 4000:12000], atol=2**-23)
        assert read_audio(tmp_path / "a.wav", start_s=0.9, seconds=5)[0].shape == (2, 1600)

    @pytest.mark.parametrize(
        ("start", "seconds"), [(-1, None), (0, 0), (0, -1), (float("nan"), None), (0, float("inf"))]
    )
    def test_an_impossible_part(self, tmp_path, start, seconds):
        write_audio(tmp_path / "a.wav", tone(), RATE)
        with pytest.raises(AudioError, match="expected a start of 0 s or later and a positive length"):
            read_audio(tmp_path / "a.wav", start, seconds)

    def test_a_part_behind_the_end(self, tmp_path):
        write_audio(tmp_path / "a.wav", tone(), RATE)
        with pytest.raises(AudioError, match="from 1.5 s on, found 1.000 s"):
            read_audio(tmp_path / "a.wav", start_s=1.5)

    def test_blocks_are_the_whole(self, tmp_path):
        write_audio(tmp_path / "a.wav", tone(), RATE)
        with AudioReader(tmp_path / "a.wav", stereo=True) as reader:
            blocks = list(reader.blocks(1000))
        assert [b.shape[1] for b in blocks] == [1000] * 16
        assert (reader.samples, reader.channels, reader.rate, reader.subtype) == (RATE, 2, RATE, "PCM_24")

    def test_mono_is_refused_before_reading(self, tmp_path):
        write_audio(tmp_path / "mono.wav", tone()[:1], RATE)
        with pytest.raises(AudioError, match=r"mono\.wav: expected 2 channels"):
            AudioReader(tmp_path / "mono.wav", stereo=True)

    def test_nan_in_a_file(self, tmp_path):
        audio = tone().T.copy()
        audio[5000, 1] = np.nan
        soundfile.write(tmp_path / "nan.wav", audio, RATE, "FLOAT")
        with pytest.raises(AudioError, match=r"nan\.wav: expected finite samples, .* at sample 5000:"):
            read_audio(tmp_path / "nan.wav")
        # Counted from the beginning of the file, whatever the blocks and wherever reading began.
        with AudioReader(tmp_path / "nan.wav", start_s=0.1) as reader, pytest.raises(AudioError, match="sample 5000:"):
            list(reader.blocks(1000))

    @pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
    def test_a_truncated_wav(self, tmp_path, subtype):
        soundfile.write(tmp_path / "a.wav", tone().T, RATE, subtype)
        os.truncate(tmp_path / "a.wav", (tmp_path / "a.wav").stat().st_size // 2)
        with pytest.raises(AudioError, match=r"expected \d+ bytes of sound, found \d+: the file is truncated"):
            read_audio(tmp_path / "a.wav")

    def test_a_truncated_rf64(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", tone().T, RATE, "PCM_16", format="RF64")
        assert read_audio(tmp_path / "a.wav")[0].shape == (2, RATE)
        os.truncate(tmp_path / "a.wav", 20000)
        with pytest.raises(AudioError, match="truncated"):
            read_audio(tmp_path / "a.wav")

    def test_a_truncated_flac(self, tmp_path):
        write_audio(tmp_path / "a.flac", np.random.default_rng(0).normal(size=(2, RATE)) * 0.1, RATE)
        os.truncate(tmp_path / "a.flac", (tmp_path / "a.flac").stat().st_size // 2)
        with pytest.raises(AudioError, match="truncated|decoded"):
            read_audio(tmp_path / "a.flac")

    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
    def test_a_wav_from_a_pipe_has_no_size(self, tmp_path, size):
        soundfile.write(tmp_path / "a.wav", tone().T, RATE, "PCM_16")
        content = bytearray((tmp_path / "a.wav").read_bytes())
        at = content.index(b"data") + 4
        content[at : at + 4] = struct.pack("<I", size)
        (tmp_path / "a.wav").write_bytes(content)
        if size:
            assert read_audio(tmp_path / "a.wav")[0].shape == (2, RATE)
        else:
            with pytest.raises(AudioError, match="found 0.000 s"):
                read_audio(tmp_path / "a.wav")

    @pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x10\0\0\0WAVEdata", b"hello" * 100])
    def test_no_sound_file(self, tmp_path, content):
        (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(AudioError, match="expected a sound file"):
            read_audio(tmp_path / "a.wav")

    def test_an_empty_wav(self, tmp_path):
        soundfile.write(tmp_path / "a.wav", np.zeros((0, 2)), RATE)
        with pytest.raises(AudioError, match="found 0.000 s in all"):
            read_audio(tmp_path / "a.wav")

    def test_no_file(self, tmp_path):
        with pytest.raises(AudioError, match="no such file"):
            read_audio(tmp_path / "a.wav")
        with pytest.raises(AudioError, match="no such file"):
            read_audio(tmp_path)


class TestWriting:
    def test_an_exception_leaves_no_file(self, tmp_path):
        with pytest.raises(KeyboardInterrupt), AudioWriter(tmp_path / "a.wav", RATE) as writer:
            writer.write(tone())
            raise KeyboardInterrupt
        assert leftovers(tmp_path) == []

    def test_an_exception_leaves_the_old_file(self, tmp_path):
        (tmp_path / "a.wav").write_text("old")
        with pytest.raises(AudioError), AudioWriter(tmp_path / "a.wav", RATE) as writer:
            writer.write(np.full((2, 10), np.nan, np.float32))
        assert leftovers(tmp_path) == ["a.wav"] and (tmp_path / "a.wav").read_text() == "old"

    def test_another_programs_error_passes_through(self, tmp_path):
        with pytest.raises(BrokenPipeError), AudioWriter(tmp_path / "a.wav", RATE):
            raise BrokenPipeError
        assert leftovers(tmp_path) == []

    @pytest.mark.parametrize(
        ("name", "like", "subtype"),
        [
            ("a.wav", "PCM_16", "PCM_16"),
            ("a.wav", "FLOAT", "FLOAT"),
            ("a.wav", None, "PCM_24"),
            ("a.wav", "VORBIS", "PCM_24"),
            ("a.wav", "ULAW", "PCM_24"),
            ("a.flac", "FLOAT", "PCM_24"),
            ("a.flac", "PCM_16", "PCM_16"),
            ("a.ogg", "PCM_16", "VORBIS"),
            ("a.opus", None, "OPUS"),
        ],
    )
    def test_how_samples_are_stored(self, tmp_path, name, like, subtype):
        with AudioWriter(tmp_path / name, RATE, 2, like) as writer:
            writer.write(tone())
        assert soundfile.info(tmp_path / name).subtype == subtype
        assert leftovers(tmp_path) == [name]

    def test_integers_clip_and_do_not_wrap(self, tmp_path):
        write_audio(tmp_path / "a.wav", np.array([[1.5, -1.5]], np.float32), RATE)
        np.testing.assert_allclose(read_audio(tmp_path / "a.wav")[0], [[1, -1]], atol=1e-6)

    @pytest.mark.parametrize("name", ["a.xyz", "a", "a.py"])
    def test_an_unknown_suffix(self, tmp_path, name):
        with pytest.raises(AudioError, match="expected a sound file's suffix"):
            write_audio(tmp_path / name, tone(), RATE)
        assert leftovers(tmp_path) == []

    def test_a_rate_that_the_format_has_not(self, tmp_path):
        with pytest.raises(AudioError, match="choose a .wav"):
            write_audio(tmp_path / "a.opus", tone(), 44100)
        assert leftovers(tmp_path) == []

    def test_no_folder(self, tmp_path):
        with pytest.raises(AudioError, match="make it first"):
            write_audio(tmp_path / "no" / "a.wav", tone(), RATE)

    def test_a_device_is_not_replaced(self, tmp_path):
        (tmp_path / "a.wav").symlink_to(os.devnull)
        with pytest.raises(AudioError, match="expected a regular file"):
            write_audio(tmp_path / "a.wav", tone(), RATE)

    def test_a_link_stays_a_link(self, tmp_path):
        (tmp_path / "real.wav").write_text("old")
        (tmp_path / "link.wav").symlink_to(tmp_path / "real.wav")
        write_audio(tmp_path / "link.wav", tone(), RATE)
        assert (tmp_path / "link.wav").is_symlink()
        assert read_audio(tmp_path / "real.wav")[0].shape == (2, RATE)

    def test_another_number_of_channels(self, tmp_path):
        with (
            pytest.raises(AudioError, match="expected 2 channels, found 1"),
            AudioWriter(tmp_path / "a.wav", RATE) as w,
        ):
            w.write(tone()[:1])
        assert leftovers(tmp_path) == []


RATES = st.sampled_from([8000, 11025, 16000, 22050, 32000, 44100, 48000])


class TestResampling:
    @settings(max_examples=25, deadline=None)
    @given(RATES, RATES, st.integers(1, 3000), st.integers(1, 700))
    def test_a_stream_gives_the_same_as_the_whole(self, from_hz, to_hz, samples, block):
        audio = np.random.default_rng(samples).normal(size=(2, samples)).astype(np.float32)
        stream = StreamResampler(from_hz, to_hz, 2)
        parts = [stream.push(audio[:, i : i + block]) for i in range(0, samples, block)] + [stream.flush()]
        whole = resample(audio, from_hz, to_hz)
        assert whole.shape == (2, resampled_length(samples, from_hz, to_hz))
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)

    @given(RATES, RATES, st.integers(1, 10**6))
    def test_there_and_back_loses_nothing(self, from_hz, to_hz, samples):
        assert resampled_length(resampled_length(samples, from_hz, to_hz), to_hz, from_hz) >= samples

    @pytest.mark.parametrize("rate", [8000, 44100, 48000])
    def test_aligned_in_time(self, rate):
        resampled = resample(tone(rate, rate), rate, RATE)
        inside = slice(800, 15200)
        np.testing.assert_allclose(resampled[:, inside], tone()[:, inside], atol=1e-3)

    def test_flush_begins_anew(self):
        stream = StreamResampler(48000, RATE, 2)
        first = np.concatenate([stream.push(tone(4800, 48000)), stream.flush()], axis=1)
        again = np.concatenate([stream.push(tone(4800, 48000)), stream.flush()], axis=1)
        np.testing.assert_array_equal(first, again)
        assert stream.flush().shape == (2, 0)

    @pytest.mark.parametrize("rate", [0, -1, 44100.5, float("nan"), float("inf")])
    def test_an_impossible_rate(self, rate):
        with pytest.raises(AudioError, match="positive whole number of Hz"):
            resample(tone(), rate, RATE)
