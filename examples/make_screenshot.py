"""The picture of the terminal app in the README: the app itself, on the demo's mixture.

python examples/make_screenshot.py [--model base] [--profile alice.profile] [--out docs/images/live.svg]
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Annotated

import typer

from hearable.live.control import Settings
from hearable.live.remote import RemoteControl
from hearable.live.terminal import TerminalApp

CHUNK_S = 0.008
ROOT = Path(__file__).resolve().parent.parent


async def picture(control: RemoteControl, seconds: float) -> str:
    app = TerminalApp(control)
    async with app.run_test(size=(100, 25)) as pilot:
        while app.status is None or app.status.sound.chunks < seconds / CHUNK_S or not app.status.sound.target_active:
            await pilot.pause(0.05)
        return app.export_screenshot(title="hearable live")


def main(
    model: Annotated[str, typer.Option(help="Extractor: a name or a path.")] = "base",
    profile: Annotated[list[Path] | None, typer.Option(help="Who is there; the first is heard.")] = None,
    seconds: Annotated[float, typer.Option(help="Into the mixture.")] = 6.0,
    out: Annotated[Path, typer.Option(help="SVG to write.")] = ROOT / "docs" / "images" / "live.svg",
) -> None:
    """Write the picture."""
    mixture = Path(os.path.relpath(ROOT / "examples" / "demo" / "mixture.flac"))
    control = RemoteControl(Settings(model, profiles=tuple(profile or ()), output="none", replay=mixture))
    try:
        svg = asyncio.run(picture(control, seconds))
    finally:
        control.close()
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL), "utf-8")  # no font from elsewhere


if __name__ == "__main__":
    typer.run(main)
