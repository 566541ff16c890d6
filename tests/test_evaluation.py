"""Evaluation: the scenes of the protocol, scores, resuming, workers, and the arithmetic of the summary."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from rich.console import Console
from typer.testing import CliRunner

from hearable import evaluation, metrics
from hearable.cli.evaluate import evaluate as evaluate_command
from hearable.cli.evaluate import tables
from hearable.errors import AudioError, ModelAltered
from hearable.evaluation import evaluate, save_worst
from hearable.protocol import Evaluator, Protocol, refused, score
from hearable.score_plot import plot
from hearable.scores import (
    BASELINES,
    ENROLLMENTS,
    REALITIES,
    Row,
    aggregate,
    append_rows,
    estimate,
    read_rows,
    summarise,
    worst,
    write_rows,
)
from hearable.synthesis.recipes import TseRecipe
from tests import tinykit

SHORT = TseRecipe(samples=12000, enrollment_samples=17000)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tinykit.make(tmp_path_factory.mktemp("data") / "kit")


@pytest.fixture(scope="module")
def protocol(kit: Path, toy_folder: Path) -> Protocol:
    return Protocol(kit, "test", str(toy_folder / "toy.onnx"), str(toy_folder / "enroll.onnx"), seed=5, recipe=SHORT)


@pytest.fixture(scope="module")
def evaluator(protocol: Protocol) -> Evaluator:
    return Evaluator(protocol)


@pytest.fixture(scope="module")
def scores(evaluator: Evaluator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scores of five scenes."""
    path = tmp_path_factory.mktemp("scores") / "scores.csv"
    evaluate(evaluator, 5, path)
    return path


def row(scene: int = 0, condition: str = "noisy", **values: object) -> Row:
    facts = {"run": "r", "scene": scene, "condition": condition, "seed": 1, "target": "t", "talkers": 2,
             "listener": "ball", "place": "head", "sex": "same", "nearest_deg": 10.0, "azimuth_deg": -30.0,
             "likeness": None, "status": "ok"}  # fmt: skip
    return Row(**{**facts, **values})  # type: ignore[arg-type]


# Scenes


def test_a_scene_depends_on_seed_and_number_only(evaluator: Evaluator, protocol: Protocol) -> None:
    again = Evaluator(protocol)
    third = again.draw(3)
    assert [again.draw(n) for n in (0, 3)] == [evaluator.draw(0), evaluator.draw(3)] and evaluator.draw(3) == third
    assert evaluator.draw(0) != Evaluator(replace(protocol, seed=6)).draw(0)


def test_targets_have_an_utterance_to_enroll_with(evaluator: Evaluator) -> None:
    """Speaker s6 has one utterance: heard as an interferer, never a target."""
    heard = set()
    for n in range(60):
        drawn = evaluator.draw(n)
        target, enrolled = drawn.mixture.sources[0], drawn.enrollment.sources[0]
        assert target.name == enrolled.name != "s6"
        assert not {c.sound for c in target.clips} & {c.sound for c in enrolled.clips}
        heard |= {s.name for s in drawn.mixture.sources if s.role == "interferer"}
    assert "s6" in heard


def test_enrollment_clips(evaluator: Evaluator) -> None:
    for n, side in ((0, -20), (1, 20)):
        drawn = evaluator.draw(n)
        clips = evaluator.clips(n, drawn)
        assert list(clips) == ["noisy", "clean", "off-axis"]
        rest = clips["noisy"] - clips["clean"]
        expected = round(-5 * np.sin(np.radians(side))) * -2 / 16000 * 1e6
        assert metrics.itd_us(clips["clean"], 16000) == pytest.approx(0, abs=20)
        # The room's noisy tail and the refined peak: a third of a sample.
        assert metrics.itd_us(clips["off-axis"] - rest, 16000) == pytest.approx(expected, abs=20)


# Scores of a scene


def test_score_of_a_known_output(evaluator: Evaluator) -> None:
    scene = evaluator.draw(0).mixture
    rendered = evaluator.render(scene)
    target, interferer = rendered.images[:2]
    good = score(target, rendered, scene)
    assert good["si_sdri_db"] > 80 and good["delta_ild_db"] == good["delta_itd_us"] == 0 and not good["confused"]
    wrong = score(interferer, rendered, scene)
    assert wrong["confused"] and wrong["si_sdri_db"] < 0
    same = score(rendered.mixture, rendered, scene)
    assert same["si_sdri_db"] == same["snri_db"] == 0 and not same["confused"]
    half = score((0.5 * target).astype(np.float32), rendered, scene)
    assert half["si_sdri_db"] > 80  # the level does not count here, but it does in SNR: 6 dB
    assert half["snri_db"] + np.mean(metrics.snr(rendered.mixture, target)) == pytest.approx(6.02, abs=0.01)
    assert refused(rendered)["input_si_sdr_db"] == good["input_si_sdr_db"]


def test_rows_of_a_scene(evaluator: Evaluator) -> None:
    first, second = evaluator.rows(0), evaluator.rows(1)
    assert [r.condition for r in first] == ["noisy", "clean", "off-axis", "moving", "worn", "absent", "alone"]
    assert [r.condition for r in second] == ["noisy", "clean", "off-axis", "moving", "worn"]
    assert {r.run for r in first + second} == {evaluator.run}
    mixture = evaluator.draw(0).mixture
    assert (first[0].seed, first[0].target, first[0].listener) == (
        mixture.seed,
        mixture.sources[0].name,
        mixture.listener,
    )
    assert first[0].place == ("head" if mixture.listener == "ball" else "hall")
    # The toy model is little more than a gain.
    gain = evaluator.model.condition(evaluator.profile(evaluator.clips(0, evaluator.draw(0))["noisy"]))[0]
    assert first[5].leak_db == pytest.approx(20 * np.log10(gain), abs=0.5) and first[5].si_sdri_db is None
    assert all(r.leak_db is None and r.si_sdri_db is not None for r in first[:5])
    # A gain is no distortion, but the toy model's follows the level a little.
    assert first[6].si_sdr_db > 20 and first[6].si_sdri_db is None
    # The same sound from other places.
    assert first[3].input_si_sdr_db != first[0].input_si_sdr_db
    assert first[3].input_si_sdr_db == pytest.approx(first[0].input_si_sdr_db, abs=6)
    assert first[0].azimuth_deg == mixture.sources[0].azimuth_deg
    assert all(r.likeness == first[0].likeness and -1 <= r.likeness <= 1 for r in first if r.condition != "absent")


def test_worn_is_moving_with_a_turning_head_and_faulty_microphones(evaluator: Evaluator) -> None:
    scene = evaluator.draw(0).mixture
    moving = evaluator._moving(0, scene)
    found = evaluator._worn(moving)
    assert replace(found, head_turn_deg_s=0.0, microphones=None) == moving
    assert 0 < abs(found.head_turn_deg_s) <= 45
    noise, clip = (level - scene.reference_db for level in (found.microphones.noise_db, found.microphones.clip_db))
    assert -20 <= noise <= -10 and 36 <= clip <= 50 and 0 < max(np.abs(found.microphones.gain_db)) <= 1
    sound = evaluator.render(found)
    # The reference has the ears' gains, not the noise.
    ideal = evaluator.render(replace(found, microphones=None))
    gain = metrics.ild_db(sound.images[0]) - metrics.ild_db(ideal.images[0])
    assert gain == pytest.approx(found.microphones.gain_db[0] - found.microphones.gain_db[1], abs=1e-3)
    passed = np.abs(sound.mixture) < 0.99 * 10 ** (found.microphones.clip_db / 20)
    added = (sound.mixture - sound.images.sum(0))[passed].std()
    assert 20 * np.log10(added) == pytest.approx(found.microphones.noise_db, abs=0.5)


def test_a_refused_clip_counts_as_no_improvement(protocol: Protocol) -> None:
    silent = Evaluator(replace(protocol, recipe=replace(SHORT, reference_db=(-130.0, -130.0))))
    rows = silent.rows(0)
    assert [r.status for r in rows] == ["failed"] * 7
    assert all(r.si_sdri_db == 0 and r.confused is False and r.delta_ild_db is None for r in rows[:5])
    assert rows[5].leak_db is None and rows[6].si_sdr_db is None and rows[0].likeness is None
    summary = summarise(rows)
    assert summary["enrollment"]["noisy"]["failed"] == 1 and "absent" not in summary


def test_too_few_speakers(tmp_path: Path, protocol: Protocol) -> None:
    with pytest.raises(AudioError, match="at least 6 speakers in split 'test'.*found 5"):
        Evaluator(replace(protocol, data=tinykit.make(tmp_path / "kit", speakers=5)))


def test_baselines_and_perceptual_scores(protocol: Protocol) -> None:
    pytest.importorskip("pesq"), pytest.importorskip("pystoi"), pytest.importorskip("speechmos")
    rows = Evaluator(replace(protocol, baselines=True, perceptual=True)).rows(1)
    of = {r.condition: r for r in rows}
    assert list(of) == ["noisy", "clean", "off-axis", "moving", "worn", "known direction", "ideal mask"]
    assert of["noisy"].input_si_sdr_db == of["ideal mask"].input_si_sdr_db
    assert of["ideal mask"].si_sdri_db > max(5.0, of["known direction"].si_sdri_db)
    assert of["ideal mask"].pesq_wb_gain > 0.1 and of["ideal mask"].estoi_gain > 0.05
    before = of["ideal mask"].dnsmos - of["ideal mask"].dnsmos_gain
    assert of["noisy"].dnsmos - of["noisy"].dnsmos_gain == pytest.approx(before, abs=1e-3)
    assert of["clean"].pesq_wb is None
    assert summarise(rows)["beside"]["ideal mask"]["estoi_gain"]["mean"]["value"] == of["ideal mask"].estoi_gain


# The file of scores


def test_rows_go_through_the_file(tmp_path: Path) -> None:
    rows = [row(0, si_sdri_db=1.25, confused=True), row(1, "absent", leak_db=-12.5, nearest_deg=None)]
    write_rows(tmp_path / "s.csv", rows[:1])
    append_rows(tmp_path / "s.csv", rows[1:])
    assert read_rows(tmp_path / "s.csv", "r") == rows
    assert read_rows(tmp_path / "none.csv", "r") == []
    with pytest.raises(AudioError, match="expected scores of run q, found r"):
        read_rows(tmp_path / "s.csv", "q")
    (tmp_path / "s.csv").write_text("a,b\n1,2\n")
    with pytest.raises(AudioError, match="expected scores, found something else"):
        read_rows(tmp_path / "s.csv", "r")


def test_resuming_gives_the_same_file(evaluator: Evaluator, scores: Path, tmp_path: Path) -> None:
    whole = scores.read_text()
    lines = whole.splitlines(keepends=True)
    path = tmp_path / "scores.csv"
    # Killed within scene 2: one of its rows is there, the next is torn. Scene 0 has seven rows, scene 1 five.
    path.write_text("".join(lines[:14]) + lines[14][:40])
    done: list[int] = []
    rows = evaluate(evaluator, 5, path, done=done.append)
    assert done == [2, 3, 4, 5]
    assert path.read_text() == whole and rows == read_rows(scores, evaluator.run)
    # Nothing is left to do, and fewer scenes lose nothing.
    assert [r.scene for r in evaluate(evaluator, 1, path)] == [0] * 7
    assert path.read_text() == whole


def test_rows_of_another_run_are_not_mixed_in(protocol: Protocol, scores: Path) -> None:
    before = scores.read_text()
    with pytest.raises(AudioError, match="choose another folder"):
        evaluate(Evaluator(replace(protocol, seed=6)), 5, scores)
    assert scores.read_text() == before


def test_workers_give_identical_scores(evaluator: Evaluator, scores: Path, tmp_path: Path) -> None:
    evaluate(evaluator, 5, tmp_path / "scores.csv", workers=2)
    assert (tmp_path / "scores.csv").read_text() == scores.read_text()


def test_model_replaced_meanwhile(evaluator: Evaluator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "_compute", lambda *_: iter([[row()]]))
    with pytest.raises(ModelAltered, match="changed during the evaluation"):
        evaluate(evaluator, 1, tmp_path / "scores.csv")


# The summary


def test_aggregate_by_hand() -> None:
    rows = [
        row(0, si_sdri_db=-2.0, snri_db=1.0, confused=True, delta_ild_db=1.0, status="warned"),
        row(1, si_sdri_db=4.0, snri_db=2.0, confused=False, delta_ild_db=3.0),
        row(2, si_sdri_db=10.0, snri_db=6.0, confused=False, delta_ild_db=2.0),
        row(3, si_sdri_db=0.0, snri_db=0.0, confused=False, status="failed"),
    ]
    found = aggregate(rows)
    assert (found["scenes"], found["warned"], found["failed"]) == (4, 1, 1)
    assert [found["si_sdri_db"][s]["value"] for s in ("mean", "median", "below_0")] == [3.0, 2.0, 0.25]
    assert found["snri_db"]["mean"]["value"] == 2.25
    assert found["confused"]["mean"]["value"] == 0.25
    assert found["delta_ild_db"]["mean"]["value"] == 2.0  # the failed scene has none
    assert "delta_itd_us" not in found


def test_interval() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400).tolist()
    mean = estimate(values, lambda v: v.mean(-1))
    assert mean == estimate(values, lambda v: v.mean(-1))
    # The normal interval: 1.96 standard errors to each side.
    half = 1.96 * np.std(values) / 20
    assert mean["low"] == pytest.approx(mean["value"] - half, abs=0.05)
    assert mean["high"] == pytest.approx(mean["value"] + half, abs=0.05)


def test_summary_by_condition_and_group() -> None:
    rows = [row(n, talkers=2 + n % 2, si_sdri_db=float(n)) for n in range(4)]
    rows += [row(n, "clean", si_sdri_db=10.0 + n, place="hall") for n in range(2)]
    rows += [row(n, "absent", leak_db=leak) for n, leak in enumerate((-30.0, -20.0, -6.0))]
    summary = summarise(rows)
    noisy, clean = summary["enrollment"]["noisy"], summary["enrollment"]["clean"]
    assert list(summary["enrollment"]) == ["noisy", "clean"]
    assert noisy["by"]["talkers"]["2"]["si_sdri_db"]["mean"]["value"] == 1.0
    assert noisy["by"]["talkers"]["3"]["si_sdri_db"]["mean"]["value"] == 2.0
    assert list(clean["by"]["place"]) == ["hall"] and clean["si_sdri_db"]["median"]["value"] == 10.5
    assert summary["absent"]["leak_db"]["median"]["value"] == -20.0
    assert summary["absent"]["kept_quiet"]["value"] == pytest.approx(2 / 3, abs=1e-4)
    assert summarise([]) == {"enrollment": {}, "beside": {}, "costs": {}}


def test_costs_are_scene_by_scene() -> None:
    rows = [row(n, si_sdri_db=float(3 * n)) for n in range(4)]
    rows += [row(n, "clean", si_sdri_db=3.0 * n + 0.5) for n in range(4)]
    rows += [row(n, "off-axis", si_sdri_db=3.0 * n - 1) for n in range(1, 3)]
    costs = summarise(rows)["costs"]
    # The scenes differ by decibels, the conditions by exactly this much.
    assert costs["noisy for clean"] == {"value": 0.5, "low": 0.5, "high": 0.5}
    assert costs["off-axis for noisy"]["value"] == 1.0


def test_groups_of_numbers() -> None:
    rows = [
        row(n, si_sdri_db=float(n), likeness=n / 10, nearest_deg=20.0 * n, azimuth_deg=30.0 * n, input_si_sdr_db=-n)
        for n in range(6)
    ]
    by = summarise(rows)["enrollment"]["noisy"]["by"]
    means = {column: {k: v["si_sdri_db"]["mean"]["value"] for k, v in by[column].items()} for column in by}
    assert means["likeness"] == {"least alike third": 0.5, "middle third": 2.5, "most alike third": 4.5}
    assert means["apart"] == {"below 30 deg": 0.5, "30 to 90 deg": 3.0, "from 90 deg": 5.0}
    assert means["target"] == {"before": 1.5, "behind": 4.5}
    assert list(means["level"].items()) == [("quietest third", 4.5), ("medium third", 2.5), ("loudest third", 0.5)]


def test_the_target_alone() -> None:
    rows = [row(n, "alone", si_sdr_db=level) for n, level in enumerate((30.0, 20.0, 19.0, 25.0))]
    alone = summarise(rows)["alone"]
    assert alone["si_sdr_db"]["mean"]["value"] == 23.5 and alone["untouched"]["value"] == 0.75


def test_worst_rows() -> None:
    rows = [row(n, si_sdri_db=float(10 - n)) for n in range(5)] + [row(7, "clean", si_sdri_db=-50.0)]
    rows.append(row(8, si_sdri_db=0.0, status="failed"))
    assert [r.scene for r in worst(rows, 2)] == [4, 3]


# What is written


def test_plot(evaluator: Evaluator, scores: Path, tmp_path: Path) -> None:
    rows = read_rows(scores, evaluator.run)
    plot(rows, summarise(rows), tmp_path / "scores.png")
    assert (tmp_path / "scores.png").read_bytes()[:4] == b"\x89PNG"


def test_tables_are_whole_at_80_columns() -> None:
    values = {"si_sdri_db": 4.25, "snri_db": 7.5, "delta_ild_db": 1.5, "delta_itd_us": 121.0, "confused": True}
    rows = [row(n, c, **values) for n in range(2) for c in (*ENROLLMENTS, *REALITIES, *BASELINES)]
    summary = {"settings": {"model": "base", "split": "test", "seed": 0}, "scenes": 2, **summarise(rows), "worst": []}
    screen = Console(width=80, record=True, file=io.StringIO())
    for table in tables(summary):
        screen.print(table)
    text = screen.export_text()
    assert "worn" in text and "ideal mask" in text and "loss, worn for noisy" in text and "…" not in text


def test_worst_scenes_are_saved(evaluator: Evaluator, scores: Path, tmp_path: Path) -> None:
    rows = read_rows(scores, evaluator.run)
    folders = save_worst(evaluator, rows, 2, tmp_path)
    noisy = sorted((r for r in rows if r.condition == "noisy"), key=lambda r: r.si_sdri_db)
    assert [f.name for f in folders] == [f"scene-{r.scene:04d}" for r in noisy[:2]]
    sounds = {f.stem: soundfile.read(f, dtype="float32")[0].T for f in folders[0].glob("*.wav")}
    assert set(sounds) == {"mixture", "enrollment", "target", "output"}
    improvement = metrics.si_sdr_improvement(sounds["output"], sounds["mixture"], sounds["target"])
    assert improvement == pytest.approx(noisy[0].si_sdri_db, abs=0.01)


def test_command(kit: Path, toy_folder: Path, tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(evaluate_command)
    out = tmp_path / "deep" / "out"
    models = ["--model", str(toy_folder / "toy.onnx"), "--enroller", str(toy_folder / "enroll.onnx")]
    arguments = ["--data", str(kit), "--scenes", "2", "--out", str(out), *models]
    shown = CliRunner().invoke(app, arguments, env={"COLUMNS": "160"})
    assert shown.exit_code == 0, shown.output
    assert "toy on test, 2 scenes, seed 0" in shown.stdout and "absent: out / in, dB" in shown.stdout
    assert "Worst scenes" in shown.stdout and "known direction" not in shown.stdout
    assert sorted(f.name for f in out.iterdir()) == ["scores.csv", "scores.png", "summary.json"]
    more = CliRunner().invoke(app, [*arguments, "--baselines"])
    assert more.exit_code == 1 and "choose another folder" in str(more.exception)  # scores with others are another run
    as_json = CliRunner().invoke(app, [*arguments, "--json"])
    summary = json.loads(as_json.stdout)
    assert summary == json.loads((out / "summary.json").read_text())
    assert summary["scenes"] == 2 and summary["enrollment"]["noisy"]["scenes"] == 2
    assert [r["condition"] for r in summary["worst"]] == ["noisy"] * 2
    assert str(kit) not in json.dumps(summary) and str(toy_folder) not in json.dumps(summary)
