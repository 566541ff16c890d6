"""Model cards and hashes: what a model is, what it was trained on, how it scores."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from hearable.checkpoints import SUMS
from hearable.cli.evaluate import tables
from hearable.errors import ModelAltered, ModelError
from hearable.files import replacing
from hearable.session import Graph

SCORES, DIFFERENCES = "## Scores\n", "## Largest difference to the torch network"


def write_card(path: Path, history: str, verification: dict[str, float]) -> Path:
    """Write ``<name>.md`` beside an exported graph.

    Args:
        path: the graph.
        history: how it was trained and on what, and the licence of the weights, in Markdown.
        verification: what `export.verify` measured.

    Returns:
        The card's path.
    """
    spec = Graph(path).spec
    facts = [f"- kind: {spec.kind}, embedding space `{spec.embedding_space}`"]
    if spec.kind == "enroller":
        facts.append(f"- {spec.parameters:,} parameters")
    if spec.kind == "extractor":
        facts += [
            f"- {spec.parameters:,} parameters, {spec.macs_per_chunk / 1e6:.2f} M multiply-accumulates a chunk",
            f"- {spec.sample_rate_hz} Hz, chunk {spec.chunk_samples}, lookahead {spec.lookahead_samples} samples: "
            f"algorithmic latency {1000 * spec.latency_samples / spec.sample_rate_hz:.0f} ms",
        ]
    facts.append(f"- {path.stat().st_size / 1e6:.2f} MB, ONNX")
    checks = [f"- {what}: {difference:.1e}" for what, difference in verification.items()]
    card = path.with_suffix(".md")
    text = "\n".join(
        [
            f"# {spec.name}",
            "",
            *facts,
            "",
            "## Training",
            "",
            history.strip(),
            "",
            DIFFERENCES,
            "",
            *checks,
            "",
        ]
    )
    _write(card, text)
    return card


def add_scores(card: Path, summary: dict[str, Any]) -> None:
    """Write the scorecard of an evaluation into a card, in place of the one it had.

    Args:
        card: of the extractor that was evaluated.
        summary: the ``summary.json`` of `hearable evaluate`.

    Raises:
        ModelAltered: the summary is of another file than the one beside the card.
    """
    graph, settings = card.with_suffix(".onnx"), summary["settings"]
    if hashlib.sha256(graph.read_bytes()).hexdigest() != settings["sha256"]["extractor"]:
        raise ModelAltered(f"{graph}: expected the model that was evaluated, found another one: evaluate this one")
    options = [f"--data DATA --model {settings['model']} --scenes {summary['scenes']} --seed {settings['seed']}"]
    options += [f"--split {settings['split']}"]
    options += [f"--{extra}" for extra in ("baselines", "perceptual") if settings[extra]]
    scores = f"{SCORES}\n`hearable evaluate {' '.join(options)}`\n\n{''.join(map(_markdown, tables(summary)))}"
    before, _, rest = card.read_text().partition(DIFFERENCES)
    _write(card, before.partition(SCORES)[0] + scores + DIFFERENCES + rest)


def _markdown(table: Table) -> str:
    """A table of the terminal for a card."""
    title, table.title, table.box = table.title, None, MARKDOWN
    text = io.StringIO()
    Console(file=text, width=1000).print(table)
    rows = [line.rstrip() for line in text.getvalue().splitlines() if line.strip()]
    return "\n".join([f"{title}:", "", *rows, "", ""])


def _write(file: Path, text: str) -> None:
    with replacing(file, ModelError) as temporary:
        temporary.write_text(text)


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every ONNX file of a folder."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(folder.glob("*.onnx"))]
    _write(folder / SUMS, "".join(lines))
