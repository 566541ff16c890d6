"""``hearable web``: live hearing and recordings in a local page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hearable.cli.console import say, warn
from hearable.cli.extract import load_profiles
from hearable.extractor import load_model
from hearable.session import open_graph


def web(
    profile: Annotated[list[Path] | None, typer.Option(help="Somebody to select, by file name; repeatable.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; browsers give a microphone to 127.0.0.1 only.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any that is free.")] = 8765,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page.")] = True,
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    enroller: Annotated[str, typer.Option(help="Enroller: a name or a path to an .onnx.")] = "enroll",
) -> None:
    """Serve a page on this computer: look at somebody and hear only them, live or in a recording."""
    # Imported here: no other command needs a web server.
    from hearable.live.people import kept_people
    from hearable.live.web.hearing import Hearing
    from hearable.live.web.seats import seats_in_time
    from hearable.live.web.server import serve

    loaded, paths = load_model(model), profile or []
    people = dict(zip((path.stem for path in paths), load_profiles(loaded, paths), strict=True))
    for name, person in kept_people(loaded, warn).items():
        people.setdefault(name, person)
    seats = seats_in_time(loaded.extractor)

    def ready(address: str) -> None:
        say(f"Open {address}")
        say(f"Serves {seats} at once in time. Wear headphones. Ctrl-C ends it.")
        sys.stdout.flush()  # whoever reads it from a pipe waits for the address
        if browser:
            import webbrowser

            webbrowser.open(address)

    try:
        serve(Hearing(loaded, open_graph(enroller, "enroller"), people, seats), host, port, ready)
    except KeyboardInterrupt:  # the way to end it
        pass
