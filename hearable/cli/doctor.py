"""``hearable doctor``: does everything that is needed work here?"""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import typer

from hearable import checkpoints
from hearable.cli.console import Json, emit, say
from hearable.errors import HearableError, ModelError
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
    "cobs",
    "pyserial",
    "starlette",
    "uvicorn",
    "websockets",
)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ``note``: files work without it, live sound may not."""

    what: str
    state: Literal["ok", "note", "broken"]
    detail: str


def doctor(as_json: Json = False) -> None:
    """Check versions, audio devices, model hashes and speed; exit with 1 when something is broken."""
    findings = [finding for check in (versions, devices, hashes, speed) for finding in _checked(check)]
    broken = sum(finding.state == "broken" for finding in findings)
    if as_json:
        emit({"ok": not broken, "findings": [asdict(finding) for finding in findings]})
    else:
        width = max(len(finding.what) for finding in findings)
        for finding in findings:
            say(f"{finding.state:<6}  {finding.what:<{width}}  {finding.detail}")
    if broken:
        raise typer.Exit(1)


def _checked(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """A check's findings; what it raises is one of them, so that the other checks go on."""
    try:
        yield from check()
    except (HearableError, OSError) as problem:
        yield Finding(check.__name__, "broken", str(problem))


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
        import sounddevice
    except (ImportError, OSError):  # OSError: the package is there, the library that it loads is not
        yield Finding("devices", "note", f"PortAudio is missing, no live sound: {_portaudio_mend()}")
        return
    try:
        found = list(sounddevice.query_devices())
    except sounddevice.PortAudioError as problem:
        yield Finding("devices", "note", f"cannot be listed, no live sound: {problem}")
        return
    if not found:
        yield Finding("devices", "note", "none found, no live sound: connect one, or start the sound server")
    for device in found:
        ways = f"{device['max_input_channels']} in, {device['max_output_channels']} out"
        yield Finding("device", "ok", f"{device['name']}: {ways}, {device['default_samplerate']:.0f} Hz")


def _portaudio_mend() -> str:
    return {
        "Linux": "apt install libportaudio2",
        "Darwin": "brew install portaudio",
    }.get(platform.system(), "reinstall sounddevice")


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
    """A timed second of sound through each shipped extractor; slower than real time is broken."""
    for name in checkpoints.list_models():
        graph = Graph(checkpoints.models_folder() / f"{name}.onnx", shipped=True)
        if graph.spec.kind != "extractor":
            continue
        timing = measure(graph, round(1000 / graph.spec.chunk_ms))
        mean_ms = timing.rtf * graph.spec.chunk_ms
        detail = f"{mean_ms:.2f} ms a chunk of {graph.spec.chunk_ms:g} ms, {timing.missed} of {timing.chunks} late"
        slow = timing.rtf >= 1
        mend = ": too slow for live sound: end other programs" if slow else ""
        yield Finding(f"one second, {name}", "broken" if slow else "ok", detail + mend)
