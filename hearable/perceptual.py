"""Scores that predict listeners' judgements, ear by ear, then averaged (extra ``evaluate``).

PESQ-WB (ITU-T P.862.2, package pesq), ESTOI (Jensen and Taal 2016, package pystoi) and DNSMOS P.808 (Reddy et al.,
ICASSP 2021, package speechmos; needs no reference, and does not mind the level). No network here is trained on them.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pesq import PesqError, pesq
from pystoi import stoi
from speechmos import dnsmos

from hearable.session import open_session

Audio = NDArray[np.float32]
RATE = 16000
PEAK = 0.9  # PESQ and DNSMOS read sounds as files: in -1..1
DNSMOS_S, HOP = 9.01, 160  # what DNSMOS hears at once, shorter sounds repeated; a frame of its features


def perceptual(estimate: Audio, reference: Audio) -> dict[str, float | None]:
    """Scores of ``estimate`` against ``reference``, both ``[2, samples]`` at 16 kHz.

    Returns:
        ``pesq_wb`` (1 to 4.64), ``estoi`` (0 to 1) and ``dnsmos`` (1 to 5); ``None`` where there is nothing to judge:
        an output that is silent, a reference without speech.
    """
    ears = [(_scaled(e), _scaled(r)) for e, r in zip(estimate, reference, strict=True)]
    return {
        "pesq_wb": _mean(_pesq(e, r) for e, r in ears),
        "estoi": _mean(_estoi(e, r) for e, r in ears),
        "dnsmos": _mean(_dnsmos(e) for e, _ in ears),
    }


def _scaled(ear: Audio) -> Audio:
    peak = float(np.abs(ear).max())
    scaled: Audio = ear * np.float32(PEAK / peak) if peak > 0 else ear
    return scaled


def _pesq(estimate: Audio, reference: Audio) -> float | None:
    if not (estimate.any() and reference.any()):
        return None
    score = float(pesq(RATE, reference, estimate, "wb", on_error=PesqError.RETURN_VALUES))
    return score if score > 0 else None


def _estoi(estimate: Audio, reference: Audio) -> float | None:
    if not (estimate.any() and reference.any()):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # how pystoi says that there is too little speech
        try:
            return float(stoi(reference, estimate, RATE, extended=True))
        except RuntimeWarning:
            return None


def _dnsmos(estimate: Audio) -> float | None:
    """As ``dnsmos.run`` computes it, without the network of the other judgements, and on one thread."""
    if not estimate.any():
        return None
    samples, repeated = int(DNSMOS_S * RATE), estimate
    while len(repeated) < samples:
        repeated = np.concatenate([repeated, repeated])
    scores = []
    for second in range(int(len(repeated) // RATE - DNSMOS_S) + 1):
        piece = repeated[second * RATE : second * RATE + samples - HOP]
        features = dnsmos.DNSMOS.audio_melspec(None, piece).astype(np.float32)
        scores.append(float(_p808().run(None, {"input_1": features[None]})[0][0, 0]))
    return float(np.mean(scores))


@functools.cache
def _p808() -> Any:
    path = Path(dnsmos.__file__).parent / "dnsmos_models" / "model_v8.onnx"
    return open_session(path.read_bytes(), path)


def _mean(scores: Iterable[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return round(float(np.mean(known)), 4) if known else None
