"""The DCASE 2021 baseline in torch: convolutions, two recurrent layers, one ACCDOA vector a class (or three)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hearable.seld.features import CHANNELS, FRAMES_PER_LABEL, MELS, Format

FILTERS = 64
UNITS = 128
POOLS = ((FRAMES_PER_LABEL, 4), (1, 4), (1, 2))  # time, mel
DROPOUT = 0.05


class BothWays(nn.Module):
    """A bidirectional GRU whose directions are multiplied."""

    def __init__(self, inputs: int):
        super().__init__()
        self.gru = nn.GRU(inputs, UNITS, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        """``[batch, frames, inputs]`` to ``[batch, frames, 128]``."""
        forwards, backwards = self.gru(x)[0].chunk(2, -1)
        return forwards * backwards


class SeldNet(nn.Module):
    """Features in, ACCDOA out.

    Sizes are the baseline's. The count of parameters differs by the GRU, whose torch form has two biases: 495,780 here
    for FOA and 12 classes, against 494,628 there, which include the batch norms' 384 running statistics.

    Args:
        kind: of the features.
        classes: their number.
        tracks: 1 for ACCDOA, 3 for multi-ACCDOA.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, kind: Format = "foa", classes: int = 12, tracks: int = 1):
        super().__init__()
        self.classes, self.tracks = classes, tracks
        channels = CHANNELS[kind]
        self.register_buffer("mean", torch.zeros(channels, 1, MELS))
        self.register_buffer("scale", torch.ones(channels, 1, MELS))
        blocks: list[nn.Module] = []
        mels = MELS
        for pool in POOLS:
            blocks += [nn.Conv2d(channels, FILTERS, 3, padding=1), nn.BatchNorm2d(FILTERS)]
            # The rectifier after the pooling gives the same as before it, of fewer values.
            blocks += [nn.MaxPool2d(pool), nn.ReLU(), nn.Dropout(DROPOUT)]
            channels, mels = FILTERS, mels // pool[1]
        self.convolutions = nn.Sequential(*blocks)
        self.recurrent = nn.Sequential(BothWays(FILTERS * mels), nn.Dropout(DROPOUT), BothWays(UNITS))
        self.dense = nn.Sequential(
            nn.Linear(UNITS, UNITS), nn.Dropout(DROPOUT), nn.Linear(UNITS, tracks * 3 * classes), nn.Tanh()
        )

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Set what is taken off the features and what they are divided by, ``[channels, 1, 64]`` each."""
        self.mean.copy_(mean)
        self.scale.copy_(1 / deviation.clamp(min=1e-6))

    def forward(self, features: Tensor) -> Tensor:
        """``[batch, channels, frames, 64]`` to ``[batch, frames // 5, tracks * 3, classes]``."""
        x = (features - self.mean) * self.scale
        x = self.convolutions(x.contiguous(memory_format=torch.channels_last))
        x = self.recurrent(x.transpose(1, 2).flatten(2))
        return self.dense(x).unflatten(-1, (self.tracks * 3, self.classes))
