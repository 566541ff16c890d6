"""An ONNX graph of fixed shapes to steps on strided views: what `export.emit_c` writes as C.

A value is a constant, a view (a strided window on a buffer: reshapes, slices and transposes move no data), or an
element-wise expression that is not computed yet and goes into the loop that needs it. numpy does the arithmetic of
views: each buffer has an array behind it that is never read, only reshaped and sliced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.bands import gathered
from export.dft import analysis_window, synthesis_window
from hearable.errors import ModelError

Array: TypeAlias = NDArray[Any]


class UnsupportedGraph(ModelError):
    """An operator, or a use of one, that has no C."""


@dataclass
class Buffer:
    """Floats in memory. ``role``: ``arena``, ``input``, ``output``, ``state``, ``next`` (the state to come)."""

    name: str
    size: int
    role: str = "arena"
    base: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.base = np.empty(self.size, np.float32)


@dataclass
class View:
    """A strided window on a buffer."""

    buffer: Buffer
    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def offset(self) -> int:
        return (self.array.__array_interface__["data"][0] - self.buffer.base.__array_interface__["data"][0]) // 4

    def strides(self, shape: Sequence[int] | None = None) -> tuple[int, ...]:
        """Distances in floats along each axis, broadcast to a shape."""
        array = self.array if shape is None else np.broadcast_to(self.array, shape)
        return tuple(s // 4 for s in array.strides)


@dataclass
class Expression:
    """``template`` with its operands put in for ``{0}``, ``{1}``, element by element."""

    template: str
    operands: tuple[Value, ...]
    shape: tuple[int, ...]


@dataclass
class Pieces:
    """Views one after another along an axis, as no one view can show them; the product of two needs no copy of them."""

    parts: list[View | Array]
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        shape = list(self.parts[0].shape)
        shape[self.axis] = len(self.parts)
        return tuple(shape)


Value: TypeAlias = "Array | View | Expression | Pieces"


@dataclass
class Compute:
    """``target = value``, or its sum over ``summed`` axes (which the target keeps as 1), then ``after``."""

    target: View
    value: Value
    summed: tuple[int, ...] = ()
    after: str = "{0}"


@dataclass
class Call:
    """A kernel of hb_nn.h: arguments are text, views, ``Weights`` or ``Table``; ``scratch`` floats while it runs."""

    kernel: str
    target: View
    arguments: tuple[Any, ...]
    sources: tuple[View, ...]
    loops: tuple[int, ...] = ()  # extents of the loops around it
    scratch: Buffer | None = None


@dataclass
class Moving:
    """A pointer argument that advances by ``steps`` floats in each of the loops around a call."""

    pointer: View | Array
    steps: tuple[int, ...]
    packed: bool = False  # a constant matrix [..., k, n], to be stored in panels


PANEL = 4  # HB_PANEL of hb_nn.h: columns of a constant matrix that are stored together

UNARY = {"Sigmoid": "hb_sigmoid({0})", "Sqrt": "HB_SQRT({0})", "Neg": "-{0}", "Exp": "hb_exp({0})"}
UNARY |= {"Reciprocal": "1.0f / {0}", "Relu": "hb_max({0}, 0.0f)", "Identity": "{0}"}
UNARY |= {"Log": "0.693147181f * hb_log2({0})"}
BINARY = {"Add": "{0} + {1}", "Sub": "{0} - {1}", "Mul": "{0} * {1}", "Div": "{0} / {1}"}
BINARY |= {"Max": "hb_max({0}, {1})", "Min": "hb_min({0}, {1})"}


class Lowering:
    """Reads a graph node by node; the result is ``steps`` and ``inputs``, ``outputs`` by name.

    Raises:
        UnsupportedGraph: something has no C.
    """

    def __init__(self, model: onnx.ModelProto):
        graph = model.graph
        self.steps: list[Compute | Call] = []
        self._count = 0
        self.values: dict[str, Value] = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.uses.update(output.name for output in graph.output)
        self.consumers = {name: node for node in graph.node for name in node.input}
        self.inputs = {v.name: self._port(v, "input", "state") for v in graph.input if v.name not in self.values}
        self.outputs = {v.name: self._port(v, "output", "next") for v in graph.output}
        self.values |= self.inputs
        self._skip: set[str] = set()
        for node in graph.node:
            if node.name in self._skip:
                continue
            method: Callable[[onnx.NodeProto], None] | None = getattr(self, f"_{node.op_type.lower()}", None)
            if node.op_type in UNARY:
                self._elementwise(node, UNARY[node.op_type])
            elif node.op_type in BINARY:
                self._elementwise(node, BINARY[node.op_type])
            elif method is not None:
                method(node)
            else:
                raise UnsupportedGraph(f"operator {node.op_type}: expected one that has C, see export/lower.py")
        for name, target in self.outputs.items():
            self.steps.append(Compute(target, self.values[name]))

    @staticmethod
    def _port(value: onnx.ValueInfoProto, plain: str, recurrent: str) -> View:
        shape = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
        if not all(shape):
            raise UnsupportedGraph(f"{value.name}: expected a fixed shape, found {shape}")
        buffer = Buffer(value.name, int(np.prod(shape)), recurrent if value.name.startswith("state.") else plain)
        return View(buffer, buffer.base.reshape(shape))

    def _new(self, shape: Sequence[int]) -> View:
        buffer = self._buffer(int(np.prod(shape)))
        return View(buffer, buffer.base.reshape(shape))

    def _buffer(self, size: int) -> Buffer:
        self._count += 1
        return Buffer(f"t{self._count}", size)

    def _view(self, value: Value) -> View | Array:
        """The value in memory."""
        if isinstance(value, Pieces):
            return self._joined(value.parts, value.axis)
        if not isinstance(value, Expression):
            return value
        target = self._new(value.shape)
        self.steps.append(Compute(target, value))
        return target

    def _rows(self, value: Value) -> View | Array:
        """The value in memory as ``[rows, n]``: rows at equal distances, each packed."""
        found = self._view(value)
        shape = (-1, found.shape[-1])
        if isinstance(found, np.ndarray):
            return found.reshape(shape)
        try:
            rows = View(found.buffer, np.reshape(found.array, shape, copy=False))
            if rows.strides()[-1] == 1:
                return rows
        except ValueError:  # numpy: a copy is needed
            pass
        copied = self._copy(found)
        return View(copied.buffer, copied.array.reshape(shape))

    def _copy(self, view: View) -> View:
        target = self._new(view.shape)
        self.steps.append(Compute(target, view))
        return target

    def _moved(self, node: onnx.NodeProto, move: Callable[[Array], Array], output: int = 0) -> None:
        """An operator that only looks at its input in another way; copies first where no view can."""
        found = self._view(self.values[node.input[0]])
        if isinstance(found, np.ndarray):
            self.values[node.output[output]] = move(found)
            return
        try:
            self.values[node.output[output]] = View(found.buffer, move(found.array))
        except ValueError:  # numpy: a copy is needed
            copied = self._copy(found)
            self.values[node.output[output]] = View(copied.buffer, move(copied.array))

    def _constant(self, node: onnx.NodeProto, index: int, default: Any = None) -> Any:
        if len(node.input) <= index or not node.input[index]:
            return default
        value = self.values[node.input[index]]
        if not isinstance(value, np.ndarray):
            raise UnsupportedGraph(f"{node.op_type}: expected input {index} to be a constant")
        return value

    def _elementwise(self, node: onnx.NodeProto, template: str) -> None:
        operands = tuple(self.values[name] for name in node.input if name)
        pieces = [o for o in operands if isinstance(o, Pieces)]
        if len(pieces) == len(operands) and len({(p.axis, p.shape) for p in pieces}) == 1:
            together = zip(*(p.parts for p in pieces), strict=True)
            each = [Expression(template, parts, parts[0].shape) for parts in together]
            self.values[node.output[0]] = self._joined(each, pieces[0].axis)
            return
        operands = tuple(self._view(o) if isinstance(o, Pieces) else o for o in operands)
        shape = np.broadcast_shapes(*(o.shape for o in operands))
        # A smaller expression would be computed again and again.
        settled = tuple(self._view(o) if isinstance(o, Expression) and o.shape != shape else o for o in operands)
        self._define(node.output[0], Expression(template, settled, shape))

    def _define(self, name: str, value: Expression) -> None:
        """Computed at once if several need it."""
        self.values[name] = self._view(value) if self.uses[name] > 1 else value

    def _pow(self, node: onnx.NodeProto) -> None:
        exponent = float(self._constant(node, 1))
        known = {2.0: "{0} * {0}", 0.5: "HB_SQRT({0})", 1.0: "{0}"}
        x = self.values[node.input[0]]
        template = known.get(exponent, f"hb_pow({{0}}, {literal(exponent)})")
        self._define(node.output[0], Expression(template, (self._view(x),), x.shape))

    def _clip(self, node: onnx.NodeProto) -> None:
        x, template = self.values[node.input[0]], "{0}"
        for index, function in ((1, "hb_max"), (2, "hb_min")):
            bound = self._constant(node, index)
            if bound is not None:
                template = f"{function}({template}, {literal(float(bound))})"
        self._define(node.output[0], Expression(template, (x,), x.shape))

    def _reshape(self, node: onnx.NodeProto) -> None:
        found = self.values[node.input[0]]
        shape = [found.shape[i] if n == 0 else int(n) for i, n in enumerate(self._constant(node, 1))]
        self._moved(node, lambda a: np.reshape(a, shape, copy=False))

    def _unsqueeze(self, node: onnx.NodeProto) -> None:
        axes = tuple(int(a) for a in self._constant(node, 1))
        self._moved(node, lambda a: np.expand_dims(a, axes))

    def _squeeze(self, node: onnx.NodeProto) -> None:
        axes = tuple(int(a) for a in self._constant(node, 1))
        self._moved(node, lambda a: np.squeeze(a, axes))

    def _transpose(self, node: onnx.NodeProto) -> None:
        self._moved(node, lambda a: np.transpose(a, attribute(node, "perm")))

    def _slice(self, node: onnx.NodeProto) -> None:
        starts, ends = self._constant(node, 1), self._constant(node, 2)
        axes, steps = self._constant(node, 3, np.arange(len(starts))), self._constant(node, 4, np.ones(len(starts)))
        windows = [slice(None)] * len(self.values[node.input[0]].shape)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            if step < 1:
                raise UnsupportedGraph(f"Slice: expected a positive step, found {step}")
            windows[int(axis)] = slice(int(start), int(end), int(step))
        self._moved(node, lambda a: a[tuple(windows)])

    def _split(self, node: onnx.NodeProto) -> None:
        axis = attribute(node, "axis", 0)
        value = self._view(self.values[node.input[0]])
        self.values[node.input[0]] = value
        even = np.full(len(node.output), value.shape[axis] // len(node.output))
        ends = np.cumsum(self._constant(node, 1, even))
        for i, end in enumerate(ends):
            start = int(ends[i - 1]) if i else 0
            self._moved(node, lambda a, s=start, e=int(end): np.moveaxis(np.moveaxis(a, axis, 0)[s:e], 0, axis), i)

    def _gather(self, node: onnx.NodeProto) -> None:
        index, axis = self._constant(node, 1), attribute(node, "axis", 0)
        if index.ndim == 0:
            self._moved(node, lambda a: np.moveaxis(a, axis, 0)[int(index)])
            return
        steps = np.diff(index)
        if index.ndim != 1:
            raise UnsupportedGraph(f"Gather: expected one index or a list of them, found {index}")
        if len(steps) and ((steps != steps[0]).any() or steps[0] < 1):
            x = self._view(self.values[node.input[0]])
            along = np.moveaxis(x.array, axis, 0) if isinstance(x, View) else np.moveaxis(x, axis, 0)
            entries = [np.moveaxis(along[i : i + 1], 0, axis) for i in index]
            pieces = Pieces([View(x.buffer, e) if isinstance(x, View) else e for e in entries], axis)
            name = node.output[0]
            taken = self.uses[name] == 1 and name in self.consumers and self.consumers[name].op_type in BINARY
            self.values[name] = pieces if taken else self._view(pieces)
            return
        window = slice(int(index[0]), int(index[-1]) + 1, int(steps[0]) if len(steps) else 1)
        self._moved(node, lambda a: np.moveaxis(np.moveaxis(a, axis, 0)[window], 0, axis))

    def _expand(self, node: onnx.NodeProto) -> None:
        shape = [int(n) for n in self._constant(node, 1)]
        self._moved(node, lambda a: np.broadcast_to(a, np.broadcast_shapes(a.shape, shape)))

    def _tile(self, node: onnx.NodeProto) -> None:
        repeats, shape = self._constant(node, 1), self.values[node.input[0]].shape
        if any(r > 1 and n > 1 for r, n in zip(repeats, shape, strict=True)):
            raise UnsupportedGraph(f"Tile: expected to repeat axes of length 1, found {shape} times {repeats}")
        self._moved(node, lambda a: np.broadcast_to(a, [int(r * n) for r, n in zip(repeats, shape, strict=True)]))

    def _concat(self, node: onnx.NodeProto) -> None:
        parts = [self.values[name] for name in node.input]
        self.values[node.output[0]] = self._joined(parts, attribute(node, "axis"))

    def _joined(self, parts: Sequence[Value], axis: int) -> View:
        shape = list(parts[0].shape)
        shape[axis] = sum(p.shape[axis] for p in parts)
        whole, start = self._new(shape), 0
        for part in parts:
            end = start + part.shape[axis]
            window = np.moveaxis(np.moveaxis(whole.array, axis, 0)[start:end], 0, axis)
            self.steps.append(Compute(View(whole.buffer, window), part))
            start = end
        return whole

    def _reduce(self, node: onnx.NodeProto, value: Value, after: str) -> None:
        axes = self._constant(node, 1)
        axes = attribute(node, "axes") if axes is None else axes
        kept = attribute(node, "keepdims", 1)
        summed = tuple(int(a) % len(value.shape) for a in axes)
        target = self._new([1 if i in summed else n for i, n in enumerate(value.shape)])
        count = float(np.prod([value.shape[a] for a in summed]))
        self.steps.append(Compute(target, value, summed, after.replace("COUNT", literal(count))))
        self.values[node.output[0]] = target if kept else View(target.buffer, np.squeeze(target.array, summed))

    def _reducesum(self, node: onnx.NodeProto) -> None:
        self._reduce(node, self.values[node.input[0]], "{0}")

    def _reducemean(self, node: onnx.NodeProto) -> None:
        self._reduce(node, self.values[node.input[0]], "{0} / COUNT")

    def _reducel2(self, node: onnx.NodeProto) -> None:
        x = self._view(self.values[node.input[0]])
        self._reduce(node, Expression("{0} * {0}", (x,), x.shape), "HB_SQRT({0})")

    def _layernormalization(self, node: onnx.NodeProto) -> None:
        x = self._rows(self.values[node.input[0]])
        scale, shift = (self._rows(self.values[name]) for name in node.input[1:3])
        target = self._new(self.values[node.input[0]].shape)
        rows, width = x.shape
        epsilon = literal(attribute(node, "epsilon", 1e-5))
        arguments = (x, str(rows), str(x.strides()[0]), str(width), scale, shift, epsilon, target)
        self.steps.append(Call("hb_layer_norm", target, arguments, tuple(v for v in (x, scale, shift) if is_view(v))))
        self.values[node.output[0]] = target

    def _softmax(self, node: onnx.NodeProto) -> None:
        x = self._rows(self.values[node.input[0]])
        if attribute(node, "axis", -1) not in (-1, len(self.values[node.input[0]].shape) - 1):
            raise UnsupportedGraph("Softmax: expected the last axis")
        target = self._new(self.values[node.input[0]].shape)
        arguments = (x, str(x.shape[0]), str(x.strides()[0]), str(x.shape[1]), target)
        self.steps.append(Call("hb_softmax", target, arguments, (x,)))
        self.values[node.output[0]] = target

    def _gemm(self, node: onnx.NodeProto) -> None:
        if attribute(node, "alpha", 1.0) != 1.0 or attribute(node, "beta", 1.0) != 1.0 or attribute(node, "transA", 0):
            raise UnsupportedGraph("Gemm: expected alpha = beta = 1 and no transposed A")
        weights = self._constant(node, 1)
        weights = weights.T if attribute(node, "transB", 0) else weights
        bias = np.broadcast_to(self._constant(node, 2, np.float32(0)), weights.shape[-1:])
        self._product(node.output[0], self.values[node.input[0]], weights, bias)

    def _matmul(self, node: onnx.NodeProto) -> None:
        a, b = (self.values[name] for name in node.input)
        name, bias = node.output[0], None
        after = self.consumers.get(name)
        constant = isinstance(b, np.ndarray) and b.ndim > 1
        if constant and after is not None and after.op_type == "Add" and self.uses[name] == 1:
            other = self.values.get(after.input[1 - list(after.input).index(name)])
            if isinstance(other, np.ndarray) and other.size == b.size // b.shape[-2] and other.shape[-1] == b.shape[-1]:
                bias, name = other, after.output[0]
                self._skip.add(after.name)
        self._product(name, a, b, bias)

    def _product(self, name: str, a: Value, b: Value, bias: Array | None) -> None:
        a, b = self._view(a), self._view(b)
        lone = (-2,) * (len(a.shape) == 1) + (-1,) * (len(b.shape) == 1)  # a row or a column, not a matrix
        a, b = expanded(a, 0) if -2 in lone else a, expanded(b, -1) if -1 in lone else b
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        target = self._new((*batch, a.shape[-2], b.shape[-1]))
        self.values[name] = View(target.buffer, np.squeeze(target.array, lone))
        if isinstance(a, np.ndarray) and a.ndim == 2 and 2 * np.count_nonzero(a) <= a.size:
            self._sums(a, b, target)
        elif isinstance(a, np.ndarray):  # y' = b' a'
            self._times_constant(transposed(b), transposed(a), None, transposed(target))
        elif not isinstance(b, np.ndarray):
            self._times_view(a, b, target)
        elif not (self._transform(a, b, target) or (bias is None and self._gather_bands(a, b, target))):
            self._times_constant(a, b, bias, target)

    def _sums(self, weights: Array, x: View, target: View) -> None:
        """``target [..., m, n] = weights [m, k] x [..., k, n]``, row by row without the zeros, which are most."""
        for i, row in enumerate(weights):
            used = np.flatnonzero(row)
            template = " + ".join(f"{literal(row[j])} * {{{n}}}" for n, j in enumerate(used))
            into = View(target.buffer, target.array[..., i, :])
            terms = tuple(View(x.buffer, x.array[..., j, :]) for j in used)
            self.steps.append(Compute(into, Expression(template or "0.0f", terms, into.shape)))

    def _transform(self, x: View, matrix: Array, target: View) -> bool:
        """A product with a windowed DFT matrix, of the two rows that an FFT takes."""
        analysis, synthesis = analysis_window(matrix), synthesis_window(matrix)
        if (analysis is None and synthesis is None) or target.array.size != 2 * matrix.shape[-1]:
            return False
        rows = self._rows(x)
        points = len(matrix)
        angles = 2 * np.pi * np.arange(points // 2) / points
        turns = np.stack([np.cos(angles), -np.sin(angles)], 1).astype(np.float32)
        scratch = self._buffer(2 * points)
        sizes = [str(points)] if analysis is not None else [str(points), str(matrix.shape[1])]
        window = analysis if analysis is not None else synthesis
        kernel = "hb_analyse" if analysis is not None else "hb_synthesise"
        arguments = (rows, str(rows.strides()[0]), *sizes, window, turns, target, View(scratch, scratch.base))
        self.steps.append(Call(kernel, target, arguments, (rows,), scratch=scratch))
        return True

    def _gather_bands(self, x: View, matrix: Array, target: View) -> bool:
        """A product with a matrix that adds bins up in bands, or spreads bands over bins."""
        summing, spreading = gathered(matrix), gathered(matrix.T)
        bin_, band = 0, 0
        for bands in summing or spreading or []:
            bins, row = slice(bin_, bin_ + bands.count * bands.width), slice(band, band + bands.count)
            bin_, band, scale = bins.stop, row.stop, f"{{0}} * {literal(bands.weight)}"
            narrow, wide = (target, x) if summing else (x, target)
            narrow = View(narrow.buffer, narrow.array[..., row, None])
            wide = View(wide.buffer, np.reshape(wide.array[..., bins], (*x.shape[:-1], bands.count, -1), copy=False))
            if summing:
                self.steps.append(Compute(narrow, wide, (len(wide.shape) - 1,), scale))
            else:
                self.steps.append(Compute(wide, Expression(scale, (narrow,), wide.shape)))
        return bool(summing or spreading)

    def _times_constant(self, x: View, weights: Array, bias: Array | None, target: View) -> None:
        """``target [..., rows, n] = x [..., rows, k] weights [..., k, n] + bias``."""
        k, n = weights.shape[-2:]
        batch, rows = target.shape[:-2], target.shape[-2]
        matrices = int(np.prod(weights.shape[:-2], dtype=int))
        if rows == 1 and len(batch) == weights.ndim - 1 > 1:  # one product each of a batch with the same matrices
            x, target = (View(v.buffer, np.swapaxes(v.array, 0, -2)[0]) for v in (x, target))
            batch, rows = target.shape[:-2], target.shape[-2]
        if matrices == 1:  # all rows at once, where they lie evenly
            try:
                flat = View(x.buffer, np.reshape(x.array, (-1, k), copy=False))
                into = View(target.buffer, np.reshape(target.array, (-1, n), copy=False))
                x, target, batch, rows = flat, into, (), flat.shape[0]
            except ValueError:
                pass
            weights = weights.reshape(k, n)
        xs, ys = x.strides((*batch, rows, k)), target.strides()
        panels = -(-n // PANEL)
        block = panels * PANEL * k
        if bias is not None:
            bias = np.pad(bias.reshape(-1, n), ((0, 0), (0, panels * PANEL - n)))
        each = np.broadcast_to(np.arange(matrices).reshape(weights.shape[:-2]), batch)
        steps = [s // each.itemsize for s in each.strides] if batch else []
        scratch = self._buffer((rows + PANEL) * k)
        arguments = (
            Moving(x, xs[:-2]), str(rows), str(xs[-2]), str(k), str(xs[-1]),
            Moving(weights, tuple(s * block for s in steps), packed=True),
            "NULL" if bias is None else Moving(bias, tuple(s * bias.shape[1] if len(bias) > 1 else 0 for s in steps)),
            Moving(target, ys[:-2]), str(n), str(ys[-2]), str(ys[-1]), View(scratch, scratch.base),
        )  # fmt: skip
        self.steps.append(Call("hb_matmul_", target, arguments, (x,), tuple(batch), scratch))

    def _times_view(self, a: View, b: View, target: View) -> None:
        rows, n, k = a.shape[-2], b.shape[-1], a.shape[-1]
        batch = target.shape[:-2]
        x, w = a.strides((*batch, rows, k)), b.strides((*batch, k, n))
        arguments = (
            Moving(a, x[:-2]), str(rows), str(x[-2]), str(k), str(x[-1]),
            Moving(b, w[:-2]), str(w[-2]), str(w[-1]), Moving(target, target.strides()[:-2]), str(n),
        )  # fmt: skip
        self.steps.append(Call("hb_matmul", target, arguments, (a, b), tuple(batch)))


def transposed(value: View | Array) -> Any:
    """With the last two axes exchanged."""
    if isinstance(value, np.ndarray):
        return np.swapaxes(value, -1, -2)
    return View(value.buffer, np.swapaxes(value.array, -1, -2))


def expanded(value: View | Array, axis: int) -> Any:
    """With a new axis of length 1."""
    if isinstance(value, np.ndarray):
        return np.expand_dims(value, axis)
    return View(value.buffer, np.expand_dims(value.array, axis))


def is_view(value: object) -> bool:
    return isinstance(value, View)


def attribute(node: onnx.NodeProto, name: str, default: Any = None) -> Any:
    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def literal(value: float) -> str:
    """A float constant in C, exactly."""
    text = f"{np.float32(value):.9g}"
    return f"{text if '.' in text or 'e' in text else text + '.0'}f"
