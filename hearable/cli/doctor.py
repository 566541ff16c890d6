"""``hearable doctor``: does everything that is needed work here?"""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Literal, TypeAlias

import typer

from hearable import checkpoints
from hearable.cli.console import Json, emit, say
from hearable.errors import AudioError, HearableError, ModelError
from hearable.live.ears import Verdict, check_ears
from hearable.live.portaudio import query_devices, record
from hearable.session import Graph
from hearable.timing import measure

PACKAGES = (
    "numpy",
    "onnxruntime",
    "soundfile",
    "soxr",
    "sounddevice",
    "typer",
    "rich",
    "platformdirs",
    "textual",
    "cobs",
    "pyserial",
    "starlette",
    "uvicorn",
    "websockets",
)

EARS_S = 6.0
LATE_SHARE = 0.02  # of chunks: more of them are heard


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``note``: files work without it, live sound may not."""

    what: str
    state: Literal["ok", "note", "broken"]
    detail: str


Check: TypeAlias = Callable[[], Iterator[Finding]]


def doctor(
    ears: Annotated[bool, typer.Option("--ears", help="Only: are left and right swapped? Snap your fingers.")] = False,
    input: Annotated[str | None, typer.Option(metavar="DEVICE", help="Microphones for --ears.")] = None,
    as_json: Json = False,
) -> None:
    """Check versions, audio devices, model hashes and speed; exit with 1 when something is broken."""
    if ears:
        if not as_json:
            say(f"Snap your fingers three times beside your LEFT ear, within {EARS_S:g} s ...")
        checks: dict[str, Check] = {"ears": functools.partial(swapped_ears, input)}
    else:
        checks = {"versions": versions, "devices": devices, "hashes": hashes, "speed": speed}
    findings = [finding for name, check in checks.items() for finding in _checked(name, check)]
    broken = sum(finding.state == "broken" for finding in findings)
    if as_json:
        emit({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            say(f"{finding.state:<6}  {finding.what:<{width}}  {finding.detail}")
    if broken:
        raise typer.Exit(1)


def swapped_ears(input: str | None) -> Iterator[Finding]:
    """Whether a snap beside the left ear is heard there first."""
    found = check_ears(*record(input, EARS_S))
    states: dict[Verdict, Literal["ok", "note", "broken"]] = {"right": "ok", "unclear": "note", "swapped": "broken"}
    heard = f"{found.snaps} snaps, left {found.earlier_us:+.0f} us earlier and {found.louder_db:+.1f} dB louder"
    yield Finding("ears", states[found.verdict], f"{found.detail} ({heard})" if found.snaps else found.detail)


def _checked(name: str, check: Check) -> Iterator[Finding]:
    """A check's findings; what it raises is one of them, so that the other checks go on."""
    try:
        yield from check()
    except (HearableError, OSError) as problem:
        yield Finding(name, "broken", str(problem))


def versions() -> Iterator[Finding]:
    """Python, the system, and the packages that the installation asks for."""
    from hearable import __version__

    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    yield Finding("hearable", "ok", f"{__version__}, Python {platform.python_version()}, {system}")
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "broken", f"not installed: pip install {name}")


def devices() -> Iterator[Finding]:
    """Where live sound could come from and go to."""
    try:
        found = query_devices()
    except AudioError as problem:
        yield Finding("devices", "note", str(problem))
        return
    if not found:
        yield Finding("devices", "note", "none found, no live sound: connect one, or start the sound server")
    for device in found:
        yield Finding("device", "ok", f"{device}: {device.inputs} in, {device.outputs} out, {device.rate} Hz")


def hashes() -> Iterator[Finding]:
    """Every model file is the published one, and none is missing."""
    folder = checkpoints.models_folder()
    files = {path.name for path in folder.glob("*.onnx")}
    if not files:
        yield Finding("models", "broken", f"none in {folder}: reinstall hearable")
        return
    for name in sorted(files | set(checkpoints.published_hashes(folder))):
        if not (folder / name).is_file():
            yield Finding(name, "broken", f"missing from {folder}: reinstall hearable")
            continue
        try:
            checkpoints.verify_hash(folder / name)
            yield Finding(name, "ok", "as published")
        except ModelError as problem:
            yield Finding(name, "broken", str(problem))


def speed() -> Iterator[Finding]:
    """A timed second of sound through each shipped extractor; slower than real time is broken, late chunks a note."""
    for name in checkpoints.list_models():
        graph = Graph(checkpoints.models_folder() / f"{name}.onnx", listed=True)
        if graph.spec.kind != "extractor":
            continue
        timing = measure(graph, round(1000 / graph.spec.chunk_ms))
        mean_ms = timing.rtf * graph.spec.chunk_ms
        detail = f"{mean_ms:.2f} ms a chunk of {graph.spec.chunk_ms:g} ms, {timing.missed} of {timing.chunks} late"
        late = timing.missed > LATE_SHARE * timing.chunks
        mend = ": too slow for live sound: end other programs" if late else ""
        yield Finding(f"one second, {name}", "broken" if timing.rtf >= 1 else "note" if late else "ok", detail + mend)
