"""The training feed: the same examples from files, from shards and rendered on the fly."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import DataLoader  # noqa: E402

from hearable.errors import AudioError, LabelError  # noqa: E402
from hearable.seld.shards import write_shards  # noqa: E402
from hearable.synthesis.directions import unit_vectors  # noqa: E402
from hearable.synthesis.generate import generate  # noqa: E402
from hearable.synthesis.seld_recipe import read_recipe  # noqa: E402
from training.seld_data import Shape  # noqa: E402
from training.seld_dataset import SeldDataset  # noqa: E402

AZIMUTH = np.arange(-180.0, 180.0, 10.0)
SHAPE = Shape("foa", classes=2, tracks=3, frames=10)
RECIPE = """
name = "feed"
classes = ["knocking", "phone"]
clip_s = 3.0
formats = ["foa"]
sounds = [{ per_class = 4 }]
fold = [{ number = 1, clips = 2 }]
room = [{ fold = 1, responses = { foa = "room.npz" } }]
events = { layers = 2, interferer_layers = 0, sounding_s = 2.0, gap_s = 0.2, level_db = [-30.0, -30.0] }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A recipe of a measured room, and two clips made from it."""
    folder = tmp_path_factory.mktemp("feed")
    x, y, z = unit_vectors(AZIMUTH, 0 * AZIMUTH).T
    responses = np.zeros((len(AZIMUTH), 4, 100), np.float32)
    responses[:, :, 30] = np.stack([np.ones_like(x), y, z, x], 1)
    np.savez(folder / "room.npz", fs=24000, azimuth=AZIMUTH, elevation=0 * AZIMUTH, foa=responses)
    (folder / "recipe.toml").write_text(RECIPE)
    assert generate(read_recipe(folder / "recipe.toml"), folder / "out") == 2
    return folder


def test_examples_on_the_fly_are_those_of_the_files_and_of_their_shards(folder):
    audio, labels = folder / "out" / "foa_dev", folder / "out" / "metadata_dev"
    files = SeldDataset.from_files(audio, labels, SHAPE, folder / "store")
    assert len(files) == 6 and files[0][0].shape == (7, 50, 64) and files[0][1].shape == (10, 6, 4, 2)
    scenes = list(itertools.islice(SeldDataset.on_the_fly(folder / "recipe.toml", SHAPE), 6))
    shards = list(SeldDataset.from_shards(write_shards(audio, labels, folder), SHAPE, shuffle=0))
    assert any(target.any() for _, target in scenes)
    for index, (features, target) in enumerate(scenes):
        np.testing.assert_allclose(target, files[index][1], atol=1e-5)
        sounding = features[0] > features[0].max() - 40  # the files are rounded to 16 bits
        assert np.abs(features - files[index][0])[:, sounding].mean() < 0.1
        assert min(np.abs(target - shard).max() for _, shard in shards) < 1e-5
    assert SeldDataset.from_files(audio, labels, SHAPE, folder / "store", folds=[2]).places == []


def test_they_feed_a_data_loader(folder):
    batches = DataLoader(SeldDataset.on_the_fly(folder / "recipe.toml", SHAPE), batch_size=4)
    features, target = next(iter(batches))
    assert features.shape == (4, 7, 50, 64) and target.shape == (4, 10, 6, 4, 2)


def test_scenes_that_do_not_fit_the_shape(folder):
    with pytest.raises(LabelError, match="expected 12 classes, found 2"):
        SeldDataset.on_the_fly(folder / "recipe.toml", Shape())
    with pytest.raises(LabelError, match="expected clips of 6 s or more, found 3 s"):
        SeldDataset.on_the_fly(folder / "recipe.toml", Shape(classes=2))
    (folder / "fast.toml").write_text("rate = 48000\n" + RECIPE)
    with pytest.raises(AudioError, match="expected scenes at 24000 Hz for the features, found 48000 Hz"):
        next(iter(SeldDataset.on_the_fly(folder / "fast.toml", SHAPE)))
