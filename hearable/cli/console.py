"""What the commands print and how they fail.

Results go to standard output, as text or as one line of JSON; warnings, errors and progress to standard error. Exit
codes: 0 done, 1 the files, models or sound will not do, 2 wrong usage.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, ParamSpec, TypeVar

import typer

from hearable.errors import HearableError

P = ParamSpec("P")
R = TypeVar("R")

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def emit(data: object) -> None:
    """Print a result as one line of JSON; NaN and infinity are a bug, not a value."""
    print(json.dumps(data, allow_nan=False))


def flush_lines() -> None:
    """From now on, print each line at once, into a pipe too: for a command that goes on while others read."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)


def say(text: str) -> None:
    """Print a line of a result."""
    print(one_line(text))


def warn(text: str) -> None:
    """Print a line on standard error that does not stop the command."""
    print(f"warning: {one_line(text)}", file=sys.stderr)


def one_line(text: str) -> str:
    """The text on one line. Names in files are not trusted: no control characters reach the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


@contextlib.contextmanager
def needing(extra: str) -> Iterator[None]:
    """Say what to install where an import of an extra is missing.

    Raises:
        HearableError: a package is missing.
    """
    try:
        yield
    except ImportError as problem:
        missing = (problem.name or "a package").partition(".")[0]
        raise HearableError(f"this command needs {missing}: pip install 'hearable[{extra}]'") from problem


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print aligned columns: plain where a program reads it, bold headings on a terminal."""
    # Imported here, as everything that only some commands need.
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for n, column in enumerate(columns):
        shown.add_column(column, justify="right" if n else "left", no_wrap=True)
    for row in rows:
        shown.add_row(*(Text(one_line(cell)) for cell in row))  # Text: square brackets in names are no markup
    Console().print(shown)


def lines(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values, one pair a line, the values aligned."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        say(f"{name:<{width}}  {value}")


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Wrap a command: an error of the library or the system becomes one line on standard error and exit code 1."""

    @functools.wraps(command)
    def reported(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with _terminable():
                return command(*args, **kwargs)
        except HearableError as problem:
            raise _failed(str(problem)) from problem
        except OSError as problem:
            if problem.errno == errno.EPIPE:  # whoever read our output has gone: typer ends quietly
                raise
            where = f"{problem.filename}: " if problem.filename else ""
            raise _failed(f"{where}{problem.strerror or problem}") from problem

    return reported


def _failed(text: str) -> typer.Exit:
    print(f"error: {one_line(text)}", file=sys.stderr)
    return typer.Exit(1)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Let a termination signal unwind the stack, so that half-written files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def require_other(out: Path, sources: Sequence[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        typer.BadParameter: ``out`` is one of the sources.
    """
    for source in sources:
        if out.exists() and source.exists() and os.path.samefile(out, source):
            raise typer.BadParameter(f"{out} would overwrite {source}: choose another name", param_hint="--out")


@contextlib.contextmanager
def progress_bar(what: str, total: int, shown: bool) -> Iterator[Callable[[int], Any]]:
    """A bar on standard error, if ``shown`` and a terminal; yields a function that takes how much more is done."""
    if not (shown and sys.stderr.isatty()):
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what, markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda done: progress.advance(bar, done)
