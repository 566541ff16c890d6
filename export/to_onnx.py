"""torch networks to ONNX graphs that carry their contract in their metadata."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx.compose
import onnxslim
import torch
from onnx import TensorProto, numpy_helper
from torch import Tensor, nn

from export.step import OPSET, GraphBuilder, states, step_model
from hearable.errors import ModelError
from hearable.files import replacing
from hearable.spec import ModelSpec, StateSpec
from training.complexity import count_macs
from training.enroller import EPS, RMS, Enroller
from training.network import CHUNK, LOOKAHEAD, Extractor

SAMPLE_RATE = 16000
LARGE = 1024  # values of a weight that is worth a node


class _Step(nn.Module):
    """One chunk, without a batch axis and with the states as separate tensors."""

    def __init__(self, network: nn.Module, names: list[str]):
        super().__init__()
        self.network, self.names = network, names

    def forward(self, chunk: Tensor, conditioning: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        state = dict(zip(self.names, states, strict=True))
        output, state = self.network.step(chunk[None], conditioning[None], state)
        return output[0], *(state[name] for name in self.names)


class _Condition(nn.Module):
    def __init__(self, conditioner: nn.Module):
        super().__init__()
        self.conditioner = conditioner

    def forward(self, embedding: Tensor) -> Tensor:
        return self.conditioner(embedding[None])[0]  # type: ignore[no-any-return]


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    input_names: list[str],
    output_names: list[str],
    path: Path,
    dynamic: dict[str, dict[int, str]] | None = None,
) -> onnx.ModelProto:
    """The graph of a network's operators, by way of a file beside ``path``."""
    temporary = path.with_suffix(".tmp")
    with warnings.catch_warnings(), torch.no_grad():
        # The tracer warns about every Python number that it makes a constant; here all of them are.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            inputs,
            str(temporary),
            input_names=input_names,
            output_names=output_names,
            opset_version=OPSET,
            dynamo=False,
            dynamic_axes=dynamic,
        )
    # Folds the arithmetic on shapes that tracing leaves, so that every shape is a number.
    model = onnxslim.slim(onnx.load(temporary))
    temporary.unlink()
    onnx.checker.check_model(model)
    return model


def _write(model: onnx.ModelProto, spec: ModelSpec, path: Path) -> None:
    onnx.helper.set_model_props(model, spec.to_metadata())
    with replacing(path, ModelError) as temporary:
        onnx.save(model, temporary)


def export_extractor(network: nn.Module, name: str, space: str, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.onnx`` and ``<name>.conditioner.onnx``.

    Args:
        network: an `Extractor`, of which `export.step` writes the graph, or one that is traced, with ``step``,
            ``initial_state`` and ``conditioner`` as that has.
        name: of the model.
        space: the embedding space that its conditioner reads.
        folder: where to.

    Returns:
        The two paths.
    """
    network.eval().requires_grad_(False)
    state = network.initial_state(1)  # type: ignore[operator]
    names = list(state)
    shapes = states(network) if isinstance(network, Extractor) else {n: tuple(s.shape) for n, s in state.items()}
    embedding = torch.nn.functional.normalize(torch.rand(256), dim=0)
    condition = _Condition(network.conditioner)  # type: ignore[arg-type]
    with torch.no_grad():
        conditioning = condition(embedding)
    chunk = torch.randn(2, CHUNK) * 0.1
    common = {"name": name, "embedding_values": 256, "embedding_space": space, "conditioning_values": len(conditioning)}
    extractor = ModelSpec(
        kind="extractor",
        **common,
        sample_rate_hz=SAMPLE_RATE,
        channels=2,
        chunk_samples=CHUNK,
        lookahead_samples=LOOKAHEAD,
        states=tuple(StateSpec(n, shape) for n, shape in shapes.items()),
        parameters=sum(p.numel() for p in network.parameters()),
        macs_per_chunk=count_macs(network.step, chunk[None], conditioning[None], state),  # type: ignore[arg-type]
    )
    path, conditioner = folder / f"{name}.onnx", folder / f"{name}.conditioner.onnx"
    if isinstance(network, Extractor):
        step = step_model(network)
    else:
        inputs = ["chunk", "conditioning", *(f"state.{n}" for n in names)]
        outputs = ["output", *(f"state.{n}.out" for n in names)]
        step = _trace(_Step(network, names), (chunk, conditioning, *state.values()), inputs, outputs, path)
    _write(step, extractor, path)
    once = _trace(condition, (embedding,), ["embedding"], ["conditioning"], conditioner)
    _write(once, ModelSpec(kind="conditioner", **common), conditioner)
    return path, conditioner


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, weights that half precision holds exactly stored in it: onnxruntime widens them as it loads."""
    compact = onnx.ModelProto()
    compact.CopyFrom(model)
    graph = compact.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.dtype == np.float32 and values.size >= LARGE and np.array_equal(half, values):
            casts.append(onnx.helper.make_node("Cast", [f"{tensor.name}.half"], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(numpy_helper.from_array(half, f"{tensor.name}.half"))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(compact)
    return compact


class _Embed(nn.Module):
    """What follows the front end: the frontal talker's sound beside the clip, ``[2, samples]`` both."""

    def __init__(self, network: Enroller):
        super().__init__()
        self.network = network

    def forward(self, voice: Tensor, clip: Tensor) -> Tensor:
        return self.network.embed(voice[None], clip[None])[0]


def _front_end(network: Enroller) -> GraphBuilder:
    """`Enroller.frontal` of ``clip`` as ``voice``: the front end's step, over all chunks of a clip of any length."""
    g, step = GraphBuilder(), onnx.compose.add_prefix_graph(step_model(network.separator).graph, "step.")
    power = g("ReduceMean", g("Mul", "clip", "clip"), keepdims=0)
    gain = g("Div", RMS, g("Add", g("Sqrt", power), EPS))
    # To whole chunks, and one more: a chunk's last samples come out with the next one.
    samples = g("Slice", g("Shape", "clip"), np.array([1]), np.array([2]))
    missing = g("Add", g("Mod", g("Neg", samples), np.array([CHUNK])), np.array([CHUNK]))
    padded = g("Pad", g("Mul", "clip", gain), g("Concat", np.array([0, 0, 0]), missing, axis=0))
    chunks = g("Transpose", g.reshape(padded, 2, -1, CHUNK), perm=[1, 0, 2])
    # A scan's body has the states before what is scanned; a step has the chunk first.
    (chunk, *before), (output, *after) = step.input, step.output
    silence = [np.zeros(shape) for shape in states(network.separator).values()]
    body = onnx.helper.make_graph(step.node, "step", [*before, chunk], [*after, output], step.initializer)
    g.node("Scan", [*silence, chunks], [*(g.new() for _ in silence), "scanned"], body=body, num_scan_inputs=1)
    late = g.reshape(g("Transpose", "scanned", perm=[1, 0, 2]), 2, -1)
    begin, axis = np.array([LOOKAHEAD]), np.array([1])
    g("Div", g("Slice", late, begin, g("Add", samples, begin), axis), gain, name="voice")
    return g


def export_enroller(network: Enroller, name: str, space: str, folder: Path) -> Path:
    """Write ``<name>.onnx``: a clip of any length to an embedding, and to the frontal talker alone."""
    spec = ModelSpec(
        kind="enroller",
        name=name,
        embedding_values=256,
        embedding_space=space,
        sample_rate_hz=SAMPLE_RATE,
        channels=2,
        parameters=sum(p.numel() for p in network.parameters()),
    )
    path = folder / f"{name}.onnx"
    sound = torch.randn(2, 4 * SAMPLE_RATE) * 0.05
    free = {"voice": {1: "samples"}, "clip": {1: "samples"}}
    model = _trace(_Embed(network), (sound, sound), ["voice", "clip"], ["embedding"], path, free)
    # The voice is no longer an input: it is what the front end makes of the clip, and given out beside the embedding.
    front, graph = _front_end(network), model.graph
    graph.initializer.extend(front.constants)
    nodes = [*front.nodes, *graph.node]
    graph.output.append(graph.input.pop(0))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    _write(halved(model), spec, path)
    return path
