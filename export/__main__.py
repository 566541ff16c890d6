"""``python -m export``: weights to verified ONNX with card and hashes, and a model to what a device takes.

python -m export extractor WEIGHTS     python -m export verify WEIGHTS MODEL
python -m export enroller WEIGHTS      python -m export scores CARD SUMMARY
python -m export MODEL --out DIR [--int8] [--ort] [--c]
"""

from __future__ import annotations

import contextlib
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import click
import typer
from typer.core import TyperGroup

from export.card import add_scores, write_card, write_sums
from export.to_onnx import export_enroller, export_extractor
from export.variants import Scoring, make
from export.verify import verify_enroller, verify_extractor
from hearable.cli.console import reporting
from hearable.session import Graph
from training.enroller import Enroller
from training.presets import EXTRACTORS
from training.train import load_weights, make_network


class _Commands(TyperGroup):
    """What is not a command is a model."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = args and args[0] in self.commands
        return super().resolve_command(ctx, args if known else ["variants", *args])


app = typer.Typer(help="Export trained weights to ONNX, and models to devices.", cls=_Commands, no_args_is_help=True)

Weights = Annotated[
    Path,
    typer.Argument(exists=True, dir_okay=False, help="Weights (safetensors) that `python -m training` wrote."),
]
Out = Annotated[Path, typer.Option(file_okay=False, help="Folder of the models.")]
SPACE = "enroll-4"
Space = Annotated[str, typer.Option(help="Name of the embedding space: the enrollment network's name and version.")]
History = Annotated[
    str, typer.Option(help="For the card, in Markdown: how it was trained and on what, and the licence of the weights.")
]


def _known(preset: str) -> str:
    if preset not in EXTRACTORS:
        raise typer.BadParameter(f"preset {preset}: expected one of {', '.join(EXTRACTORS)}")
    return preset


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside the models in ``out``, which become those in it once they are verified; then the hashes too."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out) as folder:
        yield Path(folder)
        for file in Path(folder).iterdir():
            file.replace(out / file.name)
    write_sums(out)


@app.command()
@reporting
def extractor(
    weights: Weights,
    preset: Annotated[str, typer.Option(help=f"Which network: {', '.join(EXTRACTORS)}.")] = "base",
    name: Annotated[str | None, typer.Option(help="Of the model. Default: the preset's.")] = None,
    out: Out = Path("models"),
    space: Space = SPACE,
    *,
    history: History,
) -> None:
    """Export an extraction network with its conditioner."""
    network = make_network(EXTRACTORS[_known(preset)].network)
    load_weights(network, weights)
    with staged(out) as folder:
        path, _ = export_extractor(network, name or preset, space, folder)
        write_card(path, history, verify_extractor(network, path))


@app.command()
@reporting
def enroller(
    weights: Weights,
    name: Annotated[str, typer.Option(help="Of the model.")] = "enroll",
    out: Out = Path("models"),
    space: Space = SPACE,
    *,
    history: History,
) -> None:
    """Export an enrollment network."""
    network = Enroller()
    load_weights(network, weights)
    with staged(out) as folder:
        path = export_enroller(network, name, space, folder)
        write_card(path, history, verify_enroller(network, path))


@app.command()
@reporting
def verify(
    weights: Weights,
    model: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The ONNX file that was made of them.")],
    preset: Annotated[str, typer.Option(help=f"Of an extractor: {', '.join(EXTRACTORS)}.")] = "base",
) -> None:
    """Compare torch, whole and streaming, with ONNX: 2,000 chunks, or an enroller's clips; fails above 1e-4."""
    if Graph(model).spec.kind == "enroller":
        enrolling = Enroller()
        load_weights(enrolling, weights)
        verify_enroller(enrolling, model)
    else:
        extracting = make_network(EXTRACTORS[_known(preset)].network)
        load_weights(extracting, weights)
        verify_extractor(extracting, model)


@app.command()
@reporting
def scores(
    card: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Card of an extractor, as models/base.md.")],
    summary: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="summary.json of `hearable evaluate`.")],
) -> None:
    """Put the scorecard of an evaluation on its extractor's card."""
    try:
        add_scores(card, json.loads(summary.read_text()))
    except (ValueError, KeyError) as problem:
        raise typer.BadParameter(f"{summary}: expected the summary.json of an evaluation") from problem


@app.command()
@reporting
def variants(
    model: Annotated[str, typer.Argument(help="An extractor: a shipped model's name, or a path.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder of the variants.")],
    int8: Annotated[bool, typer.Option("--int8", help="8-bit variants; needs --data.")] = False,
    ort: Annotated[bool, typer.Option("--ort", help="ORT format, with the operators that it needs.")] = False,
    c: Annotated[bool, typer.Option("--c", help="C99 at half precision.")] = False,
    data: Annotated[Path | None, typer.Option(help="Data folder: score each variant on its scenes.")] = None,
    scenes: Annotated[int, typer.Option(min=1, help="How many to score on.")] = 100,
    split: Annotated[str, typer.Option(help="Of the data, to score on.")] = "test",
    calibrate: Annotated[str, typer.Option(help="Split of the data, to calibrate --int8 on.")] = "train",
    enroller: Annotated[str, typer.Option(help="An enroller: a shipped model's name, or a path.")] = "enroll",
) -> None:
    """What devices take: variants of a model, test vectors, and a card that compares them."""
    if int8 and data is None:
        raise typer.BadParameter("--int8 needs --data: 8-bit variants are calibrated and scored on its scenes")
    logging.getLogger().setLevel(logging.ERROR)  # the quantiser recommends steps that were taken
    scoring = Scoring(data, scenes, split, calibrate, enroller) if data else None
    make(model, out, int8, ort, c, scoring)


if __name__ == "__main__":
    app()
