"""``python -m training``: prepare the corpus, train the networks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from safetensors.torch import save_file

from hearable.cli.console import reporting
from hearable.errors import ModelError
from hearable.files import replacing
from hearable.seld.accdoa import TRACKS
from hearable.synthesis.recipes import TseRecipe
from hearable.synthesis.seld_recipe import read_recipe
from training.corpus import prepare
from training.enroller import Enroller
from training.enrollments import predict
from training.network import Extractor
from training.presets import (
    ENROLLERS,
    EXTRACTORS,
    RECOGNITIONS,
    VOICES,
    EnrollerPreset,
    Optimisation,
    SeldPreset,
)
from training.seld import experiment, train_on_files, train_on_scenes
from training.seld_cells import CELLS, Clips
from training.seld_data import Shape
from training.seld_report import collect, plot, table
from training.separations import separate_scenes
from training.train import load_weights, read_weights, run

Preset = TypeVar("Preset", bound=Optimisation)

app = typer.Typer(help="Prepare the corpus and train the networks.", no_args_is_help=True)

Workers = Annotated[int, typer.Option(min=1, help="Processes.")]
PresetName = Annotated[str, typer.Option(help="What to train; training/presets.py lists them.")]
Data = Annotated[Path, typer.Option(help="Data folder: speech/, noise/, hrtf/, brir/ with their manifests.")]
Cache = Annotated[Path, typer.Option(help="Where the decoded corpus lies.")]
Runs = Annotated[Path, typer.Option(help="Folder of all runs.")]
Name = Annotated[str | None, typer.Option(help="Name of the run; the same name resumes it. Default: the preset's.")]
Processes = Annotated[
    int, typer.Option("--processes", "--devices", help="On each node, that average gradients: threads, or GPUs.")
]
Nodes = Annotated[int, typer.Option(help="Machines that train together.")]
Accelerator = Annotated[str, typer.Option(help="cpu or gpu.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the preset, as steps=5000 or learning_rate=1e-3.")
]
Voice = Annotated[Path | None, typer.Option(help="Weights whose recognition a new run starts from.")]
Separation = Annotated[
    Path | None, typer.Option(help="Weights of an extractor that separates, for the front end of a new enrollment run.")
]
Start = Annotated[Path | None, typer.Option(help="Weights (safetensors) to start a new run from.")]


READ: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": {"true": True, "false": False}.__getitem__}


def changed(preset: Preset, settings: list[str] | None) -> Preset:
    """The preset with some numbers changed."""
    known = {f.name: str(f.type) for f in dataclasses.fields(preset) if f.type in READ}
    values = {}
    for setting in settings or []:
        name, _, text = setting.partition("=")
        if name not in known:
            raise typer.BadParameter(f"{name}: expected one of {', '.join(known)}")
        try:
            values[name] = READ[known[name]](text)
        except (ValueError, KeyError) as problem:
            kind = {"int": "a whole number", "float": "a number", "bool": "true or false"}[known[name]]
            raise typer.BadParameter(f"{name}: expected {kind}, found {text!r}") from problem
    return dataclasses.replace(preset, **values)


def chosen(presets: Mapping[str, Preset], name: str) -> Preset:
    """The preset of a name."""
    if name not in presets:
        raise typer.BadParameter(f"preset {name}: expected one of {', '.join(presets)}")
    return presets[name]


@app.command("prepare")
@reporting
def prepare_command(data: Data = Path("data"), cache: Cache = Path("runs/cache"), workers: Workers = 1) -> None:
    """Decode speech and noise once, with the teacher's embeddings. Goes on where it stopped."""
    prepare(data, cache, workers)


def train_command(kind: str, presets: Mapping[str, Any], purpose: str) -> None:
    """Add the command that trains one kind of network; its first preset is the default."""
    default = next(iter(presets))

    @app.command(kind, help=purpose)
    @reporting
    def command(
        preset: PresetName = default,
        data: Data = Path("data"),
        cache: Cache = Path("runs/cache"),
        runs: Runs = Path("runs"),
        name: Name = None,
        processes: Processes = 1,
        nodes: Nodes = 1,
        accelerator: Accelerator = "cpu",
        settings: Settings = None,
        start: Start = None,
        voice: Voice = None,
        separation: Separation = None,
    ) -> None:
        if kind == "recognition" and start is None:
            raise typer.BadParameter("expected --start, weights of a network that separates")
        if kind != "extractor" and voice is not None:
            raise typer.BadParameter("--voice: of the extraction network only; others begin with --start")
        if kind != "enroller" and separation is not None:
            raise typer.BadParameter("--separation: of the enrollment network only; others begin with --start")
        run(
            changed(chosen(presets, preset), settings),
            name or preset,
            data,
            cache,
            runs,
            processes,
            start,
            voice,
            separation,
            nodes=nodes,
            accelerator=accelerator,
        )


train_command("extractor", EXTRACTORS, "Train an extraction network.")
train_command("voice", VOICES, "Train recognition on single voices, to start `extractor` from.")
train_command("recognition", RECOGNITIONS, "Train the recognition of a network, in scenes that it takes apart.")
train_command("enroller", ENROLLERS, "Train the enrollment network.")


@app.command()
@reporting
def enrollments(
    weights: Annotated[Path, typer.Argument(help="Weights of the enrollment network.")],
    data: Data = Path("data"),
    cache: Cache = Path("runs/cache"),
    clips: Annotated[int, typer.Option(help="Enrollment clips of training speakers.")] = 8000,
    validation_clips: Annotated[int, typer.Option(help="Of validation speakers.")] = 400,
) -> None:
    """Embed noisy clips with the trained enrollment network, for recognition to be trained on (its `predicted`)."""
    network = Enroller()
    load_weights(network, weights)
    for split, count in (("train", clips), ("val", validation_clips)):
        predict(network, data, cache, split, EnrollerPreset().recipe, count)


@app.command()
@reporting
def separations(
    weights: Annotated[Path, typer.Argument(help="Weights of an extraction network that separates.")],
    preset: Annotated[str, typer.Option(help="Of the recognition to train.")] = "recognition",
    data: Data = Path("data"),
    cache: Cache = Path("runs/cache"),
    scenes: Annotated[int, typer.Option(help="Scenes of training speakers.")] = 4000,
    first: Annotated[int, typer.Option(help="Number of the first: beyond those that recognition knows by heart.")] = 0,
    validation_scenes: Annotated[int, typer.Option(help="Of validation speakers.")] = 256,
    half: Annotated[bool, typer.Option(help="Compute in bfloat16.")] = False,
    workers: Workers = 1,
) -> None:
    """Take scenes apart with a trained network, to train its recognition on."""
    wanted = chosen(RECOGNITIONS, preset)
    network = Extractor(wanted.network)
    load_weights(network, weights)
    protocol = TseRecipe(wanted.recipe.samples, enrollment_samples=wanted.recipe.enrollment_samples)
    for split, recipe, numbers, speeds in (
        ("train", wanted.recipe, range(first, first + scenes), wanted.speeds),
        ("val", protocol, range(validation_scenes), None),
    ):
        separate_scenes(network, data, cache, split, recipe, numbers, half, workers, speeds)


@app.command()
@reporting
def average(
    out: Annotated[Path, typer.Argument(help="Where the mean goes.")],
    weights: Annotated[list[Path], typer.Argument(help="Weights of runs of one network that share a start.")],
    nobody: Annotated[
        float, typer.Option(help="Added to the threshold of recognition: below 0, somebody is heard sooner.")
    ] = 0.0,
) -> None:
    """Take the mean of the weights of runs: the noise that each left in them goes, what they learnt stays."""
    first = read_weights(weights[0], {})
    found = [read_weights(path, first) for path in weights]
    mean = {name: torch.stack([state[name].float() for state in found]).mean(0) for name in first}
    if nobody:
        mean["nobody"] += nobody
    with replacing(out, ModelError) as temporary:
        save_file(mean, temporary)


Recipe = Annotated[Path, typer.Option(help="Recipe of a SELD dataset.")]
Seed = Annotated[int, typer.Option(help="Of the weights and the order of the examples.")]
DCASE2021 = Path("datasets/dcase2021/recipe.toml")


@app.command()
@reporting
def seld(
    recipe: Recipe = DCASE2021,
    audio: Annotated[Path | None, typer.Option(help="Folder of sound files (fold1_...): train on these.")] = None,
    labels: Annotated[Path | None, typer.Option(help="Folder of their csv files.")] = None,
    classes: Annotated[int, typer.Option(min=1, help="Number of classes of the files.")] = 12,
    val: Annotated[int, typer.Option(help="Fold of the files to validate on.")] = 5,
    test: Annotated[int, typer.Option(help="Fold of the files to test on; the others are trained on.")] = 6,
    mic: Annotated[bool, typer.Option("--mic", help="Microphones with GCC-PHAT, not FOA with intensity.")] = False,
    multi: Annotated[bool, typer.Option("--multi", help="Multi-ACCDOA: three events of a class at once.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes that render scenes.")] = 1,
    runs: Runs = Path("runs"),
    name: Annotated[str, typer.Option(help="Name of the run; the same name resumes it.")] = "seld",
    seed: Seed = 0,
    settings: Settings = None,
) -> None:
    """Train the SELD baseline on sound files, or without them on a recipe's scenes rendered on the fly."""
    if (audio is None) != (labels is None):
        raise typer.BadParameter("expected --audio and --labels together")
    preset = changed(SeldPreset(), settings)
    shape = Shape("mic" if mic else "foa", classes, TRACKS if multi else 1)
    if audio is not None and labels is not None:
        found = train_on_files(dataclasses.replace(preset, shape=shape), runs / name, audio, labels, seed, val, test)
    else:
        read = read_recipe(recipe)
        shape = dataclasses.replace(shape, classes=len(read.classes))
        found = train_on_scenes(dataclasses.replace(preset, shape=shape), runs / name, read, Clips(), seed, workers)
    typer.echo(json.dumps(found["official2021"]["scores"]))


@app.command("seld-experiment")
@reporting
def seld_experiment(
    recipe: Recipe = DCASE2021,
    runs: Runs = Path("runs/seld-experiment"),
    cell: Annotated[
        list[str] | None, typer.Option(help="Cells, as clean or interferers+ambience. Default: all.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training seeds a cell.")] = 3,
    clips: Annotated[tuple[int, int, int], typer.Option(help="To train, validate and test on.")] = (200, 20, 50),
    workers: Annotated[int, typer.Option(min=1, help="Processes that render.")] = 1,
    settings: Settings = None,
) -> None:
    """Train the baseline with and without interferers, ambience and reverberation. Goes on where it stopped."""
    known = {one.name: one for one in CELLS}
    if unknown := set(cell or []) - known.keys():
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: expected cells among {', '.join(known)}")
    chosen = [known[one] for one in cell] if cell else CELLS
    preset = changed(SeldPreset(), settings)
    read = read_recipe(recipe)
    preset = dataclasses.replace(preset, shape=Shape(classes=len(read.classes)))
    experiment(preset, runs, read, Clips(*clips), chosen, range(seeds), workers)
    found = collect(runs)
    (runs / "seld_cells.md").write_text(table(found))
    plot(found, runs / "seld_cells.png")
    typer.echo(table(found))


if __name__ == "__main__":
    app()
