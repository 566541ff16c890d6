"""One chunk through the extraction network as an ONNX graph: the same function as `Extractor.step`, arranged for speed.

At one chunk a traced network spends most of its time between its operators: in calling them, in moving data from one
layout to another. Here nothing has a batch or time axis, features stay ``[band, channel]`` so that products are
products of matrices, and weights are rearranged once, at export. Only operators of the common set are used, and a sum
that runtimes join with the product before it is left to them: ``MatMul`` and ``Add``, not ``Gemm``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from training.network import (
    CHUNK,
    CUES,
    FEATURES,
    FLOOR,
    GAINS,
    HEAD,
    LOADING,
    LOOKAHEAD,
    LOUDNESS,
    MEMORY_FRAMES,
    STEERING,
    Block,
    Extractor,
    Gains,
    Recurrence,
    VoiceLayer,
)

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
        """``[voice, ear and re/im, bin]``."""
        g, c = self.graph, self.config
        ears = g.reshape(spectrum, 4, -1)  # left re, im, right re, im
        # Products with the spectrum's conjugate are sums over re/im of one factor times this: for the real part
        # (re, im), for the imaginary one (im, -re).
        signs = np.array([1, 1, 1, 1, 1, -1, 1, -1.0])[:, None]
        turned = g.reshape(g("Mul", g("Gather", ears, np.array([0, 1, 2, 3, 1, 0, 3, 2]), axis=0), signs), 2, 4, -1)
        features, cues = self.features(ears, turned)
        x = self.encode(features)
        for i, block in enumerate(self.network.blocks):
            x = self.block(x, block, f"separate{i + 1}")
        weight = np.concatenate([transposed(voice) for voice in self.network.voices], 1)
        bias = np.concatenate([array(voice.bias) for voice in self.network.voices])
        parts = g.reshape(g.linear(x, weight, bias), c.band_count, c.voices, c.channels)
        head = self.decode(g("Transpose", parts, perm=[1, 0, 2]))
        gain, steering, beam, weights, offset = g.split(head, [GAINS, STEERING, 1, CUES, 1], 1)
        fit = g("ReduceSum", g("Mul", weights, cues), np.array([1]), keepdims=1)
        gate = g("Sigmoid", g("Add", fit, offset))
        gains = g.reshape(g("Mul", gain, gate), c.voices, 2, 1, -1)
        masked = g("Mul", gains, g.reshape(ears, 1, 2, 2, -1))
        return g.reshape(g("Add", masked, self.capon(turned, steering, beam)), c.voices, 4, -1)

    def features(self, ears: str, turned: str) -> tuple[str, str]:
        """``[8, bin]``, of which the last four are the cues ``[4, bin]``."""
        g, keep = self.graph, math.exp(-1 / MEMORY_FRAMES)
        power = g("ReduceSum", g.reshape(g("Mul", ears, ears), 2, 2, -1), np.array([1]), keepdims=0)
        left = g.split(turned, [2, 2], 1)[0]
        right = g.split(ears, [2, 2], 0)[1]
        cross = g("ReduceSum", g("Mul", left, right), np.array([1]), keepdims=0)
        now = g("Concat", power, cross, axis=0)
        smooth = "state.separate0.out"
        g("Add", g("Mul", now, 1 - keep), g("Mul", "state.separate0", keep), name=smooth)
        # Coherence and level difference of both covariances at once.
        both = g.reshape(g("Concat", now, smooth, axis=0), 2, 4, -1)
        powers, crosses = g.split(both, [2, 2], 1)
        lefts, rights = g.split(g("Add", powers, FLOOR), [1, 1], 1)
        coherence = g.reshape(g("Div", crosses, g("Sqrt", g("Mul", lefts, rights))), 4, -1)
        phase, coherence = g.split(coherence, [2, 2], 0)
        level = g.reshape(g("Div", g("Sub", lefts, rights), g("Add", lefts, rights)), 2, -1)
        magnitude = g("Pow", g("Add", power, FLOOR), LOUDNESS)
        loudness = g("ReduceSum", magnitude, np.array([0]), keepdims=1)
        pool, spread = array(self.network.pool), array(self.network.spread)
        peak = g("Sub", g("Div", loudness, g("MatMul", g("MatMul", loudness, pool), spread)), 1.0)
        cues = g("Concat", coherence, g.split(level, [1, 1], 0)[1], peak, axis=0)
        return g("Concat", magnitude, phase, cues, axis=0), cues

    def capon(self, turned: str, steering: str, beam: str) -> str:
        """``[voice, ear, re/im, bin]``: see `training.network.capon`, times the gain of the beam."""
        g, voices = self.graph, self.config.voices
        matrix, floor = capon_rows()
        rows = g("Add", g("MatMul", matrix, "state.separate0.out"), floor)
        inverse, one, other, powers = g.split(rows, [16, 3, 3, 2], 0)
        determinant = g("ReduceSum", g("Mul", one, other), np.array([0]), keepdims=1)
        products = g("Mul", g.reshape(inverse, 1, 4, 4, -1), g.reshape(steering, voices, 1, 4, -1))
        weights = g("ReduceSum", products, np.array([2]), keepdims=0)
        towards = g("Max", g("ReduceSum", g("Mul", weights, steering), np.array([1]), keepdims=1), 1e-20)
        found = g("ReduceSum", g("Mul", g.reshape(weights, voices, 1, 4, -1), turned), np.array([2]), keepdims=0)
        # The beam is weighed before it is multiplied with each ear's response: by its gain, and by what is left of it.
        found = g("Div", found, towards)  # [voice, re/im, bin]
        response = g.reshape(steering, voices, 2, 2, -1)
        strength = g("ReduceSum", g("Mul", response, response), np.array([2]), keepdims=0)
        shares = g("Div", g("Mul", strength, g("Div", determinant, powers)), towards)
        shares = g.reshape(g("Mul", g("Min", shares, 1.0), beam), voices, 2, 1, -1)
        signs = np.array([1, -1, 1, 1.0])[:, None]
        factors = g("Mul", g("Gather", found, np.array([0, 1, 1, 0]), axis=1), signs)  # (re, -im), (im, re)
        products = g("Mul", g.reshape(steering, voices, 2, 1, 2, -1), g.reshape(factors, voices, 1, 2, 2, -1))
        return g("Mul", g("ReduceSum", products, np.array([3]), keepdims=0), shares)

    def encode(self, features: str) -> str:
        """``[8, bin]`` to ``[band, channel]``."""
        g, c, encoder = self.graph, self.config, self.network.encoder
        groups = g.split(g("Transpose", features, perm=[1, 0]), [n * w for n, w in c.bands], 0)
        bands = []
        for (count, width), group, weight in zip(c.bands, groups, encoder.weights, strict=True):
            bands.append(g("MatMul", g.reshape(group, count, 1, width * FEATURES), array(weight)))
        biases = np.concatenate([array(bias) for bias in encoder.biases])
        return g.reshape(g("Add", g("Concat", *bands, axis=0), biases), c.band_count, c.channels)

    def decode(self, parts: str) -> str:
        """``[voice, band, channel]`` to ``[voice, 12, bin]``."""
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
            head = g("MatMul", group, weight)  # a batch of voices: one row at a time needs no rearranged weights
            bands.append(g.reshape(head, c.voices, count * width, HEAD))
        return g("Transpose", g("Concat", *bands, axis=1), perm=[0, 2, 1])

    def recognise(self, voices: str) -> str:
        """Shares of the voices in the output ``[1, voice]``."""
        g, c, voice = self.graph, self.config, self.network.voice
        energy = g("ReduceSum", g("Mul", voices, voices), np.array([1]), keepdims=0)
        levels = g("Pow", g("Add", g("MatMul", energy, array(self.network.pool)), FLOOR), LOUDNESS)
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
        both = g.linear(normed, transposed(block.band_in), array(block.band_in.bias))
        value, gate = g.split(both, [c.channels] * 2, 1)
        mixing = array(block.mixing).transpose(0, 2, 1)
        packed = g.reshape(g("Transpose", value, perm=[1, 0]), len(mixing), -1, c.band_count)
        mixed = g("Transpose", g.reshape(g("MatMul", packed, mixing), c.channels, c.band_count), perm=[1, 0])
        return g.linear(g("Mul", mixed, g.silu(gate)), transposed(block.band_out), x)

    def voice_layer(self, x: str, layer: VoiceLayer, name: str) -> str:
        """``[voice, channel]``: see `training.network.VoiceLayer`."""
        g = self.graph
        x = self.recurrence(x, layer.time, layer.gains[0], name)
        both = g.linear(self.norm(x, layer.gains[1]), transposed(layer.inward), array(layer.inward.bias))
        value, gate = g.split(both, [self.config.voice_channels] * 2, 1)
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


def capon_rows() -> tuple[Array, Array]:
    """What the beam takes from a covariance (left and right power, real and imaginary cross-spectrum), all at once.

    Returns:
        Matrix ``[24, 4]`` and floor ``[24, 1]``. First the inverse covariance but for its determinant, as a real matrix
        ``[4, 4]`` over re/im of both ears, loaded; then two times three rows whose products sum to the determinant;
        then the powers.
    """
    unit = np.eye(4)
    level = LOADING / 2 * (unit[0] + unit[1])
    left, right, re, im, zero = unit[0] + level, unit[1] + level, unit[2], unit[3], 0 * level
    inverse = [right, zero, -re, im, zero, right, -im, -re, -re, -im, left, zero, im, -re, zero, left]
    matrix = np.stack([*inverse, left, re, im, right, -re, -im, unit[0], unit[1]])
    # On the powers alone: see `training.network.capon`.
    return matrix, FLOOR * matrix[:, :2].sum(1, keepdims=True)


def array(tensor: Tensor) -> Array:
    """Values in double precision, for arithmetic on them."""
    return tensor.detach().double().numpy()


def transposed(linear: nn.Linear) -> Array:
    """Weights ``[inputs, outputs]``."""
    return array(linear.weight).T


def gains(following: Gains) -> tuple[Array, Array]:
    """Scale and shift, ``[channel]`` each."""
    return array(following.scale)[0], array(following.shift)[0]
