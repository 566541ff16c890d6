"""One chunk through the extraction network as an ONNX graph: the same function as `Extractor.step`, arranged for speed.

At one chunk a traced network spends most of its time between its operators: in calling them, in moving data from one
layout to another. Here nothing has a batch or time axis, features stay ``[band, channel]`` so that products are
products of matrices, and weights are rearranged once, at export. Only operators of the common set are used, and a sum
that runtimes join with the product before it is left to them: ``MatMul`` and ``Add``, not ``Gemm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from training.network import CHUNK, FILTER, FLOOR, LOOKAHEAD, LOUDNESS, Block, Extractor, Gains, Recurrence, VoiceLayer

OPSET = 17
IR_VERSION = 8  # of the same age

Array = NDArray[Any]


class GraphBuilder:
    """Nodes and constants of a graph, written down operator by operator; equal constants are stored once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[object, ...], onnx.TensorProto] = {}
        self._values = 0

    def constant(self, value: Array | float | Sequence[int]) -> str:
        """The name of a constant: float32, or int64 where it is integers."""
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"constant{len(self._constants)}")
        return self._constants[key].name

    def _new(self) -> str:
        self._values += 1
        return f"value{self._values}"

    def node(self, kind: str, inputs: Sequence[str | Array | float], outputs: list[str], **attributes: Any) -> None:
        """One operator with named outputs."""
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(helper.make_node(kind, names, outputs, f"{kind}{len(self.nodes)}", **attributes))

    def __call__(self, kind: str, *inputs: str | Array | float, name: str | None = None, **attributes: Any) -> str:
        """One operator with one output, whose name is returned. What is no name is a constant."""
        output = name or self._new()
        self.node(kind, inputs, [output], **attributes)
        return output

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Cut along an axis."""
        outputs = [self._new() for _ in sizes]
        self.node("Split", [x, np.array(sizes)], outputs, axis=axis)
        return outputs

    def reshape(self, x: str, *shape: int) -> str:
        """The same numbers in another shape."""
        return self("Reshape", x, np.array(shape))

    def linear(self, x: str, weight: Array, bias: Array | str) -> str:
        """``x weight + bias``, weight ``[inputs, outputs]``; a residual is a bias that is computed."""
        return self("Add", self("MatMul", x, weight), bias)

    def silu(self, x: str) -> str:
        """``x sigmoid(x)``."""
        return self("Mul", x, self("Sigmoid", x))

    def model(self, inputs: dict[str, tuple[int, ...]], outputs: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
        """The checked model, all of float32."""
        ports = [
            [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in side.items()]
            for side in (inputs, outputs)
        ]
        graph = helper.make_graph(self.nodes, "step", *ports, list(self._constants.values()))
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def states(network: Extractor) -> dict[str, tuple[int, ...]]:
    """Shapes of the states, by name: those of the network without its batch axis."""
    return {name: tuple(state.shape[1:]) for name, state in network.initial_state(1).items()}


def step_model(network: Extractor) -> onnx.ModelProto:
    """Inputs ``chunk``, ``conditioning``, each ``state.<name>``; outputs ``output``, each ``state.<name>.out``."""
    recurrent = states(network)
    shape = (2, CHUNK)
    return _Step(network).graph.model(
        {"chunk": shape, "conditioning": (network.config.key,)} | {f"state.{n}": s for n, s in recurrent.items()},
        {"output": shape} | {f"state.{n}.out": s for n, s in recurrent.items()},
    )


class _Step:
    """Writes the graph, in the order of `Extractor.step`. A bin is a frequency, a row what recurs on its own."""

    def __init__(self, network: Extractor):
        self.graph = g = GraphBuilder()
        self.network, self.config = network, network.config
        window = network.config.window_samples
        frame = g("Concat", "state.input", "chunk", axis=1)
        begin, end, axis = np.array([CHUNK]), np.array([window]), np.array([1])
        g("Slice", frame, begin, end, axis, name="state.input.out")
        spectrum = g("MatMul", frame, array(network.dft))  # [ear, re/im and bin]
        voices = self.separate(spectrum)  # [voice, out ear and re/im, bin]
        share = self.recognise(voices)  # [1, voice]
        mixed = g("MatMul", share, g.reshape(voices, self.config.voices, -1))
        segment = g("MatMul", g.reshape(mixed, 2, -1), array(network.idft))
        sizes = [LOOKAHEAD, CHUNK - LOOKAHEAD, LOOKAHEAD]
        g.node("Split", [segment, np.array(sizes)], ["begin", "middle", "state.overlap.out"], axis=1)
        g("Concat", g("Add", "begin", "state.overlap"), "middle", name="output", axis=1)

    def separate(self, spectrum: str) -> str:
        """``[voice, out ear and re/im, bin]``."""
        g, c = self.graph, self.config
        # For a sum over in ear and re/im of filter times this, out of which come first the real, then the imaginary
        # parts: rows (re0, -im0, re1, -im1), then (im0, re0, im1, re1).
        signs = np.array([1, -1, 1, -1, 1, 1, 1, 1.0])[:, None]
        rows = g("Gather", g.reshape(spectrum, 4, -1), np.array([0, 1, 2, 3, 1, 0, 3, 2]), axis=0)
        turned = g.reshape(g("Mul", rows, signs), 2, 2, 2, -1)  # [out re/im, in ear, in re/im, bin]
        x = self.encode(self.features(g.reshape(spectrum, 2, 2, -1), turned))
        for i, block in enumerate(self.network.blocks):
            x = self.block(x, block, f"separate{i}")
        weight = np.concatenate([transposed(voice) for voice in self.network.voices], 1)
        bias = np.concatenate([array(voice.bias) for voice in self.network.voices])
        parts = g.reshape(g.linear(x, weight, bias), c.band_count, c.voices, c.channels)
        filters = self.decode(g("Transpose", parts, perm=[1, 0, 2]))
        products = g("Mul", filters, g.reshape(turned, 1, 2, 4, -1))
        return g.reshape(g("ReduceSum", products, np.array([2]), keepdims=0), c.voices, 4, -1)

    def features(self, spectrum: str, turned: str) -> str:
        """``[8, bin]``: of each ear, compressed magnitude and spectrum, and a part of the normalised cross-spectrum."""
        g = self.graph
        power = g("Add", g("ReduceSum", g("Mul", spectrum, spectrum), np.array([1]), keepdims=1), FLOOR)
        exponents = np.array([LOUDNESS, LOUDNESS - 0.5, -0.5])[:, None]
        powers = g("Exp", g("Mul", g("Log", power), exponents))  # one logarithm for three powers
        magnitude, whitening, inverse = g.split(powers, [1, 1, 1], 1)  # [ear, 1, bin] each
        # The left ear's (re, -im), (im, re) by the right ear's (re, -im): the cross-spectrum's real and imaginary part.
        left, right = g.split(g("Mul", turned, inverse), [1, 1], 1)
        conjugate = g.split(right, [1, 1], 0)[0]
        cross = g("ReduceSum", g("Mul", left, conjugate), np.array([2]), keepdims=0)  # [re/im, 1, bin]
        return g.reshape(g("Concat", magnitude, g("Mul", spectrum, whitening), cross, axis=1), 8, -1)

    def encode(self, features: str) -> str:
        """``[8, bin]`` to ``[band, channel]``."""
        g, c, encoder = self.graph, self.config, self.network.encoder
        groups = g.split(g("Transpose", features, perm=[1, 0]), [n * w for n, w in c.bands], 0)
        order = [0, 2, 4, 6, 1, 3, 5, 7]  # ear by ear, where the network has feature by feature
        bands = []
        for (count, width), group, weight in zip(c.bands, groups, encoder.weights, strict=True):
            weights = array(weight).reshape(count, width, 8, -1)[:, :, order].reshape(count, width * 8, -1)
            bands.append(g("MatMul", g.reshape(group, count, 1, width * 8), weights))
        biases = np.concatenate([array(bias) for bias in encoder.biases])
        return g.reshape(g("Add", g("Concat", *bands, axis=0), biases), c.band_count, c.channels)

    def decode(self, parts: str) -> str:
        """``[voice, band, channel]`` to filters ``[voice and out ear, 1, in ear and re/im, bin]``."""
        g, c, decoder = self.graph, self.config, self.network.decoder
        scale, shift = gains(self.network.gains)
        ones = np.ones(c.channels)
        rows = g.reshape(g("LayerNormalization", parts, ones, ones), c.voices, c.band_count, 1, c.channels)
        groups = g.split(rows, [count for count, _ in c.bands], 1)
        bands = []
        for (count, width), group, w, b in zip(c.bands, groups, decoder.weights, decoder.biases, strict=True):
            weight, bias = array(w) * scale[:, None], array(b) + (shift @ array(w))[:, None]
            # The norm's output sums to zero. Plus one, it sums to the number of channels, which brings in the bias.
            weight = weight + (bias - weight.sum(1, keepdims=True)) / c.channels
            filters = g("MatMul", group, weight)  # a batch of voices: one row at a time needs no rearranged weights
            bands.append(g.reshape(filters, c.voices, count * width, FILTER))
        bins = g("Transpose", g("Concat", *bands, axis=1), perm=[0, 2, 1])
        return g.reshape(bins, 2 * c.voices, 1, 4, -1)

    def recognise(self, voices: str) -> str:
        """Shares of the voices in the output ``[1, voice]``."""
        g, c, voice = self.graph, self.config, self.network.voice
        energy = g("ReduceSum", g("Mul", voices, voices), np.array([1]), keepdims=0)
        # Gemm: its third input marks a floor, which 8 bits would swallow (export/quantise.py).
        levels = g("Pow", g("Gemm", energy, array(self.network.pool), FLOOR), LOUDNESS)
        x = g.linear(levels, transposed(voice.inward), array(voice.inward.bias))
        for i, layer in enumerate(voice.layers):
            x = self.voice_layer(x, layer, f"recognise{i}")
        keys = g.linear(self.norm(x, voice.gains), transposed(voice.outward), array(voice.outward.bias))
        length = g("Max", g("ReduceL2", keys, axes=[1], keepdims=1), 1e-12)
        likeness = g("Div", g("MatMul", keys, g.reshape("conditioning", c.key, 1)), length)
        scores = g("Mul", likeness, array(self.network.sharpness))
        nobody = array(self.network.nobody).reshape(1, 1)
        shares = g("Softmax", g.reshape(g("Concat", scores, nobody, axis=0), 1, c.voices + 1), axis=-1)
        return g.split(shares, [c.voices, 1], 1)[0]

    def norm(self, x: str, following: Gains) -> str:
        return self.graph("LayerNormalization", x, *gains(following))

    def block(self, x: str, block: Block, name: str) -> str:
        """``[band, channel]``: see `training.network.Block`."""
        g, c = self.graph, self.config
        x = self.recurrence(x, block.time, block.gains[0], name)
        normed = self.norm(x, block.gains[1])
        value, gate = halves(g, normed, block.band_in)
        mixing = array(block.mixing).transpose(0, 2, 1)
        packed = g.reshape(g("Transpose", value, perm=[1, 0]), len(mixing), -1, c.band_count)
        mixed = g("Transpose", g.reshape(g("MatMul", packed, mixing), c.channels, c.band_count), perm=[1, 0])
        return g.linear(g("Mul", mixed, g.silu(gate)), transposed(block.band_out), x)

    def voice_layer(self, x: str, layer: VoiceLayer, name: str) -> str:
        """``[voice, channel]``: see `training.network.VoiceLayer`."""
        g = self.graph
        x = self.recurrence(x, layer.time, layer.gains[0], name)
        value, gate = halves(g, self.norm(x, layer.gains[1]), layer.inward)
        return g.linear(g("Mul", value, g.silu(gate)), transposed(layer.outward), x)

    def recurrence(self, x: str, time: Recurrence, following: Gains, name: str) -> str:
        """``[row, channel]``: see `training.network.Recurrence`."""
        g, state = self.graph, f"state.{name}"
        weight, bias = transposed(time.inward), array(time.inward.bias)
        channels = len(weight)
        # state + update (candidate - state), where update = 1 - sigmoid(forget) = sigmoid(-forget)
        sign = np.repeat([1.0, -1.0, 1.0], channels)
        inward = g.linear(self.norm(x, following), weight * sign, bias * sign)
        candidate, update, gate = g.split(inward, [channels] * 3, 1)
        change = g("Mul", g("Sigmoid", update), g("Sub", candidate, state))
        hidden = g("Add", state, change, name=f"{state}.out")
        return g.linear(g("Mul", hidden, g.silu(gate)), transposed(time.outward), x)


def halves(g: GraphBuilder, x: str, linear: nn.Linear) -> tuple[str, str]:
    """The two halves of a linear map's outputs, each a product of its own."""
    weights, biases = np.split(transposed(linear), 2, 1), np.split(array(linear.bias), 2)
    value, gate = (g.linear(x, weight, bias) for weight, bias in zip(weights, biases, strict=True))
    return value, gate


def array(tensor: Tensor) -> Array:
    """Values in double precision, for arithmetic on them."""
    return tensor.detach().double().numpy()


def transposed(linear: nn.Linear) -> Array:
    """Weights ``[inputs, outputs]``."""
    return array(linear.weight).T


def gains(following: Gains) -> tuple[Array, Array]:
    """Scale and shift, ``[channel]`` each."""
    return array(following.scale)[0], array(following.shift)[0]
