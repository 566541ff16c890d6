"""The streaming loop, on the toy model: causal, nonlinear, with memory."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearable.chunks import Audio
from hearable.errors import AudioError, ModelNotFound, ProfileMismatch
from hearable.extractor import FADE_CHUNKS, ChunkExtractor, Model, StreamingExtractor, load_model
from hearable.profiles import SpeakerProfile
from hearable.recordings import extract, extract_stream
from tests.toymodel import gain, profile

ALICE, BOB = profile(0), profile(7)
RATE = 16000


def reference(model: Model, who: SpeakerProfile, audio: Audio) -> Audio:
    """The graph run by hand over the whole clip, aligned with it: the independent reference."""
    graph = model.extractor
    samples = audio.shape[1]
    padded = np.pad(audio, ((0, 0), (0, -samples % 128 + 128)))
    conditioning = model.conditioner.run({"embedding": who.embedding})[0]
    feed = {"state.delay": np.zeros((2, 64), np.float32), "state.level": np.zeros((2, 1), np.float32)}
    outputs = []
    for start in range(0, padded.shape[1], 128):
        chunk = np.ascontiguousarray(padded[:, start : start + 128])
        output, delay, level = graph.run({"chunk": chunk, "conditioning": conditioning, **feed})
        feed = {"state.delay": delay, "state.level": level}
        outputs.append(output)
    return np.concatenate(outputs, axis=1)[:, 64 : 64 + samples]


def stream(extractor: StreamingExtractor, audio: Audio, lengths: list[int]) -> Audio:
    blocks, start = [], 0
    for length in lengths:
        blocks.append(extractor.process(audio[:, start : start + length]))
        assert blocks[-1].shape == (2, min(length, max(0, audio.shape[1] - start)))
        start += length
    return np.concatenate([*blocks, extractor.process(audio[:, start:]), extractor.flush()], axis=1)


class TestStreaming:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.one_of(st.integers(0, 5), st.integers(0, 700)), max_size=12), st.integers(1, 3000))
    def test_any_split_equals_offline(self, toy, lengths, samples):
        audio = np.random.default_rng(samples).normal(scale=0.3, size=(2, samples)).astype(np.float32)
        out = stream(StreamingExtractor(toy, BOB), audio, lengths)
        assert out.shape == (2, samples + 192)
        assert not out[:, :128].any()
        np.testing.assert_array_equal(out[:, 192:], reference(toy, BOB, audio))

    @pytest.mark.parametrize("block", [1, 127, 128, 129, 480, 32000])
    def test_usual_blocks(self, toy, noise, block):
        audio = noise[:, : min(32000, 200 * block)]
        out = stream(StreamingExtractor(toy, ALICE), audio, [block] * (audio.shape[1] // block))
        np.testing.assert_array_equal(out[:, 192:], reference(toy, ALICE, audio))

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 1500), st.integers(1, 400))
    def test_the_future_never_changes_the_past(self, toy, at, block):
        audio = np.random.default_rng(at).normal(size=(2, 2000)).astype(np.float32)
        other = audio.copy()
        other[:, at:] *= -3
        blocks = [block] * (2000 // block)
        a, b = (stream(StreamingExtractor(toy, ALICE), x, blocks) for x in (audio, other))
        np.testing.assert_array_equal(a[:, :at], b[:, :at])

    def test_measured_latency_is_the_stated_one(self, toy):
        """An impulse at t comes out at t + latency, whatever t is within a chunk; the first change is never later."""
        for at in (500, 511, 512, 575, 639):
            audio = np.zeros((2, 2000), np.float32)
            audio[:, at] = 1
            out = stream(StreamingExtractor(toy, ALICE), audio, [100] * 20)
            assert toy.spec.latency_samples == StreamingExtractor(toy, ALICE).latency_samples == 192
            assert np.flatnonzero(out[0])[0] == at + 192

    def test_two_extractors_share_nothing(self, toy, noise):
        alone = StreamingExtractor(toy, ALICE).process(noise)
        first, second = StreamingExtractor(toy, ALICE), StreamingExtractor(toy, BOB)
        parts = []
        for start in range(0, noise.shape[1], 500):
            parts.append(first.process(noise[:, start : start + 500]))
            second.process(-5 * noise[:, start : start + 300])
        np.testing.assert_array_equal(np.concatenate(parts, axis=1), alone)

    def test_one_model_in_two_threads(self, toy, noise):
        expected = {who: StreamingExtractor(toy, profile(who)).process(noise) for who in range(4)}
        found = {}

        def run(who: int) -> None:
            found[who] = StreamingExtractor(toy, profile(who)).process(noise)

        threads = [threading.Thread(target=run, args=(who,)) for who in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for who, audio in expected.items():
            np.testing.assert_array_equal(found[who], audio)

    @pytest.mark.parametrize("end", ["reset", "flush"])
    def test_a_new_stream_is_like_the_first(self, toy, noise, end):
        extractor = StreamingExtractor(toy, ALICE)
        first = extractor.process(noise)
        extractor.process(noise[:, :77])
        getattr(extractor, end)()
        assert not extractor.target_active
        np.testing.assert_array_equal(extractor.process(noise), first)

    def test_silence_is_silence(self, toy):
        out = StreamingExtractor(toy, ALICE).process(np.zeros((2, 5000), np.float32))
        assert not out.any()

    def test_the_callers_memory_may_be_reused(self, toy, noise):
        extractor, block = StreamingExtractor(toy, ALICE), np.empty((2, 100), np.float32)
        out = []
        for start in range(0, 3000, 100):
            block[:] = noise[:, start : start + 100]
            out.append(extractor.process(block))
            block[:] = 99
        expected = StreamingExtractor(toy, ALICE).process(noise[:, :3000])
        np.testing.assert_array_equal(np.concatenate(out, axis=1), expected)

    @pytest.mark.parametrize(
        "bad",
        [np.full((2, 300), np.nan, np.float32), np.zeros((1, 300), np.float32), np.zeros((2, 300), np.int16)],
    )
    def test_a_bad_block_leaves_the_stream(self, toy, noise, bad):
        extractor = StreamingExtractor(toy, ALICE)
        first = extractor.process(noise[:, :1000])
        with pytest.raises(AudioError, match="block: expected"):
            extractor.process(bad)
        rest = extractor.process(noise[:, 1000:])
        expected = StreamingExtractor(toy, ALICE).process(noise)
        np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), expected)

    def test_an_overflow_in_the_graph_ends_with_its_chunk(self, toy, noise):
        extractor = StreamingExtractor(toy, ALICE)
        with np.errstate(all="ignore"):
            extractor.process(np.full((2, 128), 3e38, np.float32))
            out = extractor.process(noise)
        assert np.isfinite(out).all()
        np.testing.assert_allclose(out[:, 1000:2000], reference(toy, ALICE, noise)[:, 808:1808], rtol=1e-2)

    def test_the_extractor_without_the_chunk_of_delay(self, toy, noise):
        loop = ChunkExtractor(toy, ALICE)
        out = np.concatenate([loop.step(noise[:, i : i + 128].copy()) for i in range(0, 12800, 128)], axis=1)
        np.testing.assert_array_equal(out[:, 64:], reference(toy, ALICE, noise)[:, :12736])


class TestBackground:
    @pytest.mark.parametrize("db", [-12.0, 0.0, 6.0])
    def test_the_rest_is_kept_at_its_level(self, toy, noise, db):
        target = reference(toy, ALICE, noise)
        out = stream(StreamingExtractor(toy, ALICE, background_db=db), noise, [300] * 20)[:, 192:]
        np.testing.assert_allclose(out, target + 10 ** (db / 20) * (noise - target), atol=1e-6)

    def test_everything_but_the_target(self, toy, noise):
        out = stream(StreamingExtractor(toy, ALICE, remove=True), noise, [300] * 20)[:, 192:]
        np.testing.assert_allclose(out, noise - reference(toy, ALICE, noise), atol=1e-6)

    @pytest.mark.parametrize("db", [float("nan"), float("inf"), float("-inf")])
    def test_a_gain_that_is_no_number(self, toy, db):
        with pytest.raises(ValueError, match="expected a finite number of dB"):
            StreamingExtractor(toy, ALICE, background_db=db)

    def test_options_that_exclude_each_other(self, toy, noise):
        with pytest.raises(ValueError, match="at most one"):
            StreamingExtractor(toy, ALICE, background_db=-12, remove=True)
        with pytest.raises(ValueError, match="at most one"):
            extract(toy, ALICE, noise, RATE, background_db=-12, remove=True)


class TestProfiles:
    def sine(self) -> Audio:
        wave = 0.3 * np.sin(2 * np.pi * 200 * np.arange(8000) / RATE)
        return np.stack([wave, wave]).astype(np.float32)

    def test_a_change_does_not_jump(self, toy):
        audio = self.sine()
        extractor = StreamingExtractor(toy, ALICE)
        before = extractor.process(audio[:, :3001])
        extractor.set_profile(BOB)
        out = np.concatenate([before, extractor.process(audio[:, 3001:])], axis=1)
        steady = stream(StreamingExtractor(toy, BOB), audio, [])[:, :8000]
        # A switch at the crest would jump by 0.27 gain x 0.3; the sine itself moves by 0.024 x gain a sample.
        assert np.abs(np.diff(out[:, 300:])).max() <= 1.02 * np.abs(np.diff(steady[:, 300:])).max()
        np.testing.assert_array_equal(out[:, :3001], stream(StreamingExtractor(toy, ALICE), audio, [])[:, :3001])
        over = 3001 + 192 + (FADE_CHUNKS + 1) * 128
        np.testing.assert_allclose(out[:, over:], steady[:, over:], atol=1e-6)

    def test_the_last_of_many_changes_wins(self, toy):
        audio = self.sine()
        extractor = StreamingExtractor(toy, ALICE)
        parts = []
        for i, start in enumerate(range(0, 4000, 100)):
            parts.append(extractor.process(audio[:, start : start + 100]))
            if i < 20:
                extractor.set_profile(profile(i % 8))
        out = np.concatenate([*parts, extractor.process(audio[:, 4000:])], axis=1)
        steady = stream(StreamingExtractor(toy, profile(3)), audio, [])[:, :8000]
        np.testing.assert_allclose(out[:, 4000:], steady[:, 4000:], atol=1e-6)
        largest = stream(StreamingExtractor(toy, BOB), audio, [])[:, :8000]
        assert np.abs(np.diff(out[:, 300:])).max() <= 1.05 * np.abs(np.diff(largest[:, 300:])).max()

    def test_reset_keeps_the_last_profile(self, toy, noise):
        extractor = StreamingExtractor(toy, ALICE)
        extractor.process(noise)
        extractor.set_profile(BOB)
        extractor.reset()
        np.testing.assert_array_equal(extractor.process(noise), StreamingExtractor(toy, BOB).process(noise))

    def test_a_profile_of_another_model_is_refused_and_the_old_one_stays(self, toy, noise):
        stranger = profile(1, space="other-v2")
        with pytest.raises(
            ProfileMismatch, match="expected an embedding toy-v1 of 8 values, found other-v2 of 8 values"
        ):
            StreamingExtractor(toy, stranger)
        extractor = StreamingExtractor(toy, ALICE)
        with pytest.raises(ProfileMismatch):
            extractor.set_profile(stranger)
        np.testing.assert_array_equal(extractor.process(noise), StreamingExtractor(toy, ALICE).process(noise))

    def test_a_profile_of_another_length(self, toy):
        with pytest.raises(ProfileMismatch, match="found toy-v1 of 1 values"):
            toy.condition(SpeakerProfile(np.ones(1, np.float32), "toy-v1"))


class TestTargetActive:
    def activity(self, toy, audio: Audio) -> list[bool]:
        extractor, active = StreamingExtractor(toy, BOB), []
        for start in range(0, audio.shape[1], 128):
            extractor.process(audio[:, start : start + 128])
            active.append(extractor.target_active)
        return active

    def test_on_with_sound_and_off_after_it(self, toy, noise):
        audio = np.concatenate(
            [np.zeros((2, 16000), np.float32), noise[:, :16000], np.zeros((2, 16000), np.float32)], 1
        )
        active = self.activity(toy, audio)
        assert not any(active[:125]) and all(active[135:250]) and not any(active[-60:])
        assert np.count_nonzero(np.diff(active)) == 2

    def test_off_where_the_target_is_a_small_share(self, toy, noise, monkeypatch):
        monkeypatch.setattr("hearable.extractor.ON_SHARE_DB", 3.0)  # the toy's output is never that loud
        assert not any(self.activity(toy, noise))

    def test_no_flicker_between_the_bounds(self, toy, noise):
        fade = noise * np.linspace(1, 1e-4, noise.shape[1], dtype=np.float32)
        assert np.count_nonzero(np.diff(self.activity(toy, fade))) <= 1


class TestRecordings:
    @pytest.mark.parametrize("rate", [16000, 44100, 48000, 8000])
    @pytest.mark.parametrize("samples", [1, 2, 63, 128, 5001])
    def test_as_long_as_the_input(self, toy, rate, samples):
        audio = np.random.default_rng(0).normal(scale=0.1, size=(2, samples)).astype(np.float32)
        out = extract(toy, ALICE, audio, rate)
        assert out.shape == audio.shape and out.dtype == np.float32 and np.isfinite(out).all()

    def test_aligned_at_the_models_rate(self, toy, noise):
        np.testing.assert_array_equal(extract(toy, ALICE, noise, RATE), reference(toy, ALICE, noise))

    @pytest.mark.parametrize("rate", [44100, 48000, 22050])
    def test_aligned_at_other_rates(self, toy, rate):
        t = np.arange(rate) / rate
        audio = np.stack([np.sin(2 * np.pi * 300 * t), np.cos(2 * np.pi * 500 * t)]).astype(np.float32) * 0.01
        inside = slice(rate // 5, -rate // 5)
        out = extract(toy, BOB, audio, rate)[:, inside]
        np.testing.assert_allclose(out, gain(7) * audio[:, inside], atol=5e-5)

    @pytest.mark.parametrize("rate", [16000, 44100])
    def test_the_parts_sum_to_the_mixture(self, toy, noise, rate):
        target = extract(toy, ALICE, noise, rate)
        rest = extract(toy, ALICE, noise, rate, remove=True)
        np.testing.assert_allclose(target + rest, noise, atol=1e-6)
        kept = extract(toy, ALICE, noise, rate, background_db=-6.0)
        np.testing.assert_allclose(kept, target + 10 ** (-6 / 20) * rest, atol=1e-6)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, 900), max_size=10), st.sampled_from([16000, 48000, 44100]))
    def test_any_split_into_blocks(self, toy, lengths, rate):
        audio = np.random.default_rng(1).normal(size=(2, sum(lengths) + 1)).astype(np.float32) * 0.1
        blocks = np.split(audio, np.cumsum(lengths, dtype=int), axis=1)
        whole = extract(toy, ALICE, audio, rate, background_db=-20)
        parts = list(extract_stream(toy, [ALICE], blocks, rate, background_db=-20))
        np.testing.assert_allclose(np.concatenate(parts, axis=2)[0], whole, atol=1e-6)

    def test_several_people(self, toy, noise):
        blocks = np.array_split(noise, 7, axis=1)
        alone = [extract(toy, who, noise, 44100) for who in (ALICE, BOB)]
        mix = np.concatenate(list(extract_stream(toy, [ALICE, BOB], blocks, 44100)), axis=2)
        assert mix.shape == (1, *noise.shape)
        np.testing.assert_allclose(mix[0], alone[0] + alone[1], atol=1e-6)
        each = np.concatenate(list(extract_stream(toy, [ALICE, BOB], blocks, 44100, separate=True)), axis=2)
        np.testing.assert_allclose(each, alone, atol=1e-6)
        rest = np.concatenate(list(extract_stream(toy, [ALICE, BOB], blocks, 44100, remove=True)), axis=2)
        np.testing.assert_allclose(rest[0], noise - alone[0] - alone[1], atol=1e-6)

    def test_nothing_in_nothing_out(self, toy):
        parts = list(extract_stream(toy, [ALICE], [], RATE))
        assert sum(p.shape[2] for p in parts) == 0

    @pytest.mark.parametrize(
        "audio", [np.zeros((2, 0), np.float32), np.zeros((1, 100), np.float32), np.full((2, 100), np.nan, np.float32)]
    )
    def test_sound_that_is_refused(self, toy, audio):
        with pytest.raises(AudioError, match="clip: expected"):
            extract(toy, ALICE, audio, RATE)

    def test_nobody_to_extract(self, toy, noise):
        with pytest.raises(ValueError, match="at least one"):
            list(extract_stream(toy, [], [noise], RATE))


def test_models_by_name_and_by_path(shipped, toy):
    assert load_model("toy").spec == load_model(shipped / "toy.onnx").spec == toy.spec
    with pytest.raises(ModelNotFound):
        load_model("base")
