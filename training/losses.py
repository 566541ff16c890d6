"""Losses and scores on ``[batch, 2, samples]``."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

CEILING = 1e-3  # of the error's energy beside the target's: 30 dB
HOPELESS = 2e-2  # of the target's energy in the estimate: -17 dB


def negative_snr_db(estimate: Tensor, target: Tensor, mixture: Tensor) -> Tensor:
    """-SNR over both ears together, per example ``[batch]``.

    Both ears share one energy, so level differences between them are part of the error. The floor, 30 dB
    below the target, keeps scenes that are already good from ruling the gradient. Where the target is silent, the
    error is measured against the mixture instead: the loss is then the level of what leaks, and the ceiling the same.
    """
    error = (estimate - target).square().sum((1, 2))
    reference = target.square().sum((1, 2))
    reference = torch.where(reference > 0, reference, mixture.square().sum((1, 2))).clamp_min(1e-9)
    return 10 * torch.log10(error / reference + CEILING)


def distortion_db(estimates: Tensor, targets: Tensor) -> Tensor:
    """How far each estimate is from each target, ``[batch, estimates, targets]`` in dB: half -SNR, half -SI-SDR.

    The SNR takes both ears together, which holds levels and their differences. Alone it would care little for weak
    sources and the averted ear, where silence is nearly as good as a hard-won estimate; the scale-invariant ratio, the
    mean of both ears, asks as much of these. Floors keep what is hopeless or good already from ruling the gradient.

    Args:
        estimates: ``[batch, n, 2, samples]``.
        targets: ``[batch, m, 2, samples]``, none of them silent.
    """
    product = torch.einsum("bnes,bmes->bnme", estimates, targets)
    return distortion_of(product, estimates.square().sum(-1)[:, :, None], targets.square().sum(-1)[:, None])


def distortion_of(product: Tensor, estimated: Tensor, wanted: Tensor) -> Tensor:
    """`distortion_db` from inner products ``[..., ear]``: of estimate and target, and of each with itself."""
    estimated, wanted = estimated.clamp_min(1e-9), wanted.clamp_min(1e-9)
    error = (estimated - 2 * product + wanted).sum(-1).clamp_min(0)
    likeness = (product.square() / (estimated * wanted)).clamp(0, 1)
    snr = -10 * torch.log10(error / wanted.sum(-1) + CEILING)
    si_sdr = 10 * torch.log10((likeness + HOPELESS) / (1 - likeness + CEILING)).mean(-1)
    return -(snr + si_sdr) / 2


def separation_loss(voices: Tensor, talkers: Tensor) -> tuple[Tensor, Tensor]:
    """Permutation-invariant `distortion_db` (Yu et al., ICASSP 2017) of as many outputs as sources.

    For a source that is silent counts what its output leaks, beside the energy of all sources.

    Args:
        voices: ``[batch, n, 2, samples]``.
        talkers: ``[batch, n, 2, samples]``, not all of a scene silent.

    Returns:
        The mean over the batch, in dB, and the output that is each talker's, ``[batch, n]``.
    """
    count = voices.shape[1]
    power = talkers.square().sum((2, 3))
    leak = 10 * torch.log10(voices.square().sum((2, 3)) / power.sum(1, keepdim=True) + CEILING)
    every = torch.where(power[:, None] > 0, distortion_db(voices, talkers), leak[:, :, None])
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


def steering_loss(steering: Tensor, sources: Tensor) -> Tensor:
    """Energy of sources that does not come from where a voice is said to, in dB.

    Args:
        steering: ``[time, scenes, n, 4, bin]``: real and imaginary parts of left and right.
        sources: the source that is each voice's, ``[time, scenes, n, ear, re/im, bin]``.

    Returns:
        The mean over scenes and those sources that are not silent.
    """
    a_re, a_im, b_re, b_im = steering.unbind(3)
    (x_re, x_im), (y_re, y_im) = sources[:, :, :, 0].unbind(3), sources[:, :, :, 1].unbind(3)
    # What is orthogonal to (a, b) in two dimensions: the product with (-b*, a*).
    rest_re = (a_re * y_re - a_im * y_im) - (b_re * x_re - b_im * x_im)
    rest_im = (a_re * y_im + a_im * y_re) - (b_re * x_im + b_im * x_re)
    rest = (rest_re.square() + rest_im.square()) / steering.square().sum(3).clamp_min(1e-12)
    whole = sources.square().sum((0, 3, 4))
    sounds = whole.sum(-1) > 0
    whole = whole.clamp_min(1e-9)
    # Low frequencies, where both ears hear nearly the same, hold most of a voice's energy: compressed, all count.
    weight = whole.pow(0.3)
    share = (weight * rest.sum(0) / whole).sum(-1) / weight.sum(-1)
    return (10 * torch.log10(share + CEILING) * sounds).sum() / sounds.sum()
