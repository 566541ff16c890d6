"""``hearable live``: look, press, hear only them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from hearable.cli.console import say
from hearable.errors import AudioError
from hearable.live.control import Settings
from hearable.live.remote import RemoteControl


def live(
    input: Annotated[str | None, typer.Option(metavar="DEVICE", help="Microphones: index or part of a name.")] = None,
    output: Annotated[
        str | None, typer.Option(metavar="DEVICE", help="Headphones, or the input of a virtual microphone; likewise.")
    ] = None,
    profile: Annotated[
        list[Path] | None, typer.Option(help="People to select from, the first at once; may be repeated.")
    ] = None,
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="Record the session to a folder in DIR.")] = None,
    replay: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Hear a sound file or a recorded session's folder instead; --output none plays nowhere.",
        ),
    ] = None,  # fmt: skip
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    enroller: Annotated[str, typer.Option(help="Enroller: a name or a path to an .onnx.")] = "enroll",
) -> None:
    """Hear everything, look at somebody for a few seconds, hear only them. Without a terminal: messages only."""
    settings = Settings(model, enroller, tuple(profile or ()), input, output, record, replay)
    control = RemoteControl(settings)
    try:
        problem = _on_terminal(control) if sys.stdout.isatty() and sys.stderr.isatty() else _plain(control)
    finally:
        control.close()
    if problem is not None:
        raise AudioError(problem)


def _on_terminal(control: RemoteControl) -> str | None:
    from hearable.live.terminal import TerminalApp

    return TerminalApp(control).run()


def _plain(control: RemoteControl) -> str | None:
    """Messages a line each, until interrupted or the replay is over."""
    try:
        while control.ended is None:
            for news in control.news():
                if isinstance(news, str):
                    say(news)
                    sys.stdout.flush()
                elif news.engine.state == "ended":
                    return None
            time.sleep(0.1)
    except KeyboardInterrupt:
        return None
    return control.ended
