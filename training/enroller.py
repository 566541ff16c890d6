"""The enrollment network: a noisy binaural clip, its target straight ahead, to the embedding of the clean voice.

A front end takes the frontal talker out of the clip: the extraction network's separation, with this talker as its only
voice. The GE2E encoder (Wan et al., ICASSP 2018), started from its pretrained weights, turns the mel power of that into
the embedding, piece by piece as it was trained to. Both are trained together towards the embedding that the pretrained
encoder gives the speaker's dry recordings (the distillation of *Look Once to Hear*, CHI 2024), with the frontal
talker's sound as a helper.
"""

from __future__ import annotations

import contextlib
import copy

import librosa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import CHUNK, ExtractorConfig, Separator, Standardising, separated
from training.teacher import MELS, PARTIAL_FRAMES, SAMPLE_RATE, load_ge2e

WINDOW = 400
HOP = 160
EPS = 1e-8
# Mean mel power of speech at -30 dBFS in the teacher's features: the level that the encoder expects.
LEVEL = 0.01
RMS = 10 ** (-30 / 20)  # of a clip as the front end hears it: that of its training
FRONTAL = ExtractorConfig(voices=1)  # the front end: the frontal talker is the only voice
STEP = PARTIAL_FRAMES // 2  # between pieces


class Enroller(Standardising):
    """``[batch, 2, samples]`` at 16 kHz -> unit-norm embedding ``[batch, 256]``."""

    def __init__(self, config: ExtractorConfig = FRONTAL):
        super().__init__(256)
        n = torch.arange(WINDOW, dtype=torch.float64)
        k = torch.arange(WINDOW // 2 + 1, dtype=torch.float64)
        angle = 2 * torch.pi * n[:, None] * k / WINDOW
        window = torch.hann_window(WINDOW, dtype=torch.float64)[:, None]
        dft = (torch.cat([angle.cos(), -angle.sin()], 1) * window).float()
        self.register_buffer("dft", dft.T[:, None].contiguous(), persistent=False)
        mel = torch.from_numpy(librosa.filters.mel(sr=SAMPLE_RATE, n_fft=WINDOW, n_mels=MELS).T)
        self.register_buffer("mel", mel.float(), persistent=False)
        self.separator = Separator(config)
        self.equaliser = nn.Parameter(torch.zeros(MELS))
        # A copy: the teacher must stay what it is, whatever is loaded here.
        self.encoder = copy.deepcopy(load_ge2e())
        self.attention = nn.Linear(2 * MELS, 1)

    def mels(self, sound: Tensor) -> Tensor:
        """Mel power of the mean of both ears: ``[batch, 2, samples]`` -> ``[batch, frames, 40]``."""
        # A strided convolution, since a clip's number of frames is free in the exported graph.
        bins = F.conv1d(sound.mean(1, keepdim=True), self.dft, stride=HOP, padding=WINDOW // 2)
        re, im = bins.transpose(1, 2).chunk(2, -1)
        return (re.square() + im.square()) @ self.mel

    def frontal(self, clip: Tensor, half: bool = False) -> tuple[Tensor, Tensor]:
        """The frontal talker's sound ``[batch, 2, samples]``, and from where it comes: see `Separator.separate`."""
        gain = RMS / (clip.square().mean((1, 2), keepdim=True).sqrt() + EPS)
        rest = -clip.shape[-1] % CHUNK
        voices, steering = separated(self.separator, F.pad(clip * gain, (0, rest)), half)
        return voices[:, 0, :, : clip.shape[-1]] / gain, steering

    def embed(self, voice: Tensor, clip: Tensor, half: bool = False) -> Tensor:
        """What `frontal` found in a clip, ``[batch, 2, samples]`` both, to the embedding ``[batch, 256]``."""
        # Together: the graph then holds the DFT once.
        kept, heard = self.mels(torch.cat([voice, clip])).chunk(2)
        level = heard.mean((1, 2), keepdim=True) + EPS
        weight = torch.softmax(self.attention((torch.cat([kept, heard], -1) / level + 1e-5).log10()), 1)
        # The encoder knows voices as a microphone hears them, not through ears.
        pieces = in_pieces(levelled(kept * self.equaliser.exp(), EPS * level))
        share = in_pieces(weight).sum((2, 3))
        with torch.autocast(clip.device.type, torch.bfloat16) if half else contextlib.nullcontext():
            embeddings = self.encoder(pieces.flatten(0, 1)).float().unflatten(0, (len(clip), -1))
        return F.normalize((embeddings * share[..., None]).sum(1), dim=-1)

    def forward(self, clip: Tensor) -> tuple[Tensor, Tensor]:
        """One clip ``[2, samples]`` -> embedding ``[256]``, and the frontal talker's sound ``[2, samples]``."""
        voice = self.frontal(clip[None])[0]
        return self.embed(voice, clip[None])[0], voice[0]


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
