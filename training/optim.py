"""Muon (Jordan et al. 2024) for stacks of matrices: momentum, orthogonalised by a Newton-Schulz iteration.

torch.optim.Muon takes single matrices only; most of our weights are stacks of them (one a band or group).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


def orthogonalise(update: Tensor) -> Tensor:
    """``[..., rows, columns]`` to about the nearest matrices with singular values of one."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = update / update.flatten(-2).norm(dim=-1).clamp_min(1e-7)[..., None, None]
    wide = x if x.shape[-2] <= x.shape[-1] else x.mT
    for _ in range(5):
        gram = wide @ wide.mT
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide if x.shape[-2] <= x.shape[-1] else wide.mT


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    The update is scaled by ``0.2 * sqrt(max(rows, columns))``, which gives it the RMS of an Adam update (Liu et al.
    2025), so that one learning rate and schedule serve this optimiser and AdamW beside it.
    """

    def __init__(self, params: Iterable[Any], lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                buffer = state.setdefault("momentum", torch.zeros_like(p))
                buffer.lerp_(p.grad, 1 - group["momentum"])
                update = orthogonalise(p.grad.lerp(buffer, group["momentum"]))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update, alpha=-group["lr"] * 0.2 * max(p.shape[-2:]) ** 0.5)
        return loss
