"""How well do weights separate, and how much of it does recognition find?

Validation scenes of 5 s of the test protocol, the same for all weights: more than the 64 that a run is validated on.
Printed are the loss, the SI-SDRi of the voice that is the target's by the truth, over the scene and chosen anew every
second, and of what is heard by the teacher's embedding. Run it with
``python -m benchmarks.separation WEIGHTS ... --data DATA --cache CACHE``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track
from torch import Tensor

from training.data import Endless, collate
from training.fused import FUSED
from training.losses import separation_loss, si_sdr_db
from training.network import Extractor
from training.presets import EXTRACTORS
from training.train import Scenes, load_weights

BATCH = 8
SECOND = 16000


def best_of_each_second(voices: Tensor, target: Tensor) -> Tensor:
    """Of voices ``[scenes, voice, 2, samples]``, each second that with the least error: ``[scenes, 2, samples]``."""
    pieces = []
    for start in range(0, target.shape[-1], SECOND):
        piece = voices[..., start : start + SECOND]
        error = (piece - target[:, None, :, start : start + SECOND]).square().sum((2, 3))
        pieces.append(piece[torch.arange(len(piece)), error.argmin(1)])
    return torch.cat(pieces, -1)


@torch.no_grad()
def main(
    weights: Annotated[list[Path], typer.Argument(help="Weights of extraction networks.")],
    data: Annotated[Path, typer.Option(help="Data folder with speech/, noise/, hrtf/ and brir/.")],
    cache: Annotated[Path, typer.Option(help="Where the decoded corpus lies.")],
    preset: Annotated[str, typer.Option(help="Of the network: base-long or tiny-long.")] = "base-long",
    scenes: Annotated[int, typer.Option(min=BATCH)] = 96,
) -> None:
    """Print a line for each of the weights."""
    torch.set_num_threads(1)
    chosen = EXTRACTORS[preset]
    drawn = list(itertools.islice(Endless(Scenes(chosen, data, cache).source("val")), scenes))
    for path in weights:
        network = Extractor(chosen.network)
        load_weights(network, path)
        losses: list[Tensor] = []
        gains: dict[str, list[Tensor]] = {"best voice": [], "of each second": [], "heard": []}
        for start in track(range(0, scenes, BATCH), path.name):
            mixture, target, embedding, talkers, number = collate(drawn[start : start + BATCH])
            spectra, _, _ = network.separate(network.analyse(mixture), network.silence(len(mixture)), FUSED)
            voices = network.synthesise(spectra, mixture.shape[-1])
            loss, order = separation_loss(voices, talkers)
            losses.append(loss)
            match, _ = network.recognise(spectra, network.conditioner(embedding), network.zeros(len(mixture))[1], FUSED)
            heard = network.synthesise(network.mix(spectra, match)[:, :, None], mixture.shape[-1])[:, 0]
            best = voices[torch.arange(len(voices)), order.gather(1, number[:, None])[:, 0]]
            before = si_sdr_db(mixture, target)
            for found, estimate in zip(gains.values(), (best, best_of_each_second(voices, target), heard), strict=True):
                found.append((si_sdr_db(estimate, target) - before).mean(1))
        means = ", ".join(f"{name} {torch.cat(values).mean():.3f} dB" for name, values in gains.items())
        print(f"{path}: loss {torch.stack(losses).mean():.3f} dB, {means}")


if __name__ == "__main__":
    typer.run(main)
