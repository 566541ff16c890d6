"""SELD scenes as data, paths, and scenes that cannot be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hearable.synthesis.seld_checks import check_scene
from hearable.synthesis.seld_scene import Ambience, Event, MeasuredRoom, SeldScene, ShoeboxRoom, Waypoint
from hearable.synthesis.trajectories import along, positions

ROOM = ShoeboxRoom((6.0, 5.0, 3.0), 0.5, (3.0, 2.0, 1.5))
PATH = (Waypoint(0.0, 170.0, 0.0, 1.0), Waypoint(2.0, -170.0, 20.0, 1.4))
EVENT = Event("dog/0", "dog", "target", 100, 24000, 0, -30.0, PATH)
SCENE = SeldScene(24000, 48000, 1, ROOM, (EVENT,), Ambience("diffuse", 20.0, 3), ("foa", "binaural"))


@pytest.mark.parametrize("room", [ROOM, MeasuredRoom("hall"), None])
@pytest.mark.parametrize("ambience", [Ambience("recorded", 6.0, 1, "rain"), None])
def test_scene_goes_through_json(room, ambience):
    scene = replace(SCENE, room=room, ambience=ambience)
    assert SeldScene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_paths_take_the_short_way_round_and_stay_at_their_ends():
    azimuth, elevation, distance = along(PATH, [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 9.0])
    np.testing.assert_allclose(azimuth, [170, 170, 175, -180, -175, -170, -170])
    np.testing.assert_allclose(elevation, [0, 0, 5, 10, 15, 20, 20])
    np.testing.assert_allclose(distance, [1, 1, 1.1, 1.2, 1.3, 1.4, 1.4])
    np.testing.assert_allclose(positions((Waypoint(0, 90, 0, 2),), [0.0, 5.0]), [[0, 2, 0]] * 2, atol=1e-12)


def test_a_possible_scene_passes():
    check_scene(SCENE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"formats": ("foa", "stereo")}, "formats among foa, mic, binaural, found foa, stereo"),
        ({"formats": ()}, "found none"),
        ({"samples": 0}, "found 24000 Hz and 0 samples"),
        ({"room": replace(ROOM, size_m=(6.0, 0.5, 3.0))}, "1 to 100 m a side, found 6.00 x 0.50 x 3.00 m"),
        ({"room": replace(ROOM, rt60_s=0.0)}, "found 0 s"),
        ({"room": replace(ROOM, rt60_s=float("nan"))}, "found nan s"),
        ({"room": replace(ROOM, array_m=(3.0, 5.0, 1.5))}, "found it at 3.00 x 5.00 x 1.50 m"),
        ({"samples": 20000}, r"event 0 \(dog\): expected it within the scene's 20000 samples"),
    ],
)
def test_impossible_scenes(change, message):
    with pytest.raises(ValueError, match=message):
        check_scene(replace(SCENE, **change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"path": (Waypoint(0, 0, 0, 4.0),)}, "inside the walls of a room of 6.00 x 5.00 x 3.00 m, found it at 7.00"),
        ({"path": (Waypoint(0, 0, 0, 0.1),)}, "0.3 m or farther from the array, found 0.10 m"),
        ({"path": (Waypoint(0, 0, 0, float("nan")),)}, "found nan m"),
        (
            {"path": (Waypoint(0.1, 0, 0, 1), Waypoint(0.5, 0, 80, 2.9), Waypoint(0.9, 0, 0, 1))},
            "found it at 4.39 x 2.00 x 3.21",
        ),
        ({"path": ()}, "one after the other"),
        ({"path": PATH[::-1]}, "one after the other"),
        ({"clip_start": -1}, "found -1"),
        ({"samples": 0}, "found 0 samples"),
    ],
)
def test_impossible_events(change, message):
    with pytest.raises(ValueError, match=message):
        check_scene(replace(SCENE, events=(replace(EVENT, **change),)))
