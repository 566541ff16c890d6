"""C99 of an extractor: no heap, no libm, one arena, constant weights (``python -m export MODEL --c``).

A graph becomes two files, ``<name>.h`` and ``<name>.c``; with ``hb_nn.h`` they build anywhere (``-fno-math-errno``
makes the square root an instruction). Weights that are exactly numbers of half precision are stored as such
(`half_weights` makes them so); the state is kept twice and the two change places, so that a chunk reads the old one and
writes the new one without a copy.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from export.dft import analysis_window, synthesis_window
from export.loops import leaves, loops
from export.lower import PANEL, Array, Buffer, Call, Compute, Lowering, Moving, UnsupportedGraph, View
from hearable.errors import ModelError
from hearable.files import replacing
from hearable.spec import ModelSpec

KERNELS = Path(__file__).parents[1] / "firmware_bridge" / "port" / "mcu" / "hb_nn.h"


def half_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with its matrices rounded to half precision; a DFT, of which C stores the window, stays exact."""
    rounded = onnx.ModelProto()
    rounded.CopyFrom(model)
    products = {name for node in model.graph.node if node.op_type in ("MatMul", "Gemm") for name in node.input[:2]}
    for tensor in rounded.graph.initializer:
        matrix = numpy_helper.to_array(tensor)
        if tensor.name in products and analysis_window(matrix) is None and synthesis_window(matrix) is None:
            tensor.CopyFrom(numpy_helper.from_array(_halved(matrix), tensor.name))
    return rounded


def emit(model: onnx.ModelProto, folder: Path) -> tuple[Path, Path]:
    """Write ``<name>.h`` and ``<name>.c`` of an extractor, and hb_nn.h beside them.

    Returns:
        The paths of the two.

    Raises:
        UnsupportedGraph: it holds something that has no C.
        SpecMismatch: it does not say what it is.
    """
    spec = ModelSpec.from_metadata({p.key: p.value for p in model.metadata_props})
    if spec.kind != "extractor":
        raise UnsupportedGraph(f"kind: expected an extractor, found {spec.kind}")
    program = _Program(model, spec)
    header, source = folder / f"{spec.name}.h", folder / f"{spec.name}.c"
    texts = {header: program.header(), source: program.source(), folder / KERNELS.name: KERNELS.read_text()}
    for path, text in texts.items():
        with replacing(path, ModelError) as temporary:
            temporary.write_text(text)
    return header, source


class _Program:
    def __init__(self, model: onnx.ModelProto, spec: ModelSpec):
        self.spec = spec
        self.symbol = re.sub(r"\W", "_", spec.name)
        self.hash = hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()
        lowered = Lowering(model)
        self.constants: dict[bytes, str] = {}
        self.tables: list[str] = []
        self.weight_bytes = 0
        self.offsets, self.arena = plan(lowered.steps)
        self.state_offsets, start = {}, 0
        for state in spec.states:
            for name in (f"state.{state.name}", f"state.{state.name}.out"):
                self.state_offsets[name] = start
            start += int(np.prod(state.shape))
        self.state_values = start
        self.body = [line for step in lowered.steps for line in self._step(step)]

    def _step(self, step: Compute | Call) -> list[str]:
        if isinstance(step, Compute):
            return loops(step, self._pointer)
        kernel, arguments = step.kernel, []
        for argument in step.arguments:
            packed = isinstance(argument, Moving) and argument.packed
            if packed:
                half = _is_half(argument.pointer)
                kernel += "half" if half else "single"
                arguments.append(self._table(pack(argument.pointer), half) + _moves(argument.steps, step.loops))
            elif isinstance(argument, Moving):
                arguments.append(self._address(argument.pointer) + _moves(argument.steps, step.loops))
            else:
                arguments.append(argument if isinstance(argument, str) else self._address(argument))
        lines = [f"{kernel}({', '.join(arguments)});"]
        for axis, extent in reversed(list(enumerate(step.loops))):
            if extent > 1:
                loop = f"for (int b{axis} = 0; b{axis} < {extent}; b{axis}++)"
                lines = [loop, *("    " + line for line in lines)]
        return lines

    def _address(self, value: View | Array) -> str:
        offset = value.offset if isinstance(value, View) else 0
        return self._pointer(value) + (f" + {offset}" if offset else "")

    def _pointer(self, value: View | Array) -> str:
        if not isinstance(value, View):
            return self._table(value, False)
        buffer = value.buffer
        if buffer.role == "arena":
            return f"(a + {self.offsets[buffer.name]})" if self.offsets[buffer.name] else "a"
        if buffer.role in ("state", "next"):
            start = self.state_offsets[buffer.name]
            return f"({'s' if buffer.role == 'state' else 't'} + {start})"
        return {"chunk": "chunk", "conditioning": "m->conditioning", "output": "output"}[buffer.name]

    def _table(self, values: Array, half: bool) -> str:
        """The name of a constant array; equal ones are stored once."""
        flat = np.ascontiguousarray(values, np.float16 if half else np.float32)
        key = bytes([half]) + flat.tobytes()
        if key not in self.constants:
            name = self.constants[key] = f"w{len(self.constants)}"
            self.weight_bytes += flat.nbytes
            if half:
                numbers = [f"0x{n:04x}" for n in flat.view(np.uint16).reshape(-1)]
                kind = "uint16_t"
            else:
                numbers, kind = [f"{n:.9g}" for n in flat.reshape(-1)], "float"
                numbers = [f"{n if '.' in n or 'e' in n else n + '.0'}f" for n in numbers]
            rows = [", ".join(numbers[i : i + 12]) for i in range(0, len(numbers), 12)]
            text = ",\n    ".join(rows)
            self.tables.append(f"static const {kind} {name}[{len(numbers)}] = {{\n    {text}}};")
            if half:
                self.constants[key] = f"(const hb_half *){name}"
        return self.constants[key]

    def header(self) -> str:
        spec, symbol, upper = self.spec, self.symbol, self.symbol.upper()
        return f"""\
/* Model {spec.name}, generated by `python -m export`: do not edit. */
#ifndef HB_{upper}_H
#define HB_{upper}_H

#define HB_{upper}_SHA256 "{self.hash}"
#define HB_{upper}_SAMPLE_RATE_HZ {spec.sample_rate_hz}
#define HB_{upper}_CHANNELS {spec.channels}
#define HB_{upper}_CHUNK_SAMPLES {spec.chunk_samples}
#define HB_{upper}_LOOKAHEAD_SAMPLES {spec.lookahead_samples}
#define HB_{upper}_CONDITIONING_VALUES {spec.conditioning_values}
#define HB_{upper}_EMBEDDING_SPACE "{spec.embedding_space}"
#define HB_{upper}_STATE_VALUES {self.state_values}
#define HB_{upper}_WEIGHT_BYTES {self.weight_bytes}

/* Everything that changes; the caller owns it, anywhere in RAM. */
typedef struct {{
    float conditioning[HB_{upper}_CONDITIONING_VALUES];
    float state[2][HB_{upper}_STATE_VALUES];
    float arena[{self.arena}];
    int newest; /* which of the two states */
}} hb_{symbol};

/* A new stream for a speaker: conditioning [HB_{upper}_CONDITIONING_VALUES], from hearable's Model.condition. */
void hb_{symbol}_start(hb_{symbol} *m, const float *conditioning);

/* Another speaker from the next chunk on; the state stays. */
void hb_{symbol}_condition(hb_{symbol} *m, const float *conditioning);

/* One chunk [{spec.channels}][{spec.chunk_samples}] (left, then right) in, one out {spec.lookahead_samples} samples
 * late. The two do not overlap. */
void hb_{symbol}_process(hb_{symbol} *m, const float *chunk, float *output);

#endif
"""

    def source(self) -> str:
        spec, symbol = self.spec, self.symbol
        tables, body = "\n".join(self.tables), "\n".join("    " + line for line in self.body)
        return f"""\
/* Model {spec.name}, generated by `python -m export`: do not edit. */
#include "{spec.name}.h"

#include "hb_nn.h"

{tables}

void hb_{symbol}_condition(hb_{symbol} *m, const float *conditioning) {{
    memcpy(m->conditioning, conditioning, sizeof m->conditioning);
}}

void hb_{symbol}_start(hb_{symbol} *m, const float *conditioning) {{
    memset(m->state, 0, sizeof m->state);
    m->newest = 0;
    hb_{symbol}_condition(m, conditioning);
}}

void hb_{symbol}_process(hb_{symbol} *m, const float *chunk, float *output) {{
    float *const a = m->arena, *const t = m->state[1 - m->newest];
    const float *const s = m->state[m->newest];
{body}
    m->newest = 1 - m->newest;
}}
"""


def plan(steps: list[Compute | Call]) -> tuple[dict[str, int], int]:
    """Where each arena buffer lies, in floats, and the arena's size: first fit, from the largest to the smallest."""
    lives: dict[str, tuple[Buffer, int, int]] = {}
    for time, step in enumerate(steps):
        read: list[Any] = list(step.sources) if isinstance(step, Call) else leaves(step.value)
        touched = [step.target.buffer, *(v.buffer for v in read if isinstance(v, View))]
        if isinstance(step, Call) and step.scratch is not None:
            touched.append(step.scratch)
        for buffer in touched:
            if buffer.role == "arena":
                begin = lives.get(buffer.name, (buffer, time, time))[1]
                lives[buffer.name] = (buffer, begin, time)
    placed: list[tuple[int, int, int, int]] = []  # offset, end, begin of life, end of life
    offsets = {}
    for buffer, begin, end in sorted(lives.values(), key=lambda life: -life[0].size):
        offset = 0
        for start, stop, first, last in sorted(placed):
            if first <= end and begin <= last and offset < stop and start < offset + buffer.size:
                offset = stop
        offsets[buffer.name] = offset
        placed.append((offset, offset + buffer.size, begin, end))
    return offsets, max((p[1] for p in placed), default=1)


def pack(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """Matrices ``[..., k, n]`` as panels ``[matrix, panel, k, 4]``, as hb_nn.h reads them."""
    k, n = matrix.shape[-2:]
    panels = -(-n // PANEL)
    padded = np.zeros((int(np.prod(matrix.shape[:-2], dtype=int)), k, panels * PANEL), np.float32)
    padded[..., :n] = matrix.reshape(-1, k, n)
    return padded.reshape(-1, k, panels, PANEL).transpose(0, 2, 1, 3)


def _halved(matrix: NDArray[Any]) -> NDArray[np.float32]:
    """The nearest numbers of half precision that every processor can widen: no subnormal ones, no infinities."""
    limits = np.finfo(np.float16)
    half = np.clip(matrix, limits.min, limits.max).astype(np.float16).astype(np.float32)
    return np.where(np.abs(half) < limits.tiny, 0, half).astype(np.float32)


def _is_half(matrix: NDArray[Any]) -> bool:
    return bool((_halved(matrix) == matrix).all())


def _moves(steps: tuple[int, ...], extents: tuple[int, ...]) -> str:
    terms = enumerate(zip(steps, extents, strict=True))
    return "".join(f" + b{axis} * {step}" for axis, (step, extent) in terms if step and extent > 1)
