"""Losses and scores on ``[batch, 2, samples]``."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor


def negative_snr_db(estimate: Tensor, target: Tensor, mixture: Tensor, ceiling_db: float = 30.0) -> Tensor:
    """-SNR over both ears together, per example ``[batch]``.

    Both ears share one energy, so level differences between them are part of the error. The floor, ``ceiling_db``
    below the target, keeps scenes that are already good from ruling the gradient. Where the target is silent, the
    error is measured against the mixture instead: the loss is then the level of what leaks, and the ceiling the same.
    """
    error = (estimate - target).square().sum((1, 2))
    reference = target.square().sum((1, 2))
    reference = torch.where(reference > 0, reference, mixture.square().sum((1, 2))).clamp_min(1e-9)
    return 10 * torch.log10(error / reference + 10 ** (-ceiling_db / 10))


def separation_loss(voices: Tensor, talkers: Tensor, mixture: Tensor) -> tuple[Tensor, Tensor]:
    """Permutation-invariant -SNR (Yu et al., ICASSP 2017) of as many outputs as sources.

    Args:
        voices: ``[batch, n, 2, samples]``.
        talkers: ``[batch, n, 2, samples]``.
        mixture: ``[batch, 2, samples]``.

    Returns:
        The mean over the batch, in dB, and the output that is each talker's, ``[batch, n]``.
    """
    count = voices.shape[1]
    every = torch.stack(
        [
            torch.stack([negative_snr_db(voices[:, v], talkers[:, t], mixture) for t in range(count)], 1)
            for v in range(count)
        ],
        1,
    )  # [batch, voice, talker]
    talker = torch.arange(count, device=every.device)
    orders = torch.tensor(list(itertools.permutations(range(count))), device=every.device)  # the voice of each talker
    costs = torch.stack([every[:, order, talker].mean(1) for order in orders], 1)
    best, index = costs.min(1)
    return best.mean(), orders[index]


def si_sdr_db(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al., ICASSP 2019) per ear, ``[batch, 2]``."""
    estimate = estimate - estimate.mean(-1, keepdim=True)
    target = target - target.mean(-1, keepdim=True)
    scale = (estimate * target).sum(-1, keepdim=True) / target.square().sum(-1, keepdim=True).clamp_min(1e-12)
    projection = scale * target
    noise = estimate - projection
    return 10 * torch.log10(projection.square().sum(-1).clamp_min(1e-12) / noise.square().sum(-1).clamp_min(1e-12))
