"""The reference network: the causal TF-GridNet of *Look Once to Hear* (Veluri et al., CHI 2024), written anew.

It is the row that our own network is compared with, trained and exported by the same code. TF-GridNet is Wang et al.,
*TF-GridNet: Integrating Full- and Sub-Band Modeling for Speech Separation* (2022). What the streaming form changes:

- STFT of 192 samples (chunk and lookahead) every 128, square-root Hann window: 97 bins, both ears as 4 channels;
- each frequency is a step of the full-band BLSTM: unfolding kernel and stride 1, which meet the published counts
  (below), where a kernel and stride of 4 would give 30 M multiply-accumulates and 2.41 M parameters;
- the convolutions look only backwards in time, the sub-band LSTM runs forwards, attention sees this frame and 49 past;
- layer normalisation within a frame: over channels before the LSTMs, over frequency and channels in the attention,
  with one set of weights for all its heads; none follows the first convolution;
- the embedding is projected to one gain a channel and bin, which multiplies the features after the first block;
- a frame is divided by the level of the last 40 ms, and its estimate multiplied by it. This is not published:
  normalised layers lose the level, and our scenes' differ by 20 dB and more.

Parameters, 2.04 M: speaker projection 1.61 M (256 x 6208 and its norm), three blocks of 0.142 M, convolutions 0.005 M.
Multiply-accumulates a chunk: 97 bins x (BLSTM 65,536 + LSTM 32,768 + their projections 12,288 + query, key, value and
output 11,264) + attention 0.43 M = 12.2 M a block; convolutions 0.45 M, DFT and inverse 0.15 M; in all 37.3 M.

Inner tensors are ``[time, batch, frequency, channel]``: the recurrences along time then need no transposition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.network import CHUNK, FLOOR, LOOKAHEAD, MEMORY_FRAMES, averaged

WINDOW = CHUNK + LOOKAHEAD
BINS = WINDOW // 2 + 1
EARS = 2
KERNEL = 3  # frames and bins that a convolution spans
STATES = ("hidden", "cell", "key", "value")  # of a block


@dataclass(frozen=True)
class TFGridNetConfig:
    """Shape of the network, as published. ``query`` is a head's values a bin: 512 over all 97 bins, rounded up."""

    channels: int = 64
    hidden: int = 64
    blocks: int = 3
    heads: int = 4
    query: int = 6
    context: int = 50
    embedding: int = 256
    conditioned_block: int = 1  # the features that enter this block are multiplied


def stft_matrices() -> tuple[Tensor, Tensor]:
    """Windowed DFT ``[192, 2 * 97]`` (real, then imaginary parts) and its inverse ``[2 * 97, 192]``, to be overlapped.

    Both windows are square-root Hann; the synthesis window is divided by the sum of the overlapping products, so that
    an untouched spectrum gives the signal back.
    """
    window = torch.hann_window(WINDOW, dtype=torch.float64).sqrt()
    overlapped = F.pad(window.square(), (0, 2 * CHUNK - WINDOW)).view(2, CHUNK).sum(0)
    synthesis = window / overlapped.repeat(2)[:WINDOW]
    angle = 2 * math.pi / WINDOW * torch.outer(torch.arange(WINDOW), torch.arange(BINS)).double()
    weight = torch.full((BINS, 1), 2.0 / WINDOW, dtype=torch.float64)
    weight[[0, -1]] /= 2  # the mean and the Nyquist bin have no mirror
    forward = torch.cat([angle.cos(), -angle.sin()], 1) * window[:, None]
    inverse = torch.cat([angle.T.cos() * weight, -angle.T.sin() * weight]) * synthesis
    # White noise of variance one then has bins of power one.
    scale = window.norm()
    return (forward / scale).float(), (inverse * scale).float()


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of each frame to itself and as many frames before it as there are more keys than queries.

    Args:
        query: ``[batch, head, time, q]``.
        key: ``[batch, head, past + time, q]``.
        value: ``[batch, head, past + time, v]``.

    Returns:
        ``[batch, head, time, v]``.
    """
    frames = query.shape[2]
    past = key.shape[2] - frames
    query = query / math.sqrt(query.shape[-1])
    if frames == 1:
        return (query @ key.transpose(2, 3)).softmax(-1) @ value
    # In blocks of queries, each with the keys that any of them sees: twice the least work, not frames / past times it.
    block = min(frames, past + 1)
    pad = (0, 0, 0, -frames % block)
    query = F.pad(query, pad).unflatten(2, (-1, block))
    key, value = (F.pad(x, pad).unfold(2, past + block, block) for x in (key, value))  # [..., block, q or v, time]
    age = past + torch.arange(block, device=query.device)[:, None] - torch.arange(past + block, device=query.device)
    scores = (query @ key).masked_fill((age < 0) | (age > past), -math.inf)
    return (scores.softmax(-1) @ value.transpose(-1, -2)).flatten(2, 3)[:, :, :frames]


class Heads(nn.Module):
    """Queries, keys or values of all heads: ``[time, batch, bin, channel]`` -> ``[batch, head, time, bin * width]``."""

    def __init__(self, config: TFGridNetConfig, width: int):
        super().__init__()
        self.shape = (config.heads, width)
        self.project = nn.Sequential(nn.Linear(config.channels, config.heads * width), nn.PReLU())
        self.norm = nn.LayerNorm(BINS * width)

    def forward(self, x: Tensor) -> Tensor:
        heads = self.project(x).unflatten(-1, self.shape).permute(1, 3, 0, 2, 4)
        return self.norm(heads.flatten(3))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Along frequency within a frame, along time within a bin, then attention of whole frames to frames."""

    def __init__(self, config: TFGridNetConfig):
        super().__init__()
        c, h = config.channels, config.hidden
        width = c // config.heads
        self.context = config.context
        self.full_norm, self.sub_norm = nn.LayerNorm(c), nn.LayerNorm(c)
        self.full_band, self.full_out = nn.LSTM(c, h, bidirectional=True), nn.Linear(2 * h, c)
        self.sub_band, self.sub_out = nn.LSTM(c, h), nn.Linear(h, c)
        self.query, self.key = Heads(config, config.query), Heads(config, config.query)
        self.value = Heads(config, width)
        self.merge = nn.Sequential(nn.Linear(c, c), nn.PReLU())
        self.merge_norm = nn.LayerNorm(BINS * c)

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """``x`` [time, batch, bin, channel]; ``state`` as `STATES` names it."""
        time, batch = x.shape[:2]
        hidden, cell, key, value = state
        bins, _ = self.full_band(self.full_norm(x).flatten(0, 1).transpose(0, 1))
        x = x + self.full_out(bins).transpose(0, 1).unflatten(0, (time, batch))

        carried = (hidden.flatten(0, 1)[None], cell.flatten(0, 1)[None])
        frames, (hidden, cell) = self.sub_band(self.sub_norm(x).flatten(1, 2), carried)
        x = x + self.sub_out(frames).unflatten(1, (batch, BINS))

        key, value = torch.cat([key, self.key(x)], 2), torch.cat([value, self.value(x)], 2)
        seen = attend(self.query(x), key, value).unflatten(3, (BINS, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.merge_norm(self.merge(seen.flatten(3)).flatten(2)).view_as(x)
        return x, [hidden.view(batch, BINS, -1), cell.view(batch, BINS, -1), key[:, :, time:], value[:, :, time:]]


class TFGridNet(nn.Module):
    """Mixture and speaker conditioning in, that speaker's binaural signal out.

    The same interface as `training.network.Extractor`. ``conditioner`` takes an embedding ``[batch, 256]`` to the
    gains ``[batch, 97 * channels]``.
    """

    dft: Tensor
    idft: Tensor

    def __init__(self, config: TFGridNetConfig | None = None):
        super().__init__()
        self.config = config = config or TFGridNetConfig()
        c = config.channels
        forward, inverse = stft_matrices()
        self.register_buffer("dft", forward, persistent=False)
        self.register_buffer("idft", inverse, persistent=False)
        across = (0, KERNEL // 2)  # frames before are put in front by hand
        self.encoder = nn.Conv2d(2 * EARS, c, KERNEL, padding=across)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        # At stride 1 the published transposed convolution is a convolution with its kernel turned round.
        self.decoder = nn.Conv2d(c, 2 * EARS, KERNEL, padding=across)
        self.conditioner = nn.Sequential(nn.Linear(config.embedding, BINS * c), nn.LayerNorm(BINS * c))

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """Zeros: input tail, overlap of the last segment, past frames of both convolutions, power, blocks' states."""
        c = self.config
        past, recurrent = KERNEL - 1, (BINS, c.hidden)
        shapes: dict[str, tuple[int, ...]] = {
            "input": (EARS, LOOKAHEAD),
            "overlap": (EARS, LOOKAHEAD),
            "encoder": (2 * EARS, past, BINS),
            "decoder": (c.channels, past, BINS),
            "power": (1,),
        }
        for i in range(c.blocks):
            keys = (c.heads, c.context - 1, BINS * c.query)
            values = (c.heads, c.context - 1, BINS * c.channels // c.heads)
            shapes |= {f"{n}{i}": s for n, s in zip(STATES, (recurrent, recurrent, keys, values), strict=True)}
        return {name: self.dft.new_zeros(batch, *shape) for name, shape in shapes.items()}

    def estimate(
        self, frames: Tensor, conditioning: Tensor, state: dict[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Frames ``[time, batch, ear, 192]`` to segments of the same shape, and the states of all but the framing."""
        time, batch = frames.shape[:2]
        spectrum = (frames.reshape(-1, WINDOW) @ self.dft).view(time, batch, 2 * EARS, BINS)
        power = averaged(spectrum.square().mean((2, 3))[..., None], state["power"], MEMORY_FRAMES)
        level = (power + FLOOR).sqrt()[..., None]  # [time, batch, 1, 1]
        x = torch.cat([state["encoder"], (spectrum / level).permute(1, 2, 0, 3)], 2)
        new = {"encoder": x[:, :, time:], "power": power[-1]}
        x = self.encoder(x).permute(2, 0, 3, 1)
        for i, block in enumerate(self.blocks):
            if i == self.config.conditioned_block:
                x = x * conditioning.view(batch, BINS, -1)
            x, states = block(x, [state[f"{name}{i}"] for name in STATES])
            new |= {f"{name}{i}": s for name, s in zip(STATES, states, strict=True)}
        x = torch.cat([state["decoder"], x.permute(1, 3, 0, 2)], 2)
        new["decoder"] = x[:, :, time:]
        spectrum = self.decoder(x).permute(2, 0, 1, 3) * level
        return spectrum.reshape(time, batch, EARS, 2 * BINS) @ self.idft, new

    def forward(self, mixture: Tensor, conditioning: Tensor) -> Tensor:
        """Whole clip ``[batch, 2, samples]`` (a multiple of 128) -> ``[batch, 2, samples]``, aligned with it."""
        batch, _, samples = mixture.shape
        # One more frame, of zeros: it completes the last 64 samples.
        frames = F.pad(mixture, (LOOKAHEAD, CHUNK)).unfold(-1, WINDOW, CHUNK).permute(2, 0, 1, 3)
        segments, _ = self.estimate(frames, conditioning, self.initial_state(batch))
        segments = segments.permute(1, 2, 0, 3)  # [batch, ear, time, 192]
        overlap = F.pad(segments[:, :, :-1, CHUNK:], (0, 0, 1, 0))
        output = torch.cat([segments[..., :LOOKAHEAD] + overlap, segments[..., LOOKAHEAD:CHUNK]], -1).flatten(2)
        return output[..., LOOKAHEAD : LOOKAHEAD + samples]

    def step(self, chunk: Tensor, conditioning: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One chunk ``[batch, 2, 128]``, samples 128 n on; returns output samples 128 n - 64 on, and the new state."""
        frame = torch.cat([state["input"], chunk], -1)
        segments, new = self.estimate(frame[None], conditioning, state)
        segment = segments[0]
        output = torch.cat([segment[..., :LOOKAHEAD] + state["overlap"], segment[..., LOOKAHEAD:CHUNK]], -1)
        new |= {"input": frame[..., CHUNK:], "overlap": segment[..., CHUNK:]}
        return output, {name: new[name] for name in state}
