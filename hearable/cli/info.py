"""``hearable info``: what a file is."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from hearable.audio import AudioReader
from hearable.checkpoints import list_models, locate
from hearable.cli.console import Json, emit, lines
from hearable.cli.enroll import described as quality_lines
from hearable.cli.models import count
from hearable.cli.models import described as model_data
from hearable.errors import HearableError
from hearable.profiles import SpeakerProfile
from hearable.session import Graph

SUFFIXES = (".profile", ".json", ".npz")  # of profiles


def info(
    what: Annotated[str, typer.Argument(metavar="MODEL|PROFILE|WAV", help="A model's name, or any file.")] = "base",
    as_json: Json = False,
) -> None:
    """Say what a model, a profile or a sound file is, and what it holds."""
    path = Path(what)
    if what in list_models() or path.suffix == ".onnx":
        data, pairs = _model(what)
    elif not path.is_file():
        known = ", ".join(list_models()) or "none"
        raise HearableError(f"{what}: no such file: expected a file, or the name of a shipped model ({known})")
    elif _is_profile(path):
        data, pairs = _profile(path)
    else:
        data, pairs = _sound(path)
    if as_json:
        emit(data)
    else:
        lines(pairs)


Described = tuple[dict[str, Any], list[tuple[str, str]]]


def _is_profile(path: Path) -> bool:
    """By its suffix, or by its first bytes: no sound file begins like a zip or JSON."""
    with path.open("rb") as file:
        return path.suffix.lower() in SUFFIXES or file.read(2) in (b"PK", b"{\n", b'{"')


def _model(name_or_path: str) -> Described:
    path, listed = locate(name_or_path)
    data = {"type": "model", **model_data(Graph(path, listed=listed)), "verified": listed}
    pairs = [
        ("model", f"{data['name']}, {data['kind']}"),
        ("file", f"{data['path']}, {data['bytes'] / 1e6:.2f} MB"),
        ("hash", "as published" if listed else "not verified: no list beside it names it"),
        ("embeddings", f"{data['embedding_space']}, {data['embedding_values']} values"),
    ]
    if "channels" in data:
        pairs.append(("sound", f"{data['channels']} channels at {data['sample_rate_hz']} Hz"))
    if "parameters" in data and "states" not in data:
        pairs.append(("size", f"{count(data['parameters'])} parameters"))
    if "states" in data:
        chunk, ahead = data["chunk_samples"], data["lookahead_samples"]
        pairs += [
            ("size", f"{count(data['parameters'])} parameters, {count(data['macs_per_chunk'])} MACs a chunk"),
            ("latency", f"{data['latency_ms']:g} ms: chunk of {chunk} samples, lookahead of {ahead}"),
            ("state", f"{sum(math.prod(shape) for shape in data['states'].values())} values"),
        ]
    return data, pairs


def _profile(path: Path) -> Described:
    profile = SpeakerProfile.load(path)
    data: dict[str, Any] = {
        "type": "profile",
        "path": str(path),
        "embedding_space": profile.embedding_space,
        "embedding_values": len(profile.embedding),
        "quality": None,
    }
    pairs = [("profile", str(path)), ("embedding", f"{profile.embedding_space}, {len(profile.embedding)} values")]
    if profile.quality is None:
        pairs.append(("quality", "unknown: not enrolled from a clip"))
    else:
        data["quality"] = profile.quality.rounded()
        pairs += quality_lines(profile.quality)
        pairs += [("warning", warning) for warning in profile.quality.warnings]
    return data, pairs


def _sound(path: Path) -> Described:
    """Read to the end in constant memory, so that damage anywhere in the file is found."""
    with AudioReader(path) as reader:
        power, peak = np.zeros(reader.channels), 0.0
        for block in reader.blocks():
            power += np.sum(np.square(block, dtype=np.float64), axis=1)
            peak = max(peak, float(np.abs(block).max()))
    levels = [_db(value / reader.samples) for value in power]
    data = {
        "type": "sound",
        "path": str(path),
        "sample_rate_hz": reader.rate,
        "channels": reader.channels,
        "samples": reader.samples,
        "seconds": round(reader.samples / reader.rate, 3),
        "stored_as": reader.subtype,
        "level_db": levels,
        "peak_db": _db(peak**2),
        "binaural": reader.channels == 2,
    }
    use = "can be enrolled from or extracted from" if reader.channels == 2 else "expected 2 channels: left, right ear"
    pairs = [
        ("sound", str(path)),
        ("length", f"{data['seconds']} s, {reader.samples} samples at {reader.rate} Hz, {reader.subtype}"),
        ("channels", f"{reader.channels}: {use}"),
        ("level", ", ".join(map(_shown_db, levels)) + " full scale"),
        ("peak", _shown_db(_db(peak**2)) + " full scale"),
    ]
    return data, pairs


def _db(power: float) -> float | None:
    """A power in dB, ``None`` for silence."""
    return round(10 * math.log10(power), 2) if power > 0 else None


def _shown_db(value: float | None) -> str:
    return "silence" if value is None else f"{value:.1f} dB"
