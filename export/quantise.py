"""8-bit variants of a graph by onnxruntime's quantiser: constant matrices per column; the DFT keeps its precision.

Weights use 7 of their bits: on x86 processors without VNNI (before Cascade Lake and Zen 4), onnxruntime adds pairs of
8-bit products in 16 bits, which saturate, and the output is nowhere near (its documentation, "Quantize ONNX Models").
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from rich.console import Console
from rich.progress import track

from export.bands import gathered
from export.dft import analysis_window, synthesis_window
from hearable.extractor import load_model
from hearable.protocol import Evaluator, Protocol

Feed = dict[str, np.ndarray]
EVERY = 25  # chunks: neighbouring ones are alike


def quantised_nodes(model: onnx.ModelProto) -> list[str]:
    """The products with a constant matrix, but for those with a DFT and those that gather bins in bands."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    names = []
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm") or node.input[1] not in constants:
            continue
        matrix = numpy_helper.to_array(constants[node.input[1]])
        # Powers have a range that 8 bits would not hold; and onnxruntime has no 8-bit product with a stack of matrices.
        bands = gathered(matrix) or gathered(matrix.T)
        if matrix.ndim == 2 and not (bands or is_transform(matrix)):
            names.append(node.name)
    return names


def is_transform(matrix: np.ndarray) -> bool:
    """A windowed DFT or its inverse."""
    return analysis_window(matrix) is not None or synthesis_window(matrix) is not None


def dynamic(model: onnx.ModelProto) -> onnx.ModelProto:
    """8-bit weights; activations are scaled anew at every chunk."""
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "model.onnx", Path(folder) / "quantised.onnx"
        onnx.save(model, source)  # the quantiser changes a model that it is given in memory
        quantize_dynamic(
            source,
            path,
            nodes_to_quantize=quantised_nodes(model),
            per_channel=True,
            reduce_range=True,
            weight_type=QuantType.QInt8,
        )
        return _described(onnx.load(path), model)


def static(model: onnx.ModelProto, feeds: Iterable[Feed]) -> onnx.ModelProto:
    """8-bit weights and activations, whose ranges are those of the calibration ``feeds``: all inputs, by name."""
    with tempfile.TemporaryDirectory() as folder:
        source, path = Path(folder) / "model.onnx", Path(folder) / "quantised.onnx"
        onnx.save(model, source)
        quantize_static(
            source,
            path,
            _Reader(iter(feeds)),
            quant_format=QuantFormat.QDQ,
            nodes_to_quantize=quantised_nodes(model),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return _described(onnx.load(path), model)


def calibration(model: Path, enroller: str, data: Path, split: str, scenes: int) -> Iterator[Feed]:
    """Inputs of the extractor on scenes of the recipe, chunk and state as they come, one in 25."""
    loaded = load_model(model)
    evaluator = Evaluator(Protocol(data, split, str(model), enroller))
    samples = loaded.spec.chunk_samples
    for scene in track(range(scenes), "calibration", console=Console(stderr=True)):
        drawn = evaluator.draw(scene)
        profile = evaluator.profile(evaluator.clips(scene, drawn)["clean"])
        if profile is None:
            continue
        conditioning, state = loaded.condition(profile), loaded.extractor.state()
        mixture = evaluator.render(drawn.mixture).mixture
        for n in range(mixture.shape[1] // samples):
            chunk = np.ascontiguousarray(mixture[:, n * samples : (n + 1) * samples])
            if n % EVERY == EVERY - 1:
                yield {"chunk": chunk, "conditioning": conditioning, **state.values}
            loaded.extractor.step(chunk, conditioning, state)


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, feeds: Iterator[Feed]):
        self._feeds = feeds

    def get_next(self) -> Feed | None:
        return next(self._feeds, None)


def _described(quantised: onnx.ModelProto, model: onnx.ModelProto) -> onnx.ModelProto:
    """With the metadata of the original."""
    del quantised.metadata_props[:]
    quantised.metadata_props.extend(model.metadata_props)
    return quantised
