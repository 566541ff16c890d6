"""How well do weights separate? Loss, and SI-SDRi of the voice that is the target's by the truth.

Validation scenes of 5 s of the test protocol, the same for all weights: more than the 64 that a run is validated on,
and without the recognition. Run it with ``python -m benchmarks.separation WEIGHTS ... --data DATA --cache CACHE``.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.progress import track

from training.data import Endless, collate
from training.losses import separation_loss, si_sdr_db
from training.network import Extractor, separated
from training.presets import EXTRACTORS
from training.train import Scenes, load_weights

BATCH = 8


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
        losses, gains = [], []
        for start in track(range(0, scenes, BATCH), path.name):
            mixture, target, _, talkers, number = collate(drawn[start : start + BATCH])
            voices, _ = separated(network, mixture, False)
            loss, order = separation_loss(voices, talkers)
            best = voices[torch.arange(len(voices)), order.gather(1, number[:, None])[:, 0]]
            losses.append(loss)
            gains.append((si_sdr_db(best, target) - si_sdr_db(mixture, target)).mean(1))
        print(f"{path}: loss {torch.stack(losses).mean():.3f} dB, best voice {torch.cat(gains).mean():.3f} dB")


if __name__ == "__main__":
    typer.run(main)
