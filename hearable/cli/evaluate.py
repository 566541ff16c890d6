"""``hearable evaluate``: how well a model extracts, on the scenes of the test protocol."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from hearable.cli.console import needing
from hearable.errors import AudioError
from hearable.files import replacing
from hearable.scores import BASELINES, GROUPS, REALITIES, Row, summarise, worst

if TYPE_CHECKING:
    from hearable.protocol import Evaluator

MEASURES = (
    ("SI-SDRi, dB", "si_sdri_db", "mean", "{:.2f}"),
    ("  median", "si_sdri_db", "median", "{:.2f}"),
    ("  below 0", "si_sdri_db", "below_0", "{:.0%}"),
    ("SNRi, dB", "snri_db", "mean", "{:.2f}"),
    ("  median", "snri_db", "median", "{:.2f}"),
    ("  below 0", "snri_db", "below_0", "{:.0%}"),
    ("ΔILD, dB", "delta_ild_db", "mean", "{:.2f}"),
    ("  median", "delta_ild_db", "median", "{:.2f}"),
    ("ΔITD, µs", "delta_itd_us", "mean", "{:.0f}"),
    ("  median", "delta_itd_us", "median", "{:.0f}"),
    ("wrong person", "confused", "mean", "{:.0%}"),
    ("PESQ-WB", "pesq_wb", "mean", "{:.2f}"),
    ("  gain", "pesq_wb_gain", "mean", "{:+.2f}"),
    ("ESTOI", "estoi", "mean", "{:.2f}"),
    ("  gain", "estoi_gain", "mean", "{:+.2f}"),
    ("DNSMOS P.808", "dnsmos", "mean", "{:.2f}"),
    ("  gain", "dnsmos_gain", "mean", "{:+.2f}"),
)
BESIDE = (("The same scenes in motion", REALITIES), ("Baselines, on the same scenes", BASELINES))
NAMES = {
    "talkers": "{} talkers",
    "place": "{}",
    "sex": "{} sex",
    "likeness": "{}",
    "apart": "apart {}",
    "target": "target {}",
    "level": "{}",
}


def evaluate(
    data: Annotated[Path, typer.Option(help="Folder with speech/, noise/, hrtf/ and brir/.")],
    split: Annotated[str, typer.Option(help="Part of the data: train, val or test.")] = "test",
    scenes: Annotated[int, typer.Option(min=1, help="How many scenes.")] = 500,
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    enroller: Annotated[str, typer.Option(help="Enroller: a name or a path to an .onnx.")] = "enroll",
    out: Annotated[Path, typer.Option(help="Folder for scores.csv, summary.json and scores.png.")] = Path("evaluation"),
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of all scenes.")] = 0,
    baselines: Annotated[
        bool, typer.Option("--baselines", help="Also score a beamformer that knows the direction, and the ideal mask.")
    ] = False,
    perceptual: Annotated[
        bool, typer.Option("--perceptual", help="Also PESQ-WB, ESTOI and DNSMOS (extra evaluate).")
    ] = False,
    save: Annotated[int, typer.Option(min=0, help="Write so many of the worst scenes as wav, into OUT/worst.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Score a model on scenes of 2 or 3 talkers in noise, with noisy, clean and off-axis enrollment.

    Also with talkers on the move, as worn microphones hear them and, in every fourth scene, with the target absent and
    alone. Scenes that are in OUT/scores.csv already are not computed again: an evaluation that was stopped goes on.
    """
    with needing("synthesis"):
        from hearable.evaluation import save_worst
        from hearable.protocol import Evaluator, Protocol
        from hearable.score_plot import plot
    if perceptual:
        with needing("evaluate"):
            import hearable.perceptual  # noqa: F401

    protocol = Protocol(data, split, model, enroller, seed, baselines=baselines, perceptual=perceptual)
    evaluator = Evaluator(protocol)
    _make_folder(out)
    rows = _score(evaluator, scenes, out / "scores.csv", workers)
    summary = {
        "scenes": scenes,
        "run": evaluator.run,
        "settings": evaluator.settings,
        **summarise(rows),
        "worst": [asdict(row) for row in worst(rows)],
    }
    with replacing(out / "summary.json", AudioError) as temporary:
        temporary.write_text(json.dumps(summary, indent=1) + "\n", "utf-8")
    plot(rows, summary, out / "scores.png")
    folders = save_worst(evaluator, rows, save, out / "worst")
    if as_json:
        print(json.dumps(summary))
        return
    console = Console()
    for table in tables(summary):
        console.print(table)
    console.print(f"Wrote scores.csv, summary.json and scores.png into {out}")
    for folder in folders:
        console.print(f"Wrote {folder}")


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise AudioError(f"{out}: cannot make the folder: {problem.strerror}") from problem


def _score(evaluator: Evaluator, scenes: int, path: Path, workers: int) -> list[Row]:
    """The rows of all scenes, with a progress bar on standard error."""
    from hearable import evaluation

    columns = (TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("scenes", total=scenes)
        return evaluation.evaluate(
            evaluator, scenes, path, workers, lambda count: progress.update(bar, completed=count)
        )


def tables(summary: dict[str, Any]) -> list[Table]:
    """What is shown: scores by enrollment, in motion, of baselines, by group; special cases; the worst scenes."""
    enrollment = summary["enrollment"]
    model, split, seed = (summary["settings"][key] for key in ("model", "split", "seed"))
    title = f"{model} on {split}, {summary['scenes']} scenes, seed {seed}"
    shown = [_condition_table(title, enrollment)]
    for heading, conditions in BESIDE:
        found: dict[str, Any] = {c: summary["beside"][c] for c in conditions if c in summary["beside"]}
        shown += [_condition_table(heading, found)] if found else []
    shown += [_group_table(enrollment["noisy"]["by"]), _special_table(summary), _worst_table(summary["worst"])]
    return shown


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if table.columns else "left", no_wrap=True)
    return table


def _condition_table(title: str, results: dict[str, Any]) -> Table:
    """A row a measure: so it fits into a terminal of 80 columns."""
    table = _table(title, "means (95%)", *results)
    for label, measure, statistic, form in MEASURES:
        if any(measure in result for result in results.values()):
            table.add_row(label, *(_interval(result, measure, statistic, form) for result in results.values()))
    for status, label in (("warned", "clip warned"), ("failed", "clip refused")):
        if any(result[status] for result in results.values()):
            table.add_row(label, *(str(result[status]) for result in results.values()))
    return table


def _group_table(groups: dict[str, Any]) -> Table:
    table = _table("Noisy enrollment, by", "", "scenes", "SI-SDRi dB (95%)", "median", "< 0", "SNRi", "wrong")
    for column in GROUPS:
        for value, result in groups[column].items():
            improvement = result["si_sdri_db"]
            table.add_row(
                NAMES[column].format(value),
                str(result["scenes"]),
                _interval(result, "si_sdri_db", "mean", "{:.2f}"),
                f"{improvement['median']['value']:.2f}",
                f"{improvement['below_0']['value']:.0%}",
                f"{result['snri_db']['mean']['value']:.2f}",
                f"{result['confused']['mean']['value']:.1%}",
            )
    return table


def _special_table(summary: dict[str, Any]) -> Table:
    table = _table("Special cases", "", "scenes", "mean (95%)", "median", "20 dB (95%)")
    for case, measure, share, label in (
        ("absent", "leak_db", "kept_quiet", "absent: out / in, dB"),
        ("alone", "si_sdr_db", "untouched", "alone: SI-SDR, dB"),
    ):
        if case in summary:
            result = summary[case]
            table.add_row(
                label,
                str(result["scenes"]),
                _interval(result, measure, "mean", "{:.1f}"),
                f"{result[measure]['median']['value']:.1f}",
                _text(result[share], "{:.0%}"),
            )
    for what, cost in summary["costs"].items():
        scenes = summary["enrollment"]["noisy"]["scenes"]
        table.add_row(f"loss, {what}", str(scenes), _text(cost, "{:.2f}"), "", "")
    return table


def _worst_table(rows: list[dict[str, Any]]) -> Table:
    """The scenes to look into."""
    columns = ("scene", "gain", "input", "wrong", "n", "place", "sex", "apart", "like", "az", "clip")
    table = _table("Worst scenes, noisy enrollment: SI-SDRi and input SI-SDR in dB", *columns)
    for row in rows:
        table.add_row(
            str(row["scene"]),
            f"{row['si_sdri_db']:.1f}",
            f"{row['input_si_sdr_db']:.1f}",
            "yes" if row["confused"] else "",
            str(row["talkers"]),
            row["place"],
            row["sex"][:4],
            "-" if row["nearest_deg"] is None else f"{row['nearest_deg']:.0f}",
            "-" if row["likeness"] is None else f"{row['likeness']:.2f}",
            "-" if row["azimuth_deg"] is None else f"{row['azimuth_deg']:.0f}",
            row["status"],
        )
    return table


def _text(estimate: dict[str, float], form: str) -> str:
    value, low, high = (form.format(estimate[key]) for key in ("value", "low", "high"))
    return f"{value} ({low}..{high})"


def _interval(result: dict[str, Any], measure: str, statistic: str, form: str) -> str:
    return _text(result[measure][statistic], form) if measure in result else "-"
