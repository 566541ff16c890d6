"""Model cards and hashes: what a model is, what it was trained on, how it scores."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from hearable.checkpoints import SUMS
from hearable.errors import ModelAltered, ModelError
from hearable.files import replacing
from hearable.session import Graph

DATA = """\
Trained on scenes rendered on the fly from: LibriSpeech, AN4, speechocean762, Arabic Speech Commands, kerstin,
nathalie, alphanumeric and Asterisk (ru) recordings (speech; CC0, CC BY, Apache-2.0, MIT and AN4 terms); CIPIC, MIT
KEMAR and Surrey head and room responses; freesound, moodist and Berlin noise recordings (CC0, CC BY, Pixabay).
Recordings under GPL or share-alike licences were left out. Speaker embeddings were distilled from the GE2E encoder of
the package resemblyzer (Apache-2.0).
"""

SCORES, DIFFERENCES = "## Scores: ", "## Largest difference to the torch network"


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
            DIFFERENCES,
            "",
            *checks,
            "",
            "Weights: CC BY 4.0.",
            "",
        ]
    )
    _write(card, text)
    return card


def add_scores(card: Path, summary: dict[str, Any]) -> None:
    """Write the scores of an evaluation into a card, in place of those it had.

    Args:
        card: of the extractor or the enroller that was evaluated.
        summary: the ``summary.json`` of `hearable evaluate`.

    Raises:
        ModelAltered: the summary is of another file than the one beside the card.
    """
    graph, settings = card.with_suffix(".onnx"), summary["settings"]
    if hashlib.sha256(graph.read_bytes()).hexdigest() not in settings["sha256"].values():
        raise ModelAltered(f"{graph}: expected the model that was evaluated, found another one: evaluate this one")
    rows = [f"- SI-SDRi, {of} enrollment: {_interval(found, 'si_sdri_db')} dB, SNRi {_interval(found, 'snri_db')} dB, "
            f"wrong person {found['confused']['mean']['value']:.1%}"
            for of, found in summary["enrollment"].items()]  # fmt: skip
    rows += [f"- SI-SDRi, {of}: {_interval(found, 'si_sdri_db')} dB" for of, found in summary["beside"].items()]
    if "alone" in summary:
        rows.append(f"- SI-SDR, target alone: {_interval(summary['alone'], 'si_sdr_db')} dB")
    if "absent" in summary:
        rows.append(f"- output below input, target absent: {_interval(summary['absent'], 'leak_db')} dB")
    title = f"{SCORES}{summary['scenes']} scenes of the split `{settings['split']}`, extractor `{settings['model']}`"
    text = card.read_text()
    before, _, rest = text.partition(SCORES)
    if rest:
        rest = DIFFERENCES + rest.partition(DIFFERENCES)[2]
    else:
        before, _, rest = text.partition(DIFFERENCES)
        rest = DIFFERENCES + rest
    _write(card, "\n".join([before + title, "", *rows, "", "Mean and 95% interval.", "", rest]))


def _interval(found: dict[str, Any], measure: str) -> str:
    mean = found[measure]["mean"]
    return f"{mean['value']:.2f} ({mean['low']:.2f}..{mean['high']:.2f})"


def _write(file: Path, text: str) -> None:
    with replacing(file, ModelError) as temporary:
        temporary.write_text(text)


def write_sums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over every ONNX file of a folder."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}\n" for p in sorted(folder.glob("*.onnx"))]
    _write(folder / SUMS, "".join(lines))
