"""``hearable synth``: make a SELD dataset from a recipe; ``hearable synth verify``: check one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from typer.core import TyperGroup

from hearable.cli.console import Json, emit, needing, reporting, say, table
from hearable.errors import HearableError


class _MakeByDefault(TyperGroup):
    """``synth RECIPE OUT`` is ``synth make RECIPE OUT``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in {*self.commands, "--help"}:
            args = ["make", *args]
        return super().parse_args(ctx, args)


synth = typer.Typer(
    name="synth",
    cls=_MakeByDefault,
    no_args_is_help=True,
    help="Make a SELD dataset from a recipe (synth RECIPE OUT), or check one (synth verify OUT).",
)


def make(
    recipe: Annotated[Path, typer.Argument(help="A recipe, such as datasets/dcase2021/recipe.toml.")],
    out: Annotated[Path, typer.Argument(help="Folder to write to; a part of the same dataset is completed.")],
    clips: Annotated[int | None, typer.Option(min=1, help="Only so many, taking turns among the folds.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one thread each.")] = 1,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the recipe's.")] = None,
    dask: Annotated[str | None, typer.Option(metavar="ADDRESS", help="A Dask scheduler to run on.")] = None,
    as_json: Json = False,
) -> None:
    """Make a dataset: audio, labels, scenes, card and manifest.

    The same recipe and seed give the same bytes, whatever the workers. A run that was stopped, however, goes on.
    """
    with needing("synthesis"):
        import msgspec

        from hearable.synthesis.generate import generate
        from hearable.synthesis.seld_recipe import read_recipe

    asked = read_recipe(recipe)
    asked = asked if seed is None else msgspec.structs.replace(asked, seed=seed)
    with _clips_bar() as done:
        count = generate(asked, out, clips, workers, dask, done)
    if as_json:
        emit({"out": str(out), "clips": count, "seconds": count * asked.clip_s})
    else:
        say(f"{out}: {count} clips of {asked.clip_s:g} s; see {out / 'card.md'}")


def verify(
    out: Annotated[Path, typer.Argument(help="A dataset that hearable synth made.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    as_json: Json = False,
) -> None:
    """Check a dataset: files, label grid, directions heard against labels, reverberation, coherence, clicks, clipping.

    Prints what was measured beside its bound; the exit code is 1 if anything is beyond it.
    """
    with needing("synthesis"):
        from hearable.synthesis.verify import verify_dataset

    with _clips_bar() as done:
        report = verify_dataset(out, workers, done)
    if as_json:
        emit(report.to_dict())
    else:
        table(("", "check", "measured", "bound"), [check.cells() for check in report.checks])
        for fault in report.faults[:20]:
            say(f"fault: {fault}")
        if len(report.faults) > 20:
            say(f"and {len(report.faults) - 20} more faults")
    if not report.passed:
        raise HearableError(f"{out}: {len(report.faults)} faults")


for _command in (make, verify):
    synth.command()(reporting(_command))


@contextlib.contextmanager
def _clips_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error; yields a function of how many clips are done, and of how many."""
    columns = (TextColumn("clips"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("clips", total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)
