"""Element-wise steps as C loops: adjacent axes merged where every operand allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from export.lower import Array, Compute, Expression, Value, View, literal


def leaves(value: Value) -> list[View | Array]:
    """What an expression reads, from left to right."""
    if isinstance(value, Expression):
        return [leaf for operand in value.operands for leaf in leaves(operand)]
    return [value]


def loops(step: Compute, pointer: Callable[[View | Array], str]) -> list[str]:
    """C statements for a step. ``pointer`` names the memory behind a view or an array."""
    shape = step.value.shape
    operands = [leaf for leaf in leaves(step.value) if isinstance(leaf, View) or leaf.size != 1]
    strides = [_strides(leaf, shape) for leaf in [step.target, *operands]]
    outer = [axis for axis in range(len(shape)) if axis not in step.summed]
    inner = list(step.summed)
    nests = [_merge([shape[a] for a in axes], [[s[a] for a in axes] for s in strides]) for axes in (outer, inner)]
    (extents, moves), (sum_extents, sum_moves) = nests
    names = [f"i{n}" for n in range(len(extents))]
    sum_names = [f"j{n}" for n in range(len(sum_extents))]
    texts = [
        _element(pointer(leaf), _offset(leaf), names, moves[i], sum_names, sum_moves[i])
        for i, leaf in enumerate([step.target, *operands])
    ]
    body, source = [], iter(texts[1:])
    result = _evaluate(step.value, source, body)
    if step.summed:
        total = [f"sum += {result};"]
        body = ["float sum = 0.0f;", *_nest(sum_names, sum_extents, [*body, *total])]
        result = "sum"
    body.append(f"{texts[0]} = {step.after.format(result)};")
    return _nest(names, extents, body)


def _strides(leaf: View | Array, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Distances along the axes of a loop; a target of a sum, which is shorter, stays where it is along those."""
    if isinstance(leaf, View):
        return leaf.strides(shape)
    return tuple(s // leaf.itemsize for s in np.broadcast_to(leaf, shape).strides)


def _offset(leaf: View | Array) -> int:
    return leaf.offset if isinstance(leaf, View) else 0


def _merge(extents: list[int], strides: list[list[int]]) -> tuple[list[int], list[list[int]]]:
    """Drop axes of length 1, and join an axis with the next one where all operands walk through both evenly."""
    kept: list[int] = []
    moves: list[list[int]] = [[] for _ in strides]
    for axis, extent in enumerate(extents):
        if extent == 1:
            continue
        if kept and all(m[-1] == s[axis] * extent for m, s in zip(moves, strides, strict=True)):
            kept[-1] *= extent
            for m, s in zip(moves, strides, strict=True):
                m[-1] = s[axis]
            continue
        kept.append(extent)
        for m, s in zip(moves, strides, strict=True):
            m.append(s[axis])
    return kept, moves


def _element(name: str, offset: int, *indices: list[str] | list[int]) -> str:
    terms = [str(offset)] if offset else []
    for names, moves in zip(indices[::2], indices[1::2], strict=True):
        terms += [f"{i} * {m}" if m != 1 else str(i) for i, m in zip(names, moves, strict=True) if m]
    return f"{name}[{' + '.join(terms) or '0'}]"


def _evaluate(value: Value, texts: Iterator[str], body: list[str]) -> str:
    """The text of a value; inner expressions become variables, so that a template may name an operand twice."""
    if isinstance(value, View):
        return next(texts)
    if isinstance(value, np.ndarray):
        return literal(float(value.reshape(-1)[0])) if value.size == 1 else next(texts)
    operands = []
    for operand in value.operands:
        text = _evaluate(operand, texts, body)
        if value.template.count(f"{{{len(operands)}}}") > 1 or isinstance(operand, Expression):
            name = f"v{len(body)}"
            body.append(f"const float {name} = {text};")
            text = name
        operands.append(text)
    return value.template.format(*operands)


def _nest(names: list[str], extents: list[int], body: list[str]) -> list[str]:
    lines = body
    for name, extent in zip(reversed(names), reversed(extents), strict=True):
        lines = [f"for (int {name} = 0; {name} < {extent}; {name}++) {{", *("    " + line for line in lines), "}"]
    return lines if names else ["{", *("    " + line for line in lines), "}"]
