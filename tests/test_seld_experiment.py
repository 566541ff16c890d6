"""The experiment on interferers, ambience and reverberation: the same scenes in every cell, resumed, reported."""

import dataclasses
import itertools
import shutil

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytestmark = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="needs g++ and ninja")

import msgspec  # noqa: E402

from hearable.errors import LabelError  # noqa: E402
from hearable.synthesis.render_seld import render_seld  # noqa: E402
from hearable.synthesis.seld_draw import SeldDraw  # noqa: E402
from hearable.synthesis.seld_recipe import SeldRecipe  # noqa: E402
from training.presets import SeldPreset  # noqa: E402
from training.seld import experiment, train_on_scenes  # noqa: E402
from training.seld_cells import CELLS, Cell, Clips, cells_of, mix, prepare, store_of  # noqa: E402
from training.seld_data import Shape, StoredExamples  # noqa: E402
from training.seld_report import collect, effects, plot, table  # noqa: E402
from training.seld_scenes import SeldScenes  # noqa: E402

CLEAN, FULL = CELLS[0], CELLS[-1]
SHAPE = Shape(classes=2, frames=10)
PRESET = SeldPreset(shape=SHAPE, batch=2, steps=2)
CLIPS = Clips(train=2, val=1, test=1)
RECIPE = msgspec.convert(
    {
        "name": "small",
        "classes": ["knocking", "phone"],
        "interferers": ["fire"],
        "clip_s": 3.0,
        "sounds": [{"layout": "built-in", "per_class": 6}],
        "fold": [{"number": n, "clips": 2, "rooms": 1, "split": s} for n, s in ((1, "train"), (5, "val"), (6, "test"))],
        "rooms": {"smallest_m": [5, 4, 2.6], "largest_m": [6, 5, 3], "rt60_s": [0.2, 0.3]},
        "events": {"layers": 2, "sounding_s": 2.0, "gap_s": 0.2, "longest_s": 2.0, "distance_m": [1.0, 1.5]},
        "ambience": {},
    },
    SeldRecipe,
)


@pytest.fixture(scope="module")
def draw():
    return SeldDraw(RECIPE)


def test_cells_have_names_of_their_own():
    assert len({cell.name for cell in CELLS}) == 8
    assert (CLEAN.name, FULL.name) == ("clean", "interferers+ambience+reverberation")


def test_a_cell_is_what_is_left_of_the_scene(draw):
    clip = draw.draw(CLIPS.ids(RECIPE, "train")[0])
    stems = render_seld(clip.scene, draw.sounds).stems["foa"]
    mixes = {cell: mix(clip.scene, stems, cell).astype(np.float64) for cell in CELLS}
    np.testing.assert_array_equal(mixes[FULL], stems.mix())
    interferers = mixes[Cell(True, False, True)] - mixes[Cell(False, False, True)]
    ambience = mixes[Cell(False, True, True)] - mixes[Cell(False, False, True)]
    assert interferers.any() and ambience.any()
    np.testing.assert_allclose(mixes[Cell(False, False, True)] + interferers + ambience, mixes[FULL], atol=1e-6)


def test_reverberation_is_a_room(draw):
    clip = draw.draw(CLIPS.ids(RECIPE, "train")[0])
    found = dict(cells_of(draw, clip, [CLEAN, Cell(False, False, True)], "foa"))
    dry, wet = found.values()
    assert dry.shape == wet.shape == (7, 150, 64)
    assert (wet[:4] > dry[:4]).mean() > 0.8


def test_a_cell_is_the_same_whatever_is_rendered_beside_it(draw):
    clip = draw.draw(CLIPS.ids(RECIPE, "train")[0])
    (alone,) = dict(cells_of(draw, clip, [CLEAN], "foa")).values()
    beside = dict(cells_of(draw, clip, [CLEAN, Cell(True, True, False)], "foa"))[CLEAN]
    np.testing.assert_array_equal(alone, beside)


def test_rendering_goes_on_where_it_stopped(tmp_path):
    ids = CLIPS.ids(RECIPE, "train")
    (first,) = prepare(RECIPE, ids[:1], [CLEAN], tmp_path, "foa", 1)
    store = store_of(tmp_path, CLEAN)
    before = (store.folder / f"{first}.npy").stat().st_mtime_ns
    names = prepare(RECIPE, ids, [CLEAN], tmp_path, "foa", 1)
    assert names[0] == first and set(store.names(1)) == set(names)
    assert (store.folder / f"{first}.npy").stat().st_mtime_ns == before


def test_scenes_on_the_fly_are_those_that_are_kept(tmp_path):
    ids = CLIPS.ids(RECIPE, "train")
    kept = StoredExamples(store_of(tmp_path, FULL), prepare(RECIPE, ids, [FULL], tmp_path, "foa", 1), SHAPE)
    drawn = list(itertools.islice(iter(SeldScenes(RECIPE, "train", SHAPE)), len(kept)))
    for (features, target), place in zip(drawn, range(len(kept)), strict=True):
        np.testing.assert_allclose(features, kept[place][0], rtol=1e-3, atol=0.05)
        np.testing.assert_allclose(target, kept[place][1], atol=1e-5)
    later = next(iter(SeldScenes(RECIPE, "train", SHAPE, first=4)))  # of the second clip, which holds 3 to 5
    np.testing.assert_array_equal(later[1], drawn[3][1])
    with pytest.raises(LabelError, match="split"):
        SeldScenes(RECIPE, "nothing", SHAPE)


def test_the_experiment_is_resumed_and_reported(tmp_path):
    cells = [CLEAN, Cell(True, False, False)]
    with pytest.raises(LabelError, match="results"):
        collect(tmp_path)
    experiment(PRESET, tmp_path, RECIPE, CLIPS, cells, [0], 1)
    before = (tmp_path / "clean-0" / "result.json").stat().st_mtime_ns
    experiment(PRESET, tmp_path, RECIPE, CLIPS, cells, [0, 1], 1)
    assert (tmp_path / "clean-0" / "result.json").stat().st_mtime_ns == before
    found = collect(tmp_path)
    assert {cell: len(values) for cell, values in found.items()} == dict.fromkeys(cells, 2)
    np.testing.assert_allclose(effects(found)["interferers"][0], found[cells[1]].mean(0) - found[CLEAN].mean(0))
    assert "| interferers | 2 |" in table(found) and "| clean | 2 |" in table(found)
    plot(found, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_training_on_scenes_on_the_fly(tmp_path):
    mic = dataclasses.replace(PRESET, shape=dataclasses.replace(SHAPE, kind="mic"))
    found = train_on_scenes(mic, tmp_path / "run", RECIPE, CLIPS, seed=0, workers=2)
    assert found["clips"] == {"train": 2, "val": 1, "test": 1}
    assert (tmp_path / "run" / "weights.safetensors").is_file()
