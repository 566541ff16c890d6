"""One chunk through a network as an ONNX graph: the same function as `Extractor.step`, arranged for speed.

Also through a `Separator` of one voice, which needs no recognition: the front end of enrollment.

At one chunk a traced network spends most of its time between its operators: in calling them, in moving data from one
layout to another. Here nothing has a batch or time axis, features stay ``[band, channel]`` so that products are
products of matrices, and weights are rearranged once, at export. Two weights beside each other are two products: a cut
costs more. Biases and gains are folded into weights; what is linear in small tensors is one product with a matrix.
Only operators of the common set are used, and a sum that runtimes join with the product before it is left to them:
``MatMul`` and ``Add``, not ``Gemm``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
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
    REST_FRAMES,
    STEERING,
    Block,
    Extractor,
    Gains,
    Recurrence,
    Separator,
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

    @property
    def constants(self) -> list[onnx.TensorProto]:
        """Those of the graph, by name."""
        return list(self._constants.values())

    def constant(self, value: Array | float | Sequence[int]) -> str:
        """The name of a constant: float32, or int64 where it is integers."""
        array = np.ascontiguousarray(value) if np.ndim(value) else np.asarray(value)
        array = array.astype(np.int64 if array.dtype.kind == "i" else np.float32)
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = numpy_helper.from_array(array, f"constant{len(self._constants)}")
        return self._constants[key].name

    def new(self) -> str:
        """A name for a value."""
        self._values += 1
        return f"value{self._values}"

    def node(self, kind: str, inputs: Sequence[str | Array | float], outputs: list[str], **attributes: Any) -> None:
        """One operator with named outputs."""
        names = [i if isinstance(i, str) else self.constant(i) for i in inputs]
        self.nodes.append(helper.make_node(kind, names, outputs, f"{kind}{len(self.nodes)}", **attributes))

    def __call__(self, kind: str, *inputs: str | Array | float, name: str | None = None, **attributes: Any) -> str:
        """One operator with one output, whose name is returned. What is no name is a constant."""
        output = name or self.new()
        self.node(kind, inputs, [output], **attributes)
        return output

    def split(self, x: str, sizes: Sequence[int], axis: int) -> list[str]:
        """Cut along an axis."""
        outputs = [self.new() for _ in sizes]
        self.node("Split", [x, np.array(sizes)], outputs, axis=axis)
        return outputs

    def reshape(self, x: str, *shape: int) -> str:
        """The same numbers in another shape."""
        return self("Reshape", x, np.array(shape))

    def sum(self, x: str, axis: int) -> str:
        """Over an axis, which stays, of length 1."""
        return self("ReduceSum", x, np.array([axis]), keepdims=1)

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
        graph = helper.make_graph(self.nodes, "step", *ports, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model


def states(network: Separator) -> dict[str, tuple[int, ...]]:
    """Shapes of the states, by name: those of the network without its batch axis."""
    return {name: tuple(state.shape[1:]) for name, state in network.initial_state(1).items()}


def step_model(network: Separator) -> onnx.ModelProto:
    """Inputs ``chunk``, ``conditioning``, each ``state.<name>``; outputs ``output``, each ``state.<name>.out``.

    A network without recognition, of one voice, takes no ``conditioning``.
    """
    recurrent = states(network)
    shape = (2, CHUNK)
    conditioning = {"conditioning": (network.config.key,)} if isinstance(network, Extractor) else {}
    return _Step(network).graph.model(
        {"chunk": shape} | conditioning | {f"state.{n}": s for n, s in recurrent.items()},
        {"output": shape} | {f"state.{n}.out": s for n, s in recurrent.items()},
    )


@dataclass(frozen=True)
class Heard:
    """What is heard in the bins, by name in the graph."""

    features: str  # [8, bin], for the encoder
    cues: str  # [5, bin]: what the head weighs, and one
    ears: str  # [ear and re/im, bin]
    now: str  # [4, bin]: the covariance between the ears
    inverse: str  # [4, bin]: with the covariance of a steering, the power towards it
    limits: str  # [ear, bin]: with the power of a steering, how much of what is heard it may be


class _Step:
    """Writes the graph, in the order of `Extractor.step`. A bin is a frequency, a row what recurs on its own."""

    def __init__(self, network: Separator):
        self.graph = g = GraphBuilder()
        self.network, self.config = network, network.config
        window = network.config.window_samples
        self.bins = sum(count * width for count, width in self.config.bands)
        frame = g("Concat", "state.input", "chunk", axis=1)
        begin, end, axis = np.array([CHUNK]), np.array([window]), np.array([1])
        g("Slice", frame, begin, end, axis, name="state.input.out")
        spectrum = g("MatMul", frame, array(network.dft))  # [ear, re/im and bin]
        voices = self.separate(spectrum)  # [voice, ear, re/im, bin]
        if isinstance(network, Extractor):
            share = self.recognise(voices, network)  # [voice]
            voices = g("MatMul", share, g.reshape(voices, self.config.voices, -1))
        segment = g("MatMul", g.reshape(voices, 2, -1), array(network.idft))
        sizes = [LOOKAHEAD, CHUNK - LOOKAHEAD, LOOKAHEAD]
        g.node("Split", [segment, np.array(sizes)], ["begin", "middle", "state.overlap.out"], axis=1)
        g("Concat", g("Add", "begin", "state.overlap"), "middle", name="output", axis=1)

    def separate(self, spectrum: str) -> str:
        """``[voice, ear, re/im, bin]``: see `Separator.separate` and `training.network.capon`.

        The beam depends on the steering a, b only by way of |a|^2, |b|^2 and a conj(b), as the covariance does on the
        spectrum, and is linear in them.
        """
        g, voices = self.graph, self.config.voices
        heard = self.hear(spectrum)
        x = self.encode(heard.features)
        for i, block in enumerate(self.network.blocks):
            x = self.block(x, block, f"separate{i + 2}")
        gain, steering, beam, weights = g.split(self.decode(x), [GAINS, STEERING, 1, CUES + 1], 1)
        gate = g("Sigmoid", g.sum(g("Mul", weights, heard.cues), 1))
        masks = g("Mul", gain, gate)  # [voice, ear, bin]
        inverse, past = self.keep_out(masks, heard)
        steered = g("MatMul", covariance_sums(), self.pairs(steering, 1))
        powers, re, im = g.split(steered, [2, 1, 1], 1)
        allowed = g("Mul", g("Div", powers, self.towards(steered, heard.inverse)), heard.limits)
        beam = g("Div", g("Mul", g("Min", allowed, 1.0), beam), self.towards(steered, inverse))  # [voice, ear, bin]
        beams = self.through([g("Mul", beam, part) for part in (powers, re, im)], past, ear_turns())
        masked = g("Mul", g.reshape(masks, voices, 2, 1, -1), g.reshape(heard.ears, 2, 2, -1))
        return g("Add", beams, masked)

    def towards(self, steered: str, inverse: str) -> str:
        """The power that an inverse covariance has towards steerings, ``[voice, 1, bin]``."""
        g = self.graph
        return g("Max", g.sum(g("Mul", steered, inverse), 1), 1e-20)

    def keep_out(self, masks: str, heard: Heard) -> tuple[str, str]:
        """What the beams keep out: its inverse covariance, ``[voice, 4, bin]``, and what that leaves of the ears."""
        g, state = self.graph, "state.separate1"
        keep = math.exp(-1 / REST_FRAMES)
        full = math.sqrt(1 - keep)  # of all that is left out, as it goes into the average
        left_out = g("Min", g("Max", g.linear(np.full((1, 2), -full / 2), masks, full), 0.0), full)
        rest = g("Add", g("Mul", g("Mul", left_out, left_out), heard.now), g("Mul", state, keep), name=f"{state}.out")
        weight, floor = inverse_rows()
        inverse = g.linear(weight, rest, floor)
        # The cross-spectrum is in it twice.
        past = self.through(g.split(inverse, [2, 1, 1], 1), heard.ears, ear_turns() / 2)
        return inverse, g.reshape(past, self.config.voices, 4, -1)

    def through(self, covariance: Sequence[str], x: str, turns: Array) -> str:
        """``[voice, ear, re/im, bin]``: a covariance (powers, re, im) times what the ears hear, ``[..., 4, bin]``."""
        g = self.graph
        sounds = [x, *g.split(g("MatMul", turns, x), [4, 4], -2)]
        products = [
            g("Mul", g.reshape(part, self.config.voices, -1, 1, self.bins), g.reshape(sound, -1, 2, 2, self.bins))
            for part, sound in zip(covariance, sounds, strict=True)
        ]
        return g("Add", g("Add", *products[:2]), products[2])

    def hear(self, spectrum: str) -> Heard:
        """What voices are made of; all that is linear in the bins' covariances is one product of matrices."""
        g = self.graph
        ears = g.reshape(spectrum, 4, -1)  # left re, im, right re, im
        floor, one = np.full((1, self.bins), FLOOR), np.ones((1, self.bins))
        now = g("MatMul", covariance_sums(), self.pairs(ears, 0))
        keep, state = math.exp(-1 / MEMORY_FRAMES), "state.separate0"
        average = g("Add", g("Mul", now, 1 - keep), g("Mul", state, keep), name=f"{state}.out")
        known = g("Concat", now, average, floor, axis=0)
        linear = hearing_rows()
        rows = {name: g.new() for name in linear}
        everything = g("MatMul", np.concatenate(list(linear.values())), known)
        g.node("Split", [everything, np.array([len(r) for r in linear.values()])], list(rows.values()), axis=0)
        squares, determinant = g.split(g("Mul", rows["lefts"], rows["rights"]), [5, 3], 0)
        phase, cues = g.split(g("Div", rows["ratios"], g("Sqrt", squares)), [2, 3], 0)
        magnitude = g("Pow", rows["powers"], LOUDNESS)
        loudness = g.sum(magnitude, 0)
        pool, spread = array(self.network.pool), array(self.network.spread)
        # One more than the network's, which encoder and decoder allow for.
        peak = g("Div", loudness, g("MatMul", g("MatMul", loudness, pool), spread))
        return Heard(
            features=g("Concat", magnitude, phase, cues, peak, axis=0),
            cues=g("Concat", cues, peak, one, axis=0),
            ears=ears,
            now=now,
            inverse=rows["inverse"],
            limits=g("Div", g.sum(determinant, 0), rows["averages"]),
        )

    def pairs(self, x: str, axis: int) -> str:
        """Products of rows (re, im of both ears), eight of four: what `covariance_sums` sums up."""
        g = self.graph
        one, other = np.array([0, 1, 2, 3, 0, 1, 1, 0]), np.array([0, 1, 2, 3, 2, 3, 2, 3])
        return g("Mul", g("Gather", x, one, axis=axis), g("Gather", x, other, axis=axis))

    def encode(self, features: str) -> str:
        """``[8, bin]`` to ``[band, channel]``."""
        g, c, encoder = self.graph, self.config, self.network.encoder
        groups = g.split(g("Transpose", features, perm=[1, 0]), [n * w for n, w in c.bands], 0)
        bands = []
        for (count, width), group, w, b in zip(c.bands, groups, encoder.weights, encoder.biases, strict=True):
            weight, bias = array(w).copy(), array(b)
            # The peaks of a band's bins sum to their number, which brings in the bias.
            peaks = weight[:, FEATURES - 1 :: FEATURES]
            peaks += (bias - peaks.sum(1, keepdims=True)) / width
            bands.append(g("MatMul", g.reshape(group, count, 1, width * FEATURES), weight))
        return g.reshape(g("Concat", *bands, axis=0), c.band_count, c.channels)

    def decode(self, x: str) -> str:
        """``[band, channel]`` to ``[voice, 12, bin]``."""
        g, c, decoder = self.graph, self.config, self.network.decoder
        weights = np.stack([transposed(voice) for voice in self.network.voices])
        parts = g.linear(x, weights, np.stack([array(voice.bias)[None] for voice in self.network.voices]))
        rows = g.reshape(self.norm(parts, c.channels), c.voices, c.band_count, 1, c.channels)
        groups = g.split(rows, [count for count, _ in c.bands], 1)
        bands = []
        for (count, width), group, w, b in zip(c.bands, groups, decoder.weights, decoder.biases, strict=True):
            weight, bias = (array(p).reshape(count, -1, width, HEAD).copy() for p in (w, b))
            for p in (weight, bias):
                p[..., -1] -= p[..., -2]  # the peak of `hear` is one too high
            weight, bias = (p.reshape(count, -1, width * HEAD) for p in (weight, bias))
            # A batch of voices: one row at a time needs no rearranged weights.
            head = g("MatMul", group, absorb(*after_norm(self.network.gains, weight, bias)))
            bands.append(g.reshape(head, c.voices, count * width, HEAD))
        return g("Transpose", g("Concat", *bands, axis=1), perm=[0, 2, 1])

    def recognise(self, voices: str, network: Extractor) -> str:
        """Shares of the voices in the output ``[voice]``."""
        g, c, voice = self.graph, self.config, network.voice
        energy = g("ReduceSum", g("Mul", voices, voices), np.array([1, 2]), keepdims=0)
        levels = g("Pow", g.linear(energy, array(self.network.pool), np.full(c.band_count, FLOOR)), LOUDNESS)
        x = g.linear(levels, transposed(voice.inward), array(voice.inward.bias))
        for i, layer in enumerate(voice.layers):
            x = self.voice_layer(x, layer, f"recognise{i}")
        keys = g("MatMul", self.norm(x, c.voice_channels), absorb(*after_norm(voice.gains, *linear_map(voice.outward))))
        # The cosine times the sharpness: the squared length is summed over that.
        sharpness = float(network.sharpness)
        length = g("Sqrt", g("MatMul", g("Mul", keys, keys), np.full(c.key, sharpness**-2)))
        scores = g("Div", g("MatMul", keys, "conditioning"), g("Max", length, 1e-12 / abs(sharpness)))
        shares = g("Softmax", g("Concat", scores, array(network.nobody).reshape(1), axis=0), axis=-1)
        return g.split(shares, [c.voices, 1], 0)[0]

    def norm(self, x: str, channels: int) -> str:
        """Normalised rows, which sum to zero, plus one."""
        return self.graph("LayerNormalization", x, np.ones(channels), np.ones(channels))

    def block(self, x: str, block: Block, name: str) -> str:
        """``[band, channel]``: see `training.network.Block`. Bands are mixed where they are columns."""
        g, c = self.graph, self.config
        x = self.recurrence(x, block.time, block.gains[0], name)
        inward = absorb(*after_norm(block.gains[1], *linear_map(block.band_in)))
        inward = inward.T.reshape(2, c.mixing_groups, -1, c.channels)
        normed = g("Transpose", self.norm(x, c.channels), perm=[1, 0])
        mixed = g("MatMul", g("MatMul", inward[0], normed), array(block.mixing).transpose(0, 2, 1))
        gated = g("Mul", mixed, g.silu(g("MatMul", inward[1], normed)))
        columns = g("Transpose", g.reshape(gated, c.channels, c.band_count), perm=[1, 0])
        return g.linear(columns, transposed(block.band_out), x)

    def voice_layer(self, x: str, layer: VoiceLayer, name: str) -> str:
        """``[voice, channel]``: see `training.network.VoiceLayer`."""
        g = self.graph
        x = self.recurrence(x, layer.time, layer.gains[0], name)
        normed = self.norm(x, self.config.voice_channels)
        value, gate = np.split(absorb(*after_norm(layer.gains[1], *linear_map(layer.inward))), 2, 1)
        gated = g("Mul", g("MatMul", normed, value), g.silu(g("MatMul", normed, gate)))
        return g.linear(gated, transposed(layer.outward), x)

    def recurrence(self, x: str, time: Recurrence, following: Gains, name: str) -> str:
        """``[row, channel]``: see `training.network.Recurrence`."""
        g, state = self.graph, f"state.{name}"
        weight, bias = after_norm(following, *linear_map(time.inward))
        candidate, _, gate = np.split(absorb(weight, bias), 3, 1)
        (_, forget, _), (_, forget_bias, _) = np.split(weight, 3, 1), np.split(bias, 3, 1)
        normed = self.norm(x, len(weight))
        # state - update (state - candidate), where update = 1 - sigmoid(forget) = sigmoid(-forget)
        away = g.linear(normed, -candidate, state)
        update = g("Sigmoid", g.linear(normed, -forget, -forget_bias[0]))
        hidden = g("Sub", state, g("Mul", update, away), name=f"{state}.out")
        return g.linear(g("Mul", hidden, g.silu(g("MatMul", normed, gate))), transposed(time.outward), x)


def covariance_sums() -> Array:
    """Matrix ``[4, 8]``: products of `_Step.pairs` to powers of left and right, real and imaginary cross-spectrum."""
    return np.kron(np.eye(4), [1.0, 1.0]) * [1, 1, 1, 1, 1, 1, 1, -1]


def hearing_rows() -> dict[str, Array]:
    """Rows that are linear in what `_Step.hear` knows of a bin: ``[n, 9]`` each.

    Known are the covariance between the ears, its average, and the floor.
    """
    now, average, floor = np.split(np.eye(9), [4, 8])
    (now_left, now_right), (left, right) = now[:2] + floor, average[:2] + floor
    (now_re, now_im), (re, im) = now[2:], average[2:]
    inverse = loaded_inverse(average, floor)
    loaded_right, loaded_left = inverse[:2]
    # Products: squares of the denominators of ratios, and the determinant of the loaded covariance.
    lefts = [now_left, now_left, left, left, left + right, loaded_left, re, im]
    rights = [now_right, now_right, right, right, left + right, loaded_right, -re, -im]
    rows = {
        "powers": [now_left, now_right],
        "averages": [left, right],
        "ratios": [now_re, now_im, re, im, left - right],  # of them the coherence, of now and of before, and the level
        "inverse": inverse,
        "lefts": lefts,
        "rights": rights,
    }
    return {name: np.stack(list(group)) for name, group in rows.items()}


def inverse_rows() -> tuple[Array, Array]:
    """A covariance ``[4, bin]`` to its `loaded_inverse`: matrix ``[4, 4]``, to add ``[4, 1]``."""
    covariance, floor = np.split(np.eye(5), [4])
    rows = loaded_inverse(covariance, floor)
    return rows[:, :4], FLOOR * rows[:, 4:]


def loaded_inverse(covariance: Array, floor: Array) -> Array:
    """Rows of the inverse, but for the determinant, of a covariance as `training.network.loaded` has it.

    The cross-spectrum is in it twice: with the covariance of a steering it gives the power towards it.
    """
    (left, right), (re, im) = covariance[:2] + floor, covariance[2:]
    level = LOADING / 2 * (left + right)
    return np.stack([right + level, left + level, -2 * re, -2 * im])


def ear_turns() -> Array:
    """Matrix ``[8, 4]``: re and im of both ears to what a covariance's cross-spectrum multiplies.

    Its real part the other ear, its imaginary part that turned by a quarter.
    """
    left_re, left_im, right_re, right_im = np.eye(4)
    return np.stack([right_re, right_im, left_re, left_im, -right_im, right_re, left_im, -left_re])


def after_norm(following: Gains, weight: Array, bias: Array) -> tuple[Array, Array]:
    """Weight ``[..., inputs, outputs]`` and bias ``[..., 1, outputs]`` that follow `_Step.norm`: gains and its one."""
    scale, shift = array(following.scale)[0], array(following.shift)
    weight, bias = weight * scale[:, None], bias + shift @ weight
    return weight, bias - weight.sum(-2, keepdims=True)


def absorb(weight: Array, bias: Array) -> Array:
    """A weight that needs no bias after `_Step.norm`: a row of that sums to the number of channels."""
    return weight + bias / weight.shape[-2]


def array(tensor: Tensor) -> Array:
    """Values in double precision, for arithmetic on them."""
    return tensor.detach().double().numpy()


def transposed(linear: nn.Linear) -> Array:
    """Weights ``[inputs, outputs]``."""
    return array(linear.weight).T


def linear_map(linear: nn.Linear) -> tuple[Array, Array]:
    """Weights ``[inputs, outputs]`` and bias ``[1, outputs]``."""
    return transposed(linear), array(linear.bias)[None]
