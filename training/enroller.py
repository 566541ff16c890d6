"""The enrollment network: a noisy binaural clip, its target straight ahead, to the embedding of the clean voice.

A front end sees, for every mel band and frame, how much of the sound arrives alike at both ears, and keeps that share
of the mid channel's mel power; the GE2E encoder (Wan et al., ICASSP 2018), started from its pretrained weights,
turns what is left into the embedding, piece by piece as it was trained to. Both are trained together towards the
embedding that the pretrained encoder gives the speaker's dry recordings (the distillation of *Look Once to Hear*,
CHI 2024), with the mel power of the frontal talker alone as a helper.
"""

from __future__ import annotations

import contextlib
import copy

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.teacher import MELS, PARTIAL_FRAMES, SAMPLE_RATE, load_ge2e

WINDOW = 400
HOP = 160
EPS = 1e-8
# Mean mel power of speech at -30 dBFS in the teacher's features: the level that the encoder expects.
LEVEL = 0.01
STEP = PARTIAL_FRAMES // 2  # between pieces


class Enroller(nn.Module):
    """``[batch, 2, samples]`` at 16 kHz -> unit-norm embedding ``[batch, 256]``."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, hidden: int = 112):
        super().__init__()
        n = torch.arange(WINDOW, dtype=torch.float64)
        k = torch.arange(WINDOW // 2 + 1, dtype=torch.float64)
        angle = 2 * torch.pi * n[:, None] * k / WINDOW
        window = torch.hann_window(WINDOW, dtype=torch.float64)[:, None]
        dft = (torch.cat([angle.cos(), -angle.sin()], 1) * window).float()
        self.register_buffer("dft", dft.T[:, None].contiguous(), persistent=False)
        mel = torch.from_numpy(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS).T)
        self.register_buffer("mel", mel.float(), persistent=False)
        self.register_buffer("mean", torch.zeros(256))
        self.register_buffer("deviation", torch.ones(256))
        self.front = nn.GRU(5 * MELS, hidden, 2, batch_first=True, bidirectional=True)
        self.mask = nn.Linear(2 * hidden, MELS)
        self.equaliser = nn.Parameter(torch.zeros(MELS))
        # A copy: the teacher must stay what it is, whatever is loaded here.
        self.encoder = copy.deepcopy(load_ge2e())
        self.attention = nn.Linear(2 * hidden, 1)

    def set_statistics(self, embeddings: Tensor) -> None:
        """Mean and deviation of the training speakers' embeddings ``[utterances, 256]``, for `standardise`."""
        self.mean.copy_(embeddings.mean(0))
        self.deviation.copy_(embeddings.std(0).clamp_min(0.25 * float(embeddings.std(0).mean())))

    def standardise(self, embedding: Tensor) -> Tensor:
        """What tells speakers apart: the embedding without what all of them share."""
        return (embedding - self.mean) / self.deviation

    def spectrum(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """``[..., samples]`` -> real and imaginary parts ``[..., frames, bins]``."""
        lead = audio.shape[:-1]
        # A strided convolution, since a clip's number of frames is free in the exported graph.
        bins = F.conv1d(audio.reshape(-1, 1, audio.shape[-1]), self.dft, stride=HOP, padding=WINDOW // 2)
        re, im = bins.transpose(1, 2).chunk(2, -1)
        return re.unflatten(0, lead), im.unflatten(0, lead)

    def powers(self, clip: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """``[batch, 2, samples]`` -> mel power of either ear ``[batch, frames, 40]``, cross-power's re and im."""
        re, im = self.spectrum(clip)
        left_re, right_re, left_im, right_im = re[:, 0], re[:, 1], im[:, 0], im[:, 1]
        return (
            (left_re.square() + left_im.square()) @ self.mel,
            (right_re.square() + right_im.square()) @ self.mel,
            (left_re * right_re + left_im * right_im) @ self.mel,
            (left_im * right_re - left_re * right_im) @ self.mel,
        )

    def frontal(self, left: Tensor, right: Tensor, cross_re: Tensor, cross_im: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of `powers`: mel power of the frontal talker ``[batch, frames, 40]``, the level, what the GRU makes of it."""
        mid = mid_power(left, right, cross_re)
        level = mid.mean((1, 2), keepdim=True) + EPS
        both = (left * right).sqrt() + EPS * level
        features = torch.cat(
            [
                (mid / level + 1e-5).log10(),
                ((left + right - 2 * cross_re).clamp_min(0) / 4 / level + 1e-5).log10(),
                cross_re / both,
                cross_im / both,
                ((left + EPS * level) / (right + EPS * level)).log10(),
            ],
            -1,
        )
        hidden, _ = self.front(features)
        return mid * torch.sigmoid(self.mask(hidden)), level, hidden

    def analyse(self, clip: Tensor, half: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Embedding ``[batch, 256]``; mel power ``[batch, frames, 40]`` of the frontal talker, and of all sound.

        Args:
            clip: ``[batch, 2, samples]``.
            half: run the encoder in bfloat16.
        """
        left, right, cross_re, cross_im = self.powers(clip)
        kept, level, hidden = self.frontal(left, right, cross_re, cross_im)
        # The encoder knows voices as a microphone hears them, not through ears.
        voice = levelled(kept * self.equaliser.exp(), EPS * level)
        weight = torch.softmax(self.attention(hidden), 1)
        pieces, share = in_pieces(voice), in_pieces(weight).sum((2, 3))
        with torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext():
            embeddings = self.encoder(pieces.flatten(0, 1)).float().unflatten(0, (len(clip), -1))
        return F.normalize((embeddings * share[..., None]).sum(1), dim=-1), kept, (left + right) / 2

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """One clip ``[2, samples]`` -> embedding ``[256]``, and the share of the energy that was kept, in 0..1."""
        embedding, kept, heard = self.analyse(clip[None])
        return embedding[0], kept.sum() / (heard.sum() + EPS)


def mid_power(left: Tensor, right: Tensor, cross_re: Tensor) -> Tensor:
    """Power of the mean of both ears, from `Enroller.powers`."""
    return (left + right + 2 * cross_re).clamp_min(0) / 4


def levelled(mels: Tensor, floor: Tensor | float = EPS) -> Tensor:
    """Mel power ``[batch, frames, 40]`` at the level that the encoder expects."""
    return mels * (LEVEL / (mels.mean((1, 2), keepdim=True) + floor))


def in_pieces(frames: Tensor) -> Tensor:
    """Overlapping pieces of 1.6 s, the last at the end: ``[batch, frames, n]`` -> ``[batch, pieces, 160, n]``.

    Before a clip is silence: the encoder's last state is what counts, and that comes from the clip's own frames.
    """
    padded = F.pad(frames, (0, 0, STEP - 1, 0))
    halves = padded[:, padded.shape[1] % STEP :].unflatten(1, (-1, STEP))
    return torch.cat([halves[:, :-1], halves[:, 1:]], 2)
