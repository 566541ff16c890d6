"""The command line: one file a command. The library raises; only here does a program exit."""

from __future__ import annotations

import sys
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from hearable.cli.bench import bench
from hearable.cli.bridge import bridge
from hearable.cli.console import one_line, reporting, say
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

# typer's own, whether it brings its click along or imports it.
USAGE_ERROR = cast(type[Exception], typer.BadParameter.__base__)


class _Commands(TyperGroup):
    """Says what is wrong with a command's use as every other error is said: on one line, with its mend."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except USAGE_ERROR as problem:
            if type(problem).__name__ == "NoArgsIsHelpError":
                raise
            wrong = cast(typer.BadParameter, problem)
            text, where = one_line(wrong.format_message().rstrip(".")), wrong.ctx or ctx
            print(f"error: {text}: see `{where.command_path} --help`", file=sys.stderr)
            raise typer.Exit(2) from problem


app = typer.Typer(
    name="hearable",
    cls=_Commands,
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
