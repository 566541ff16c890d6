"""The extraction network: causal, 12 ms, both ears in and out, conditioned on a speaker embedding.

It separates, recognises and mixes. A trunk that knows no speaker separates the loudest sources into a few voices, which
their directions make easy; a small recurrent network listens to each voice and follows whose it is, in the space of the
speaker embedding; the output is the voices, each as far as it matches the enrolled one. The two parts have targets of
their own in training, so that each learns from every scene. An extractor conditioned on the speaker learns whom to
extract far more slowly: it stays for hours at the output that hedges, half of everybody.

A chunk of 128 samples completes an analysis frame of 512 samples (32 ms: frequency resolution is worth 3 dB on the
ideal mask), but only the newest 192 samples of a frame are synthesised, so the long window costs no latency (the
low-delay analysis-synthesis pair of Mauler and Martin, EUSIPCO 2007). The 256 bins are split into 44 bands (band-split
RNN, Luo and Yu 2023); blocks alternate between a gated linear recurrence along time, shared by the bands, and a
gated full-band linear mixing (after SpatialNet, Quan and Li 2024); the head gives
each bin of a voice gains, a gate on the bin's interaural cues, and the direction of a Capon beam. Bands are too wide
to tell sources apart bin by bin; and where there is no room, a beam is worth more than a mask.

All inner tensors are ``[time, batch, band, channel]``: time first, so that the scan walks contiguous memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.fused import FUSED, REFERENCE, Operators

CHUNK = 128
LOOKAHEAD = 64
SYNTHESIS = CHUNK + LOOKAHEAD
FEATURES = 8
CUES = 4  # of a bin, that its gate weighs
MEMORY_FRAMES = 5.0  # of the covariance between the ears: 40 ms
REST_FRAMES = 60.0  # of the covariance of what a voice is not: 480 ms
GAINS = 2  # of a bin: one for each ear
STEERING = 4  # real and imaginary part for each ear
HEAD = GAINS + STEERING + 1 + CUES + 1  # that the decoder gives for each bin of a voice
LOADING = 0.15  # of the covariance, beside the mean power of both ears
LOUDNESS = 0.15  # exponent on power: a compressed magnitude
FLOOR = 1e-10
PIECE = 16  # frames that are averaged at once
PARTS = ("separate", "recognise")  # names of the recurrent states, in the order of `Extractor.zeros`


@dataclass(frozen=True)
class ExtractorConfig:
    """Shape of the network. ``bands`` lists (number of bands, bins a band) from low to high frequencies."""

    channels: int = 48
    blocks: int = 4
    mixing_groups: int = 8
    window_samples: int = 512
    bands: tuple[tuple[int, int], ...] = ((16, 2), (12, 4), (10, 8), (6, 16))
    embedding: int = 256
    voices: int = 3  # that the trunk tells apart
    voice_channels: int = 88
    voice_layers: int = 2
    key: int = 64  # values in which a voice is compared with the enrolled one

    @property
    def band_count(self) -> int:
        return sum(count for count, _ in self.bands)


def window_pair(window_samples: int) -> tuple[Tensor, Tensor]:
    """Analysis window ``[window_samples]`` and synthesis window ``[192]`` whose overlapped product is one.

    The analysis window rises slowly as half a Hann window and falls over the last 64 samples as a square-root Hann
    window. The synthesis window undoes the rise within the newest 192 samples and overlaps by 64.
    """
    rise = torch.hann_window(2 * (window_samples - LOOKAHEAD), periodic=True, dtype=torch.float64).sqrt()
    analysis = torch.ones(window_samples, dtype=torch.float64)
    analysis[: window_samples - LOOKAHEAD] = rise[: window_samples - LOOKAHEAD]
    slope = torch.hann_window(2 * LOOKAHEAD, periodic=True, dtype=torch.float64)
    analysis[-LOOKAHEAD:] = slope[LOOKAHEAD:].sqrt()
    product = torch.ones(SYNTHESIS, dtype=torch.float64)
    product[:LOOKAHEAD], product[-LOOKAHEAD:] = slope[:LOOKAHEAD], slope[LOOKAHEAD:]
    synthesis = product / analysis[-SYNTHESIS:].clamp_min(1e-9)
    return analysis.float(), synthesis.float()


def dft_matrices(window_samples: int) -> tuple[Tensor, Tensor]:
    """Windowed DFT ``[window, 2 * bins]`` and its windowed inverse ``[2 * bins, 192]``, bins 1 to window / 2.

    Products with matrices, not an FFT: the graph then needs no operator outside the common set, and at this size they
    are a tenth of the work. The mean (bin 0) carries no speech and is dropped.
    """
    analysis, synthesis = window_pair(window_samples)
    n = torch.arange(window_samples, dtype=torch.float64)
    k = torch.arange(1, window_samples // 2 + 1, dtype=torch.float64)
    angle = 2 * math.pi * n[:, None] * k / window_samples
    forward = torch.cat([angle.cos(), -angle.sin()], 1) * analysis[:, None]
    weight = torch.full_like(k, 2.0 / window_samples)
    weight[-1] /= 2  # the Nyquist bin has no mirror
    newest = angle[-SYNTHESIS:].T
    inverse = torch.cat([newest.cos() * weight[:, None], -newest.sin() * weight[:, None]]) * synthesis
    return (forward / math.sqrt(window_samples)).float(), (inverse * math.sqrt(window_samples)).float()


class Linear(nn.Linear):
    """A linear map computed in the dtype of its input, with float32 weights behind it."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))


class BandLinear(nn.Module):
    """A linear map of its own for each band, evaluated group by group of equally wide bands."""

    def __init__(self, counts: list[int], inputs: list[int], outputs: list[int]):
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.randn(n, i, o) / math.sqrt(i)) for n, i, o in zip(counts, inputs, outputs, strict=True)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(n, 1, o)) for n, o in zip(counts, outputs, strict=True))

    def forward(self, groups: list[Tensor]) -> list[Tensor]:
        """Each group ``[rows, bands, inputs]`` to ``[rows, bands, outputs]``."""
        return [
            torch.baddbmm(bias.to(x.dtype), x.transpose(0, 1), weight.to(x.dtype)).transpose(0, 1)
            for x, weight, bias in zip(groups, self.weights, self.biases, strict=True)
        ]


class Recurrence(nn.Module):
    """Gated linear recurrence along time, each row on its own, added to what comes in."""

    def __init__(self, channels: int):
        super().__init__()
        self.inward = Linear(channels, 3 * channels)
        self.outward = Linear(channels, channels, bias=False)
        # Time constants from 2 to 250 frames (16 ms to 2 s), spread over the channels.
        constants = torch.logspace(math.log10(2), math.log10(250), channels)
        with torch.no_grad():
            self.inward.bias[channels : 2 * channels] = torch.logit(1 - 1 / constants)

    def forward(
        self, x: Tensor, scale: Tensor, shift: Tensor, state: Tensor, ops: Operators, half: bool = False
    ) -> tuple[Tensor, Tensor]:
        """``scale`` and ``shift`` [1, channel] follow the norm.

        ``x`` is [time, batch, row, channel], ``state`` [batch, row, channel].
        """
        update, state = ops.gated_scan(self.inward(ops.norm_film(x, scale, shift, half)), state)
        return x + self.outward(update), state


class Gains(nn.Module):
    """A learned scale and shift ``[1, channel]``, to follow a norm."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, channels))
        self.shift = nn.Parameter(torch.zeros(1, channels))

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.scale, self.shift


class Block(nn.Module):
    """Recurrence along time, shared by the bands, then mixing across the bands."""

    def __init__(self, config: ExtractorConfig):
        super().__init__()
        c, bands, groups = config.channels, config.band_count, config.mixing_groups
        self.gains = nn.ModuleList(Gains(c) for _ in range(2))
        self.time = Recurrence(c)
        self.band_in = Linear(c, 2 * c)
        self.mixing = nn.Parameter(torch.randn(groups, bands, bands) / math.sqrt(bands))
        self.band_out = Linear(c, c, bias=False)

    def forward(self, x: Tensor, state: Tensor, ops: Operators, half: bool) -> tuple[Tensor, Tensor]:
        """As `Recurrence.forward`, with bands as rows."""
        x, state = self.time(x, *self.gains[0](), state, ops, half)
        normed = ops.norm_film(x, *self.gains[1](), half)
        return x + self.band_out(ops.mix_bands(self.band_in(normed), self.mixing)), state


class VoiceLayer(nn.Module):
    """Recurrence along time, then a gated linear unit."""

    def __init__(self, channels: int):
        super().__init__()
        self.gains = nn.ModuleList(Gains(channels) for _ in range(2))
        self.time = Recurrence(channels)
        self.inward = Linear(channels, 2 * channels)
        self.outward = Linear(channels, channels, bias=False)

    def forward(self, x: Tensor, state: Tensor, ops: Operators) -> tuple[Tensor, Tensor]:
        x, state = self.time(x, *self.gains[0](), state, ops)
        value, gate = self.inward(ops.norm_film(x, *self.gains[1](), False)).chunk(2, -1)
        return x + self.outward(value * F.silu(gate)), state


class Voice(nn.Module):
    """Follows whose voice it hears: levels in the bands to a key, the same for every voice of a scene."""

    def __init__(self, config: ExtractorConfig):
        super().__init__()
        c = config.voice_channels
        self.inward = Linear(config.band_count, c)
        self.layers = nn.ModuleList(VoiceLayer(c) for _ in range(config.voice_layers))
        self.gains = Gains(c)
        self.outward = Linear(c, config.key)

    def forward(self, levels: Tensor, states: list[Tensor], ops: Operators) -> tuple[Tensor, list[Tensor]]:
        """Levels ``[time, batch, voice, band]`` to keys ``[time, batch, voice, key]`` of unit norm, new states."""
        x, new_states = self.inward(levels), []
        for layer, state in zip(self.layers, states, strict=True):
            x, state = layer(x, state, ops)
            new_states.append(state)
        return F.normalize(self.outward(ops.norm_film(x, *self.gains(), False)), dim=-1), new_states


class Standardising(nn.Module):
    """What of an embedding tells speakers apart.

    Embeddings of different people share most of their direction (their mean cosine is about 0.7), so that is small: it
    is brought to scale with the statistics of the training speakers.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def set_statistics(self, embeddings: Tensor) -> None:
        """Mean and deviation of the training speakers' embeddings ``[utterances, size]``."""
        self.mean.copy_(embeddings.mean(0))
        # Values that are nearly constant are not blown up.
        self.deviation.copy_(embeddings.std(0).clamp_min(0.25 * float(embeddings.std(0).mean())))

    def standardise(self, embedding: Tensor) -> Tensor:
        """The embedding ``[..., size]`` without what all speakers share."""
        return (embedding - self.mean) / self.deviation


class Conditioner(Standardising):
    """Speaker embedding ``[batch, 256]`` to the key ``[batch, key]`` of unit norm; evaluated once for a speaker."""

    def __init__(self, config: ExtractorConfig):
        super().__init__(config.embedding)
        self.key = nn.Linear(config.embedding, config.key)

    def forward(self, embedding: Tensor) -> Tensor:
        return F.normalize(self.key(self.standardise(embedding)), dim=-1)


class Separator(nn.Module):
    """Binaural mixture in, its voices out: as many as the configuration has, in no order that it knows of."""

    def __init__(self, config: ExtractorConfig):
        super().__init__()
        self.config = config
        c = config.channels
        counts = [n for n, _ in config.bands]
        widths = [w for _, w in config.bands]
        forward, inverse = dft_matrices(config.window_samples)
        self.register_buffer("dft", forward, persistent=False)
        self.register_buffer("idft", inverse, persistent=False)
        analysis, synthesis = window_pair(config.window_samples)
        self.register_buffer("analysis", analysis, persistent=False)
        self.register_buffer("synthesis", synthesis, persistent=False)
        band_of_bin = torch.arange(config.band_count).repeat_interleave(
            torch.tensor([w for n, w in config.bands for _ in range(n)])
        )
        pool = F.one_hot(band_of_bin, config.band_count).float()
        self.register_buffer("pool", pool / pool.sum(0), persistent=False)
        self.register_buffer("spread", pool.T.contiguous(), persistent=False)
        self.encoder = BandLinear(counts, [w * FEATURES for w in widths], [c] * len(widths))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.blocks))
        self.voices = nn.ModuleList(Linear(c, c) for _ in range(config.voices))
        self.gains = Gains(c)
        self.decoder = BandLinear(counts, [c] * len(widths), [w * HEAD for w in widths])
        with torch.no_grad():
            for weight, bias in zip(self.decoder.weights, self.decoder.biases, strict=True):
                weight.mul_(0.1)
                # Start as a quiet copy of each ear, with a beam straight ahead.
                start = [0.25, 0.25, 1.0, 0.0, 1.0, 0.0, 0.2, *[0.0] * CUES, 2.0]
                bias.view(bias.shape[0], -1, HEAD).copy_(torch.tensor(start))

    def spectrum(self, frames: Tensor) -> Tensor:
        """Frames ``[time, batch, ear, window]`` -> ``[time, batch, ear, re/im, bin]``."""
        # Flattened: a product with overlapping views would copy the matrix for every frame.
        flat = frames.reshape(-1, frames.shape[-1]) @ self.dft
        return flat.view(*frames.shape[:-1], 2, -1)

    def features(self, now: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is heard in a bin.

        Args:
            now: each frame's covariance between the ears, ``[time, batch, 4, bin]``: see `covariance_of`.
            covariance: the same before the first frame, averaged over the last 40 ms, ``[batch, 4, bin]``.

        Returns:
            Features ``[time, batch, bin, 8]``: compressed magnitudes of both ears, phase difference, and the cues.
            Cues ``[time, batch, 4, bin]``: where the bin's sound came from in the last 40 ms (the coherence between the
            ears and the difference of their levels), and the bin's level within its band.
            Covariance ``[time, batch, 4, bin]`` as averaged up to each frame.
        """
        smooth = averaged(now, covariance, MEMORY_FRAMES)
        magnitude = (now[:, :, :2] + FLOOR).pow(LOUDNESS)
        loudness = magnitude.sum(2, keepdim=True)
        peak = loudness / ((loudness @ self.pool) @ self.spread) - 1
        cues = torch.cat([interaural(smooth), peak], 2)
        ears = torch.cat([magnitude, interaural(now)[:, :, :2], cues], 2)
        return ears.transpose(2, 3), cues, smooth

    def split(self, x: Tensor) -> list[Tensor]:
        """``[rows, bin, n]`` -> one ``[rows, bands, width * n]`` a group."""
        groups, start = [], 0
        for count, width in self.config.bands:
            groups.append(x[:, start : start + count * width].reshape(x.shape[0], count, -1))
            start += count * width
        return groups

    def levels(self, spectrum: Tensor) -> Tensor:
        """Loudness of a source in each band: ``[..., ear, re/im, bin]`` -> ``[..., band]``."""
        return (spectrum.square().sum((-3, -2)) @ self.pool + FLOOR).pow(LOUDNESS)

    def separate(
        self, spectrum: Tensor, states: list[Tensor], ops: Operators, half: bool = False
    ) -> tuple[Tensor, Tensor, list[Tensor]]:
        """Take scenes ``[time, scenes, ear, re/im, bin]`` apart.

        A voice is what is left of the ears by gains, in which each bin counts as far as its cues fit, and of a beam to
        where the voice comes from, which keeps out what the gains have left of the last half second.

        Args:
            spectrum: of the scenes.
            states: of this part.
            ops: how to compute.
            half: compute the blocks in bfloat16.

        Returns:
            The voices ``[time, scenes, voice, ear, re/im, bin]``; where each comes from, as the real and imaginary
            parts of both ears' responses to it up to a common factor, ``[time, scenes, voice, 4, bin]``; new states.
        """
        (time, scenes), voices = map(int, spectrum.shape[:2]), self.config.voices
        now = covariance_of(spectrum)
        features, cues, smooth = self.features(now, states[0])
        features = features.flatten(0, 1)
        if half:
            features = features.bfloat16()
        x = torch.cat(self.encoder(self.split(features)), 1).unflatten(0, (time, scenes)).float()
        block_states = []
        for block, state in zip(self.blocks, states[2:], strict=True):
            x, state = block(x, state, ops, half)
            block_states.append(state)
        parts = torch.stack([voice(x) for voice in self.voices], 2).flatten(1, 2)
        head = self.decode(parts, ops, half).unflatten(1, (scenes, voices))
        gains, steering, beam, weights, bias = head.split([GAINS, STEERING, 1, CUES, 1], -2)
        gate = torch.sigmoid((weights * cues[:, :, None]).sum(-2, keepdim=True) + bias)
        masks = gains * gate
        # Without a gradient: what is kept out shall not decide what is kept.
        left_out = 1 - masks.detach().mean(-2, keepdim=True).clamp(0, 1)
        rest = averaged(left_out.square() * now[:, :, None], states[1], REST_FRAMES)
        heard = ops.fuse(capon)(spectrum, smooth, rest, steering)
        voice = masks[..., None, :] * spectrum[:, :, None] + beam[..., None, :] * heard
        return voice, steering, [smooth[-1], rest[-1], *block_states]

    def decode(self, x: Tensor, ops: Operators, half: bool) -> Tensor:
        """Features to what makes a voice, ``[time, batch, 12, bin]``."""
        lead = tuple(int(n) for n in x.shape[:2])
        rows = ops.norm_film(x, *self.gains(), half).flatten(0, 1)
        groups = self.decoder(list(rows.split([n for n, _ in self.config.bands], 1)))
        bins = torch.cat([g.reshape(len(rows), -1, HEAD) for g in groups], 1)
        return bins.float().transpose(1, 2).unflatten(0, lead)

    def silence(self, scenes: int) -> list[Tensor]:
        """States of `separate` before anything was heard."""
        c = self.config
        bins = sum(count * width for count, width in c.bands)
        return [
            self.dft.new_zeros(scenes, 4, bins),
            self.dft.new_zeros(scenes, c.voices, 4, bins),
            *(self.dft.new_zeros(scenes, c.band_count, c.channels) for _ in range(c.blocks)),
        ]

    def analyse(self, mixture: Tensor) -> Tensor:
        """Spectrum of a whole clip ``[batch, 2, samples]``, with one frame more than it has chunks."""
        window = self.config.window_samples
        frames = F.pad(mixture, (window - CHUNK, CHUNK)).unfold(-1, window, CHUNK)
        # An FFT here, where training spends its time; a chunk's single frame is multiplied by the matrix.
        bins = torch.fft.rfft(frames * self.analysis)[..., 1:] / math.sqrt(window)
        return torch.view_as_real(bins).permute(2, 0, 1, 4, 3).contiguous()

    def synthesise(self, spectrum: Tensor, samples: int) -> Tensor:
        """Spectra ``[time, ..., ear, re/im, bin]`` of a whole clip to ``[..., ear, samples]``, aligned with it."""
        window = self.config.window_samples
        bins = F.pad(torch.complex(spectrum[..., 0, :], spectrum[..., 1, :]), (1, 0))
        newest = torch.fft.irfft(bins, window)[..., -SYNTHESIS:] * (math.sqrt(window) * self.synthesis)
        segments = newest.movedim(0, -2)
        tails = F.pad(segments[..., CHUNK:], (0, 0, 1, 0))[..., :-1, :]
        out = torch.cat([segments[..., :LOOKAHEAD] + tails, segments[..., LOOKAHEAD:CHUNK]], -1).flatten(-2)
        return out[..., LOOKAHEAD : LOOKAHEAD + samples]

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """Zeros: input tail, overlap of the last segment, recurrent states."""
        return {
            "input": self.dft.new_zeros(batch, 2, self.config.window_samples - CHUNK),
            "overlap": self.dft.new_zeros(batch, 2, LOOKAHEAD),
        } | _named((self.silence(batch),))


class Extractor(Separator):
    """Mixture and speaker conditioning in, that speaker's binaural signal out."""

    def __init__(self, config: ExtractorConfig):
        super().__init__(config)
        self.voice = Voice(config)
        self.sharpness = nn.Parameter(torch.tensor(10.0))
        self.nobody = nn.Parameter(torch.tensor(2.0))
        self.conditioner = Conditioner(config)

    def recognise(
        self, voices: Tensor, key: Tensor, states: list[Tensor], ops: Operators
    ) -> tuple[Tensor, list[Tensor]]:
        """Which voice is whose: scores before a softmax, ``[time, batch, voice + 1]``; the last says none.

        Args:
            voices: from `separate`.
            key: of the speakers, one for each scene: ``[batch, key]``.
            states: of the voice's layers.
            ops: how to compute.
        """
        keys, states = self.voice(self.levels(voices), states, ops)
        return self.compare(keys, key), states

    def compare(self, keys: Tensor, key: Tensor) -> Tensor:
        """Keys of voices ``[..., voice, key]`` with a speaker's ``[..., key]``: see `recognise`."""
        likeness = (keys @ key[..., None])[..., 0]
        nobody = self.nobody.expand(*(int(n) for n in likeness.shape[:-1]), 1)
        return torch.cat([self.sharpness * likeness, nobody], -1)

    @staticmethod
    def mix(voices: Tensor, match: Tensor) -> Tensor:
        """Each voice as far as it matches: the speakers of `recognise`, ``[time, batch, ear, re/im, bin]``."""
        shape = voices.shape[3:]
        share = torch.softmax(match, -1)[..., None, :-1]
        return (share @ voices.flatten(3)).unflatten(-1, shape)[:, :, 0]

    def zeros(self, scenes: int) -> tuple[list[Tensor], list[Tensor]]:
        """States of `separate` and of `recognise`."""
        c = self.config
        voices = [self.dft.new_zeros(scenes, c.voices, c.voice_channels) for _ in range(c.voice_layers)]
        return self.silence(scenes), voices

    def through(
        self, spectrum: Tensor, key: Tensor, states: tuple[list[Tensor], ...], ops: Operators
    ) -> tuple[Tensor, tuple[list[Tensor], ...]]:
        """Separate, recognise and mix: spectra in and out, with the states of both parts."""
        voices, _, trunk = self.separate(spectrum, states[0], ops)
        match, voice = self.recognise(voices, key, states[1], ops)
        return self.mix(voices, match), (trunk, voice)

    def forward(self, mixture: Tensor, conditioning: Tensor) -> Tensor:
        """Whole clip ``[batch, 2, samples]`` (a multiple of 128) -> ``[batch, 2, samples]``, aligned with it."""
        target, _ = self.through(self.analyse(mixture), conditioning, self.zeros(len(mixture)), FUSED)
        return self.synthesise(target, mixture.shape[-1])

    def initial_state(self, batch: int) -> dict[str, Tensor]:
        """Zeros: those of the separation, and of the recognition."""
        return super().initial_state(batch) | _named(self.zeros(batch))

    def step(self, chunk: Tensor, conditioning: Tensor, state: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """One chunk ``[batch, 2, 128]``, samples 128 n on; returns output samples 128 n - 64 on, and the new state."""
        frame = torch.cat([state["input"], chunk], -1)
        recurrent = tuple([s for name, s in state.items() if name.startswith(part)] for part in PARTS)
        target, recurrent = self.through(self.spectrum(frame[None]), conditioning, recurrent, REFERENCE)
        segment = target[0].flatten(-2) @ self.idft
        output = torch.cat([segment[..., :LOOKAHEAD] + state["overlap"], segment[..., LOOKAHEAD:CHUNK]], -1)
        return output, {"input": frame[..., CHUNK:], "overlap": segment[..., CHUNK:]} | _named(recurrent)


def separated(network: Separator, mixture: Tensor, half: bool, ops: Operators = FUSED) -> tuple[Tensor, Tensor]:
    """The voices of scenes ``[scenes, 2, samples]``, ``[scenes, voice, 2, samples]``; and where they come from."""
    spectra, steering, _ = network.separate(network.analyse(mixture), network.silence(len(mixture)), ops, half)
    return network.synthesise(spectra, mixture.shape[-1]), steering


def _named(states: tuple[list[Tensor], ...]) -> dict[str, Tensor]:
    return {f"{part}{i}": s for part, group in zip(PARTS, states, strict=False) for i, s in enumerate(group)}


def covariance_of(spectrum: Tensor) -> Tensor:
    """Between the ears: ``[..., ear, re/im, bin]`` to left power, right power, re and im of the cross-spectrum."""
    re, im = spectrum.unbind(-2)
    power = re * re + im * im
    cross_re = re[..., 0, :] * re[..., 1, :] + im[..., 0, :] * im[..., 1, :]
    cross_im = im[..., 0, :] * re[..., 1, :] - re[..., 0, :] * im[..., 1, :]
    return torch.cat([power, cross_re[..., None, :], cross_im[..., None, :]], -2)


def averaged(values: Tensor, state: Tensor, frames: float) -> Tensor:
    """Recursive average along time over so many frames: ``[time, ...]``, going on from ``state`` [...]."""
    keep = math.exp(-1 / frames)
    time = int(values.shape[0])
    if time == 1:
        return (1 - keep) * values + keep * state
    # Piece by piece a product with a triangular matrix: a loop over time would be slow.
    steps = torch.arange(PIECE, device=values.device, dtype=values.dtype)
    lag = steps[:, None] - steps
    weights = torch.where(lag >= 0, (1 - keep) * keep ** lag.clamp_min(0), 0.0)
    fading = (keep ** (steps + 1))[:, None]
    pieces, last = [], state.flatten()
    for piece in values.flatten(1).split(PIECE):
        n = len(piece)
        pieces.append(torch.addmm(fading[:n] * last, weights[:n, :n], piece))
        last = pieces[-1][-1]
    return torch.cat(pieces).view_as(values)


def capon(spectrum: Tensor, covariance: Tensor, rest: Tensor, steering: Tensor) -> Tensor:
    """What may come from a direction: a binaural MVDR beam (Capon 1969), scaled down to the power found there.

    Args:
        spectrum: ``[time, scenes, ear, re/im, bin]``.
        covariance: between the ears, ``[time, scenes, 4, bin]``.
        rest: the same of what each voice is not, which its beam keeps out, ``[time, scenes, voice, 4, bin]``.
        steering: to the voices, ``[time, scenes, voice, 4, bin]``.

    Returns:
        ``[time, scenes, voice, ear, re/im, bin]``.
    """
    a_re, a_im, b_re, b_im = steering.unbind(3)
    (x_re, x_im), (y_re, y_im) = (ear.unbind(3) for ear in spectrum[:, :, None].unbind(3))
    # An inverse covariance times the steering, but for the determinant, which the beam does not need.
    left, right, cross_re, cross_im = loaded(rest)
    u_re = right * a_re - (cross_re * b_re - cross_im * b_im)
    u_im = right * a_im - (cross_re * b_im + cross_im * b_re)
    v_re = left * b_re - (cross_re * a_re + cross_im * a_im)
    v_im = left * b_im - (cross_re * a_im - cross_im * a_re)
    towards = (a_re * u_re + a_im * u_im + b_re * v_re + b_im * v_im).clamp_min(1e-20)
    beam_re = (u_re * x_re + u_im * x_im + v_re * y_re + v_im * y_im) / towards
    beam_im = (u_re * x_im - u_im * x_re + v_re * y_im - v_im * y_re) / towards
    # How strong what comes from there can be, beside all that each ear hears.
    left, right, cross_re, cross_im = loaded(covariance[:, :, None])
    left_own, right_own = a_re.square() + a_im.square(), b_re.square() + b_im.square()
    both_re, both_im = a_re * b_re + a_im * b_im, a_im * b_re - a_re * b_im
    towards = right * left_own + left * right_own - 2 * (cross_re * both_re + cross_im * both_im)
    power = (left * right - cross_re.square() - cross_im.square()) / towards.clamp_min(1e-20)
    left_heard, right_heard = (covariance[:, :, None, :2] + FLOOR).unbind(3)
    share_a = (power * left_own / left_heard).clamp_max(1.0)
    share_b = (power * right_own / right_heard).clamp_max(1.0)
    near = torch.stack([a_re * beam_re - a_im * beam_im, a_re * beam_im + a_im * beam_re], 3) * share_a[:, :, :, None]
    far = torch.stack([b_re * beam_re - b_im * beam_im, b_re * beam_im + b_im * beam_re], 3) * share_b[:, :, :, None]
    return torch.stack([near, far], 3)


def loaded(covariance: Tensor) -> tuple[Tensor, ...]:
    """Its four parts, for an inverse: ``[..., 4, bin]`` with `LOADING` on the powers.

    And with a floor on them, since the matrix must stay positive definite where next to nothing is heard.
    """
    left, right, cross_re, cross_im = covariance.unbind(-2)
    left, right = left + FLOOR, right + FLOOR
    level = LOADING / 2 * (left + right)
    return left + level, right + level, cross_re, cross_im


def interaural(covariance: Tensor) -> Tensor:
    """Covariances ``[..., 4, bin]`` to ``[..., 3, bin]``: complex coherence, and level difference, within -1..1."""
    left, right, cross = covariance[..., :1, :], covariance[..., 1:2, :], covariance[..., 2:, :]
    left, right = left + FLOOR, right + FLOOR
    return torch.cat([cross * (left * right).rsqrt(), (left - right) / (left + right)], -2)
