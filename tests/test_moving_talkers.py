"""Moving talkers, turning heads, and what microphones do to the sound."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

from hearable import metrics
from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.moving_talkers import moving_image
from hearable.synthesis.recipes import draw_tse, worn
from hearable.synthesis.render import RenderedScene, render
from hearable.synthesis.scene import Clip, Microphones, Scene, Source
from hearable.synthesis.spherical_head import spherical_head
from tests.test_synthesis import RECIPE, Noises, ball, material  # noqa: F401  (fixtures)

RATE = 16000
RNG = np.random.default_rng(5)


@pytest.fixture(scope="module")
def head() -> HrirSet:
    return spherical_head()


@pytest.fixture(scope="module")
def hall(head: HrirSet) -> HrirSet:
    """The front half of the head in a room: a tail from 10 ms on, unlike in each direction."""
    front = np.flatnonzero((np.abs(head.azimuth_deg) <= 90) & (head.elevation_deg == 0))
    responses = np.zeros((len(front), 2, 3000), np.float32)
    responses[..., : head.taps] = head.responses[front]
    late = np.arange(3000 - 160)
    responses[..., 160:] += 0.05 * RNG.normal(size=(len(front), 2, len(late))) * np.exp(-late / 500)
    return HrirSet("hall", responses, head.azimuth_deg[front], head.elevation_deg[front], RATE)


def scene(azimuth_deg: float, turn: float, seconds: float = 2.0, **more) -> Scene:
    clips = (Clip("s/0", 0, round(seconds * RATE) + 4000),)
    source = Source("target", "s", clips, azimuth_deg, 0.0, 0.0, turn)
    return Scene(0, round(seconds * RATE), "head", -30.0, (source,), **more)


def rendered(shot: Scene, listener: HrirSet) -> RenderedScene:
    return render(shot, Noises(), {"head": listener})


def test_scenes_go_through_json_and_old_ones_are_read():
    shot = scene(20, 30, head_turn_deg_s=-5.0, microphones=Microphones(-60.0, -3.0, (0.5, -0.5)))
    assert Scene.from_dict(json.loads(json.dumps(shot.to_dict()))) == shot
    old = scene(20, 0).to_dict()
    del old["head_turn_deg_s"], old["microphones"], old["sources"][0]["turn_deg_s"]
    assert Scene.from_dict(old) == scene(20, 0)


@pytest.mark.parametrize("where", ["head", "hall"])
@pytest.mark.parametrize("azimuth_deg", [0.0, 65.0])
def test_hardly_moving_is_standing_still(request, where, azimuth_deg):
    listener = request.getfixturevalue(where)
    still, moving = (rendered(scene(azimuth_deg, turn), listener).mixture for turn in (0.0, 1e-6))
    spectra = [np.fft.rfft(sound)[:, : round(0.85 * sound.shape[1] / 2)] for sound in (still, moving)]
    error = np.sum(np.abs(spectra[1] - spectra[0]) ** 2) / np.sum(np.abs(spectra[0]) ** 2)
    assert 10 * np.log10(error) < -35


def test_the_talker_is_where_the_scene_says(head):
    turn, begin = 45.0, -60.0
    image = rendered(scene(begin, turn), head).images[0]
    for second in (0.2, 0.8, 1.4, 1.8):
        part = image[:, round((second - 0.05) * RATE) : round((second + 0.05) * RATE)]
        still = rendered(scene(begin + turn * second, 0.0, 0.5), head).images[0]
        assert metrics.itd_us(part, RATE) == pytest.approx(metrics.itd_us(still, RATE), abs=25)
        assert metrics.ild_db(part) == pytest.approx(metrics.ild_db(still), abs=1.5)


def test_turning_the_head_is_turning_the_world(head):
    world, own = scene(20, 30), scene(20, 0, head_turn_deg_s=-30.0)
    np.testing.assert_array_equal(rendered(world, head).mixture, rendered(own, head).mixture)


@pytest.mark.parametrize("where", ["head", "hall"])
def test_a_moving_tone_does_not_click(request, where):
    listener = request.getfixturevalue(where)
    time = np.arange(3 * RATE) / RATE
    edges = np.sin(np.pi / 2 * np.clip(np.minimum(time, time[-1] - time) / 0.2, 0, 1)) ** 2
    tone = (np.sin(2 * np.pi * 500 * time) * edges).astype(np.float32)
    padded = np.pad(tone, (listener.taps, listener.taps))
    heard = moving_image(listener, padded, -45.0, 0.0, 45.0)
    spectra = np.abs(np.fft.rfft(heard * np.blackman(heard.shape[1]))) ** 2
    above = np.fft.rfftfreq(heard.shape[1], 1 / RATE) > 1000
    for spectrum in spectra:
        assert 10 * np.log10(spectrum[above].sum() / spectrum.sum()) < -70


def test_a_talker_stops_where_nothing_more_was_measured(hall):
    image = rendered(scene(60, 90.0), hall).images[0]  # at 90 degrees after a third of a second
    still = rendered(scene(90, 0.0), hall).images[0]
    parts = [sound[:, RATE:] for sound in (image, still)]
    assert metrics.itd_us(parts[0], RATE) == pytest.approx(metrics.itd_us(parts[1], RATE), abs=10)


def test_recipes_draw_the_same_scenes_with_motion_and_faults(ball, material):  # noqa: F811
    hard = replace(
        RECIPE, turn_deg_s=45.0, head_turn_deg_s=20.0, microphone_noise_db=(-20, -10), clip_db=(30, 40),
        ear_gain_db=1.0,
    )  # fmt: skip
    for seed in range(5):
        plain, drawn = (draw_tse(seed, material, recipe) for recipe in (RECIPE, hard))
        assert plain.mixture.microphones is None and plain.mixture.head_turn_deg_s == 0
        talkers = [s for s in drawn.mixture.sources if s.role != "noise"]
        assert all(0 < abs(s.turn_deg_s) <= 45 for s in talkers)
        assert all(s.turn_deg_s == 0 for s in drawn.enrollment.sources)
        at_rest = tuple(replace(s, turn_deg_s=0.0) for s in drawn.mixture.sources)
        assert replace(drawn.mixture, sources=at_rest, head_turn_deg_s=0.0, microphones=None) == plain.mixture
        found = drawn.mixture.microphones
        noise, clip = (level - drawn.mixture.reference_db for level in (found.noise_db, found.clip_db))
        assert found == drawn.enrollment.microphones and -20 <= noise <= -10 and 30 <= clip <= 40
        assert max(np.abs(found.gain_db)) <= 1
        assert np.isfinite(render(drawn.mixture, Noises(), {"ball": ball}).mixture).all()


def test_a_share_of_the_scenes_moves(ball, material):  # noqa: F811
    hard = replace(RECIPE, turn_deg_s=45.0, head_turn_deg_s=20.0, moving_share=0.3)
    moving = 0
    for seed in range(200):
        always, drawn = (draw_tse(seed, material, recipe).mixture for recipe in (replace(hard, moving_share=1.0), hard))
        still = draw_tse(seed, material, RECIPE).mixture
        assert drawn in (always, still) and always != still
        moving += drawn == always
    assert 40 < moving < 80


def test_shares_of_the_scenes_have_a_turning_head_and_faulty_microphones(ball, material):  # noqa: F811
    hard = replace(worn(RECIPE), head_share=0.5, faulty_share=0.3)
    turning = faulty = 0
    for seed in range(200):
        always, drawn = (draw_tse(seed, material, recipe).mixture for recipe in (worn(RECIPE), hard))
        assert drawn.sources == always.sources
        assert drawn.head_turn_deg_s in (0.0, always.head_turn_deg_s)
        assert drawn.microphones in (None, always.microphones) and always.microphones is not None
        turning += drawn.head_turn_deg_s != 0
        faulty += drawn.microphones is not None
    assert 80 < turning < 120 and 40 < faulty < 80


class TestMicrophones:
    def test_gain_is_in_the_images(self, head):
        ideal = rendered(scene(0, 0), head)
        wrong = rendered(scene(0, 0, microphones=Microphones(gain_db=(2.0, -1.0))), head)
        assert metrics.ild_db(wrong.mixture) - metrics.ild_db(ideal.mixture) == pytest.approx(3.0, abs=1e-3)
        np.testing.assert_allclose(wrong.images.sum(0), wrong.mixture, atol=1e-7)

    def test_noise_is_independent_at_the_ears_and_comes_from_the_seed(self, head):
        shot = scene(0, 0, microphones=Microphones(noise_db=-50.0))
        once, again, other = (rendered(s, head) for s in (shot, shot, replace(shot, seed=1)))
        noise = once.mixture - once.images.sum(0)
        np.testing.assert_allclose(20 * np.log10(noise.std(axis=1)), -50.0, atol=0.2)
        assert abs(np.corrcoef(noise)[0, 1]) < 0.03
        np.testing.assert_array_equal(once.mixture, again.mixture)
        assert np.any(once.mixture != other.mixture)

    def test_clipping(self, head):
        sound = rendered(scene(0, 0, microphones=Microphones(clip_db=-30.0)), head)
        limit = 10 ** (-30 / 20)
        assert np.abs(sound.mixture).max() == pytest.approx(limit)
        inside = np.abs(sound.images.sum(0)) < limit
        np.testing.assert_allclose(sound.mixture[inside], sound.images.sum(0)[inside], atol=1e-7)
