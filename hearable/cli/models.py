"""``hearable models``: what is shipped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hearable.checkpoints import conditioner_path, list_models, model_path
from hearable.cli.console import Json, emit, say, table
from hearable.session import Graph
from hearable.spec import ModelSpec


def models(as_json: Json = False) -> None:
    """List the shipped models, each verified against its published hash."""
    found = [described(Graph(model_path(name), listed=True)) for name in list_models()]
    if as_json:
        emit(found)
    elif found:
        columns = ("name", "kind", "size", "parameters", "MACs a chunk", "latency", "embeddings")
        table(columns, [_row(model) for model in found])
    else:
        say("No models are shipped with this checkout.")


def described(graph: Graph) -> dict[str, Any]:
    """What a model says about itself, and its size on disk with its conditioner's; what it does not say is left out."""
    spec = graph.spec
    data: dict[str, Any] = {
        "name": spec.name,
        "kind": spec.kind,
        "path": str(graph.path),
        "bytes": _size(graph.path),
        "embedding_space": spec.embedding_space,
        "embedding_values": spec.embedding_values,
    }
    if spec.kind != "conditioner":
        data |= {"sample_rate_hz": spec.sample_rate_hz, "channels": spec.channels, "parameters": spec.parameters}
    if spec.kind == "extractor":
        data["bytes"] += _size(conditioner_path(graph.path))
        data |= _extractor(spec)
    return data


def _extractor(spec: ModelSpec) -> dict[str, Any]:
    return {
        "macs_per_chunk": spec.macs_per_chunk,
        "chunk_samples": spec.chunk_samples,
        "lookahead_samples": spec.lookahead_samples,
        "latency_ms": round(1000 * spec.latency_samples / spec.sample_rate_hz, 3),
        "states": {state.name: list(state.shape) for state in spec.states},
    }


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _row(model: dict[str, Any]) -> list[str]:
    return [
        model["name"],
        model["kind"],
        f"{model['bytes'] / 1e6:.2f} MB",
        count(model.get("parameters")),
        count(model.get("macs_per_chunk")),
        f"{model['latency_ms']:g} ms" if "latency_ms" in model else "-",
        model["embedding_space"],
    ]


def count(number: int | None) -> str:
    """``412345`` -> ``412 k``; a number that the model does not tell (0 or none) is ``-``."""
    if not number:
        return "-"
    return f"{number / 1e6:.2f} M" if number >= 1e6 else f"{number / 1e3:.0f} k" if number >= 1e3 else str(number)
