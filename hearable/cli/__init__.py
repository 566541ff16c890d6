"""The command line: one file a command. The library raises; only here does a program exit."""

from __future__ import annotations

from typing import Annotated

import typer

from hearable.cli.bench import bench
from hearable.cli.bridge import bridge
from hearable.cli.console import reporting, say
from hearable.cli.corpora import corpora
from hearable.cli.devices import devices
from hearable.cli.doctor import doctor
from hearable.cli.enroll import enroll
from hearable.cli.evaluate import evaluate
from hearable.cli.extract import extract
from hearable.cli.info import info
from hearable.cli.latency import latency
from hearable.cli.live import live
from hearable.cli.models import models
from hearable.cli.seld import seld
from hearable.cli.simulate import simulate
from hearable.cli.synth import synth
from hearable.cli.web import web

__all__ = ["app"]

app = typer.Typer(
    name="hearable",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Look at someone for a few seconds, then hear only them.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from hearable import __version__

        say(f"hearable {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Look at someone for a few seconds, then hear only them."""


for _command in (
    enroll,
    extract,
    info,
    models,
    doctor,
    bench,
    evaluate,
    corpora,
    live,
    devices,
    latency,
    bridge,
    simulate,
    web,
):
    app.command()(reporting(_command))
app.add_typer(seld)
app.add_typer(synth)
