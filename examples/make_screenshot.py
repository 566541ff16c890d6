"""The pictures in the README: the terminal app on the demo's mixture, and the page, at whose talker its user looks.

python -m examples.make_screenshot [--model base] [--profile Alice.profile --profile George.profile] [--out docs/images]

The page needs Chromium and playwright (``pip install 'hearable[dev]'``).
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import soundfile
import typer

from hearable.audio import read_audio
from hearable.enrollment import enroll
from hearable.live.control import Settings
from hearable.live.remote import RemoteControl
from hearable.live.terminal import TerminalApp

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "examples" / "demo"
CHUNK_S = 0.008
LOOK_S = 5.0
PATIENCE_MS = 120_000
BROWSER = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]


def enrolled(path: Path) -> Path:
    """The profile of whom the demo's listener looks at."""
    enroll(*read_audio(DEMO / "enrollment.flac")).save(path)
    return path


async def terminal(control: RemoteControl, seconds: float) -> str:
    """The app as SVG, some seconds into the mixture, while the person speaks."""
    app = TerminalApp(control)
    async with app.run_test(size=(80, 24)) as pilot:
        while app.status is None or app.status.sound.chunks < seconds / CHUNK_S or not app.status.sound.target_active:
            await pilot.pause(0.05)
        svg = app.export_screenshot(title="hearable live")
    return re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)  # no font from elsewhere


def page(address: str, name: str, out: Path) -> None:
    """The page, its fake microphones hearing the enrollment three times and then the mixture, some seconds into it."""
    from playwright.sync_api import expect, sync_playwright

    enrollment, rate = read_audio(DEMO / "enrollment.flac")
    mixture, _ = read_audio(DEMO / "mixture.flac")
    expect.set_options(timeout=PATIENCE_MS)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        ears = Path(folder) / "ears.wav"
        sound = np.concatenate([enrollment] * 3 + [mixture] * 3, axis=1)
        soundfile.write(ears, sound.T, rate, "PCM_16")  # of other formats Chromium makes silence
        chromium = driver.chromium.launch(
            executable_path=shutil.which("chromium") or shutil.which("google-chrome"),
            args=[*BROWSER, f"--use-file-for-fake-audio-capture={ears}"],
        )
        shown = chromium.new_page(viewport={"width": 1180, "height": 760})
        shown.goto(address)
        shown.get_by_role("button", name="Start listening").click()
        expect(shown.get_by_role("button", name="Look")).to_be_enabled()
        shown.get_by_label("Name").fill(name)
        shown.get_by_role("button", name="Look").focus()
        shown.keyboard.down("Enter")
        expect(shown.get_by_role("radio", name=name)).to_be_checked()
        shown.keyboard.up("Enter")
        shown.wait_for_timeout(1000 * (3 * LOOK_S + 2))  # until the mixture fills the picture
        expect(shown.locator("#active")).to_be_visible()
        shown.screenshot(path=out)
        chromium.close()


def main(
    model: Annotated[str, typer.Option(help="Extractor: a name or a path.")] = "base",
    profile: Annotated[
        list[Path] | None, typer.Option(help="Who is there; the first is heard. Default: Alice, of the demo.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Into the mixture.")] = 3.0,
    out: Annotated[Path, typer.Option(help="Folder to write live.svg and web.png to.")] = ROOT / "docs" / "images",
) -> None:
    """Write the pictures."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        people = tuple(profile or (enrolled(Path(folder) / "Alice.profile"),))
        mixture = Path(os.path.relpath(DEMO / "mixture.flac"))
        control = RemoteControl(Settings(model, profiles=people, output="none", replay=mixture))
        try:
            (out / "live.svg").write_text(
                asyncio.run(asyncio.wait_for(terminal(control, seconds), PATIENCE_MS / 1000)), "utf-8"
            )
        finally:
            control.close()
        command = [sys.executable, "-m", "hearable", "web", "--port", "0", "--no-browser", "--model", model]
        for path in people[1:]:
            command += ["--profile", str(path)]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        try:
            assert server.stdout is not None
            page(server.stdout.readline().split()[-1], people[0].stem, out / "web.png")
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    typer.run(main)
