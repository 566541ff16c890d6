"""Simulated rooms: where sound comes from in them, how long it lasts, and the files they are kept in."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

from hearable import metrics
from hearable.cli import app
from hearable.errors import AudioError
from hearable.synthesis.arrays import onsets
from hearable.synthesis.corpora import simulate
from hearable.synthesis.hrir import HrirSet, load_npz
from hearable.synthesis.recipes import TseRecipe, draw_tse, worn
from hearable.synthesis.render import render
from hearable.synthesis.simulated_rooms import BinauralRoom, draw_binaural_room, simulate_room
from hearable.synthesis.sources import SoundBank
from hearable.synthesis.spherical_head import SPEED_OF_SOUND, spherical_head
from tests import tinykit

RATE = 16000


@pytest.fixture(scope="module")
def head() -> HrirSet:
    return spherical_head()


@pytest.fixture(scope="module")
def places() -> list[BinauralRoom]:
    return [draw_binaural_room(0, "train", number, ["head"]) for number in range(200)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kit with a head for each split; its manifests have columns of their own."""
    kit = tinykit.make(tmp_path_factory.mktemp("simulated") / "kit")
    rows = [{"path": "hrtf/ball.npz", "split": "test"}]
    for split in ("train", "val"):
        tinykit.save_responses(kit / "hrtf" / f"ball_{split}.npz", "hrir_q", tinykit.responses())
        rows.append({"path": f"ball_{split}.npz", "split": split})
    tinykit.write_manifest(kit / "hrtf", rows)
    simulate(kit, 2)
    return kit


def test_rooms_are_possible(places: list[BinauralRoom]) -> None:
    for place in places:
        size, (x, y, z) = place.room.size_m, place.room.array_m
        assert 0.2 <= place.room.rt60_s <= 0.8 and 1 <= place.distance_m <= 2 and 1.1 <= z <= 1.7 < size[2]
        room = min(x, y, size[0] - x, size[1] - y)
        assert room >= place.distance_m + 0.3 - 1e-9  # the whole ring of talkers is inside


def test_direct_sound_comes_from_where_the_label_says(head: HrirSet, places: list[BinauralRoom]) -> None:
    place = places[0]
    room = simulate_room(place, head)
    assert room.azimuth_deg.tolist() == list(range(-180, 180, 10))
    arrival = place.distance_m / SPEED_OF_SOUND * RATE
    front = onsets(head.responses)[head.nearest(0, 0)].mean()
    for azimuth in range(-180, 180, 30):
        heard = room.responses[room.nearest(azimuth, 0)]
        own = head.responses[head.nearest(azimuth, 0)]
        # The direct sound alone: the floor's reflection is 2 ms later or more.
        direct = heard[:, round(arrival) - 12 : round(arrival) + 28]
        assert metrics.itd_us(direct, RATE) == pytest.approx(metrics.itd_us(own, RATE), abs=30)
        assert metrics.ild_db(direct) == pytest.approx(metrics.ild_db(own), abs=1.0)
        lag = onsets(heard[None, :, : round(arrival) + 28])[0] - onsets(own[None])[0]
        np.testing.assert_allclose(lag, arrival - front, atol=2)
    assert np.mean(np.sum(room.responses[room.nearest(0, 0)] ** 2.0, -1)) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("rt60_s", [0.2, 0.45, 0.8])
def test_it_reverberates_as_long_as_asked(head: HrirSet, places: list[BinauralRoom], rt60_s: float) -> None:
    place = replace(places[1], room=replace(places[1].room, rt60_s=rt60_s))
    found = []
    for response in simulate_room(place, head).responses[::6]:
        decay = 10 * np.log10(np.cumsum((response[:, ::-1] ** 2.0).sum(0))[::-1])
        inside = np.flatnonzero((decay < decay[0] - 5) & (decay > decay[0] - 35))
        found.append(-60 / np.polyfit(inside / RATE, decay[inside], 1)[0])
    assert np.mean(found) == pytest.approx(rt60_s, rel=0.1)


def test_rooms_of_a_split_have_heads_of_that_split(data: Path) -> None:
    with (data / "brir" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["path"], rows[0]["source"]) == ("brir/hall.npz", "")  # what was there stays
    assert [(row["split"], row["licence"]) for row in rows[1:]] == [
        ("train", "that of ball_train"),
        ("train", "that of ball_train"),
        ("val", "that of ball_val"),
        ("test", "that of ball"),
    ]
    assert {row["source"] for row in rows[1:]} == {"simulated"}


def test_the_same_seed_gives_the_same_bytes_and_what_is_there_is_kept(data: Path) -> None:
    files = sorted((data / "brir").glob("simulated_*.npz"))
    before = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}
    assert len({whole for whole, _ in before.values()}) == 4
    files[0].write_bytes(before[files[0]][0][:1000])  # torn
    files[1].unlink()
    simulate(data, 2)
    assert {file: file.read_bytes() for file in files} == {file: whole for file, (whole, _) in before.items()}
    assert [file.stat().st_mtime_ns == before[file][1] for file in files] == [False, False, True, True]
    drawn = [draw_binaural_room(seed, "train", 0, ["a", "b"]) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_scenes_are_rendered_in_them(data: Path) -> None:
    bank = SoundBank(data)
    material = bank.material("test")
    assert "simulated_test_0000" in bank.rooms
    alone = replace(material, listeners={"simulated_test_0000": load_npz(data / "brir" / "simulated_test_0000.npz")},
                    listener_weights=[1.0])  # fmt: skip
    for recipe in (TseRecipe(samples=8000), worn(TseRecipe(samples=8000))):
        rendered = render(draw_tse(1, alone, recipe).mixture, bank, alone.listeners)
        assert np.isfinite(rendered.mixture).all() and rendered.images.any(-1).all()


def test_heads_that_will_not_do(tmp_path: Path) -> None:
    kit = tinykit.make(tmp_path / "kit")
    with pytest.raises(AudioError, match="expected heads of split 'train' in hrtf/"):
        simulate(kit, 1)


def test_command(data: Path) -> None:
    done = CliRunner().invoke(app, ["corpora", "--simulate", "2", "--out", str(data), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == {"simulated": {"train": 2, "val": 1, "test": 1}}
