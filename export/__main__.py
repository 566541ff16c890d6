"""``python -m export``: weights to verified ONNX, with card and hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from export.card import write_card, write_sums
from export.to_onnx import export_enroller, export_extractor
from export.verify import verify_enroller, verify_extractor
from training.enroller import Enroller
from training.presets import EXTRACTORS
from training.train import load_weights, make_network

app = typer.Typer(help="Export trained weights to ONNX.", no_args_is_help=True)

Weights = Annotated[Path, typer.Argument(help="Weights (safetensors) that `python -m training` wrote.")]
Out = Annotated[Path, typer.Option(help="Folder of the models.")]
Space = Annotated[str, typer.Option(help="Name of the embedding space: the enrollment network's name and version.")]
History = Annotated[str, typer.Option(help="How it was trained, for the card.")]


@app.command()
def extractor(
    weights: Weights,
    preset: str = "base",
    name: str | None = None,
    out: Out = Path("models"),
    space: Space = "enroll-1",
    history: History = "",
) -> None:
    """Export an extraction network with its conditioner."""
    network = make_network(EXTRACTORS[preset].network)
    load_weights(network, weights)
    path, _ = export_extractor(network, name or preset, space, out)
    write_card(path, history, verify_extractor(network, path))
    write_sums(out)


@app.command()
def enroller(
    weights: Weights,
    name: str = "enroll",
    out: Out = Path("models"),
    space: Space = "enroll-1",
    history: History = "",
) -> None:
    """Export an enrollment network."""
    network = Enroller()
    load_weights(network, weights)
    path = export_enroller(network, name, space, out)
    write_card(path, history, verify_enroller(network, path))
    write_sums(out)


app()
