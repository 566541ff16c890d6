"""The way from one device to the other, on simulated devices: the delay stays, whatever happens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hearable.audio import read_audio, resample
from hearable.enrollment import enroll
from hearable.extractor import ChunkExtractor, load_model
from hearable.live.processor import LiveProcessor
from hearable.live.stream import LiveStream
from hearable.metrics import si_sdr
from tests import toymodel
from tests.simdevices import SimDevices, playing, tone

DEMO = Path(__file__).resolve().parent.parent / "examples" / "demo"


def start(toy, devices: SimDevices, in_hz: int = 16000, out_hz: int = 16000, shared: bool = True):
    said: list[str] = []
    processor = LiveProcessor(toy, {"anna": toymodel.profile(1)})
    stream = LiveStream(processor, in_hz, out_hz, shared, tell=said.append, now=devices.now)
    devices.attach(stream, shared)
    return stream, processor, said


def lag(heard: np.ndarray, audio: np.ndarray, most: int = 4000) -> int:
    """Samples that ``heard`` is late, from its last second and a half."""
    part = slice(-16000, -8000)
    end = heard.shape[1]
    scores = [np.dot(heard[0, part], audio[0, end - 16000 - k : end - 8000 - k]) for k in range(most)]
    return int(np.argmax(scores))


@pytest.mark.parametrize("block", [32, 100, 128, 256, 480, 1024])
def test_any_block_passes_unchanged_at_the_stated_delay(toy, noise, block):
    devices = SimDevices(playing(noise), block, block)
    stream, _, _ = start(toy, devices)
    devices.run(2.0)
    late = round(16000 * stream.latency_s)
    heard = devices.output()
    assert block + 64 <= late < block + 128 + 64
    audio = np.pad(noise, ((0, 0), (late, 0)))[:, : heard.shape[1]]
    first = late + block  # the block from which the delay was learnt
    assert np.array_equal(heard[:, first:], audio[:, first:])
    assert stream.counts.missed == 0


def test_the_output_is_what_the_extractor_gives(toy, noise):
    devices = SimDevices(playing(noise))
    stream, processor, _ = start(toy, devices)
    processor.select("anna")
    devices.run(2.0)
    extractor = ChunkExtractor(toy, toymodel.profile(1))
    heard = devices.output()[:, 128:]  # from the first block the delay was learnt
    audio = noise[:, 128 : 128 + heard.shape[1]]
    expected = np.concatenate([extractor.step(audio[:, n : n + 128]) for n in range(0, audio.shape[1], 128)], axis=1)
    late = round(16000 * stream.latency_s) - 64
    assert late == 128  # one block: 8 ms
    assert np.allclose(heard[:, 2000:], expected[:, 2000 - late : -late], atol=1e-6)


@pytest.mark.parametrize("rate", [44100, 48000, 96000])
def test_other_rates_sound_the_same_and_cost_little_delay(toy, rate):
    block = round(0.008 * rate)
    devices = SimDevices(tone(997.0, rate), block, block)
    stream, _, _ = start(toy, devices, rate, rate)
    devices.run(1.5)
    heard = devices.output()[:, rate // 2 :]
    t = np.arange(rate // 2, rate // 2 + heard.shape[1]) / rate - stream.latency_s
    assert np.abs(heard - 0.3 * np.sin(2 * np.pi * 997.0 * t)).max() < 1e-3
    assert stream.counts.missed == 0
    assert stream.latency_s < 0.0285


def test_at_48_khz_the_shipped_model_is_as_good_as_at_16():
    clip, mixture, target = (read_audio(DEMO / f"{name}.flac")[0] for name in ("enrollment", "mixture", "target"))
    alice = enroll(clip, 16000)
    scores = []
    for hz in (16000, 48000):
        devices = SimDevices(playing(resample(mixture[:, :64000], 16000, hz)), round(0.008 * hz), round(0.008 * hz))
        processor = LiveProcessor(load_model("base"), {"alice": alice})
        stream = LiveStream(processor, hz, hz, now=devices.now)
        devices.attach(stream)
        processor.select("alice")
        devices.run(4.0)
        late = round(hz * stream.latency_s)
        heard = resample(devices.output()[:, late:], hz, 16000)[:, 8000:56000]
        scores.append(float(np.mean(si_sdr(heard, target[:, 8000:56000]))))
    assert scores[1] == pytest.approx(scores[0], abs=0.1)  # dB
    assert scores[0] > float(np.mean(si_sdr(mixture[:, 8000:56000], target[:, 8000:56000]))) + 3


@pytest.mark.parametrize(
    ("rates", "in_ppm", "out_ppm"), [((16000, 16000), 100, -100), ((48000, 44100), -120, 80), ((16000, 16000), -200, 0)]
)
def test_clocks_that_drift_keep_the_delay_and_the_sound(toy, rates, in_ppm, out_ppm):
    blocks = [round(0.008 * rate) for rate in rates]
    devices = SimDevices(tone(440.0, rates[0]), *blocks, in_ppm, out_ppm, jitter_s=0.001)
    stream, _, _ = start(toy, devices, *rates, shared=False)
    devices.run(5.0)
    devices.heard.clear()
    errors = []
    for _ in range(125):
        devices.run(0.2)
        errors.append(stream._delay_error() / rates[1])
    heard = devices.output()
    assert stream.counts.missed == 0
    assert max(map(abs, errors)) < 0.008  # a block
    assert np.abs(np.mean(errors[-50:])) < 0.0005
    assert stream.meters().drift_ppm == pytest.approx(out_ppm - in_ppm, abs=60)
    step = 2 * np.pi * 440 / rates[1]
    assert np.abs(np.diff(heard)).max() < 0.3 * step * 1.01  # no jump above the tone's own
    assert np.abs(np.diff(heard, 2)).max() < 0.3 * step**2 * 1.2


def test_a_worker_that_was_held_up_is_back_at_its_first_delay(toy, noise):
    audio = np.concatenate([noise] * 4, axis=1)
    devices = SimDevices(playing(audio))
    stream, _, said = start(toy, devices)
    devices.run(2.0)
    before = stream.latency_s
    devices.advance(2.0)  # the worker does nothing
    assert stream.counts.missed > 200
    devices.run(2.5)
    assert stream.latency_s == before
    assert lag(devices.output(), audio) == round(16000 * before)
    assert any("busy for" in text for text in said)
    assert any("the engine waited 2000 ms for a processor" in text for text in said)


@pytest.mark.parametrize(("shared", "which"), [(True, "both"), (False, "both"), (False, "in"), (False, "out")])
def test_a_device_that_pauses_for_2_s_is_heard_again_at_the_first_delay(toy, noise, shared, which):
    audio = np.concatenate([noise] * 5, axis=1)
    devices = SimDevices(playing(audio))
    stream, _, said = start(toy, devices, shared=shared)
    devices.run(2.0)
    if which in ("in", "both"):
        devices.in_stopped_until = devices.time + 2
    if which in ("out", "both"):
        devices.out_stopped_until = devices.time + 2
    devices.run(5.0)
    missed = stream.counts.missed
    devices.run(1.0)
    assert stream.counts.missed == missed
    assert abs(stream._delay_error()) < 40  # samples
    assert np.abs(devices.heard[-1]).max() > 0.05
    assert shared or which == "both" or any("paused" in text for text in said)


def test_a_network_that_is_too_slow_gives_way_and_comes_back(toy, noise):
    audio = np.concatenate([noise] * 5, axis=1)
    devices = SimDevices(playing(audio))
    stream, processor, said = start(toy, devices)
    processor.select("anna")
    devices.run(1.0)
    before, missed = stream.latency_s, stream.counts.missed
    step, cost = processor.step, 0.02

    def slow(chunk):
        if not processor.shedding:
            devices.advance(cost)
        return step(chunk)

    processor.step = slow
    devices.run(1.0)
    assert stream.counts.sheds == 1 and processor.shedding
    assert any("too slow" in text for text in said)
    assert any("worked 20 ms" in text for text in said)
    assert 0 < stream.counts.missed - missed < 20  # gaps only until it gave way
    missed = stream.counts.missed
    cost = 0.001
    devices.run(4.0)
    assert not processor.shedding and stream.counts.missed == missed
    assert stream.latency_s == before and lag(devices.output(), audio) == round(16000 * before)
    level = np.std(devices.output()[:, -8000:]) / np.std(noise)
    assert level == pytest.approx(toymodel.gain(1), rel=0.05)  # the person, not everything


def test_a_device_that_calls_in_bursts_is_named_as_the_cause(toy, noise):
    devices = SimDevices(playing(noise))
    stream, _, said = start(toy, devices)
    devices.run(0.5)
    devices.time += 0.03
    for _ in range(3):
        stream.capture(noise[:, :128])
        stream.play(np.empty((2, 128), np.float32))
    stream.work()
    assert stream.counts.missed == 2
    assert len(said) == 1 and re.search(
        "missed 2; at most, the sound system paused for (3[0-9]) ms, the engine", said[0]
    )


def test_an_exception_in_the_worker_is_told_and_the_sound_goes_on(toy, noise):
    audio = np.concatenate([noise] * 3, axis=1)
    devices = SimDevices(playing(audio))
    stream, processor, said = start(toy, devices)
    processor.select("anna")
    devices.run(1.0)
    step = processor.step

    def broken(chunk):
        processor.step = step
        raise RuntimeError("a bug")

    processor.step = broken
    devices.run(2.0)
    assert stream.counts.worker_errors == 1 and stream.counts.missed == 0
    assert any("RuntimeError: a bug" in text for text in said)
    assert np.std(devices.output()[:, -8000:]) / np.std(noise) == pytest.approx(toymodel.gain(1), rel=0.05)


def test_a_processor_that_always_fails_lets_everything_pass_and_is_told_once(toy, noise):
    audio = noise.copy()
    audio[0, 16000:16064] = np.inf
    devices = SimDevices(playing(audio))
    stream, processor, said = start(toy, devices)

    def broken(chunk):
        raise RuntimeError("a bug")

    processor.step = broken
    devices.run(2.0)
    heard = devices.output()
    assert [text for text in said if "a bug" in text] == said and len(said) == 1
    assert stream.counts.worker_errors > 200 and np.isfinite(heard).all()
    assert np.array_equal(heard[:, 256:16128], noise[:, 128:16000])


def test_rates_that_cannot_share_a_clock_are_refused(toy):
    with pytest.raises(ValueError, match="equal rates"):
        LiveStream(LiveProcessor(toy), 16000, 48000, shared_clock=True)
