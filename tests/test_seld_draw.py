"""Recipes: what they may say, and the clips that are drawn from them."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hearable.errors import AudioError
from hearable.synthesis.directions import angle_between_deg
from hearable.synthesis.seld_checks import check_scene
from hearable.synthesis.seld_draw import ClipId, SeldDraw
from hearable.synthesis.seld_paths import Places
from hearable.synthesis.seld_recipe import SeldRecipe, read_recipe
from hearable.synthesis.seld_scene import ShoeboxRoom
from hearable.synthesis.trajectories import positions

ROOT = Path(__file__).resolve().parent.parent
PAPER = ROOT / "datasets" / "dcase2021" / "recipe.toml"
SMALL = """
name = "small"
classes = ["piano", "knocking"]
interferers = ["fire"]
clip_s = 8.0
events = { layers = 2, sounding_s = 5.0, distance_m = [0.8, 2.0] }

[[sounds]]
per_class = 4

[[fold]]
number = 1
clips = 2

[[room]]
fold = 1
size_m = [6.0, 5.0, 3.0]
rt60_s = 0.4
array_m = [3.0, 2.0, 1.4]
"""


@pytest.fixture(scope="module")
def paper() -> SeldDraw:
    return SeldDraw(read_recipe(PAPER))


@pytest.fixture(scope="module")
def clips(paper: SeldDraw):
    return [paper.draw(ClipId(fold, 7)) for fold in (1, 6)]


def small(tmp_path: Path, change: str = "", by: str = "") -> SeldRecipe:
    assert change in SMALL
    (tmp_path / "recipe.toml").write_text(SMALL.replace(change, by) if change else SMALL + by)
    return read_recipe(tmp_path / "recipe.toml")


def test_the_papers_dataset(paper, clips):
    assert Counter(clip.fold for clip in paper.clips()) == dict.fromkeys(range(1, 7), 100)
    assert sum(map(len, paper.rooms.values())) == 13
    for clip in clips:
        check_scene(clip.scene)
        assert clip.scene.samples == 60 * 24000 and clip.scene.rate == 24000
        assert clip.scene.formats == ("foa", "mic", "binaural")
        assert clip.scene.ambience is not None and 6 <= clip.scene.ambience.snr_db <= 30


def test_layers_gaps_and_polyphony(paper, clips):
    for clip in clips:
        rows = clip.labels(paper.recipe.classes)
        assert max(Counter(row[0] for row in rows).values()) <= 3
        targets = [e for e in clip.scene.events if e.role == "target"]
        interferers = [e for e in clip.scene.events if e.role == "interferer"]
        assert 110 * 24000 < sum(e.samples for e in targets) <= 120 * 24000
        assert 35 * 24000 < sum(e.samples for e in interferers) <= 40 * 24000
        assert {e.label for e in interferers} <= {"engine", "fire", "general"}
        assert all(e.start % 2400 == 0 for e in clip.scene.events)
        for early, late in zip(interferers, interferers[1:], strict=False):
            assert late.start - early.start - early.samples >= 24000 - 1


def test_interferers_have_the_power_of_a_layer_of_targets(clips):
    def energy(role: str, scene) -> float:
        return sum(
            e.samples * 10 ** (e.level_db / 10) / np.mean([w.distance_m**2 for w in e.path])
            for e in scene.events
            if e.role == role
        )

    for clip in clips:
        ratio = energy("target", clip.scene) / 3 / energy("interferer", clip.scene)
        assert 10 * np.log10(ratio) == pytest.approx(0, abs=1e-6)


def test_what_moves_and_how_fast(paper):
    for event in (e for i in range(2) for e in paper.draw(ClipId(2, i)).scene.events):
        seconds = event.samples / 24000
        moves = len(event.path) > 1
        assert not moves or (seconds > 3 and event.label in paper.recipe.motion.share)
        if event.label == "footsteps" and seconds > 3:
            assert moves
        if moves:
            assert event.path[0].time_s == pytest.approx(event.start / 24000)
            times = np.linspace(event.path[0].time_s, event.path[-1].time_s, 1001)
            places = positions(event.path, times)
            level = places * (1, 1, 0) if len({w.distance_m for w in event.path}) > 1 else places
            step = angle_between_deg(
                *(level[a:b] / np.linalg.norm(level[a:b], axis=1)[:, None] for a, b in ((0, -1), (1, None)))
            )
            speed = step / (times[1] - times[0])
            assert min(abs(np.median(speed) / s - 1) for s in (10, 20, 40)) < 0.02
            assert np.ptp(places[:, 2]) < 0.01  # level


def test_folds_share_no_sound_and_no_room(paper):
    labels = paper.recipe.labels
    heard = {f: {e.origin for label in labels for e in paper.entries(f, label)} for f in range(1, 7)}
    assert sum(map(len, heard.values())) == len(set().union(*heard.values()))
    rooms = [room for rooms in paper.rooms.values() for room in rooms]
    assert len(set(rooms)) == len(rooms)


def test_a_clip_depends_on_nothing_but_seed_fold_and_number(tmp_path):
    recipe = small(tmp_path)
    first, second = SeldDraw(recipe), SeldDraw(recipe)
    forward = [first.draw(clip) for clip in first.clips()]
    assert [second.draw(clip) for clip in reversed(second.clips())][::-1] == forward
    assert forward[0].scene != forward[1].scene
    other = SeldDraw(msgspec.structs.replace(recipe, seed=9)).draw(ClipId(1, 0))
    assert other.scene.events != forward[0].scene.events


def test_rooms_without_reverberation_and_scenes_without_the_rest(tmp_path):
    recipe = small(tmp_path, by="\n[rooms]\nreverberant = false\n")
    scene = SeldDraw(recipe).draw(ClipId(1, 0)).scene
    assert scene.room is None and scene.ambience is None


def test_a_source_straight_above_turns_on_the_spot():
    room = ShoeboxRoom((4.0, 3.4, 2.6), 0.3, (1.5, 1.6, 1.2))
    path = Places(np.random.default_rng(5), room, (90.0, 90.0), (0.8, 0.9)).path(0.0, 9.0, 40.0)
    assert len(path) < 100
    np.testing.assert_allclose(positions(path, np.linspace(0, 9, 50))[:, :2], 0, atol=1e-6)


def test_paths_stay_inside_and_keep_their_distance():
    room = ShoeboxRoom((4.0, 3.4, 2.6), 0.3, (1.5, 1.6, 1.2))
    places = Places(np.random.default_rng(5), room, (-40.0, 40.0), (0.8, 4.0))
    for turn in range(60):
        path = places.path(1.0, 1.0 + 2 + turn % 8, (10.0, 20.0, 40.0)[turn % 3]) if turn % 4 else places.place()
        there = positions(path, np.linspace(0, 12, 500))
        assert np.linalg.norm(there, axis=1).min() > 0.75
        absolute = there + np.array(room.array_m)
        assert np.all(absolute > 0.1) and np.all(absolute < np.array(room.size_m) - 0.1)


@pytest.mark.parametrize(
    ("change", "by", "message"),
    [
        ("clip_s = 8.0", "clip_s = 8.0\nlenght = 3", "unknown field `lenght`"),
        ("per_class = 4", "per_clas = 4", r"unknown field `per_clas` - at `\$.sounds\[0\]`"),
        ("clip_s = 8.0", 'clip_s = "long"', r"Expected `float`, got `str` - at `\$.clip_s`"),
        ("clip_s = 8.0", "clip_s = 8.05", "whole frames"),
        ("clip_s = 8.0", "clip_s = 4.0", "sounding_s up to clip_s"),
        ("per_class = 4", 'layout = "zip"', "layout among built-in, folders"),
        ("per_class = 4", 'layout = "folders"', "expected a folder"),
        ("size_m = [6.0, 5.0, 3.0]", "size_m = [6.0, -5.0, 3.0]", r"> 0.0 - at `\$.room\[0\].size_m\[1\]`"),
        ("size_m = [6.0, 5.0, 3.0]", "size_m = [6.0, 0.5, 3.0]", "1 to 100 m a side"),
        ("rt60_s = 0.4", "rt60_s = 50.0", "reverberation time"),
        ("array_m = [3.0, 2.0, 1.4]", "array_m = [3.0, 7.0, 1.4]", "the array"),
        ("fold = 1\n", "fold = 2\n", "fold 1: expected a room, found none"),
        (
            "clips = 2",
            "clips = 2\nrooms = 1\n\n[[room]]\nfold = 7\nsize_m = [5, 4, 3]\nrt60_s = 0.3\narray_m = [2, 2, 1]",
            "expected rooms of the folds 1, found one of 7",
        ),
        ("per_class = 4", 'labels = { dog = "piano" }', "labels with a folder only"),
        ("clip_s = 8.0", "clip_s = 8.0\nmotion = { speeds_deg_s = [1e9] }", "<= 1000.0"),
        ('["fire"]', '["piano"]', "distinct classes and interferers"),
        ("clips = 2", "clips = two", "Invalid value"),
        ("clips = 2", "clips = 0", "expected a fold with clips, found none"),
        ("sounding_s = 5.0", "sounding_s = 1e-5", r">= 0.1 - at `\$.events.sounding_s`"),
        ("distance_m = [0.8, 2.0]", "distance_m = [2.0, 0.8]", r"\[low, high\]"),
        ("distance_m = [0.8, 2.0]", "distance_m = [0.1, 2.0]", "expected distance_m from 0.3 m on, found 0.1 m"),
        ("distance_m = [0.8, 2.0]", "distance_m = [0.8, inf]", "expected finite numbers, found inf"),
        ("distance_m = [0.8, 2.0]", "sir_db = nan", "expected finite numbers, found nan"),
        ("distance_m = [0.8, 2.0]", "longest_s = 0.001", r">= 0.1 - at `\$.events.longest_s`"),
        ("clip_s = 8.0", 'clip_s = 8.0\nformats = ["foa", "foa"]', "distinct formats"),
    ],
)
def test_bad_recipes(tmp_path, change, by, message):
    with pytest.raises(AudioError, match=message) as caught:
        small(tmp_path, change, by)
    assert str(caught.value).startswith(str(tmp_path / "recipe.toml")) and "\n" not in str(caught.value)


def test_bad_recipes_that_only_the_sounds_and_rooms_show(tmp_path):
    def refused(message: str, change: str, by: str) -> None:
        with pytest.raises(AudioError, match=message):
            SeldDraw(small(tmp_path, change, by))

    refused("room 1: expected no wall within 1.9 m .* found one at 1.89 m", "[0.8, 2.0]", "[1.9, 2.0]")
    refused("none: no such folder", "per_class = 4", 'layout = "folders"\nfolder = "none"')
    refused("found none of cat", '"piano", "knocking"', '"piano", "cat"')
    second = "[[fold]]\nnumber = 2\nclips = 1\nrooms = 1\n\n[[fold]]\nnumber = 1"
    recipe = small(tmp_path, "per_class = 4\n\n[[fold]]\nnumber = 1", f"per_class = 1\n\n{second}")
    with pytest.raises(AudioError, match="fold [12]: expected sounds of every class, found none of"):
        SeldDraw(recipe)


def test_a_recipe_that_is_not_there(tmp_path):
    with pytest.raises(AudioError, match=re.escape(f"{tmp_path}/none.toml: cannot read")):
        read_recipe(tmp_path / "none.toml")


def test_a_sound_cut_short_keeps_its_labels(tmp_path):
    clip = SeldDraw(small(tmp_path)).draw(ClipId(1, 0))
    event = clip.scene.events[0]
    short = replace(event, samples=2400)
    rows = replace(clip, scene=replace(clip.scene, events=(short,)), active=clip.active[:1]).labels(
        ("piano", "knocking")
    )
    assert [row[0] for row in rows] == [event.start // 2400]
