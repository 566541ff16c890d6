"""How the state of live hearing looks as text: tables for the terminal."""

from __future__ import annotations

import math

from rich.table import Table
from rich.text import Text

from hearable.live.control import Status

FLOOR_DB, BAR_CELLS = -60.0, 24  # beside the people in a terminal of 80 columns
WARM_DB, HOT_DB = -12.0, -3.0


def level_bar(level_db: float) -> Text:
    """A level in dB full scale as a bar, and as a number."""
    filled = round(BAR_CELLS * min(max(1 - level_db / FLOOR_DB, 0.0), 1.0))
    colour = "red" if level_db > HOT_DB else "yellow" if level_db > WARM_DB else "green"
    number = f"{level_db:6.1f} dB" if level_db > -120 else "  silent"
    return Text.assemble(("█" * filled, colour), ("·" * (BAR_CELLS - filled), "dim"), f" {number}")


def people_table(status: Status) -> Table:
    """Who can be selected, and who is."""
    table = _grid()
    selected = status.sound.selected
    for key, name in enumerate([None, *status.people[:9]]):
        style = "bold reverse" if name == selected else ""
        table.add_row(Text(str(key), style), Text("everything" if name is None else name, style))
    return table


def sound_table(status: Status) -> Table:
    """Levels, and what is heard."""
    sound, table = status.sound, _grid()
    for name, levels in (("in", sound.in_db), ("out", sound.out_db)):
        for ear, level_db in zip(("left", "right"), levels, strict=True):
            table.add_row(f"{name} {ear}", level_bar(level_db))
    if sound.selected is None:
        target = Text("nobody selected: everything passes", "dim")
    else:
        target = Text("● speaking", "bold green") if sound.target_active else Text("○ silent", "dim")
    table.add_row("target", target)
    table.add_row("background", "silent" if sound.background_db == -math.inf else f"{sound.background_db:g} dB")
    if sound.fault is not None:
        table.add_row("fault", Text(sound.fault, "bold red"))
    return table


def marks(status: Status) -> str:
    """What is out of the ordinary, as markup for the frame around the levels."""
    on = {"BYPASS": status.sound.bypass, "MUTED": status.sound.muted, "RECORDING": status.recording is not None}
    return "  ".join(f"[bold red]{mark}[/]" for mark, shown in on.items() if shown)


def stream_table(status: Status) -> Table:
    """Devices, times, losses."""
    engine, stream, table = status.engine, status.engine.stream, _grid()
    rates = f", {engine.in_hz} Hz" if engine.in_hz == engine.out_hz else f", {engine.in_hz} to {engine.out_hz} Hz"
    state = Text(engine.state, "green" if engine.state == "running" else "bold red")
    table.add_row("devices", Text(f"{engine.input} -> {engine.output}{rates if stream else ''}"))
    table.add_row("state", Text.assemble(state, f", {engine.priority}"))
    if stream is None:
        return table
    if stream.timing is not None:
        timing = f"p50 {stream.timing.p50_ms:.2f} ms, p99 {stream.timing.p99_ms:.2f} ms of 8 ms"
        table.add_row("chunk time", Text(timing + (", PAUSED: too slow" if stream.shedding else "")))
    losses = [f"{stream.xruns} xruns", f"{stream.missed} missed chunks", f"{stream.sheds} pauses"]
    rare = {"errors": stream.worker_errors, "bad samples": status.sound.bad_samples}
    losses += [f"{count} {what}" for what, count in rare.items() if count]
    table.add_row("losses", Text(", ".join(losses), "red" if stream.missed else ""))
    table.add_row("buffer", Text(f"{stream.buffer_ms:.1f} ms, clocks {stream.drift_ppm:+.0f} ppm"))
    table.add_row("latency", Text(f"{stream.latency_ms:.1f} ms end to end, and the devices' own"))
    return table


def _grid() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=False)
    return table
