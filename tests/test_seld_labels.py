"""DCASE labels: which frames, which direction, which events."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hearable.errors import AudioError
from hearable.synthesis.labels import label_rows, write_labels
from hearable.synthesis.seld_scene import Event, SeldScene, Waypoint

RATE = 24000
CLASSES = ("alarm", "dog")
STILL = Event("dog/0", "dog", "target", 2 * RATE, RATE, 0, -30.0, (Waypoint(0, 179.7, -10.4, 1.0),))
SCENE = SeldScene(RATE, 6 * RATE, 1, None, (STILL,))


def labels(*events: Event, active=None):
    spans = active or [[(e.clip_start, e.clip_start + e.samples)] for e in events]
    return label_rows(replace(SCENE, events=events), spans, CLASSES)


def test_a_static_event_labels_its_frames_in_whole_degrees():
    assert labels(STILL) == [(frame, 1, 0, -180, -10) for frame in range(20, 30)]


def test_the_direction_of_a_moving_event_is_that_of_the_frames_centre():
    path = (Waypoint(2.0, 160.0, 0.0, 1.0), Waypoint(3.0, -160.0, 20.0, 1.0))  # 40 degrees in a second, at the back
    rows = labels(replace(STILL, path=path))
    assert [r[3] for r in rows[:2]] == [162, 166] and rows[-1][3:] == (-162, 19)
    assert all(-180 <= r[3] < 180 for r in rows)


def test_only_the_stretches_that_sound_are_labelled():
    spans = [(-100, 4 * 2400 - 100), (7 * 2400 + 100, 7 * 2400 + 200)]  # a click fills no half frame, but has one
    assert [r[0] for r in labels(STILL, active=[spans])] == [20, 21, 22, 23, 27]


def test_stretches_are_those_of_the_sound_not_of_the_clip():
    rows = labels(replace(STILL, clip_start=4800, samples=4800), active=[[(0, 7200)]])
    assert [r[0] for r in rows] == [20]


def test_interferers_have_no_label_and_targets_are_numbered_by_start():
    early = replace(STILL, start=0, samples=2400, label="alarm")
    rows = labels(STILL, replace(STILL, role="interferer", label="fire"), early)
    assert rows[0][:3] == (0, 0, 0) and {r[2] for r in rows[1:]} == {1} and len(rows) == 11


def test_labels_end_with_the_scene():
    assert labels(replace(STILL, start=5 * RATE, samples=3 * RATE))[-1][0] == 59


def test_an_unknown_class_is_refused():
    with pytest.raises(ValueError, match="among alarm, dog, found 'cat'"):
        labels(replace(STILL, label="cat"))


def test_the_file_has_no_header(tmp_path):
    write_labels(tmp_path / "a.csv", [(0, 1, 0, -180, 5), (1, 1, 0, 7, -5)])
    assert (tmp_path / "a.csv").read_bytes() == b"0,1,0,-180,5\n1,1,0,7,-5\n"
    with pytest.raises(AudioError, match="no folder"):
        write_labels(tmp_path / "none" / "a.csv", [])
