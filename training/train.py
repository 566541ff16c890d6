"""Set up a run: data, task, logs, checkpoints."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import lightning
import torch
from lightning.pytorch.callbacks import TQDMProgressBar, WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from hearable.errors import ModelError
from hearable.files import replacing
from hearable.synthesis.recipes import TseRecipe
from training.corpus import CachedSounds, load_material
from training.data import Curriculum, Endless, EnrollmentScenes, ExtractionScenes, Source, Voices, collate
from training.enroller import Enroller
from training.enrollments import Enrollments
from training.network import Extractor, ExtractorConfig, Separator
from training.presets import EnrollerPreset, ExtractorPreset, RecognitionPreset, VoicePreset
from training.separations import SeparatedScenes
from training.tasks import (
    RECOGNITION,
    EnrollerTask,
    ExtractorTask,
    RecognitionTask,
    Task,
    VoiceTask,
    speaker_statistics,
)
from training.tfgridnet import TFGridNet, TFGridNetConfig

Preset: TypeAlias = ExtractorPreset | VoicePreset | RecognitionPreset | EnrollerPreset


class _Fixed(Dataset[Any]):
    """A fixed list of examples."""

    def __init__(self, examples: list[Any]):
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Any:
        return self.examples[index]


KEEP_S = 600.0
ASKED_EVERY = 20  # updates, whether so much time has gone by


class Keep(lightning.Callback):
    """All that resuming needs, at each validation and every ten minutes; at validations also the averaged weights.

    These are one small file. Lightning's own checkpoints by time do not serve manual optimisation. This callback
    stands before the weight averaging in the trainer's list: at the end of a validation epoch the averaged weights are
    still in place.
    """

    def __init__(self, folder: Path):
        self.folder, self.kept = folder, time.monotonic()

    def on_train_batch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        # Not at a batch's end, before its weights are averaged. All processes take part, so one of them decides.
        if module.updates % ASKED_EVERY == 0 and trainer.strategy.broadcast(time.monotonic() - self.kept > KEEP_S):
            self.on_validation_end(trainer, module)

    def on_validation_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        if trainer.is_global_zero:
            save_weights(module.network, self.folder / "weights.safetensors")  # type: ignore[arg-type]

    def on_validation_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        trainer.save_checkpoint(self.folder / "last.ckpt")
        self.kept = time.monotonic()


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Exponential moving average whose horizon grows with the run, so that it forgets the first random weights."""

    def average(averaged: Tensor, current: Tensor, updates: Tensor) -> Tensor:
        share = min(decay, (1 + int(updates)) / (10 + int(updates)))
        return share * averaged + (1 - share) * current

    return average


def save_weights(network: nn.Module, path: Path) -> None:
    """Weights and persistent buffers as safetensors."""
    with replacing(path, ModelError) as temporary:
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, temporary)


def read_weights(path: Path, expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights of a file, among them those that are expected.

    Raises:
        ModelError: the file holds no weights, or one that is expected is missing or of another shape.
    """
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as problem:
        raise ModelError(f"{path}: expected weights (safetensors): {problem}") from problem
    for name, value in expected.items():
        shape = list(found[name].shape) if name in found else "none"
        if shape != list(value.shape):
            raise ModelError(f"{path}: expected {name} {list(value.shape)}, found {shape}: another network's weights")
    return found


def load_weights(network: nn.Module, path: Path, only: tuple[str, ...] = ("",)) -> None:
    """Inverse of `save_weights`; ``only`` those whose names begin so.

    Raises:
        ModelError: the file holds none, or another network's.
    """
    state = network.state_dict()
    wanted = {name: value for name, value in state.items() if name.startswith(only)}
    found = {name: value for name, value in read_weights(path, wanted).items() if name.startswith(only)}
    if more := sorted(found.keys() - wanted.keys()):
        raise ModelError(f"{path}: expected {len(wanted)} weights, found {more[0]} too: another network's weights")
    network.load_state_dict(state | found)


def load_separation(separator: Separator, path: Path) -> None:
    """Start a separator, perhaps of fewer voices, from the weights of an extraction network.

    Raises:
        ModelError: the file holds none, or another network's.
    """
    expected = separator.state_dict()
    found = read_weights(path, expected)
    separator.load_state_dict({name: found[name] for name in expected})


class Scenes(lightning.LightningDataModule):
    """Training and validation examples of a preset; each process makes its own."""

    def __init__(self, preset: Any, data: Path, cache: Path):
        super().__init__()
        self.preset, self.data, self.cache = preset, data, cache

    def source(self, split: str) -> Source:
        """Where the examples of a split come from."""
        preset, train = self.preset, split == "train"
        sounds, material = load_material(self.data, self.cache, split, preset.speeds if train else None)
        if isinstance(preset, EnrollerPreset):
            return EnrollmentScenes(sounds, material, preset.recipe)
        if isinstance(preset, VoicePreset):
            return Voices(sounds, material, preset.recipe)
        if isinstance(preset, RecognitionPreset):
            predicted, timbre_db = (preset.predicted, preset.timbre_db) if train else (1.0, 0.0)
            return SeparatedScenes(sounds, self.cache, split, predicted, timbre_db)
        # Validated by the test protocol.
        recipe = preset.recipe if train else TseRecipe(preset.validation_samples, enrollment_samples=16000)
        return ExtractionScenes(
            sounds,
            material,
            Curriculum(recipe, preset.ramp if train else 0),
            targets=preset.targets if train else 1,
            absent=preset.absent if train else 0.0,
            enrollments=Enrollments(self.cache, split) if preset.predicted else None,
            predicted=preset.predicted if train else 1.0,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        task = trainer.lightning_module
        per_scene = getattr(self.preset, "targets", 1)
        first = task.updates * self.preset.batch  # type: ignore[operator]
        scenes = Endless(self.source("train"), first, trainer.global_rank, trainer.world_size)
        return DataLoader(scenes, batch_size=self.preset.batch * per_scene, collate_fn=collate)

    def val_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        assert trainer is not None
        scenes = Endless(self.source("val"), 0, trainer.global_rank, trainer.world_size)
        examples = list(islice(iter(scenes), self.preset.validation_scenes // trainer.world_size))
        return DataLoader(_Fixed(examples), batch_size=8, collate_fn=collate)


def make_network(config: ExtractorConfig | TFGridNetConfig) -> Extractor | TFGridNet:
    """The extraction network that a configuration describes."""
    return Extractor(config) if isinstance(config, ExtractorConfig) else TFGridNet(config)


def build(preset: Preset, cache: Path) -> Task:
    """Network and task of a preset, with the training speakers' statistics set."""
    torch.manual_seed(0)
    statistics = speaker_statistics(CachedSounds(cache, "train", (1.0,)).embeddings)
    if isinstance(preset, EnrollerPreset):
        enroller = Enroller()
        enroller.set_statistics(statistics)
        return EnrollerTask(enroller, preset)
    extractor = make_network(preset.network)
    if isinstance(extractor, Extractor):
        extractor.conditioner.set_statistics(statistics)
    if isinstance(preset, VoicePreset):
        return VoiceTask(extractor, preset)
    return (RecognitionTask if isinstance(preset, RecognitionPreset) else ExtractorTask)(extractor, preset)


def run(
    preset: Preset,
    name: str,
    data: Path,
    cache: Path,
    runs: Path,
    processes: int,
    start: Path | None = None,
    voice: Path | None = None,
    separation: Path | None = None,
    validate_every: int = 500,
    nodes: int = 1,
    accelerator: str = "cpu",
) -> None:
    """Train, or go on where the run of this name stopped.

    Args:
        preset: what to train.
        name: of the run; its folder is ``runs / name``.
        data: the data folder (heads and rooms).
        cache: what `training.corpus` prepared from it.
        runs: folder of all runs.
        processes: on each node, that average their gradients: one thread or one GPU each.
        start: weights to start a new run from.
        voice: weights whose recognition a new extractor starts from.
        separation: weights of an extractor, whose separation a new enrollment network's front end starts from.
        validate_every: updates between validations.
        nodes: machines; Lightning finds the others by the environment (MASTER_ADDR, NODE_RANK, or the cluster's).
        accelerator: ``cpu`` or ``gpu``.
    """
    task = build(preset, cache)
    if start is not None:
        load_weights(task.network, start)
    if voice is not None:
        load_weights(task.network, voice, RECOGNITION)
    if separation is not None:
        load_separation(task.network.separator, separation)
    fit(task, Scenes(preset, data, cache), preset, runs / name, processes, validate_every, nodes, accelerator)


def fit(
    task: Task,
    scenes: lightning.LightningDataModule,
    preset: Any,
    folder: Path,
    processes: int = 1,
    validate_every: int = 500,
    nodes: int = 1,
    accelerator: str = "cpu",
) -> None:
    """Train in a run's folder, or go on where it stopped; its averaged weights are in ``weights.safetensors`` then.

    Args:
        task: network and training step.
        scenes: training and validation examples.
        preset: with the settings of `training.presets.Optimisation`; written to ``preset.json``.
        folder: of the run.
        processes: on each node, as for `run`.
        validate_every: updates between validations.
        nodes: machines.
        accelerator: ``cpu`` or ``gpu``.
    """
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / "preset.json", ModelError) as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(preset), indent=1))
    trainer = lightning.Trainer(
        accelerator=accelerator,
        devices=processes,
        num_nodes=nodes,
        # While only the separation is trained, the rest of the network has no gradient.
        strategy="ddp_find_unused_parameters_true" if processes * nodes > 1 else "auto",
        # Lightning counts the steps of every optimiser.
        enable_checkpointing=False,
        max_steps=preset.steps * (2 if preset.muon else 1),
        val_check_interval=validate_every,
        limit_val_batches=1.0,
        num_sanity_val_steps=0,
        logger=[CSVLogger(folder, "csv"), TensorBoardLogger(folder, "tensorboard")],
        callbacks=[
            Keep(folder),
            WeightAveraging(avg_fn=moving_average(preset.ema)),
            TQDMProgressBar(refresh_rate=20),
        ],
        log_every_n_steps=20,
        use_distributed_sampler=False,
    )
    last = folder / "last.ckpt"
    trainer.fit(task, datamodule=scenes, ckpt_path=str(last) if last.exists() else None)
    trainer.save_checkpoint(last)
    if trainer.is_global_zero:
        save_weights(task.network, folder / "weights.safetensors")
