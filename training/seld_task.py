"""What a training step of the SELD baseline is, and how its predictions are scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from hearable.seld.accdoa import TRACKS, decode_accdoa, decode_multi_accdoa
from hearable.seld.events import Events
from hearable.seld.metrics import Mode
from hearable.seld.scores import Evaluation, evaluate
from training.presets import SeldPreset
from training.seld_data import Clip, Example, StoredClips
from training.seld_losses import accdoa_loss, adpit_loss
from training.seld_network import SeldNet
from training.tasks import Task

MODE: Mode = "official2021"

Examples = Callable[[int], IterableDataset[Example]]
"""Endless training examples from a number on: to take up a run."""


class SeldTask(Task):
    """The mean square error of ACCDOA vectors; validation by the DCASE scores of whole clips."""

    def __init__(self, network: SeldNet, preset: SeldPreset, clips: StoredClips):
        super().__init__(network, preset)
        self.clips = clips  # of validation: Lightning would take events in a batch apart
        self.scored: list[tuple[Events, Events]] = []

    def error(self, features: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Output and loss."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.preset.half):
            output = self.network(features).float()
        return output, (accdoa_loss if self.network.tracks == 1 else adpit_loss)(output, target)

    def loss(self, batch: list[Tensor]) -> Tensor:
        return self.error(*batch)[1]

    def validation_step(self, batch: list[Tensor], index: int) -> None:
        output, loss = self.error(*batch)
        self.scored.append((self.clips[index][2], decode(output)))
        self.log("val/loss", loss, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        scores = evaluate(self.scored, MODE).scores
        self.scored = []
        for name in ("er", "f", "le", "lr", "seld"):
            self.log(f"val/{name}", getattr(scores, name), prog_bar=name in ("f", "le"))


def decode(output: Tensor) -> Events:
    """Events of a clip from its examples' output ``[n, frames, tracks * 3, classes]``."""
    vectors = output.detach().flatten(0, 1).numpy()
    if vectors.shape[1] == 3:
        return decode_accdoa(vectors)
    return decode_multi_accdoa(vectors.reshape(len(vectors), TRACKS, 3, -1))


def predict(network: SeldNet, clips: Iterable[Clip]) -> list[tuple[Events, Events]]:
    """Reference and prediction of each clip."""
    network.eval()
    with torch.no_grad():
        return [(events, decode(network(torch.from_numpy(parts)))) for parts, _, events in clips]


def score(network: SeldNet, clips: Iterable[Clip], mode: Mode = MODE) -> Evaluation:
    """DCASE scores of a network."""
    return evaluate(predict(network, clips), mode)


class SeldData(lightning.LightningDataModule):
    """Training examples, endless, and whole clips for validation."""

    def __init__(self, preset: SeldPreset, train: Examples, val: StoredClips):
        super().__init__()
        self.preset, self.train, self.val = preset, train, val

    def train_dataloader(self) -> DataLoader[Example]:
        trainer = self.trainer
        assert trainer is not None
        seen = trainer.lightning_module.updates * self.preset.batch  # type: ignore[operator]
        return DataLoader(self.train(seen), batch_size=self.preset.batch)

    def val_dataloader(self) -> DataLoader[Clip]:
        return DataLoader(self.val, batch_size=None, collate_fn=lambda clip: [torch.from_numpy(v) for v in clip[:2]])
