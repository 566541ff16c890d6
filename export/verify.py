"""Is the exported graph the network that was trained? Prints numbers and a bound; raises beyond it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.signal import cheby2, sosfilt
from torch import nn

from hearable.errors import ModelError
from hearable.session import open_graph, open_pair
from training.enroller import Enroller

BOUND = 1e-4
CHUNKS = 2000
STRETCH = 100  # chunks of one kind of sound: long enough to forget the one before


class VerificationError(ModelError):
    """A difference above the bound."""


def report(what: str, difference: float) -> float:
    """Print a difference beside its bound, and refuse it above."""
    print(f"{what}: largest difference {difference:.2e}, bound {BOUND:.0e}")
    if not difference <= BOUND:
        raise VerificationError(f"{what}: expected at most {BOUND}, found {difference}")
    return difference


@torch.no_grad()
def verify_extractor(network: nn.Module, path: Path, chunks: int = CHUNKS) -> dict[str, float]:
    """Whole-clip torch, streaming torch and streaming ONNX over a chain of chunks.

    Args:
        network: the torch network.
        path: the exported extractor; its conditioner beside it.
        chunks: length of the chain.

    Returns:
        The largest absolute differences, by comparison.

    Raises:
        VerificationError: a difference is above 1e-4.
    """
    network.eval()
    graph, conditioner = open_pair(path)
    samples, lookahead = graph.spec.chunk_samples, graph.spec.lookahead_samples
    rng = np.random.default_rng(0)
    # Noise whose level wanders over 40 dB, so that quiet and loud states are both passed through; every other stretch
    # without anything above 3 kHz, every fourth silent, as recordings are.
    stretches = np.repeat(np.arange(chunks // STRETCH + 1), STRETCH * samples)[: chunks * samples]
    noise = rng.standard_normal((2, chunks * samples))
    low = sosfilt(cheby2(12, 120, 4000, fs=16000, output="sos"), noise)
    level = 10 ** (rng.uniform(-60, -20, chunks // STRETCH + 1)[stretches] / 20) * (stretches % 4 != 2)
    sound = (np.where(stretches % 2 == 1, low, noise) * level).astype(np.float32)
    embedding = np.abs(rng.standard_normal(256)).astype(np.float32)
    embedding /= np.linalg.norm(embedding)

    conditioning = network.conditioner(torch.from_numpy(embedding)[None])  # type: ignore[operator]
    from_onnx = conditioner.run({"embedding": embedding})[0]
    whole = network(torch.from_numpy(sound)[None], conditioning)[0].numpy()
    state, onnx_state = network.initial_state(1), graph.state()  # type: ignore[operator]
    streamed, onnx_streamed = [], []
    for start in range(0, chunks * samples, samples):
        chunk = sound[:, start : start + samples]
        output, state = network.step(torch.from_numpy(chunk)[None], conditioning, state)  # type: ignore[operator]
        streamed.append(output[0].numpy())
        onnx_streamed.append(graph.step(np.ascontiguousarray(chunk), from_onnx, onnx_state))
    torch_stream = np.concatenate(streamed, 1)[:, lookahead:]
    onnx_stream = np.concatenate(onnx_streamed, 1)[:, lookahead:]
    return {
        "conditioner": report("conditioner, torch and ONNX", float(np.abs(conditioning[0].numpy() - from_onnx).max())),
        "streaming": report("torch, whole and streaming", float(np.abs(whole[:, :-lookahead] - torch_stream).max())),
        "onnx": report("streaming, torch and ONNX", float(np.abs(torch_stream - onnx_stream).max())),
    }


@torch.no_grad()
def verify_enroller(network: Enroller, path: Path) -> dict[str, float]:
    """Torch and ONNX on clips of other lengths than the one that was traced.

    Raises:
        VerificationError: a difference is above 1e-4.
    """
    network.eval()
    graph = open_graph(path, "enroller")
    rng = np.random.default_rng(0)
    worst = 0.0
    for seconds in (1.0, 3.21, 5.0):
        # Mostly the same at both ears: the network leaves next to nothing of what is not in front.
        ears = rng.standard_normal((1, int(16000 * seconds))) + 0.3 * rng.standard_normal((2, int(16000 * seconds)))
        clip = (0.05 * ears).astype(np.float32)
        expected = network(torch.from_numpy(clip))
        found = graph.run({"clip": clip})
        worst = max(worst, *(float(np.abs(e.numpy() - f).max()) for e, f in zip(expected, found, strict=True)))
    return {"onnx": report("enrollment, torch and ONNX", worst)}
