"""What a listener may rely on: the delay, the mixing rule, no clicks, nothing louder than the input, sound always."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hearable.errors import AudioError, EnrollmentError, ModelError, ProfileError, ProfileMismatch
from hearable.extractor import StreamingExtractor, remix
from hearable.live.gains import EarGuard
from hearable.live.processor import LiveProcessor
from tests import toymodel

LATE = 192


@pytest.fixture
def live(toy) -> LiveProcessor:
    return LiveProcessor(toy, {"anna": toymodel.profile(1), "ben": toymodel.profile(5)})


def blocks(audio: np.ndarray, size: int) -> list[np.ndarray]:
    return [audio[:, n : n + size] for n in range(0, audio.shape[1], size)]


def run(live: LiveProcessor, audio: np.ndarray, size: int = 128) -> np.ndarray:
    return np.concatenate([live.process(block) for block in blocks(audio, size)], axis=1)


def late(audio: np.ndarray, samples: int = LATE) -> np.ndarray:
    return np.pad(audio, ((0, 0), (samples, 0)))[:, : audio.shape[1]]


def sine(seconds: float = 2.0, hz: float = 200.0, peak: float = 0.3) -> np.ndarray:
    t = np.arange(round(seconds * 16000)) / 16000
    return (peak * np.sin(2 * np.pi * hz * t + np.array([[0.0], [0.5]]))).astype(np.float32)


def roughness(audio: np.ndarray) -> float:
    """The largest second difference: high at a click, small in a tone that fades."""
    return float(np.abs(np.diff(audio, 2)).max())


@pytest.mark.parametrize("size", [1, 37, 128, 480, 5000])
def test_everything_passes_from_the_first_sample_unchanged_and_12_ms_late(live, noise, size):
    audio = noise[:, : min(40 * size, 32000)]
    assert np.array_equal(run(live, audio, size), late(audio))
    assert live.latency_samples == LATE


@pytest.mark.parametrize("background_db", [-math.inf, -20.0, 0.0])
def test_a_selected_person_is_what_the_extractor_and_the_mixing_rule_give(toy, live, noise, background_db):
    live.background_db = background_db
    live.select("anna")
    target = run_extractor(StreamingExtractor(toy, toymodel.profile(1)), noise)
    gain_db = None if background_db == -math.inf else background_db
    expected = remix(target, late(noise), gain_db)
    assert np.allclose(run(live, noise, 200)[:, 1000:], expected[:, 1000:], atol=1e-6)


def run_extractor(extractor: StreamingExtractor, audio: np.ndarray) -> np.ndarray:
    return np.concatenate([extractor.process(block) for block in blocks(audio, 128)], axis=1)


def test_steps_of_whole_chunks_are_a_chunk_earlier(toy, noise):
    stepping, processing = (LiveProcessor(toy, {"anna": toymodel.profile(1)}) for _ in range(2))
    for live in (stepping, processing):
        live.select("anna")
    stepped = np.concatenate([stepping.step(chunk) for chunk in blocks(noise, 128)], axis=1)
    assert np.array_equal(stepped[:, :-128], run(processing, noise)[:, 128:])


@pytest.mark.parametrize(
    "change",
    [
        lambda live: live.select("anna"),
        lambda live: live.select("ben"),
        lambda live: live.select(None),
        lambda live: setattr(live, "bypass", True),
        lambda live: setattr(live, "muted", True),
        lambda live: setattr(live, "background_db", -6.0),
        lambda live: live.add("anna", toymodel.profile(7)),
    ],
)
def test_no_change_clicks_nor_moves_the_sound_in_time(live, change):
    audio = sine()
    live.select("anna")
    before = run(live, audio[:, :8000])
    change(live)
    heard = np.concatenate([before, run(live, audio[:, 8000:])], axis=1)
    steady = roughness(audio)
    assert roughness(heard[:, 1500:]) < 1.3 * steady  # the ends of a fade are kinks, not jumps
    tail, same = heard[0, 16000:], late(audio)[0, 16000:]
    assert live.muted or np.corrcoef(tail, same)[0, 1] > 0.9999


def test_bypass_gives_the_input_exactly_and_keeps_the_network_in_step(toy, live, noise):
    live.select("anna")
    live.bypass = True
    heard = run(live, noise[:, :16000])
    assert np.array_equal(heard, late(noise)[:, :16000])
    live.bypass = False
    heard = run(live, noise[:, 16000:])
    expected = run_extractor(StreamingExtractor(toy, toymodel.profile(1)), noise)[:, 16000:]
    assert np.allclose(heard[:, 1000:], expected[:, 1000:], atol=1e-6)


def test_replacing_the_selected_person_is_heard(toy, live, noise):
    live.select("anna")
    run(live, noise)
    live.add("anna", toymodel.profile(7))
    power = [float(np.mean(np.square(audio[:, 4000:]))) for audio in (run(live, noise), late(noise))]
    assert math.sqrt(power[0] / power[1]) == pytest.approx(toymodel.gain(7), rel=0.05)
    assert live.people == ("anna", "ben")


def test_muted_is_silence(live, noise):
    live.muted = True
    assert not np.any(run(live, noise)[:, 1000:])


def test_a_look_gives_the_sound_heard_meanwhile(live, noise):
    audio = np.concatenate([noise] * 5, axis=1)[:, :144000]  # 9 s
    run(live, audio[:, :64000])
    live.look_start()
    run(live, audio[:, 64000:112000])
    assert live.meters().looking_s == pytest.approx(3.0, abs=0.01)
    assert np.array_equal(live.look_stop(), audio[:, 64000:112000])
    live.look_start()
    assert live.look_stop().shape == (2, 32000)  # no time to speak of: the last 2 s
    live.look_start()
    run(live, audio)
    assert np.array_equal(live.look_stop(), audio[:, -80000:])  # the last 5 s


def test_a_look_without_enough_sound_is_refused(live, noise):
    with pytest.raises(EnrollmentError, match="begin one first"):
        live.look_stop()
    live.look_start()
    run(live, noise[:, :12800])
    with pytest.raises(EnrollmentError, match=r"expected 2 s of sound, found 0\.8 s"):
        live.look_stop()


def test_nan_from_the_microphone_is_silence_and_counted(live, noise):
    live.select("anna")
    run(live, noise)
    bad = noise[:, :1280].copy()
    bad[1, 100:200] = np.nan
    bad[0, 5] = np.inf
    heard = np.concatenate([run(live, bad), run(live, noise)], axis=1)
    assert np.isfinite(heard).all()
    assert np.abs(heard[:, -8000:]).max() > 0.05
    assert live.meters().bad_samples == 101


def test_silence_stays_silence_and_sound_comes_after_it(live, noise):
    live.select("anna")
    assert not np.any(run(live, np.zeros((2, 16000), np.float32)))
    meters = live.meters()
    assert not meters.target_active and max(meters.in_db) <= -120
    assert np.std(run(live, noise)[:, 4000:]) / np.std(noise) == pytest.approx(toymodel.gain(1), rel=0.05)


def test_nothing_is_louder_than_the_input_or_full_scale(toy, noise, monkeypatch):
    live = LiveProcessor(toy, {"loud": toymodel.profile(7)})
    live.select("loud")
    audio = noise * np.where(np.arange(noise.shape[1]) % 4000 < 2000, 20, 1).astype(np.float32)  # far beyond full scale
    heard = run(live, audio)
    assert np.abs(heard).max() <= 1.0
    assert live.meters().limited_chunks > 0
    soft = 0.01 * sine()
    monkeypatch.setattr(toymodel, "gain", lambda index: 3.0)  # a network that makes things louder
    assert np.abs(run(LiveProcessor(toy), soft)).max() <= np.abs(soft).max()


def test_the_limiter_turns_down_without_a_jump_and_up_again():
    guard = EarGuard(128, 16000)
    audio = sine(1.0, peak=0.9)
    heard = np.concatenate(
        [guard.limit(chunk, 0.3 if 8000 <= 128 * n < 9000 else 1.0) for n, chunk in enumerate(blocks(audio, 128))],
        axis=1,
    )
    assert np.abs(heard[:, 8192:8960]).max() <= 0.3
    assert np.array_equal(heard[:, :7900], audio[:, :7900])
    assert np.allclose(heard[:, -1000:], audio[:, -1000:], rtol=0.02)
    assert roughness(heard[:, 9100:]) < 1.2 * roughness(audio)


def test_a_network_that_fails_lets_everything_pass_and_says_so(live, noise, monkeypatch):
    live.select("anna")
    run(live, noise)

    def broken(*args: object) -> None:
        raise ModelError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(type(live._model.extractor), "step", broken)
        heard = run(live, noise)
    assert np.array_equal(heard[:, 1000:], late(noise)[:, 1000:])
    assert live.selected is None and "out of memory" in (live.meters().fault or "")
    live.select("anna")
    run(live, noise)
    assert live.meters().fault is None and live.meters().selected == "anna"


def test_shedding_runs_no_network_and_comes_back(toy, live, noise, monkeypatch):
    live.select("anna")
    run(live, noise)
    live.shedding = True
    with monkeypatch.context() as patched:
        patched.setattr(type(live._model.extractor), "step", lambda *args: pytest.fail("the network was run"))
        heard = run(live, noise)
    assert np.array_equal(heard[:, 1000:], late(noise)[:, 1000:])
    live.shedding = False
    expected = run_extractor(StreamingExtractor(toy, toymodel.profile(1)), noise)
    assert np.allclose(run(live, noise)[:, 1000:], expected[:, 1000:], atol=1e-6)


def test_meters_say_what_is_going_on(live):
    live.select("ben")
    live.background_db = -12
    run(live, sine(peak=0.5))
    meters = live.meters()
    assert meters.in_db == pytest.approx((-6.0, -6.0), abs=0.2)
    assert meters.out_db[0] < meters.in_db[0]
    assert meters.selected == "ben" and meters.target_active and meters.background_db == -12
    assert meters.chunks == 250 and meters.looking_s is None


def test_what_cannot_be_is_refused(toy, live):
    with pytest.raises(ProfileError, match=r"'carl'.*anna, ben"):
        live.select("carl")
    with pytest.raises(ProfileMismatch):
        live.add("zoe", toymodel.profile(1, space="other-v1"))
    for background_db in (1.0, math.nan):
        with pytest.raises(ValueError, match="-inf to 0"):
            live.background_db = background_db
    for block in (np.zeros((1, 128), np.float32), np.zeros((2, 128), np.int16), np.zeros(128, np.float32)):
        with pytest.raises(AudioError, match="expected floating point"):
            live.process(block)
