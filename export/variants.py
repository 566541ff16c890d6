"""What a device is given: a model in several formats, each measured, in one table that recommends one.

out/<name>.onnx              the model as it is, and its conditioner; <name>.variants.md, the card with the table
out/<name>-int8-....onnx     8-bit variants, shipped where they are smaller and lose at most 0.2 dB
out/<name>.ort               ORT format, and <name>.operators.config for a reduced build of onnxruntime
out/<name>.h, hb_nn.h, <name>-half.c ...   C of the model at half precision (`export.emit_c`)
out/vectors/                 100 chained chunks: inputs, outputs, last state (`export.vectors`)
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

from export.compiled import Compiled
from export.emit_c import emit, half_weights
from export.quantise import calibration, dynamic, static
from export.scores import Scoring, score
from export.vectors import CHUNKS, anybody, noise, write_vectors
from export.verify import report
from hearable.checkpoints import conditioner_path
from hearable.errors import ModelError
from hearable.files import replacing
from hearable.session import Graph, open_pair
from hearable.spec import ModelSpec
from hearable.timing import Timing, summarize

LOSS_DB = 0.2  # that a smaller variant may cost
CALIBRATION_SCENES = 8


@dataclass(frozen=True)
class Variant:
    """A variant as it was measured; ``si_sdri_db`` is ``None`` where it was not scored.

    ``error_db``: power of the difference to the model's output, relative to that, over the test vectors.
    """

    name: str
    path: Path
    size: int
    error_db: float
    timing: Timing
    si_sdri_db: float | None
    shipped: bool = True


def save(model: onnx.ModelProto, conditioner: onnx.ModelProto, name: str, folder: Path) -> Path:
    """Write a pair under a name; returns the extractor's path."""
    path = folder / f"{name}.onnx"
    for graph, target in ((model, path), (conditioner, conditioner_path(path))):
        named = onnx.ModelProto()
        named.CopyFrom(graph)
        spec = ModelSpec.from_metadata({p.key: p.value for p in graph.metadata_props})
        del named.metadata_props[:]
        onnx.helper.set_model_props(named, replace(spec, name=name).to_metadata())
        with replacing(target, ModelError) as temporary:
            onnx.save(named, temporary)
    return path


def make(name_or_path: str, folder: Path, int8: bool, ort: bool, c: bool, scoring: Scoring | None) -> Path:
    """Write the variants that are asked for and the card with their table, which is printed too.

    Args:
        name_or_path: of an extractor.
        folder: where to.
        int8: 8-bit variants, calibrated and scored on the scenes of ``scoring``, which they need.
        ort: ORT format.
        c: C at half precision.
        scoring: on what to score; ``None``: sizes and times alone.

    Returns:
        The card.

    Raises:
        ModelError: no such model.
        UnsupportedGraph: it holds something that has no C.
    """
    extractor, conditioning = open_pair(name_or_path)
    model, conditioner = onnx.load(extractor.path), onnx.load(conditioning.path)
    name = extractor.spec.name
    folder.mkdir(parents=True, exist_ok=True)
    paths = [save(model, conditioner, name, folder)]
    (folder / "vectors").mkdir(exist_ok=True)
    write_vectors(extractor, anybody(conditioning), folder / "vectors")
    compiled = None
    if c:
        half = half_weights(model)
        paths.append(save(half, conditioner, f"{name}-half", folder))
        compiled = build(onnx.load(paths[-1]), folder)
    if int8:
        calibrated = (scoring.enroller, scoring.data, scoring.calibration_split, CALIBRATION_SCENES)
        feeds = calibration(paths[0], *calibrated)
        paths.append(save(dynamic(model), conditioner, f"{name}-int8-dynamic", folder))
        paths.append(save(static(model, feeds), conditioner, f"{name}-int8-static", folder))
    variants = judge(measured(paths, compiled, scoring, anybody(conditioning)))
    for variant in variants:
        if not variant.shipped:
            withdraw(variant.path)
        elif ort and variant.path.suffix == ".onnx":
            check_ort(to_ort(variant.path)[0], variant.path, anybody(conditioning))
    return write_table(variants, extractor.spec, folder)


def withdraw(path: Path) -> None:
    """Remove a variant with all that belongs to it, be it of an earlier run."""
    beside = (path.with_suffix(kind) for kind in (".ort", ".operators.config", ".h"))
    for file in (path, conditioner_path(path), *beside):
        file.unlink(missing_ok=True)


def build(model: onnx.ModelProto, folder: Path) -> Compiled | None:
    """Write C, and compile it elsewhere for comparison where there is gcc."""
    emit(model, folder)
    with tempfile.TemporaryDirectory() as elsewhere:
        return Compiled(model, Path(elsewhere)) if shutil.which("gcc") else None


def measured(
    paths: list[Path], compiled: Compiled | None, scoring: Scoring | None, conditioning: np.ndarray
) -> list[Variant]:
    """Size, difference to the first, time of a chunk on one thread; SI-SDRi where there is something to score on.

    C has a row of its own, with the score of the graph that it equals and the size of its weights.
    """
    graphs = [Graph(path, "extractor") for path in paths]
    outputs = [run(graph, conditioning) for graph in graphs]
    known: list[float] | list[None] = [None] * len(paths)
    if scoring is not None:
        known = score(paths, scoring, paths[0].with_suffix(".scores.csv"))
    timings = take_turns([*graphs, *([compiled] if compiled else [])])
    variants = [
        Variant(graph.spec.name, path, path.stat().st_size, error_db(output, outputs[0]), timing, scored)
        for graph, path, output, timing, scored in zip(graphs, paths, outputs, timings, known, strict=False)
    ]
    if compiled is not None:
        half = next(v for v in variants if v.name == compiled.spec.name.removesuffix(".c"))
        output = run(compiled, conditioning)
        report(f"{compiled.spec.name}, ONNX and C", float(np.abs(output - outputs[variants.index(half)]).max()))
        error, timing = error_db(output, outputs[0]), timings[-1]
        path = half.path.with_name(compiled.spec.name)
        row = replace(half, name=path.name, path=path, size=compiled.weight_bytes, error_db=error, timing=timing)
        variants.insert(variants.index(half) + 1, row)
    return variants


def run(extractor: Graph | Compiled, conditioning: np.ndarray) -> np.ndarray:
    """Output ``[chunks, channels, chunk_samples]`` over the noise of the test vectors."""
    state = extractor.state()
    return np.stack([extractor.step(chunk, conditioning, state) for chunk in noise(extractor.spec, CHUNKS)])


def error_db(output: np.ndarray, expected: np.ndarray) -> float:
    """Power of the difference relative to that of what is expected; -inf where there is none."""
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(np.sum((output - expected) ** 2.0) / np.sum(expected**2.0)))


def take_turns(graphs: Sequence[Graph | Compiled], chunks: int = 1000, warmup: int = 50) -> list[Timing]:
    """Time graphs chunk by chunk in turn: what the thread computes, without what it waits for the processor."""
    spec = graphs[0].spec
    sound = noise(spec, warmup + chunks)
    conditioning = np.zeros(spec.conditioning_values, np.float32)
    states = [graph.state() for graph in graphs]
    seconds = np.empty((len(graphs), len(sound)))
    for n, chunk in enumerate(sound):
        for i, graph in enumerate(graphs):
            begin = time.thread_time()
            graph.step(chunk, conditioning, states[i])
            seconds[i, n] = time.thread_time() - begin
    return [summarize(row[warmup:].tolist(), spec.chunk_samples / spec.sample_rate_hz) for row in seconds]


def judge(variants: list[Variant]) -> list[Variant]:
    """A variant of the first one is shipped if it is not larger and loses at most 0.2 dB; 8 bits only where scored."""
    first, judged = variants[0], [variants[0]]
    for variant in variants[1:]:
        scored = variant.si_sdri_db is not None and first.si_sdri_db is not None
        lost = (first.si_sdri_db or 0.0) - (variant.si_sdri_db or 0.0)
        good = lost <= LOSS_DB if scored else "int8" not in variant.name
        smaller = variant.size < first.size or "int8" not in variant.name
        judged.append(replace(variant, shipped=good and smaller))
    return judged


def recommended(variants: list[Variant]) -> Variant:
    """The fastest of those that are shipped and smaller; the model as it is, unless that saves at least 5%."""
    first = variants[0]
    smaller = [
        v for v in variants if v.shipped and v.size < first.size and v.timing.p50_ms <= 0.95 * first.timing.p50_ms
    ]
    return min(smaller, key=lambda v: v.timing.p50_ms, default=first)


def write_table(variants: list[Variant], spec: ModelSpec, folder: Path) -> Path:
    """Write the card ``<name>.variants.md`` and print it."""
    best = recommended(variants)
    lines = [
        f"# {spec.name}: variants",
        "",
        f"{spec.sample_rate_hz} Hz, chunk {spec.chunk_samples}, lookahead {spec.lookahead_samples} samples; "
        f"{spec.parameters:,} parameters, {spec.macs_per_chunk / 1e6:.2f} M multiply-accumulates a chunk; "
        f"embedding space `{spec.embedding_space}`. Times: the processor's, one thread, "
        f"onnxruntime {onnxruntime.__version__}.",
        "",
        "| variant | kB | difference dB | mean ms | p99 ms | SI-SDRi dB | |",
        "|---|---|---|---|---|---|---|",
    ]
    for v in variants:
        scored = "-" if v.si_sdri_db is None else f"{v.si_sdri_db:.2f}"
        verdict = (
            "recommended" if v is best else "" if v.shipped else f"not shipped: larger, or loses over {LOSS_DB} dB"
        )
        error = "-" if v is variants[0] else f"{v.error_db:.0f}"
        times = f"{v.timing.rtf * spec.chunk_ms:.2f} | {v.timing.p99_ms:.2f}"
        lines.append(f"| {v.name} | {v.size / 1000:.0f} | {error} | {times} | {scored} | {verdict} |")
    card, text = folder / f"{spec.name}.variants.md", "\n".join([*lines, "", "Weights: CC BY 4.0.", ""])
    with replacing(card, ModelError) as temporary:
        temporary.write_text(text)
    print(text)
    return card


def check_ort(path: Path, original: Path, conditioning: np.ndarray) -> None:
    """Is the ORT file the model?

    Raises:
        VerificationError: their outputs differ by more than 1e-4.
    """
    found, expected = (run(Graph(p, "extractor"), conditioning) for p in (path, original))
    report(f"{original.name}, ONNX and ORT format", float(np.abs(found - expected).max()))


def to_ort(path: Path) -> tuple[Path, Path]:
    """Write ``<name>.ort`` and ``<name>.operators.config``, what a reduced build of onnxruntime must hold."""
    target, config = path.with_suffix(".ort"), path.with_suffix(".operators.config")
    with tempfile.TemporaryDirectory() as folder, replacing(target, ModelError) as temporary:
        optimised = Path(folder) / "optimised.onnx"
        for output, kind in ((optimised, "ONNX"), (temporary, "ORT")):
            options = onnxruntime.SessionOptions()
            options.log_severity_level = 3
            # Extended: what holds on every processor.
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
            options.add_session_config_entry("session.save_model_format", kind)
            options.optimized_model_filepath = str(output)
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        model = onnx.load(optimised)
    versions = {opset.domain: opset.version for opset in model.opset_import}
    operators = defaultdict(set)
    for node in model.graph.node:
        operators[node.domain].add(node.op_type)
    lines = [
        f"{domain or 'ai.onnx'};{versions[domain]};{','.join(sorted(kinds))}"
        for domain, kinds in sorted(operators.items())
    ]
    with replacing(config, ModelError) as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    return target, config
