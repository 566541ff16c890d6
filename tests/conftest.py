"""Fixtures that several tests need: a folder of toy models, sound, noise that speaks."""

from __future__ import annotations

import os
from pathlib import Path

# Before anything loads OpenMP: on operators as small as these, threads that wait for each other cost more than they
# bring, and forty times as much where the computer has other work.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from hearable import checkpoints
from hearable.extractor import Model, load_model
from tests import toymodel


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs in real time, with sound servers and a browser, is marked: it wants the computer to itself."""
    for item in items:
        if item.path.stem.startswith(("test_live", "test_web")):
            item.add_marker(pytest.mark.real_time)


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """People and settings of the user are neither seen nor touched."""
    folder = tmp_path_factory.mktemp("home")
    for kind in ("DATA", "CONFIG"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(folder / kind.lower()))


@pytest.fixture(scope="session")
def toy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published toy models: ``toy`` with its conditioner, and ``enroll``."""
    folder = tmp_path_factory.mktemp("models")
    toymodel.save_pair(folder)
    toymodel.save_enroller(folder)
    toymodel.publish(folder)
    return folder


@pytest.fixture
def shipped(toy_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The toy models in place of the shipped ones."""
    monkeypatch.setattr(checkpoints, "models_folder", lambda: toy_folder)
    return toy_folder


@pytest.fixture(scope="session")
def toy(toy_folder: Path) -> Model:
    return load_model(toy_folder / "toy.onnx")


@pytest.fixture
def noise() -> np.ndarray:
    """Two seconds at 16 kHz, float32 ``[2, 32000]``."""
    return np.random.default_rng(7).normal(scale=0.1, size=(2, 32000)).astype(np.float32)
