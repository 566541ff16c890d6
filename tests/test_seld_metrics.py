"""SELD metrics: identical to the official code where they say so, and right where they say strict."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

from hearable.cli import app
from hearable.errors import LabelError
from hearable.seld.events import Events, read_labels, read_predictions, write_predictions
from hearable.seld.scores import evaluate, jackknife, read_pairs
from tests import seld_cases

OFFICIAL = json.loads(Path(__file__).with_name("official_seld.json").read_text())
SCORES = ("er", "f", "le", "lr", "seld")


def figures(evaluation):
    return [getattr(evaluation.scores, name) for name in SCORES]


def score(reference, prediction, mode="strict", **options):
    """Of rows (frame, class, event, azimuth, elevation)."""
    return evaluate([(Events.from_rows(reference), Events.from_rows(prediction))], mode, **options)


def event(frames, number=0, azimuth=0.0, elevation=0.0, kind=0):
    return [(frame, kind, number, azimuth, elevation) for frame in frames]


def test_the_stored_scores_belong_to_the_cases():
    assert OFFICIAL["cases"] == seld_cases.fingerprint()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    found = []
    for number in range(seld_cases.CASES):
        folder = tmp_path_factory.mktemp("case")
        seld_cases.write(seld_cases.case(number), folder / "reference", folder / "prediction")
        found.append(read_pairs(folder / "reference", folder / "prediction"))
    return found


@pytest.mark.parametrize(
    ("stored", "mode", "macro"),
    [
        ("official2021", "official2021", False),
        ("official2022", "official2022", False),
        ("official2022 macro", "official2022", True),
    ],
)
def test_as_the_official_code_on_200_cases(pairs, stored, mode, macro):
    compared = 0
    for clips, expected in zip(pairs, OFFICIAL[stored], strict=True):
        if expected is None:  # there the official code fails: a clip without labels
            with pytest.raises(LabelError, match="strict"):
                evaluate(clips, mode, macro)
        else:
            np.testing.assert_allclose(figures(evaluate(clips, mode, macro)), expected, rtol=1e-9, atol=1e-9)
            compared += 1
    assert compared >= (seld_cases.CASES if mode == "official2021" else 180)


def test_strict_counts_false_alarms_of_a_class_that_sounds_at_another_time():
    reference, prediction = event(range(0, 3)), event(range(5, 9)) + event(range(5, 9), 1, 90)
    strict, official = (score(reference, prediction, mode).scores for mode in ("strict", "official2021"))
    assert (strict.er, strict.f, strict.lr) == pytest.approx((2, 0, 0))
    assert official.er == pytest.approx(2)  # its quirk: two misses of one event
    late = score(event([0]), event([0]) + event(range(40, 50), 1)).scores
    assert late.er == pytest.approx(1)
    assert score(event([0, 15]), event([0, 15]) + event(range(40, 50)), "official2022").scores.er == pytest.approx(0)


def test_strict_counts_a_second_event_that_does_not_overlap_the_first():
    reference = event(range(0, 3), 0) + event(range(6, 9), 1, 90)
    found = event(range(0, 3))
    assert score(reference, found).scores.lr == pytest.approx(1 / 2)
    assert score(reference, found, "official2021").scores.lr == pytest.approx(1)
    both = found + event(range(6, 9), 0, 90)  # of a network without tracks: the number is always 0
    assert figures(score(reference, both)) == pytest.approx([0, 1, 0, 1, 0], abs=1e-9)


@pytest.mark.parametrize("azimuth", [-180, -90, 0, 45, 171])
def test_twenty_degrees_is_a_hit_in_strict(azimuth):
    found = score(event([0], azimuth=azimuth), event([0], azimuth=azimuth + 20))
    assert found.scores.f == pytest.approx(1)
    assert found.scores.le == pytest.approx(20)
    assert score(event([0], azimuth=azimuth), event([0], azimuth=azimuth + 20.01)).scores.f == 0


def test_a_misplaced_and_a_missed_event_are_two_errors_in_strict():
    reference = event([0], 0, 0) + event([0], 1, 90, kind=1)
    prediction = event([0], 0, 60)
    assert score(reference, prediction).scores.er == pytest.approx(1)
    assert score(reference, prediction, "official2021").scores.er == pytest.approx(0.5)


def test_a_misplaced_event_weighs_half_in_2021_and_one_since():
    reference = event([0], 0, 0) + event([10], 1, 90)
    prediction = event([0], 0, 0) + event([10], 1, 150)
    assert score(reference, prediction, "official2021").scores.f == pytest.approx(2 / 3)
    assert score(reference, prediction).scores.f == pytest.approx(1 / 2)


def test_macro_averages_over_the_classes_that_occur():
    reference = event([0]) + event([10], 1, kind=5)
    evaluation = score(reference, event([0]), macro=True)
    assert (evaluation.scores.f, evaluation.scores.lr, evaluation.scores.le) == pytest.approx((0.5, 0.5, 0))
    assert set(evaluation.classes) == {0, 5}
    assert evaluation.classes[5].le == 180
    official = score(reference, event([0]), "official2022", macro=True, classes=10)
    assert official.scores.lr == pytest.approx(0.1)
    with pytest.raises(ValueError, match="macro"):
        score(reference, reference, "official2021", macro=True)


def test_jackknife_of_a_mean_is_the_interval_of_students_t():
    values = np.random.default_rng(0).normal(size=(30, 1))
    partial = (values.sum(0) - values) / 29
    low, high = jackknife(values.mean(0), partial)
    reach = 2.045229642 * values.std(ddof=1) / np.sqrt(30)
    np.testing.assert_allclose([low[0], high[0]], [values.mean() - reach, values.mean() + reach])


def test_the_intervals_surround_the_score_of_all_clips(pairs):
    evaluation = evaluate([clip for clips in pairs[:20] for clip in clips], "strict")
    for name in SCORES:
        low, high = evaluation.intervals[name]
        assert low < getattr(evaluation.scores, name) < high


def test_five_and_six_columns_are_the_same(tmp_path):
    events = Events.from_rows(event(range(3), 0, 170, -30) + event(range(3), 1, -20, 80))
    write_predictions(tmp_path / "six.csv", events)
    lines = [
        f"{f},0,{n},{a:.0f},{e:.0f}" for f, _, n, a, e in event(range(3), 0, 170, -30) + event(range(3), 1, -20, 80)
    ]
    (tmp_path / "five.csv").write_text("\n".join(lines) + "\n\n")
    six, five = read_predictions(tmp_path / "six.csv"), read_predictions(tmp_path / "five.csv")
    np.testing.assert_allclose(six.directions, five.directions, atol=2e-6)
    np.testing.assert_array_equal(six.event, five.event)
    assert len(read_labels(tmp_path / "five.csv")) == 6


def test_a_distance_is_skipped(tmp_path):
    """As STARSS23 and the 2024 baseline write it, in centimetres."""
    (tmp_path / "labels.csv").write_text("0,1,0,-50,30,181\n3,1,1,179,-12,90\n")
    (tmp_path / "plain.csv").write_text("0,1,0,-50,30\n3,1,1,179,-12\n")
    labels, plain = read_labels(tmp_path / "labels.csv"), read_labels(tmp_path / "plain.csv")
    np.testing.assert_array_equal(labels.directions, plain.directions)
    np.testing.assert_array_equal(labels.event, plain.event)
    vectors = [",".join(map(str, row)) for row in plain.directions]
    (tmp_path / "said.csv").write_text(f"0,1,0,{vectors[0]},1.8\n3,1,0,{vectors[1]},0.9\n")
    np.testing.assert_allclose(read_predictions(tmp_path / "said.csv").directions, plain.directions, atol=1e-12)
    done = run(tmp_path / "labels.csv", tmp_path / "said.csv", "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["f"] == pytest.approx(1)
    with pytest.raises(LabelError, match=r"labels\.csv, line 1: expected x, y, z up to 10, .* distance\?"):
        read_predictions(tmp_path / "labels.csv")


@pytest.mark.parametrize("row", ["0,1,2,3", "0,1,0,0.1,0.2,0.3", "0.5,1,0,10,0", "-1,1,0,10,0", "0,1,0,nan,0", "a,b"])
def test_a_row_that_is_no_label_is_named(tmp_path, row):
    (tmp_path / "a.csv").write_text(f"0,1,0,10,0\n{row}\n")
    with pytest.raises(LabelError, match=r"a\.csv, line 2: expected"):
        read_labels(tmp_path / "a.csv")


def run(*arguments):
    return CliRunner().invoke(app, ["seld", "score", *map(str, arguments)])


@pytest.fixture
def folders(tmp_path):
    seld_cases.write(seld_cases.case(1), tmp_path / "reference", tmp_path / "prediction")
    return tmp_path / "reference", tmp_path / "prediction"


def test_command(folders):
    done = run(*folders, "--json")
    assert done.exit_code == 0, done.output
    printed = json.loads(done.stdout)
    np.testing.assert_allclose([printed[name] for name in SCORES], OFFICIAL["official2021"][1], rtol=1e-9)
    assert printed["classes"] and {"references", "f", "le", "lr"} == set(next(iter(printed["classes"].values())))
    text = run(*folders, "--mode", "strict", "--macro")
    assert text.exit_code == 0 and "SELD score" in text.stdout and "strict, macro average" in text.stdout


def test_labels_that_a_mode_does_not_know_are_told(tmp_path):
    """2021 has 60 s and 12 classes: recordings of STARSS are longer and have 13."""
    (tmp_path / "a.csv").write_text("0,1,0,10,0\n0,12,1,10,0\n600,1,2,10,0\n601,12,3,10,0\n")
    done = run(tmp_path / "a.csv", tmp_path / "a.csv", "--json")
    assert json.loads(done.stdout)["left_out"] == 3 and "warning: 3 labelled rows are not counted" in done.stderr
    whole = run(tmp_path / "a.csv", tmp_path / "a.csv", "--mode", "strict", "--json")
    assert json.loads(whole.stdout)["left_out"] == 0 and "warning" not in whole.stderr


def test_a_missing_prediction_is_an_error(folders):
    reference, prediction = folders
    (prediction / "clip0.csv").unlink()
    done = run(reference, prediction)
    assert done.exit_code == 1 and "missing that of 'clip0'" in done.output
    (prediction / "clip0.csv").touch()
    (prediction / "other.csv").touch()
    assert "missing that of 'other'" in run(reference, prediction).output
    assert run(reference, prediction / "nowhere").exit_code == 1
    assert run(reference, prediction, "--macro").exit_code == 2
