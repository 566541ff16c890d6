"""``hearable bridge``: serve a device with microphones over a cable or a network."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hearable.chunks import Audio
from hearable.cli.console import Json, emit, flush_lines, say
from hearable.cli.extract import load_profiles
from hearable.extractor import load_model
from hearable.profiles import SpeakerProfile

if TYPE_CHECKING:
    from hearable.link.host import Host

REPORT_S = 10.0


def bridge(
    port: Annotated[str, typer.Option(help="Serial port such as /dev/ttyACM0, udp:[ADDRESS:]PORT or tcp:PORT.")],
    profile: Annotated[list[Path], typer.Option(help="Who can be heard, the first one now; may be repeated.")] = [],  # noqa: B006
    baud: Annotated[int, typer.Option(min=1, help="Of a serial port.")] = 1_500_000,
    background: Annotated[float | None, typer.Option(metavar="DB", max=0, help="Keep the rest, at this gain.")] = None,
    delay: Annotated[float, typer.Option(metavar="MS", min=8, max=120, help="For transport and jitter.")] = 56.0,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after that; else with Ctrl-C.")] = None,
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    enroller: Annotated[str, typer.Option(help="Enroller: a name or a path to an .onnx.")] = "enroll",
    as_json: Json = False,
) -> None:
    """Serve a device: its microphones' sound comes in, what its wearer wants to hear goes out.

    The protocol is in firmware_bridge/PROTOCOL.md; `hearable simulate` is a device without hardware. Delay: 56 ms bear
    20 ms of jitter each way; a USB cable needs 24.
    """
    # Imported here, as everything that only some commands need.
    from hearable.link.serve import serve
    from hearable.link.transports import open_port
    from hearable.live.realtime import prepare_process, prepare_thread

    flush_lines()
    tell: Callable[[str], None] = (lambda text: emit({"event": text})) if as_json else say
    with ThreadPoolExecutor(1) as background_thread:
        host = _host(model, enroller, profile, background, delay, background_thread, tell)
        report = _Reports(host, as_json)
        stop = threading.Event()
        timer = threading.Timer(seconds or 0, stop.set)
        timer.daemon = True
        if seconds is not None:
            timer.start()
        background_thread.submit(int).result()  # it begins before this thread's priority rises, or would inherit it
        prepare_process()
        prepare_thread()
        try:
            serve(lambda: open_port(port, baud, listen=True), host, stop, tell, report)
        except KeyboardInterrupt:
            pass
        finally:
            timer.cancel()


def _host(
    model: str,
    enroller: str,
    profiles: list[Path],
    background: float | None,
    delay_ms: float,
    pool: ThreadPoolExecutor,
    tell: Callable[[str], None],
) -> Host:
    from hearable.enrollment import enroll
    from hearable.link.host import Host
    from hearable.link.messages import CHUNK_SAMPLES, MODEL_BYTES, RATE
    from hearable.live.people import keep, kept_people
    from hearable.live.processor import LiveProcessor
    from hearable.session import open_graph

    loaded = load_model(model)
    graph = open_graph(enroller, "enroller")
    people = dict(zip((path.stem for path in profiles), load_profiles(loaded, profiles), strict=True))
    for name, person in kept_people(loaded, tell).items():
        people.setdefault(name, person)
    processor = LiveProcessor(loaded, people)
    if profiles:
        processor.select(profiles[0].stem)
    if background is not None:
        processor.background_db = background

    def begin(clip: Audio) -> Future[SpeakerProfile]:
        return pool.submit(enroll, clip, RATE, graph)

    def keep_person(name: str, person: SpeakerProfile) -> None:
        pool.submit(keep, name, person, tell)

    digest = hashlib.sha256(loaded.extractor.path.read_bytes()).digest()[:MODEL_BYTES]
    chunks = max(1, round(delay_ms * RATE / 1000 / CHUNK_SAMPLES))
    return Host(processor, digest, chunks * CHUNK_SAMPLES, begin, tell, keep_person)


class _Reports:
    """Prints how the link fares: every 10 s, or as JSON with every status of the device."""

    def __init__(self, host: Host, as_json: bool):
        self._host, self._as_json = host, as_json
        self._seen = host.device
        self._at = time.monotonic()

    def __call__(self) -> None:
        device = self._host.device
        if device is None or device is self._seen:
            return
        self._seen, status = device, self._host.status()
        if self._as_json:
            emit({"device": asdict(device), "host": asdict(status), "jumps": self._host.jumps})
        elif time.monotonic() - self._at >= REPORT_S:
            self._at = time.monotonic()
            say(
                f"{device.latency_samples / 16:.0f} ms from microphone to ear, {device.slack_samples / 16:.0f} ms to "
                f"spare; lost {status.lost} in, {device.lost} out; mended {status.copied}, {device.copied}; "
                f"concealed {status.concealed}, {device.concealed}"
            )
