"""The GE2E speaker encoder (Wan et al., ICASSP 2018) whose embedding the enrollment network learns to predict.

Weights come from the package resemblyzer (Apache-2.0), whose wheel holds them; its code is not imported, since it
needs packages that must be compiled. The input features are resemblyzer's: 40 mel bands of power, no logarithm, 25 ms
windows each 10 ms, the clip raised to -30 dBFS.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SAMPLE_RATE = 16000
MELS = 40
PARTIAL_FRAMES = 160  # 1.6 s
PARTIAL_STEP = 77  # 1.3 partial utterances a second


class Ge2eEncoder(nn.Module):
    """Mel frames to a speaker embedding of 256 values: three LSTM layers, the last state, a linear map, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        """``[batch, frames, 40]`` -> ``[batch, 256]``, unit norm."""
        # Zeros made of the input: an exported graph would otherwise hold as many states as the traced clip had pieces.
        start = (0 * mels[:, :1, 0]).expand(3, -1, 256)
        _, (hidden, _) = self.lstm(mels, (start, start))
        raw = torch.relu(self.linear(hidden[-1]))
        return raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-6)


@functools.cache
def load_ge2e() -> Ge2eEncoder:
    """The pretrained encoder, in evaluation mode."""
    spec = importlib.util.find_spec("resemblyzer")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the teacher's weights are missing: pip install --no-deps resemblyzer")
    weights = Path(spec.submodule_search_locations[0]) / "pretrained.pt"
    state = torch.load(weights, map_location="cpu", weights_only=True)["model_state"]
    encoder = Ge2eEncoder()
    encoder.load_state_dict({k: v for k, v in state.items() if k.startswith(("lstm", "linear"))})
    return encoder.eval()


def mel_frames(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """``[samples]`` at 16 kHz -> ``[frames, 40]`` of mel power."""
    level = np.sqrt(np.mean(speech**2)) + 1e-9
    raised = speech * max(1.0, 10 ** (-30 / 20) / level)
    mels = librosa.feature.melspectrogram(y=raised, sr=SAMPLE_RATE, n_fft=400, hop_length=160, n_mels=MELS)
    return cast("NDArray[np.float32]", mels.astype(np.float32).T)


def partials(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """Overlapping 1.6 s pieces: ``[samples]`` -> mel frames ``[pieces, 160, 40]``."""
    mels = mel_frames(speech)
    if len(mels) < PARTIAL_FRAMES:
        mels = np.pad(mels, ((0, PARTIAL_FRAMES - len(mels)), (0, 0)))
    starts = range(0, len(mels) - PARTIAL_FRAMES + 1, PARTIAL_STEP)
    return np.stack([mels[s : s + PARTIAL_FRAMES] for s in starts])


@torch.no_grad()
def embed_many(utterances: Sequence[NDArray[np.float32]], batch: int = 96) -> NDArray[np.float32]:
    """Of each utterance the mean of its 1.6 s pieces' embeddings, not normalised: ``[utterances, 256]``."""
    pieces = [partials(speech) for speech in utterances]
    stacked = torch.from_numpy(np.concatenate(pieces))
    embedded = torch.cat([load_ge2e()(part) for part in stacked.split(batch)])
    return np.stack([part.mean(0).numpy() for part in embedded.split([len(p) for p in pieces])])
