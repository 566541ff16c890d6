"""Two sound devices whose clocks differ, for an hour, on a simulated clock: does the delay stay, is there a click?

    python -m benchmarks.live_drift [--seconds 3600] [--ppm 200] [--input-hz 16000] [--output-hz 16000]

The devices call with jitter, and their difference swings, as crystals that warm up. A tone passes; a click would be a
step from one sample to the next that the tone does not make. Exits with 1 beyond the bounds: one block of delay, no
step 1% above the tone's own, no gap.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from hearable.extractor import load_model
from hearable.live.processor import LiveProcessor
from hearable.live.stream import LiveStream
from tests import toymodel
from tests.simdevices import SimDevices, tone

TONE_HZ, PEAK, SETTLED_S, LOOK_S = 440.0, 0.3, 10.0, 1.0


def main(
    seconds: Annotated[float, typer.Option(help="Of sound.")] = 3600.0,
    ppm: Annotated[float, typer.Option(help="How far the clocks are apart, in millionths.")] = 200.0,
    input_hz: Annotated[int, typer.Option(help="Nominal rate of the capturing device.")] = 16000,
    output_hz: Annotated[int, typer.Option(help="Nominal rate of the playing device.")] = 16000,
) -> None:
    """Print what was found."""
    with tempfile.TemporaryDirectory() as folder:
        processor = LiveProcessor(load_model(toymodel.save_pair(Path(folder))))
    blocks = round(0.008 * input_hz), round(0.008 * output_hz)
    devices = SimDevices(tone(TONE_HZ, input_hz, PEAK), *blocks, ppm / 2, -ppm / 2, jitter_s=0.001)
    stream = LiveStream(processor, input_hz, output_hz, shared_clock=False, tell=print, now=devices.now)
    devices.attach(stream, shared=False)
    devices.run(SETTLED_S)
    errors_ms, step, bend = [], 0.0, 0.0
    last = np.zeros((2, 2), np.float32)
    devices.heard.clear()
    missed = stream.counts.missed
    for n in range(round((seconds - SETTLED_S) / LOOK_S)):
        swing = 1 + 0.1 * np.sin(2 * np.pi * n * LOOK_S / 600)  # 10% of the difference, over 10 minutes
        devices.in_period = blocks[0] / (input_hz * (1 + 0.5e-6 * ppm * swing))
        devices.run(LOOK_S)
        errors_ms.append(1000 * stream._delay_error() / output_hz)
        heard = np.concatenate([last, devices.output()], axis=1)
        if n:
            step, bend = max(step, np.abs(np.diff(heard)).max()), max(bend, np.abs(np.diff(heard, 2)).max())
        last = heard[:, -2:]
        devices.heard.clear()
    own = 2 * np.pi * TONE_HZ / output_hz
    missed = stream.counts.missed - missed
    print(f"{seconds:g} s, {input_hz} to {output_hz} Hz, clocks {ppm:g} ppm apart")
    print(f"delay {1000 * stream.latency_s:.1f} ms; off by {np.mean(errors_ms):+.3f} ms mean, "
          f"{max(map(abs, errors_ms)):.3f} ms at most (bound 8)")  # fmt: skip
    print(f"largest step {step / (PEAK * own):.4f} of the tone's own (bound 1.01), bend {bend / (PEAK * own**2):.4f}")
    print(f"gaps {missed} (bound 0), correction now {stream.meters().drift_ppm:+.0f} ppm")
    if max(map(abs, errors_ms)) > 8 or step > 1.01 * PEAK * own or missed:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
