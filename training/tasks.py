"""What a training step is, for each kind of run."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from training.enroller import EPS, levelled
from training.fused import COMPILED, FUSED
from training.losses import distortion_db, distortion_of, negative_snr_db, separation_loss, si_sdr_db, steering_loss
from training.network import Extractor, separated
from training.optim import Muon
from training.tfgridnet import TFGridNet

RECOGNITION = ("voice.", "conditioner.", "sharpness", "nobody")  # what a run of the recognition trains
FRONT = "separator."  # of the enrollment network
DECISION_FRAMES = 32  # 256 ms: earlier nobody can tell whose voice it is


def schedule(step: int, warmup: int, steps: int, decay_share: float) -> float:
    """Factor on the learning rate: linear warm-up, constant, linear decay to zero over the last share of the steps."""
    remaining = (steps - step) / max(1.0, decay_share * steps)
    return max(0.0, min(1.0, (step + 1) / warmup, remaining))


def optimisers(network: nn.Module, learning_rate: float, muon: bool) -> list[torch.optim.Optimizer]:
    """Muon for matrices and stacks of matrices, AdamW for gains and biases; or AdamW for all."""
    matrices, others = [], []
    for p in (p for p in network.parameters() if p.requires_grad):
        (matrices if muon and p.ndim >= 2 and min(p.shape[-2:]) > 1 else others).append(p)
    adam = torch.optim.AdamW(others, learning_rate, weight_decay=0.0)
    return [Muon(matrices, learning_rate), adam] if muon else [adam]


class Task(lightning.LightningModule):
    """What the tasks share: optimisers, one schedule, clipping, a count of scenes for resuming."""

    def __init__(self, network: nn.Module, preset: Any):
        super().__init__()
        self.network, self.preset = network, preset
        self.automatic_optimization = False
        self.updates = 0

    def configure_optimizers(self) -> OptimizerLRScheduler:
        return optimisers(self, self.preset.learning_rate, self.preset.muon)  # type: ignore[return-value]

    def loss(self, batch: list[Tensor]) -> Tensor:
        raise NotImplementedError

    def training_step(self, batch: list[Tensor], index: int) -> Tensor:
        loss = self.loss(batch)
        self.manual_backward(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters(), 5.0)
        factor = schedule(self.updates, self.preset.warmup, self.preset.steps, self.preset.decay_share)
        chosen = self.optimizers()
        for optimiser in chosen if isinstance(chosen, list) else [chosen]:
            for group in optimiser.param_groups:
                group["lr"] = self.preset.learning_rate * factor
            # One bad scene must not spoil the weights.
            if torch.isfinite(norm):
                optimiser.step()
            optimiser.zero_grad()
        self.updates += 1
        self.log("train/loss", loss.detach(), prog_bar=True)
        self.log("train/gradient_norm", norm)
        return loss

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["updates"] = self.updates

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.updates = checkpoint["updates"]


class ExtractorTask(Task):
    """Separation for our network, whose recognition has a task of its own; extraction for the paper's."""

    def __init__(self, network: nn.Module, preset: Any):
        super().__init__(network, preset)
        if isinstance(network, Extractor):
            for name, parameter in network.named_parameters():
                parameter.requires_grad_(not name.startswith(RECOGNITION))

    def loss(self, batch: list[Tensor]) -> Tensor:
        mixture, target, embedding, talkers, _ = batch
        network = self.network
        if isinstance(network, TFGridNet):
            return negative_snr_db(network(mixture, network.conditioner(embedding)), target, mixture).mean()
        ops = COMPILED if self.preset.compiled else FUSED
        voices, steering = separated(network, mixture, self.preset.half, ops)
        separation, order = separation_loss(voices, talkers)
        sources = network.analyse(
            talkers.gather(1, order.argsort(1)[:, :, None, None].expand_as(talkers)).flatten(0, 1)
        )
        directions = ops.fuse(steering_loss)(steering, sources.unflatten(1, order.shape))
        self.log("train/separation", separation.detach())
        self.log("train/steering", directions.detach())
        return separation + self.preset.steering * directions

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        mixture, target, embedding, talkers, number = batch
        if isinstance(self.network, TFGridNet):
            estimate = self.network(mixture, self.network.conditioner(embedding))
        else:
            voices, _ = separated(self.network, mixture, self.preset.half)
            loss, order = separation_loss(voices, talkers)
            self.log("val/loss", loss, prog_bar=True, sync_dist=True)
            # The voice that is the target's: what a recognition without faults would choose.
            estimate = voices[torch.arange(len(voices), device=voices.device), order.gather(1, number[:, None])[:, 0]]
        improvement = (si_sdr_db(estimate, target) - si_sdr_db(mixture, target)).mean(1)
        self.log("val/si_sdri_db", improvement.mean(), prog_bar=True, sync_dist=True)
        self.log("val/below_0", (improvement < 0).float().mean(), sync_dist=True)


class VoiceTask(Task):
    """Recognition alone, on single voices: which of the batch's speakers is it, by embeddings of other utterances."""

    def scores(self, batch: list[Tensor]) -> Tensor:
        """``[decisions, voices, speakers]``, one decision each 128 ms from 256 ms on."""
        image, embedding = batch
        network = self.network
        with torch.no_grad():
            levels = network.levels(network.analyse(image))
        config = network.config
        states = [levels.new_zeros(1, len(image), config.voice_channels)] * config.voice_layers
        keys, _ = network.voice(levels[:, None], states, FUSED)
        return network.sharpness * keys[DECISION_FRAMES::16, 0] @ network.conditioner(embedding).T

    def loss(self, batch: list[Tensor]) -> Tensor:
        scores = self.scores(batch)
        own = torch.arange(scores.shape[1], device=scores.device)
        return F.cross_entropy(scores.flatten(0, 1), own.repeat(len(scores)))

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        right = (self.scores(batch).argmax(-1) == torch.arange(len(batch[0]), device=self.device)).float()
        self.log("val/recognised", right.mean(), prog_bar=True, sync_dist=True)
        self.log("val/recognised_at_last", right[-1].mean(), prog_bar=True, sync_dist=True)


class RecognitionTask(Task):
    """Recognition in scenes that the network has taken apart: which voice is an enrolled speaker's, or none.

    Every speaker of the batch is looked for in every scene of it: in most, there is nothing to find. Beside that
    classification counts what is heard, the voices mixed as they match: in doubt, a mix of two is better than the wrong
    one.
    """

    def __init__(self, network: nn.Module, preset: Any):
        super().__init__(network, preset)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(RECOGNITION))

    def scores(self, batch: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, what is right, and how far what is heard is from each speaker.

        Scores are ``[decisions, scenes, speakers, voice + 1]``, of all speakers of the batch; the right voices
        ``[scenes, speakers]``; the distortion in dB of the speakers in their own scenes, ``[scenes, each]``.
        """
        levels, voices, talkers, power, order, embedding = batch
        scenes, each = embedding.shape[:2]
        _, states = self.network.zeros(scenes)
        keys, _ = self.network.voice(levels.transpose(0, 1), states, FUSED)
        key = self.network.conditioner(embedding.flatten(0, 1))
        scores = self.network.compare(keys[DECISION_FRAMES::16, :, None], key)
        present = torch.eye(scenes, dtype=torch.bool, device=scores.device).repeat_interleave(each, 1)
        right = torch.where(present, order.flatten(), scores.shape[-1] - 1)
        # Of the mix of voices all products are known from those of its parts.
        own = self.network.compare(keys[:, :, None], key.unflatten(0, (scenes, each)))
        share = torch.softmax(own, -1)[..., :-1]
        heard = torch.einsum("tbsv,btevw,tbsw->bse", share, voices, share)
        product = torch.einsum("tbsv,btevs->bse", share, talkers)
        return scores, right, distortion_of(product, heard, power.sum(1).transpose(1, 2))

    def loss(self, batch: list[Tensor]) -> Tensor:
        scores, right, distortion = self.scores(batch)
        costs = F.cross_entropy(scores.flatten(0, 2), right.expand(len(scores), -1, -1).flatten(), reduction="none")
        costs = costs.unflatten(0, scores.shape[:-1]).mean(0)
        there = right < scores.shape[-1] - 1
        self.log("train/there", costs[there].mean().detach())
        self.log("train/not_there", costs[~there].mean().detach())
        self.log("train/heard_db", distortion.mean().detach())
        return costs[there].mean() + costs[~there].mean() + self.preset.heard * distortion.mean()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        scores, right, distortion = self.scores(batch)
        there = right < scores.shape[-1] - 1
        hits = (scores.argmax(-1) == right).float()
        voices = (scores[..., :-1].argmax(-1) == right).float()
        self.log("val/right_voice", voices[:, there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/right_voice_at_last", voices[-1, there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/there", hits[:, there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/not_there", hits[:, ~there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/heard_db", distortion.mean(), prog_bar=True, sync_dist=True)


class EnrollerTask(Task):
    """Enrollment: the front end towards the frontal talker alone, all of it towards the teacher's embedding.

    The plain cosine distance, and that of the standardised embeddings: what tells people apart counts twice. The front
    end learns its part first, without the encoder behind it (the preset's ``embed``).
    """

    def __init__(self, network: nn.Module, preset: Any):
        super().__init__(network, preset)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(preset.embed or name.startswith(FRONT))

    def loss(self, batch: list[Tensor]) -> Tensor:
        clip, image, teacher = batch
        network = self.network
        voice, steering = network.frontal(clip, self.preset.half)
        frontal = 0.1 * distortion_db(voice[:, None], image[:, None]).mean() + self.distance(voice, image)
        frontal = frontal + 0.01 * steering_loss(steering, network.separator.analyse(image)[:, :, None])
        if not self.preset.embed:
            return frontal
        embedding = network.embed(voice, clip, self.preset.half)
        centred = F.cosine_similarity(network.standardise(embedding), network.standardise(teacher))
        return (1 - F.cosine_similarity(embedding, teacher)).mean() + (1 - centred).mean() + 0.5 * frontal

    def distance(self, voice: Tensor, image: Tensor) -> Tensor:
        """How far the mel power of ``[clips, 2, samples]`` is from that of the frontal talker alone, both levelled.

        Relative, and of compressed power: once as loudness, once nearer to power, which the encoder takes.
        """
        found, wanted = (levelled(self.network.mels(sound)) + EPS for sound in (voice, image))
        loudness, power = (F.l1_loss(found.pow(p), wanted.pow(p)) / wanted.pow(p).mean() for p in (0.3, 0.6))
        return loudness + 0.5 * power

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        clip, image, teacher = batch
        voice, _ = self.network.frontal(clip)
        improvement = (si_sdr_db(voice, image) - si_sdr_db(clip, image)).mean()
        self.log("val/si_sdri_db", improvement, prog_bar=True, sync_dist=True)
        self.log("val/frontal", self.distance(voice, image), prog_bar=True, sync_dist=True)
        embedding = self.network.embed(voice, clip)
        found, right = self.network.standardise(embedding), self.network.standardise(teacher)
        likeness = F.normalize(found, dim=-1) @ F.normalize(right, dim=-1).T
        self.log("val/cosine", F.cosine_similarity(embedding, teacher).mean(), prog_bar=True, sync_dist=True)
        self.log("val/centred_cosine", likeness.diag().mean(), prog_bar=True, sync_dist=True)
        # Of two people, the share of clips that are more like the one who speaks.
        told = (likeness.diag()[:, None] > likeness).sum() / max(1, likeness.numel() - len(likeness))
        self.log("val/told_apart", told, prog_bar=True, sync_dist=True)


def speaker_statistics(embeddings: dict[str, Any]) -> Tensor:
    """All of a split's utterance embeddings, unit norm, ``[utterances, 256]``."""
    stacked = np.stack(list(embeddings.values()))
    return torch.from_numpy(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))
