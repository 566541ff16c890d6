"""Test vectors: a chain of chunks through a model, for whoever runs it elsewhere. Raw little-endian float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hearable.errors import ModelError
from hearable.files import replacing
from hearable.session import Graph
from hearable.spec import ModelSpec

CHUNKS = 100


def noise(spec: ModelSpec, chunks: int, seed: int = 0) -> np.ndarray:
    """Noise ``[chunks, channels, chunk_samples]`` whose level wanders over 40 dB: loud and quiet states are passed."""
    rng = np.random.default_rng(seed)
    level = 10 ** (rng.uniform(-60, -20, -(-chunks // 20)).repeat(20)[:chunks] / 20)
    noise = rng.standard_normal((chunks, spec.channels, spec.chunk_samples)) * level[:, None, None]
    return noise.astype(np.float32)


def anybody(conditioner: Graph, seed: int = 0) -> np.ndarray:
    """Conditioning ``[conditioning_values]`` of nobody in particular."""
    embedding = np.abs(np.random.default_rng(seed).standard_normal(conditioner.spec.embedding_values))
    return conditioner.run({"embedding": (embedding / np.linalg.norm(embedding)).astype(np.float32)})[0]


def write_vectors(extractor: Graph, conditioning: np.ndarray, folder: Path, chunks: int = CHUNKS) -> np.ndarray:
    """Write ``conditioning.f32``, ``input.f32``, ``expected.f32`` and ``state.f32``.

    Input and expected output are ``[chunks, channels, chunk_samples]``. The state begins as zeros; ``state.f32`` is
    what it is after the last chunk, in the order of the model's metadata.

    Returns:
        The expected output.
    """
    sound, state = noise(extractor.spec, chunks), extractor.state()
    expected = np.stack([extractor.step(chunk, conditioning, state) for chunk in sound])
    last = np.concatenate([value.reshape(-1) for value in state.values.values()])
    vectors = {"conditioning": conditioning, "input": sound, "expected": expected, "state": last}
    for name, values in vectors.items():
        with replacing(folder / f"{name}.f32", ModelError) as temporary:
            values.astype("<f4").tofile(temporary)
    return expected
