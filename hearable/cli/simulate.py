"""``hearable simulate``: a simulated device, to try the bridge without hardware."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearable.audio import read_audio, require_stereo, resample, write_audio
from hearable.cli.console import Json, emit, flush_lines, lines, say

if TYPE_CHECKING:
    from hearable.link.transports import Transport


def simulate(
    sound: Annotated[Path, typer.Argument(metavar="SOUND", help="Binaural recording: what its microphones hear.")],
    port: Annotated[str, typer.Option(help="pty for a pseudo-terminal, udp:ADDRESS:PORT or tcp:ADDRESS:PORT.")] = "pty",
    out: Annotated[Path | None, typer.Option(help="Sound file to write: what it played.")] = None,
    loss: Annotated[float, typer.Option(min=0, max=1, help="Share of packets that are lost.")] = 0.0,
    bit_errors: Annotated[float, typer.Option(min=0, max=1, help="Share of bits that flip.")] = 0.0,
    jitter: Annotated[float, typer.Option(metavar="MS", min=0, help="A packet takes up to that long.")] = 0.0,
    drift: Annotated[float, typer.Option(metavar="PPM", min=-1e5, max=1e5, help="Its clock is that fast.")] = 0.0,
    look: Annotated[list[str], typer.Option(metavar="FROM:TO", help="Seconds that the button is down.")] = [],  # noqa: B006
    cut: Annotated[list[str], typer.Option(metavar="FROM:TO", help="Seconds that the cable is pulled.")] = [],  # noqa: B006
    copies: Annotated[bool, typer.Option(help="Send and ask for copies against losses.")] = True,
    seed: Annotated[int, typer.Option(help="Of the losses.")] = 0,
    as_json: Json = False,
) -> None:
    """Play a recording to the bridge as a device's microphones would, in real time, over a link as bad as you like."""
    from hearable.link.channel import Impairments
    from hearable.link.device import Device
    from hearable.link.host import to_int16
    from hearable.link.messages import RATE, Hello
    from hearable.link.simulator import Story, play

    flush_lines()
    audio, rate = read_audio(sound)
    microphones = to_int16(resample(require_stereo(audio, str(sound)), rate, RATE))
    story = Story([_span(text, "--look") for text in look], [_span(text, "--cut") for text in cut], drift)
    impairments = Impairments(loss, bit_errors, jitter / 1000, ordered=not port.startswith("udp:"), seed=seed)
    simulated = Device(hello=Hello(flags=int(copies)))
    with closing(_open(port, as_json)) as transport:
        heard = play(simulated, microphones, transport, impairments, story)
    if out is not None:
        write_audio(out, heard / 32768, RATE)
    status = simulated.status()
    if as_json:
        emit({"out": None if out is None else str(out), "welcome": simulated.welcome, **vars(status)})
        return
    lines(
        [
            ("in a session", "yes" if simulated.welcome else "no"),
            ("latency", f"{1000 * status.latency_samples / RATE:.0f} ms from microphone to ear"),
            ("frames", f"{status.received} received, {status.lost} lost, {status.damaged} damaged"),
            ("chunks", f"{status.copied} mended by copies, {status.concealed} concealed"),
        ]
    )
    if out is not None:
        say(f"Wrote {out}")


def _open(port: str, as_json: bool) -> Transport:
    from hearable.link.simulator import PseudoTerminal
    from hearable.link.transports import open_port

    if port != "pty":
        return open_port(port, 0, listen=False)
    terminal = PseudoTerminal()
    if as_json:
        emit({"port": terminal.path})
    else:
        say(f"hearable bridge --port {terminal.path}")
    return terminal


def _span(text: str, option: str) -> tuple[float, float]:
    try:
        begin, end = map(float, text.split(":"))
        if 0 <= begin < end:
            return begin, end
    except ValueError:
        pass
    raise typer.BadParameter(f"expected seconds FROM:TO such as 2:5, found {text!r}", param_hint=option)
