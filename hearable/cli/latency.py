"""``hearable latency``: how late live sound is on these devices, measured."""

from __future__ import annotations

import sys
import time
from typing import Annotated

import typer

from hearable.cli.console import Json, emit, lines, one_line
from hearable.errors import AudioError
from hearable.live.engine import Engine
from hearable.live.probe import Probe
from hearable.session import open_graph

LONGEST_S = 20.0


def latency(
    input: Annotated[str | None, typer.Option(metavar="DEVICE", help="Microphones: index or part of a name.")] = None,
    output: Annotated[str | None, typer.Option(metavar="DEVICE", help="Headphones: index or part of a name.")] = None,
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    as_json: Json = False,
) -> None:
    """Send bursts through the whole live path and back: lead the output to the input, or hold a headphone to a mic."""
    spec = open_graph(model, "extractor").spec
    probe = Probe(spec.sample_rate_hz, spec.chunk_samples)
    engine = Engine(probe, input, output, tell=lambda text: print(one_line(text), file=sys.stderr))
    engine.open()
    engine.start()
    begin = time.monotonic()
    while not probe.done:
        if time.monotonic() - begin > LONGEST_S:
            raise AudioError(f"round trip: expected to be done in {LONGEST_S:g} s, found the devices too slow")
        time.sleep(0.05)
    meters = engine.meters()
    engine.stop()
    found = probe.result()
    assert meters.stream is not None
    trip_ms = 1000 * found.samples / probe.rate
    lookahead_ms = 1000 * spec.lookahead_samples / spec.sample_rate_hz
    if as_json:
        emit(
            {
                "input": meters.input,
                "output": meters.output,
                "end_to_end_ms": round(trip_ms + lookahead_ms, 3),
                "devices_ms": round(trip_ms - meters.stream.latency_ms, 3),
                "engine_ms": round(meters.stream.latency_ms, 3),
                "lookahead_ms": lookahead_ms,
                "spread_ms": round(1000 * found.spread / probe.rate, 3),
                "bursts": found.bursts,
            }
        )
        return
    lines(
        [
            ("devices", f"{meters.input} to {meters.output}"),
            ("end to end", f"{trip_ms + lookahead_ms:.1f} ms, from microphone to headphone"),
            ("", f"{trip_ms - meters.stream.latency_ms:.1f} ms the devices and what lies between them"),
            ("", f"{meters.stream.latency_ms:.1f} ms buffers and resampling"),
            ("", f"{lookahead_ms:.1f} ms the network's lookahead"),
            ("spread", f"{1000 * found.spread / probe.rate:.2f} ms over {found.bursts} bursts"),
        ]
    )
