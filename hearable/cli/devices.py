"""``hearable devices``: which microphones and headphones there are, and which are taken."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from hearable.cli.console import Json, emit, say, table
from hearable.errors import AudioError
from hearable.live.devices import WHAT, Choice, Device, Way, choose, remember, remembered_devices
from hearable.live.portaudio import query_devices, shares_clock


def devices(
    input: Annotated[str | None, typer.Option(metavar="DEVICE", help="Remember: index or part of a name.")] = None,
    output: Annotated[str | None, typer.Option(metavar="DEVICE", help="Remember: index or part of a name.")] = None,
    as_json: Json = False,
) -> None:
    """List sound devices, say which `hearable live` takes and why; --input and --output are remembered."""
    found = query_devices()
    wanted: dict[Way, str | None] = {"input": input, "output": output}
    # All are looked up before any is remembered.
    chosen: dict[Way, Device] = {
        way: choose(found, way, name, None).device for way, name in wanted.items() if name is not None
    }
    kept = str(remember(chosen)) if chosen else None
    choices: dict[Way, Choice | str] = {way: _choice(found, way) for way in WHAT}
    if as_json:
        taken: dict[str, object] = {
            way: c if isinstance(c, str) else {"index": c.device.index, "why": c.why} for way, c in choices.items()
        }
        emit({"devices": [asdict(device) for device in found], **taken, "remembered_in": kept})
        return
    _show(found)
    for way, choice in choices.items():
        text = choice if isinstance(choice, str) else f"{choice.device.index} {choice.device}: {choice.why}"
        say(f"{WHAT[way]}: {text}")
    pair = [c.device for c in choices.values() if not isinstance(c, str)]
    if len(pair) == 2:
        say("clocks: one" if shares_clock(*pair) else "clocks: two; the output is resampled to the headphones' clock")
    if kept:
        say(f"Remembered in {kept}")


def _choice(found: list[Device], way: Way) -> Choice | str:
    """What ``hearable live`` would take, or why it could not."""
    try:
        return choose(found, way, None, remembered_devices().get(way))
    except AudioError as problem:
        return str(problem)


def _show(found: list[Device]) -> None:
    if not found:
        say("no sound devices: connect one, or start the sound server")
        return
    rows = [
        [
            f"{d.index} {d.name}",
            d.host,
            _ears(d.inputs),
            _ears(d.outputs),
            f"{d.rate}",
            ", ".join(w.removesuffix("put") for w in d.defaults),
        ]
        for d in found
    ]
    table(["device", "through", "in", "out", "Hz", "default"], rows)


def _ears(channels: int) -> str:
    return {0: "-", 1: "mono", 2: "stereo"}.get(channels, f"{channels}: 1, 2")
