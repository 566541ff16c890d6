"""``hearable seld``: sound event localisation and detection."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from hearable.cli.console import Json, emit, needing, progress_bar, reporting, say, table, warn

if TYPE_CHECKING:
    from hearable.seld.scores import Evaluation

seld = typer.Typer(name="seld", no_args_is_help=True, help="Sound event localisation and detection (SELD).")

Mode = Literal["official2021", "official2022", "strict"]


@seld.command()
@reporting
def score(
    reference: Annotated[Path, typer.Argument(metavar="REF", help="Labels: a folder of csv files, or one.")],
    prediction: Annotated[Path, typer.Argument(metavar="PRED", help="Predictions: 5 or 6 columns, the same names.")],
    mode: Annotated[Mode, typer.Option(help="Count as the official code of that year, or what its rules mean.")] = (
        "official2021"
    ),
    macro: Annotated[bool, typer.Option("--macro", help="Average F, LE and LR over classes.")] = False,
    classes: Annotated[int, typer.Option(min=0, help="Number of classes. 0: 12 of 2021, 13 of 2022, or all.")] = 0,
    as_json: Json = False,
) -> None:
    """Score predictions by the DCASE metrics: ER and F within 20 degrees, LE and LR within a class, SELD score."""
    if macro and mode == "official2021":
        raise typer.BadParameter("official2021 has no macro average: use official2022 or strict", param_hint="--macro")
    with needing("synthesis"):
        from hearable.seld.scores import evaluate, read_pairs

    evaluation = evaluate(read_pairs(reference, prediction), mode, macro, classes)
    if evaluation.left_out:
        warn(f"{evaluation.left_out} labelled rows are not counted: {mode} knows no such frames or classes")
    if as_json:
        emit({**asdict(evaluation.scores), **{k: v for k, v in asdict(evaluation).items() if k != "scores"}})
    else:
        _print(evaluation)


@seld.command()
@reporting
def shards(
    audio: Annotated[Path, typer.Argument(metavar="AUDIO", help="Folder of wav or flac files, of one format.")],
    labels: Annotated[Path, typer.Argument(metavar="LABELS", help="Folder of their csv files, of the same names.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the shards.")],
    clips: Annotated[int, typer.Option(min=1, help="Clips a shard.")] = 32,
    seed: Annotated[int, typer.Option(min=0, help="Of the order of the clips.")] = 0,
) -> None:
    """Pack clips and labels into tar files that the package webdataset reads, for training at scale."""
    with needing("synthesis"):
        from hearable.seld.clips import SOUND
        from hearable.seld.shards import write_shards

    out.mkdir(parents=True, exist_ok=True)
    total = sum(path.suffix in SOUND for path in audio.rglob("*"))
    with progress_bar("clips", total, True) as progress:
        written = write_shards(audio, labels, out, clips, seed, progress)
    say(f"{total} clips in {written[0]} to {written[-1].name}")


def _print(evaluation: Evaluation) -> None:
    average = "macro" if evaluation.macro else "micro"
    say(
        f"{evaluation.clips} clips, {evaluation.mode}, {average} average"
        + ", 95% interval" * bool(evaluation.intervals)
    )
    scores = asdict(evaluation.scores)
    rows = []
    for name, label, scale, form in (
        ("er", "ER 20°", 1, "{:.3f}"),
        ("f", "F 20°, %", 100, "{:.1f}"),
        ("le", "LE CD, °", 1, "{:.1f}"),
        ("lr", "LR CD, %", 100, "{:.1f}"),
        ("seld", "SELD score", 1, "{:.3f}"),
    ):
        interval = (form.format(scale * bound) for bound in evaluation.intervals.get(name, ()))
        rows.append([label, form.format(scale * scores[name]), " .. ".join(interval)])
    table(["score", "", "interval"], rows)
    table(
        ["class", "events", "F 20°, %", "LE CD, °", "LR CD, %"],
        [
            [str(kind), str(one.references), f"{100 * one.f:.1f}", f"{one.le:.1f}", f"{100 * one.lr:.1f}"]
            for kind, one in evaluation.classes.items()
        ],
    )
