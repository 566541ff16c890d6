"""Scenes, impulse responses, rendering, recipes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hearable import metrics
from hearable.synthesis.directions import angle_between_deg, angles_deg, unit_vectors
from hearable.synthesis.hrir import HrirSet, load_npz, load_sofa
from hearable.synthesis.recipes import Material, Sound, TseRecipe, draw_tse, facing
from hearable.synthesis.render import dry_signal, render
from hearable.synthesis.scene import Clip, Scene, Source
from tests import tinykit

RECIPE = TseRecipe(samples=8000, enrollment_samples=6000)


class Noises:
    """A bank in which every sound is noise of its own."""

    def read(self, sound: str, start: int, samples: int) -> np.ndarray:
        rng = np.random.default_rng(list(sound.encode()))
        return rng.normal(size=start + samples).astype(np.float32)[start:]


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> HrirSet:
    path = tmp_path_factory.mktemp("ears") / "ball.npz"
    tinykit.save_responses(path, "hrir_q", tinykit.responses())
    return load_npz(path)


@pytest.fixture(scope="module")
def material(ball: HrirSet) -> Material:
    speakers = {f"s{n}": [Sound(f"s{n}/{u}", 3000 + 1500 * u + 7 * n) for u in range(2 + n % 3)] for n in range(8)}
    return Material(speakers, [Sound("short", 2000), Sound("long", 90000)], {"ball": ball}, [1.0])


def scene_with(*sources: Source, samples: int = 4000) -> Scene:
    return Scene(0, samples, "ball", -30.0, sources)


def source(azimuth_deg: float, level_db: float = 0.0, role: str = "target") -> Source:
    return Source(role, "s", (Clip("s/0", 0, 3000), Clip("s/1", 10, 3000)), azimuth_deg, 0.0, level_db)  # type: ignore[arg-type]


def test_directions() -> None:
    np.testing.assert_allclose(unit_vectors([0, 90, 0], [0, 0, 90]), np.eye(3), atol=1e-12)
    assert angle_between_deg(unit_vectors(350, 0), unit_vectors(10, 0)) == pytest.approx(20)
    np.testing.assert_allclose(angles_deg(3 * unit_vectors([-150, 90], [20, -70])), [[-150, 90], [20, -70]])


def test_scene_goes_through_json(material: Material) -> None:
    scene = draw_tse(3, material, RECIPE).mixture
    assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_images_sum_to_the_mixture(material: Material, ball: HrirSet) -> None:
    drawn = draw_tse(1, material, RECIPE)
    for scene in (drawn.mixture, drawn.enrollment):
        rendered = render(scene, Noises(), {"ball": ball})
        assert rendered.images.shape == (len(scene.sources), 2, scene.samples)
        assert rendered.mixture.dtype == np.float32
        np.testing.assert_allclose(rendered.images.sum(0), rendered.mixture, atol=1e-7)


@pytest.mark.parametrize("azimuth_deg", [90.0, 40.0, 0.0, -40.0, -90.0])
def test_rendered_direction_is_the_label(ball: HrirSet, azimuth_deg: float) -> None:
    image = render(scene_with(source(azimuth_deg)), Noises(), {"ball": ball}).images[0]
    side = np.sin(np.radians(azimuth_deg))
    assert metrics.ild_db(image) == pytest.approx(12 * side, abs=0.5)
    # A left source is earlier at the left ear; the toy head delays by whole samples.
    assert metrics.itd_us(image, 16000) == pytest.approx(2 * round(5 * side) / 16000 * 1e6, abs=5)


def test_a_turning_source(ball: HrirSet) -> None:
    """From 90 degrees on the left over the front to the right within a second."""
    still, turning = source(90.0), replace(source(90.0), turn_deg_s=-180.0)
    moved = render(
        scene_with(replace(turning, clips=(Clip("s/0", 0, 20000),)), samples=16000), Noises(), {"ball": ball}
    )
    for begin, azimuth_deg in ((0, 88), (8000, 0), (15000, -84)):
        piece = moved.images[0][:, begin : begin + 800]
        assert metrics.ild_db(piece) == pytest.approx(12 * np.sin(np.radians(azimuth_deg)), abs=2.5)
    # Hardly moving is standing still, up to where the band of a moving source ends.
    slow = render(scene_with(replace(still, turn_deg_s=0.1)), Noises(), {"ball": ball}).images[0]
    fixed = render(scene_with(still), Noises(), {"ball": ball}).images[0]
    low = [np.fft.rfft(image)[:, : round(0.9 * image.shape[1] / 2)] for image in (slow, fixed)]
    assert np.linalg.norm(low[0] - low[1]) < 0.01 * np.linalg.norm(low[1])


def test_turning_does_not_click(ball: HrirSet) -> None:
    """A tone on the move keeps to its frequency: what is 1 kHz away stays 60 dB down."""

    class Tone:
        def read(self, sound: str, start: int, samples: int) -> np.ndarray:
            return np.sin(2 * np.pi * 500 * np.arange(start, start + samples) / 16000).astype(np.float32)

    moving = replace(source(-60.0), turn_deg_s=90.0, clips=(Clip("tone", 0, 20000),))
    heard = render(scene_with(moving, samples=16000), Tone(), {"ball": ball}).images[0]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(16000), axis=-1))
    assert spectrum[:, 1500:].max() < 1e-3 * spectrum.max()


def test_sound_is_there_from_the_first_sample(ball: HrirSet) -> None:
    """The response's tail of what sounded before the scene: no fade-in."""
    image = render(scene_with(source(0.0)), Noises(), {"ball": ball}).images[0]
    assert np.abs(image[:, :50]).mean() == pytest.approx(np.abs(image).mean(), rel=0.3)


def test_levels_are_relative_to_the_reference(ball: HrirSet) -> None:
    dry = dry_signal(source(0.0), Noises(), 5000, -36.0)
    assert 20 * np.log10(np.sqrt(np.mean(dry.astype(np.float64) ** 2))) == pytest.approx(-36.0, abs=1e-3)
    quiet, loud = (render(scene_with(source(0.0, level)), Noises(), {"ball": ball}).images[0] for level in (0.0, 12.0))
    np.testing.assert_allclose(loud, quiet * 10 ** (12 / 20), rtol=1e-4, atol=1e-7)
    # Straight ahead, the ears' mean power is the dry signal's: reference -30 dB, level 0 dB.
    assert 10 * np.log10(np.mean(quiet.astype(np.float64) ** 2)) == pytest.approx(-30.0, abs=0.5)


def test_too_short_a_source_is_an_error(ball: HrirSet) -> None:
    with pytest.raises(ValueError, match="expected at least 7031 samples"):
        render(scene_with(source(0.0), samples=7000), Noises(), {"ball": ball})


def test_same_seed_same_scene(material: Material, ball: HrirSet) -> None:
    once, again, other = (draw_tse(seed, material, RECIPE) for seed in (11, 11, 12))
    assert once == again != other
    np.testing.assert_array_equal(
        render(once.mixture, Noises(), {"ball": ball}).mixture, render(again.mixture, Noises(), {"ball": ball}).mixture
    )


def test_protocol_levels_and_roles(material: Material) -> None:
    for seed in range(40):
        drawn = draw_tse(seed, material, TseRecipe())
        for scene in (drawn.mixture, drawn.enrollment):
            assert scene.sources[0].role == "target"
            talkers = [s for s in scene.sources if s.role != "noise"]
            noises = [s for s in scene.sources if s.role == "noise"]
            assert len(talkers) in (2, 3) and len({s.name for s in talkers}) == len(talkers)
            assert all(15 <= s.level_db <= 25 for s in talkers)
            together = 10 * np.log10(sum(10 ** (s.level_db / 10) for s in noises))
            assert 9.5 - 1e-9 <= together <= 20 + 1e-9
            assert all(sum(c.samples for c in s.clips) >= scene.samples for s in scene.sources)
            assert -60 <= scene.reference_db <= -40


def test_target_and_enrollment_share_no_utterance(material: Material) -> None:
    for seed in range(40):
        drawn = draw_tse(seed, material, RECIPE)
        mixed, enrolled = drawn.mixture.sources[0], drawn.enrollment.sources[0]
        assert mixed.name == enrolled.name
        assert not {c.sound for c in mixed.clips} & {c.sound for c in enrolled.clips}


def test_absent_target(material: Material) -> None:
    for seed in range(10):
        present = draw_tse(seed, material, RECIPE)
        absent = draw_tse(seed, material, replace(RECIPE, absent_share=1.0))
        target = absent.enrollment.sources[0].name
        assert target == present.enrollment.sources[0].name and not absent.present
        assert target not in {s.name for s in absent.mixture.sources}
        talkers = [[s for s in d.mixture.sources if s.role != "noise"] for d in (present, absent)]
        assert len(talkers[0]) == len(talkers[1])


def test_enrolled_speaker_is_in_front(material: Material, ball: HrirSet) -> None:
    for seed in range(10):
        assert draw_tse(seed, material, RECIPE).enrollment.sources[0].azimuth_deg == 0
        aside = draw_tse(seed, material, replace(RECIPE, off_axis_deg=20)).enrollment.sources[0]
        assert abs(aside.azimuth_deg) <= 20
    assert facing(source(120.0), ball, -20.0) == source(-20.0)


def test_too_few_speakers(material: Material) -> None:
    few = replace(material, speakers={name: material.speakers[name] for name in ("s0", "s1", "s2")})
    with pytest.raises(ValueError, match="larger sample"):
        draw_tse(0, few, RECIPE)


def test_npz(tmp_path: Path, ball: HrirSet) -> None:
    assert (ball.name, ball.sample_rate_hz, ball.taps) == ("ball", 16000, 32)
    assert ball.responses.shape == (36, 2, 32) and ball.responses.dtype == np.float32
    front = ball.responses[ball.nearest(0, 0)]
    assert np.mean(np.sum(front**2, -1)) == pytest.approx(1.0, rel=1e-5)
    assert ball.azimuth_deg[ball.nearest(179, 0)] == -180  # across the back
    tinykit.save_responses(tmp_path / "hall.npz", "brir_q", tinykit.responses(64))
    assert load_npz(tmp_path / "hall.npz").taps == 64
    np.savez(tmp_path / "no.npz", scale=1.0)
    with pytest.raises(KeyError, match="hrir_q"):
        load_npz(tmp_path / "no.npz")


def save_sofa(path: Path, positions: np.ndarray, ears: np.ndarray, rate: int, kind: str = "spherical") -> Path:
    sofar = pytest.importorskip("sofar", reason="pip install sofar")
    sofa = sofar.Sofa("SimpleFreeFieldHRIR")
    sofa.Data_IR, sofa.Data_SamplingRate, sofa.SourcePosition = ears, rate, positions
    sofa.SourcePosition_Type = kind
    sofa.SourcePosition_Units = "metre" if kind == "cartesian" else "degree, degree, metre"
    sofar.write_sofa(str(path), sofa)
    return path


def test_sofa_azimuth_wraps(tmp_path: Path) -> None:
    positions = np.array([[0, 0, 1.2], [90, 0, 1.2], [270, 0, 1.2], [330, 30, 1.2]], np.float64)
    ears = np.random.default_rng(0).normal(size=(4, 2, 16))
    read = load_sofa(save_sofa(tmp_path / "head.sofa", positions, ears, 44100))
    np.testing.assert_allclose(read.azimuth_deg, [0, 90, -90, -30])
    np.testing.assert_allclose(read.elevation_deg, [0, 0, 0, 30])
    assert (read.name, read.sample_rate_hz) == ("head", 44100)
    gain = 1 / np.sqrt(np.mean(np.sum(ears[0] ** 2, -1)))
    np.testing.assert_allclose(read.responses, ears * gain, rtol=1e-4, atol=1e-5)


def test_sofa_cartesian(tmp_path: Path) -> None:
    positions = np.array([[1, 0, 0], [0, 1, 0], [0, -2, 0], [1, 0, 1]], np.float64)
    ears = np.random.default_rng(0).normal(size=(4, 2, 16))
    read = load_sofa(save_sofa(tmp_path / "head.sofa", positions, ears, 16000, "cartesian"))
    np.testing.assert_allclose(read.azimuth_deg, [0, 90, -90, 0], atol=1e-4)
    np.testing.assert_allclose(read.elevation_deg, [0, 0, 0, 45], atol=1e-4)


def test_resampled_ears_keep_delay_and_level() -> None:
    rate, taps = 48000, 384
    ears = np.zeros((2, 2, taps), np.float32)
    ears[0, :, 90] = 1.0
    ears[1, 0, 90], ears[1, 1, 90 + 24] = 1.0, 0.5  # 500 us later and 6 dB softer at the right ear
    wide = HrirSet("wide", ears, np.array([0, 90], np.float32), np.zeros(2, np.float32), rate)
    narrow = wide.resampled(16000)
    assert narrow.sample_rate_hz == 16000 and narrow.taps == taps // 3
    assert metrics.itd_us(narrow.responses[1], 16000) == pytest.approx(500, abs=1)
    assert metrics.ild_db(narrow.responses[1]) == pytest.approx(6.02, abs=0.01)
    assert narrow.resampled(16000) is narrow
