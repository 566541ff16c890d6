"""Measured rooms in a recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from hearable.errors import AudioError
from hearable.synthesis.arrays import foa_gains
from hearable.synthesis.directions import angle_between_deg, unit_vectors
from hearable.synthesis.generate import generate
from hearable.synthesis.render_seld import render_seld
from hearable.synthesis.seld_draw import ClipId, SeldDraw
from hearable.synthesis.seld_recipe import read_recipe
from hearable.synthesis.trajectories import along
from hearable.synthesis.verify import verify_dataset

sofar = pytest.importorskip("sofar", reason="pip install 'hearable[synthesis]'")
RATE = 24000
AZIMUTH = np.arange(-180.0, 180.0, 2.0)
RECIPE = """
name = "measured"
classes = ["alarm"]
clip_s = 6.0
formats = ["foa"]
events = { layers = 1, interferer_layers = 0, sounding_s = 5.0, DISTANCE }
motion = { share = { alarm = 1.0 }, speeds_deg_s = [10.0] }
sounds = [{ per_class = 3 }]
fold = [{ number = 1, clips = 1 }]
room = [{ fold = 1, responses = { foa = "room.sofa" } }]
"""


def write_room(path: Path, rate: int = 48000, channels: int = 4) -> None:
    """A circle of positions 2 m away, without reverberation, at a level of its own."""
    sofa = sofar.Sofa("GeneralFIR")
    directions = unit_vectors(AZIMUTH, np.zeros_like(AZIMUTH))
    sofa.Data_IR = np.zeros((len(AZIMUTH), channels, 200))
    sofa.Data_IR[:, :, 60] = 7.0 * foa_gains(directions)[:, :channels]
    sofa.Data_SamplingRate, sofa.Data_Delay = rate, np.zeros((1, channels))
    sofa.ReceiverPosition = np.zeros((channels, 3))
    sofa.SourcePosition_Type, sofa.SourcePosition_Units = "cartesian", "metre"
    sofa.SourcePosition = 2.0 * directions + 1.0
    sofa.ListenerPosition = [[1.0, 1.0, 1.0]]
    sofar.write_sofa(str(path), sofa)


@pytest.fixture
def folder(tmp_path) -> Path:
    write_room(tmp_path / "room.sofa")
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("DISTANCE", "distance_m = [1.0, 4.0]"))
    return tmp_path


def test_a_recipe_places_sources_at_measured_positions_and_labels_them_so(folder):
    draw = SeldDraw(read_recipe(folder / "recipe.toml"))
    clip = draw.draw(ClipId(1, 0))
    moving = [event for event in clip.scene.events if len(event.path) > 1]
    assert moving
    for waypoint in (w for event in clip.scene.events for w in event.path):
        assert np.abs(AZIMUTH - waypoint.azimuth_deg).min() < 1e-6 and waypoint.distance_m == pytest.approx(2.0)
    mix = render_seld(clip.scene, draw.sounds, draw.measured()).stems["foa"].mix().astype(np.float64)
    event = moving[0]
    for time_s in np.arange(event.start / RATE + 0.5, (event.start + event.samples) / RATE - 0.5, 0.5):
        part = mix[:, round((time_s - 0.05) * RATE) : round((time_s + 0.05) * RATE)]
        if np.mean(part[0] ** 2) > 1e-8:
            heard = np.array([part[0] @ part[n] for n in (3, 1, 2)])
            azimuth, elevation, _ = along(event.path, time_s)
            truth = unit_vectors(float(azimuth), float(elevation))
            assert angle_between_deg(heard / np.linalg.norm(heard), truth) < 3


def test_a_measured_position_straight_above_is_one_place(folder):
    every = np.append(AZIMUTH, 0.0)
    elevation = np.append(0 * AZIMUTH, 90.0)
    responses = np.zeros((len(every), 4, 200), np.float32)
    responses[:, :, 60] = foa_gains(unit_vectors(every, elevation))
    np.savez(folder / "room.npz", fs=RATE, azimuth=every, elevation=elevation, foa=responses)
    high = RECIPE.replace("DISTANCE", "elevation_deg = [80.0, 90.0]").replace("room.sofa", "room.npz")
    (folder / "recipe.toml").write_text(high)
    clip = SeldDraw(read_recipe(folder / "recipe.toml")).draw(ClipId(1, 0))
    assert {w.elevation_deg for event in clip.scene.events for w in event.path} == {90.0}


def test_a_recipe_takes_what_the_array_recorded_in_its_room(folder):
    recording = 0.1 * np.random.default_rng(0).normal(size=(10 * RATE, 4))
    soundfile.write(folder / "ambience.wav", recording, RATE)
    recipe = RECIPE.replace("DISTANCE", "gap_s = 1") + 'ambience = { kind = "array", snr_db = [10.0, 10.0] }\n'
    for room, message in (
        ('foa = "room.sofa" }', "expected recordings of foa in each room, found none"),
        ('foa = "room.sofa" }, tau_ambience = "x"', "or tau_ambience beside tau"),
    ):
        (folder / "recipe.toml").write_text(recipe.replace('foa = "room.sofa" }', room))
        with pytest.raises(AudioError, match=message):
            read_recipe(folder / "recipe.toml")
    with_own = recipe.replace('"room.sofa" }', '"room.sofa" }, ambience = { foa = "ambience.wav" }')
    (folder / "recipe.toml").write_text(with_own)
    draw = SeldDraw(read_recipe(folder / "recipe.toml"))
    clip = draw.draw(ClipId(1, 0))
    stems = render_seld(clip.scene, draw.sounds, draw.measured()).stems["foa"]
    assert clip.scene.ambience is not None and clip.scene.ambience.kind == "array"
    assert stems.snr_db == pytest.approx(10, abs=0.01)
    np.testing.assert_allclose(np.corrcoef(stems.ambience), np.eye(4), atol=0.05)
    (folder / "recipe.toml").write_text(with_own.replace("clip_s = 6.0", "clip_s = 12.0"))
    with pytest.raises(AudioError, match=r"room 1: expected 12 s of ambience or more, found 10.0 s"):
        SeldDraw(read_recipe(folder / "recipe.toml"))
    drawn = with_own.replace("clips = 1", "clips = 1, rooms = 1")
    (folder / "recipe.toml").write_text(drawn)
    with pytest.raises(AudioError, match="found rooms that are drawn"):
        read_recipe(folder / "recipe.toml")


def test_a_dataset_in_a_measured_room_passes(folder):
    rng = np.random.default_rng(1)
    soundfile.write(folder / "ambience.wav", 0.1 * rng.normal(size=(20 * RATE, 4)), RATE)
    own = '"room.sofa" }, ambience = { foa = "ambience.wav" }'
    recipe = RECIPE.replace("DISTANCE", "gap_s = 0.5").replace('"room.sofa" }', own)
    (folder / "recipe.toml").write_text(recipe + 'ambience = { kind = "array", snr_db = [20.0, 20.0] }\n')
    assert generate(read_recipe(folder / "recipe.toml"), folder / "out") == 1
    report = verify_dataset(folder / "out")
    assert report.passed, report.faults
    assert {check.name for check in report.checks if check.bound} >= {"foa DOA", "foa level"}
    made = (folder / "out" / "dataset.json").read_text()
    assert '"ambience.wav"' in made and str(folder) not in made


def test_rooms_that_will_not_do(folder):
    (folder / "recipe.toml").write_text(RECIPE.replace("DISTANCE", "distance_m = [3.0, 4.0]"))
    with pytest.raises(AudioError, match="room 1: expected positions between"):
        SeldDraw(read_recipe(folder / "recipe.toml"))
    (folder / "recipe.toml").write_text(RECIPE.replace("DISTANCE", "gap_s = 1").replace('"foa"]', '"foa", "mic"]'))
    with pytest.raises(AudioError, match="expected responses of foa, mic, found foa"):
        read_recipe(folder / "recipe.toml")
    (folder / "recipe.toml").write_text(
        RECIPE.replace("DISTANCE", "gap_s = 1").replace("fold = 1, res", "fold = 1, rt60_s = 1, res")
    )
    with pytest.raises(AudioError, match="or responses, or tau and name"):
        read_recipe(folder / "recipe.toml")
    gone = RECIPE.replace("DISTANCE", "gap_s = 1").replace(
        'responses = { foa = "room.sofa" }', 'tau = "gone", name = "hall"'
    )
    (folder / "recipe.toml").write_text(gone)
    with pytest.raises(AudioError, match="rirs_<number>_hall.mat"):
        SeldDraw(read_recipe(folder / "recipe.toml"))
