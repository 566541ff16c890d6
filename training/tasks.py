"""What a training step is, for the extraction and the enrollment network."""

from __future__ import annotations

from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from training.fused import FUSED
from training.losses import negative_snr_db, separation_loss, si_sdr_db
from training.optim import Muon
from training.tfgridnet import TFGridNet

RECOGNITION = ("voice.", "conditioner.key.", "sharpness", "nobody")  # what a run of the recognition trains
TOLD = 20.0  # score of a voice that is pointed out by the truth
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
    """Shared by both tasks: two optimisers, one schedule, clipping, a count of scenes for resuming."""

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
    """Extraction: -SNR of both ears; and for our network, -SNR of the separated voices, which are learned much sooner.

    In the first ``separation_updates`` nothing but the separation is computed. Recognition stays as it is: gradients
    from the few speakers of a batch would only blur it (see `RecognitionTask`). In a share ``told`` of the examples the
    target's voice is pointed out by the truth.
    """

    def __init__(self, network: nn.Module, preset: Any):
        super().__init__(network, preset)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not name.startswith(RECOGNITION))

    def loss(self, batch: list[Tensor]) -> Tensor:
        mixture, target, embedding, *rest = batch
        network, half, samples = self.network, self.preset.half, mixture.shape[-1]
        if isinstance(network, TFGridNet):
            return negative_snr_db(network(mixture, network.conditioner(embedding)), target, mixture).mean()
        talkers, number = rest
        # The examples of one scene are neighbours: what does not depend on the speaker is computed once for them.
        each = self.preset.targets
        scenes, talkers = mixture[::each], talkers[::each]
        spectrum = network.analyse(scenes)
        states = network.zeros(len(scenes), len(mixture))
        separated, _ = network.separate(spectrum, states[0], FUSED, half)
        voices = network.synthesise(separated.spectra, samples)
        separation, order = separation_loss(voices, talkers, scenes)
        self.log("train/separation", separation.detach())
        if self.updates < self.preset.separation_updates:
            return separation

        key, film = network.conditioner.parts(network.conditioner(embedding))
        with torch.no_grad():
            match, _ = network.recognise(separated, key, states[1], FUSED)
            truth = TOLD * F.one_hot(voice_of_target(order, number, each), match.shape[-1])
            match = torch.where(torch.rand(len(truth), 1, device=truth.device) < self.preset.told, truth, match)
        estimate, _ = network.select(spectrum, separated, match, film, states[2], FUSED, half)
        extraction = negative_snr_db(network.synthesise(estimate, samples), target, mixture).mean()
        self.log("train/extraction", extraction.detach())
        return extraction + self.preset.separation_weight * separation

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        mixture, target, embedding, *_ = batch
        estimate = self.network(mixture, self.network.conditioner(embedding))
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
        return network.sharpness * keys[DECISION_FRAMES::16, 0] @ network.conditioner(embedding)[:, : config.key].T

    def loss(self, batch: list[Tensor]) -> Tensor:
        scores = self.scores(batch)
        own = torch.arange(scores.shape[1], device=scores.device)
        return F.cross_entropy(scores.flatten(0, 1), own.repeat(len(scores)))

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        right = (self.scores(batch).argmax(-1) == torch.arange(len(batch[0]), device=self.device)).float()
        self.log("val/recognised", right.mean(), prog_bar=True, sync_dist=True)
        self.log("val/recognised_at_last", right[-1].mean(), prog_bar=True, sync_dist=True)


class RecognitionTask(Task):
    """Recognition in scenes that the network takes apart: which voice is an enrolled speaker's, or none.

    Every speaker of the batch is looked for in every scene of it: in most, there is nothing to find.
    """

    def __init__(self, network: nn.Module, preset: Any):
        super().__init__(network, preset)
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name.startswith(RECOGNITION))

    def scores(self, batch: list[Tensor], each: int) -> tuple[Tensor, Tensor]:
        """Scores ``[decisions, scenes, speakers, voice + 1]`` and what is right, ``[scenes, speakers]``."""
        mixture, _, embedding, talkers, number = batch
        network, scenes = self.network, mixture[::each]
        with torch.no_grad():
            states = network.zeros(len(scenes), len(scenes))
            separated, _ = network.separate(network.analyse(scenes), states[0], FUSED, self.preset.half)
            voices = network.synthesise(separated.spectra, mixture.shape[-1])
            _, order = separation_loss(voices, talkers[::each], scenes)
            levels = network.levels(separated.spectra)
        keys, _ = network.voice(levels, states[1], FUSED)
        key, _ = network.conditioner.parts(network.conditioner(embedding))
        scores = network.compare(keys[DECISION_FRAMES::16, :, None], key)
        present = torch.eye(len(scenes), dtype=torch.bool, device=scores.device).repeat_interleave(each, 1)
        voice = voice_of_target(order, number, each).expand(len(scenes), -1)
        return scores, torch.where(present, voice, order.shape[1])

    def loss(self, batch: list[Tensor]) -> Tensor:
        scores, right = self.scores(batch, self.preset.targets)
        costs = F.cross_entropy(scores.flatten(0, 2), right.expand(len(scores), -1, -1).flatten(), reduction="none")
        costs = costs.unflatten(0, scores.shape[:-1]).mean(0)
        there = right < scores.shape[-1] - 1
        self.log("train/there", costs[there].mean().detach())
        self.log("train/not_there", costs[~there].mean().detach())
        return costs[there].mean() + costs[~there].mean()

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        scores, right = self.scores(batch, 1)
        there = right < scores.shape[-1] - 1
        hits = (scores.argmax(-1) == right).float()
        voices = (scores[..., :-1].argmax(-1) == right).float()
        self.log("val/right_voice", voices[:, there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/right_voice_at_last", voices[-1, there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/there", hits[:, there].mean(), prog_bar=True, sync_dist=True)
        self.log("val/not_there", hits[:, ~there].mean(), prog_bar=True, sync_dist=True)


class EnrollerTask(Task):
    """Enrollment: the standardised and the plain cosine to the teacher, with the frontal talker's mel as a helper."""

    def loss(self, batch: list[Tensor]) -> Tensor:
        clip, frontal, teacher = batch
        embedding, mels = self.network.analyse(clip)
        wanted = self.network.mel_power(frontal.mean(1)).pow(0.3)
        helper = F.l1_loss(mels.pow(0.3), wanted) / wanted.mean()
        centred = F.cosine_similarity(self.network.standardise(embedding), self.network.standardise(teacher))
        return (1 - F.cosine_similarity(embedding, teacher)).mean() + 0.5 * (1 - centred).mean() + 0.3 * helper

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        clip, _, teacher = batch
        embedding, _ = self.network.analyse(clip)
        centred = F.cosine_similarity(self.network.standardise(embedding), self.network.standardise(teacher))
        self.log("val/cosine", F.cosine_similarity(embedding, teacher).mean(), prog_bar=True, sync_dist=True)
        self.log("val/centred_cosine", centred.mean(), prog_bar=True, sync_dist=True)


def voice_of_target(order: Tensor, number: Tensor, each: int) -> Tensor:
    """Which separated voice is the target's: the one that the permutation ``order`` [scenes, n] gave to its source.

    ``number`` [scenes * each] is the target's among the sources; n, for nobody, stays n.
    """
    nobody = order.new_full((len(order), 1), order.shape[1])
    return torch.cat([order, nobody], 1).repeat_interleave(each, 0).gather(1, number[:, None])[:, 0]


def speaker_statistics(embeddings: dict[str, Any]) -> Tensor:
    """All of a split's utterance embeddings, unit norm, ``[utterances, 256]``."""
    stacked = np.stack(list(embeddings.values()))
    return torch.from_numpy(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))
