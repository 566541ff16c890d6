"""Model cards and hashes: what a model is, what it was trained on, how it scores."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hearable.checkpoints import SUMS
from hearable.session import Graph

DATA = """\
Trained on scenes rendered on the fly from: LibriSpeech, AN4, speechocean762, Arabic Speech Commands, kerstin,
nathalie, alphanumeric and Asterisk (ru) recordings (speech; CC0, CC BY, Apache-2.0, MIT and AN4 terms); CIPIC, MIT
KEMAR and Surrey head and room responses; freesound, moodist and Berlin noise recordings (CC0, CC BY, Pixabay).
Recordings under GPL or share-alike licences were left out. Speaker embeddings were distilled from the GE2E encoder of
the package resemblyzer (Apache-2.0).
"""


def write_card(path: Path, history: str, verification: dict[str, float]) -> Path:
    """Write ``<name>.md`` beside an exported graph.

    Args:
        path: the graph.
        history: how it was trained, in Markdown.
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
            DATA.strip(),
            "",
            "## Largest difference to the torch network",
            "",
            *checks,
            "",
            "Weights: CC BY 4.0.",
            "",
        ]
    )
    temporary = card.with_suffix(".md.tmp")
    temporary.write_text(text)
    temporary.replace(card)
    return card


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every ONNX file of a folder."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(folder.glob("*.onnx"))]
    temporary = folder / (SUMS + ".tmp")
    temporary.write_text("".join(lines))
    temporary.replace(folder / SUMS)
