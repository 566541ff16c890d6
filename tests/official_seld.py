"""Run the official SELD code on our cases and store the numbers that it gives.

    git clone https://github.com/sharathadavanne/seld-dcase2021
    git clone https://github.com/sharathadavanne/seld-dcase2022
    python -m tests.official_seld seld-dcase2021 seld-dcase2022

Writes ``tests/official_seld.json``: scores of the 200 cases of `tests.seld_cases` by both years' code, and features
of one second of sound at some places. The official code is read where it lies; nothing of it is kept.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import tempfile
import types
from pathlib import Path

import numpy as np

from tests import seld_cases
from tests.seld_sound import PLACES, sound

STORED = Path(__file__).with_suffix(".json")
MODULES = (
    "cls_feature_class",
    "cls_compute_seld_results",
    "metrics",
    "SELD_evaluation_metrics",
    "parameter",
    "parameters",
)


@contextlib.contextmanager
def official(folder: Path):
    """Yield a function that imports modules of the official code, mended for today's NumPy."""
    embed = types.ModuleType("IPython")
    embed.embed, embed.get_ipython = None, lambda: None
    sys.modules.setdefault("IPython", embed)
    for name, kind in (("float", float), ("int", int)):
        if name not in vars(np):
            setattr(np, name, kind)
    for name in [m for m in sys.modules if m.partition(".")[0] in MODULES]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(folder))


def scores(folder: Path, year: int, **changes) -> list[list[float] | None]:
    """ER, F, LE, LR, SELD of each case; none where the official code fails."""
    found = []
    with official(folder) as load:
        parameters = load("parameter" if year == 2021 else "parameters").get_params()
        parameters.update(dataset="foa", feat_label_dir="", dataset_dir="", **changes)
        results = load("cls_compute_seld_results").ComputeSELDResults
        for number in range(seld_cases.CASES):
            with tempfile.TemporaryDirectory() as place:
                reference, prediction = Path(place, "reference", "fold"), Path(place, "prediction")
                seld_cases.write(seld_cases.case(number), reference, prediction)
                try:
                    done = results(parameters, str(reference.parent)).get_SELD_Results(str(prediction))
                except ValueError:  # 2022: the greatest of no frames
                    found.append(None)
                else:
                    found.append([float(value) for value in done[:5]])
    return found


def features(folder: Path, kind: str) -> list[float]:
    """The 2021 features of `sound` at `PLACES`."""
    with official(folder) as load:
        parameters = load("parameter").get_params()
        parameters.update(dataset=kind, feat_label_dir="", dataset_dir="", max_audio_len_s=1)
        extractor = load("cls_feature_class").FeatureClass(parameters)
        spectra = extractor._spectrogram(np.asarray(sound(), np.float64).T)
        space = extractor._get_foa_intensity_vectors(spectra) if kind == "foa" else extractor._get_gcc(spectra)
        found = np.concatenate([extractor._get_mel_spectrogram(spectra), space], axis=-1)
    return found.reshape(len(found), -1, 64).transpose(1, 0, 2).ravel()[::PLACES].tolist()


def main(first: Path, second: Path) -> None:
    with contextlib.redirect_stdout(None):
        stored = {
            "cases": seld_cases.fingerprint(),
            "official2021": scores(first, 2021),
            "official2022": scores(second, 2022, average="micro", unique_classes=13),
            "official2022 macro": scores(second, 2022, average="macro", unique_classes=13),
            "foa": features(first, "foa"),
            "mic": features(first, "mic"),
        }
    STORED.write_text(json.dumps(stored) + "\n")


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:3]))
