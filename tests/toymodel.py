"""Small models that keep the contract, so that tests need no trained one.

The extractor delays its input by the lookahead (state ``delay``), smooths the level of each chunk over time (state
``level``), and scales by conditioning and level: it is causal, nonlinear, has memory, and treats each profile apart.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hearable.profiles import SpeakerProfile
from hearable.spec import ModelSpec, StateSpec

EXTRACTOR = ModelSpec(
    kind="extractor",
    name="toy",
    embedding_values=8,
    embedding_space="toy-v1",
    sample_rate_hz=16000,
    channels=2,
    chunk_samples=128,
    lookahead_samples=64,
    conditioning_values=3,
    states=(StateSpec("delay", (2, 64)), StateSpec("level", (2, 1))),
    parameters=27,
    macs_per_chunk=1024,
)
CONDITIONER = ModelSpec("conditioner", "toy", embedding_values=8, embedding_space="toy-v1", conditioning_values=3)
ENROLLER = ModelSpec(
    "enroller", "toy-enroll", embedding_values=8, embedding_space="toy-v1", sample_rate_hz=16000, channels=2
)


def profile(index: int, space: str = "toy-v1") -> SpeakerProfile:
    """A profile whose conditioning is a gain of ``gain(index)``."""
    embedding = np.zeros(8, np.float32)
    embedding[index] = 1.0
    return SpeakerProfile(embedding, space)


def gain(index: int) -> float:
    return 0.2 + 0.1 * index


def extractor() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Concat", ["state.delay", "chunk"], ["heard"], axis=1),
        helper.make_node("Slice", ["heard", "zero", "n128", "one"], ["late"]),
        helper.make_node("Slice", ["heard", "n128", "n192", "one"], ["state.delay.out"]),
        helper.make_node("Mul", ["chunk", "chunk"], ["power"]),
        helper.make_node("ReduceMean", ["power", "one"], ["mean"], keepdims=1),
        helper.make_node("Sub", ["mean", "state.level"], ["rise"]),
        helper.make_node("Mul", ["rise", "tenth"], ["step"]),
        helper.make_node("Add", ["state.level", "step"], ["state.level.out"]),
        helper.make_node("Add", ["unit", "state.level.out"], ["louder"]),
        helper.make_node("Slice", ["conditioning", "zero", "one", "zero"], ["gain"]),
        helper.make_node("Mul", ["late", "louder"], ["raised"]),
        helper.make_node("Mul", ["raised", "gain"], ["output"]),
    ]
    constants = {name: np.array([n], np.int64) for name, n in (("zero", 0), ("one", 1), ("n128", 128), ("n192", 192))}
    constants |= {"tenth": np.array([0.1], np.float32), "unit": np.array([1.0], np.float32)}
    return _model(nodes, constants, EXTRACTOR)


def mid_extractor() -> onnx.ModelProto:
    """As ``extractor``, but both ears hear what is common to them: it extracts who is straight ahead."""
    model = extractor()
    model.graph.node[-1].output[0] = "scaled"
    model.graph.node.extend(
        [
            helper.make_node("ReduceSum", ["scaled", "zero"], ["sum"], keepdims=1),
            helper.make_node("Mul", ["sum", "tenth"], ["mid"]),  # soft enough for any profile: no limiter acts
            helper.make_node("Concat", ["mid", "mid"], ["output"], axis=0),
        ]
    )
    return model


def conditioner() -> onnx.ModelProto:
    weights = np.stack([[gain(i) for i in range(8)], np.ones(8), np.zeros(8)], axis=1).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["embedding", "weights"], ["conditioning"])]
    return _model(nodes, {"weights": weights}, CONDITIONER)


def enroller() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Abs", ["clip"], ["size"]),
        helper.make_node("ReduceMean", ["size", "one"], ["ears"], keepdims=0),
        helper.make_node("Concat", ["ears", "rest"], ["values"], axis=0),
        helper.make_node("ReduceL2", ["values"], ["norm"], keepdims=1),
        helper.make_node("Div", ["values", "norm"], ["embedding"]),
        helper.make_node("Identity", ["clip"], ["voice"]),
    ]
    return _model(nodes, {"one": np.array([1], np.int64), "rest": np.full(6, 0.1, np.float32)}, ENROLLER)


def _model(nodes: list[onnx.NodeProto], constants: dict[str, np.ndarray], spec: ModelSpec) -> onnx.ModelProto:
    def values(shapes: dict) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["samples" if d is None else d for d in shape])
            for name, shape in shapes.items()
        ]

    tensors = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, spec.name, values(spec.inputs()), values(spec.outputs()), tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    describe(model, spec)
    return model


def describe(model: onnx.ModelProto, spec: ModelSpec) -> None:
    """Write a spec, true or not, into a model's metadata."""
    del model.metadata_props[:]
    helper.set_model_props(model, spec.to_metadata())


def save_pair(folder: Path, name: str = "toy", space: str = "toy-v1", build_extractor=extractor) -> Path:
    """An extractor and its conditioner under a name; returns the extractor's path."""
    for build, spec, suffix in ((build_extractor, EXTRACTOR, ""), (conditioner, CONDITIONER, ".conditioner")):
        model = build()
        describe(model, replace(spec, name=name, embedding_space=space))
        onnx.save(model, folder / f"{name}{suffix}.onnx")
    return folder / f"{name}.onnx"


def save_enroller(folder: Path, name: str = "enroll") -> Path:
    model = enroller()
    describe(model, replace(ENROLLER, name=name))
    onnx.save(model, folder / f"{name}.onnx")
    return folder / f"{name}.onnx"


def publish(folder: Path) -> None:
    """Write the folder's SHA256SUMS."""
    lines = [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in sorted(folder.glob("*.onnx"))]
    (folder / "SHA256SUMS").write_text("".join(lines))
