"""The network's element-wise work: reference in plain torch, and the same fused in C++ for training.

The recurrence is ``h[t] = f[t] h[t-1] + (1 - f[t]) c[t]``. Its gate depends on the input alone, not on the last state
(QRNN, Bradbury et al. 2017; minGRU, Feng et al. 2024), so every matrix product of a layer runs over all time steps at
once and only this scan is sequential.

The fused functions compute in float32 and keep activations in the dtype of their input, so that the matrix products
between them may run in bfloat16. They are used where gradients are wanted; the references serve one step at a time and
other devices than the CPU.
"""

from __future__ import annotations

import functools
import hashlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor
from torch.nn import functional as F
from torch.utils import cpp_extension


@functools.cache
def _kernels() -> ModuleType:
    flags = ["-O3", "-march=native", "-ffast-math", "-fopenmp-simd", "-std=c++20"]
    source = Path(__file__).with_suffix(".cpp")
    # A folder for each version of everything: another checkout may be training with its own.
    source_hash = hashlib.sha256(source.read_bytes()).hexdigest()[:8]
    python = f"py{sys.version_info.major}{sys.version_info.minor}"
    root = os.environ.get("TORCH_EXTENSIONS_DIR") or cpp_extension.get_default_build_root()
    folder = Path(root) / f"hearable_fused-{source_hash}-{python}-torch{torch.__version__}"
    folder.mkdir(parents=True, exist_ok=True)
    # This lock ends with its process. torch's own is a file: one that was killed while it compiled has left it, and
    # everybody waits for it for ever.
    with FileLock(folder / "turn"):
        (folder / "lock").unlink(missing_ok=True)
        return cpp_extension.load("hearable_fused", [str(source)], extra_cflags=flags, build_directory=str(folder))


def gated_scan_reference(projected: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """See `gated_scan`."""
    candidate, forget, gate = projected.chunk(3, -1)
    forget = torch.sigmoid(forget)
    if len(projected) == 1:  # a streaming step: no time axis to take apart
        hidden = candidate + forget * (initial - candidate)
        return hidden * F.silu(gate), hidden[0]
    state, states = initial, []
    for c, f in zip(candidate, forget, strict=True):
        state = c + f * (state - c)
        states.append(state)
    return torch.stack(states) * F.silu(gate), state


class _GatedScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
        y, hidden = _kernels().scan_fw(projected, initial)
        ctx.save_for_backward(projected, initial, hidden)
        return y, hidden[-1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        projected, initial, hidden = ctx.saved_tensors
        d_projected, d_initial = _kernels().scan_bw(
            projected, initial, hidden, grads[0].contiguous(), grads[1].contiguous()
        )
        return d_projected, d_initial


def gated_scan(projected: Tensor, initial: Tensor) -> tuple[Tensor, Tensor]:
    """Gated linear recurrence over the first axis.

    Args:
        projected: ``[time, ..., 3 C]``: candidate, forget gate and output gate before their activations.
        initial: ``[..., C]`` float32, the state before the first step.

    Returns:
        ``[time, ..., C]``, the gated states, and ``[..., C]``, the last state.
    """
    if projected.device.type != "cpu":
        return gated_scan_reference(projected, initial)
    return _GatedScan.apply(projected.contiguous(), initial.contiguous())  # type: ignore[no-any-return, no-untyped-call]


def norm_film_reference(x: Tensor, scale: Tensor, shift: Tensor, half: bool = False) -> Tensor:
    """See `norm_film`."""
    y = F.layer_norm(x, [int(x.shape[-1])], scale[0], shift[0])  # a number, not a traced shape
    return y.bfloat16() if half else y


class _NormFilm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, shift: Tensor, half: bool) -> Tensor:
        y, stats = _kernels().norm_fw(x, scale, shift, half)
        ctx.save_for_backward(x, scale, stats)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, scale, stats = ctx.saved_tensors
        return *_kernels().norm_bw(x, scale, stats, grads[0].contiguous()), None


def norm_film(x: Tensor, scale: Tensor, shift: Tensor, half: bool = False) -> Tensor:
    """Layer norm over channels, then a scale and a shift.

    Args:
        x: ``[..., channel]`` float32.
        scale: ``[1, channel]``.
        shift: ``[1, channel]``.
        half: return bfloat16.
    """
    if x.device.type != "cpu":
        return norm_film_reference(x, scale, shift, half)
    return _NormFilm.apply(x.contiguous(), scale.contiguous(), shift.contiguous(), half)  # type: ignore[no-any-return, no-untyped-call]


def mix_bands_reference(projected: Tensor, mixing: Tensor) -> Tensor:
    """See `mix_bands`."""
    *lead, bands, _ = projected.shape
    groups = len(mixing)
    value, gate = projected.chunk(2, -1)
    packed = value.reshape(-1, bands, groups, value.shape[-1] // groups).permute(2, 1, 0, 3)
    mixed = torch.bmm(mixing.to(value.dtype), packed.reshape(groups, bands, -1)).reshape(packed.shape)
    return mixed.permute(2, 1, 0, 3).reshape(*lead, bands, -1) * F.silu(gate)


class _MixBands(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, projected: Tensor, mixing: Tensor) -> Tensor:
        y, mixed = _kernels().mix_fw(projected, mixing)
        ctx.save_for_backward(projected, mixing, mixed)
        return y  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        return tuple(_kernels().mix_bw(*ctx.saved_tensors, grads[0].contiguous()))  # type: ignore[return-value]


def mix_bands(projected: Tensor, mixing: Tensor) -> Tensor:
    """Mix the value of all bands with a matrix for each group of channels, then gate it.

    Args:
        projected: ``[..., band, 2 C]``: value, and gate before its activation.
        mixing: ``[groups, band, band]``.

    Returns:
        ``[..., band, C]``.
    """
    if projected.device.type != "cpu":
        return mix_bands_reference(projected, mixing)
    return _MixBands.apply(projected.contiguous(), mixing.contiguous())  # type: ignore[no-any-return, no-untyped-call]


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of element-wise work by one kernel, made when it meets a new shape: that takes half a minute."""
    return torch.compile(function, dynamic=False)


def _as_it_is(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


@dataclass(frozen=True)
class Operators:
    """One implementation of the functions above, and what is done to others that are element-wise."""

    gated_scan: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    norm_film: Callable[[Tensor, Tensor, Tensor, bool], Tensor]
    mix_bands: Callable[[Tensor, Tensor], Tensor]
    fuse: Callable[[Callable[..., Any]], Callable[..., Any]] = _as_it_is


REFERENCE = Operators(gated_scan_reference, norm_film_reference, mix_bands_reference)
FUSED = Operators(gated_scan, norm_film, mix_bands)
COMPILED = replace(FUSED, fuse=compiled)
