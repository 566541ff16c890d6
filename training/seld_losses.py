"""Losses of ACCDOA and multi-ACCDOA."""

from __future__ import annotations

from itertools import permutations, product

import torch
from torch import Tensor
from torch.nn import functional as F

# Which of the slots A0 B0 B1 C0 C1 C2 each of three tracks is to say: one event thrice, two in every way that leaves
# out neither, three in every order.
WAYS = [(0, 0, 0), *(w for w in product((1, 2), repeat=3) if len(set(w)) == 2), *permutations((3, 4, 5))]
KIND = [0] + [1] * 6 + [2] * 6
FIRST_SLOT = [0, 1, 3]


def accdoa_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean square error; output and target ``[batch, frames, 3, classes]``."""
    return F.mse_loss(output, target)


def adpit_loss(output: Tensor, target: Tensor) -> Tensor:
    """Mean square error of the best way to spread a class's events over the tracks (Shimada et al., ICASSP 2022).

    Args:
        output: ``[batch, frames, 9 (tracks x xyz), classes]``.
        target: ``[batch, frames, 6 slots, 4 (active xyz), classes]``.
    """
    vectors = target[:, :, :, :1] * target[:, :, :, 1:]
    wanted = vectors[:, :, WAYS].flatten(3, 4)  # [batch, frames, 13, 9, classes]
    error = (output[:, :, None] - wanted).square().mean(3)
    active = target[:, :, FIRST_SLOT, 0]
    # Where nothing sounds, all slots are zero, and the first way asks for silence.
    active = torch.cat([1 - active[:, :, 1:].amax(2, keepdim=True), active[:, :, 1:]], 2)
    return error.masked_fill(active[:, :, KIND] == 0, torch.inf).amin(2).mean()
