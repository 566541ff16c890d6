"""Public corpora as they are unpacked: tiny trees of the same shape."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from hearable import metrics
from hearable.cli import app
from hearable.errors import AudioError
from hearable.synthesis import published
from hearable.synthesis.corpora import gather
from hearable.synthesis.hrir import load_npz
from hearable.synthesis.recipes import TseRecipe, draw_tse
from hearable.synthesis.render import render
from hearable.synthesis.sources import SoundBank
from tests import tinykit
from tests.test_synthesis import save_sofa

RATE = 16000
SPEAKERS = """\
; some pairs of (subset, speaker) are listed
;ID  |SEX| SUBSET           |MINUTES| NAME
14   | F | train-clean-360  | 25.03 | Kristin LeMoine
19   | M | train-clean-100  | 25.19 | A | B
{more}
"""
SUBSETS = ("train-clean-100", "train-clean-360", "dev-clean", "test-clean")


def ears(azimuth_deg: float, taps: int = 40) -> np.ndarray:
    """``[2, taps]``: what comes from the left (+) is earlier and louder in the left ear."""
    side = np.sin(np.radians(azimuth_deg))
    response = np.zeros((2, taps))
    for ear, sign in enumerate((1, -1)):
        response[ear, 12 - round(sign * 5 * side)] = 0.5 * 10 ** (sign * 6 * side / 20)
    return response


def make_librispeech(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    more = []
    for s, subset in enumerate(SUBSETS):
        for n in range(6):
            speaker = str(1000 * (s + 1) + n)
            more.append(f"{speaker} | {'FM'[n % 2]} | {subset} | 25.0 | Somebody")
            for u in range(2):
                file = folder / subset / speaker / "42" / f"{speaker}-42-{u:04d}.flac"
                file.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(file, tinykit.voice(90 + 30 * n, 0.6, rng), RATE)
            (file.parent / f"{speaker}-42.trans.txt").write_text("1000-42-0000 WORDS")
    (folder / "SPEAKERS.TXT").write_text(SPEAKERS.format(more="\n".join(more)))
    return folder


def make_wham(folder: Path) -> Path:
    rng = np.random.default_rng(1)
    for part in ("tr", "cv", "tt"):
        (folder / part).mkdir(parents=True)
        soundfile.write(folder / part / "01na0101.wav", 0.05 * rng.normal(size=(9000, 2)), RATE)
    (folder / "metadata").mkdir()
    return folder


def make_cipic(folder: Path, subjects: tuple[str, ...] = ("003", "021", "040")) -> Path:
    io = pytest.importorskip("scipy.io")
    grids = np.meshgrid(published.CIPIC_LATERAL, published.CIPIC_POLAR, indexing="ij")
    lateral = grids[0]
    responses = np.stack([[ears(-a, 200) for a in row] for row in lateral])  # CIPIC counts to the right
    for subject in subjects:
        place = folder / "standard_hrir_database" / f"subject_{subject}"
        place.mkdir(parents=True)
        io.savemat(place / "hrir_final.mat", {"hrir_l": responses[:, :, 0], "hrir_r": responses[:, :, 1], "name": "x"})
    return folder


def make_surrey(folder: Path) -> Path:
    azimuth = np.arange(-90, 91, 30)
    positions = np.stack([azimuth % 360, 0 * azimuth, 0 * azimuth + 1.5], 1).astype(float)
    responses = np.stack([ears(-a) for a in azimuth])  # to the right
    folder.mkdir()
    for room in "ABCD":
        save_sofa(folder / f"UniS_Room_{room}_BRIR_16k.sofa", positions, responses, RATE)
        (folder / f"UniS_Room_{room}_BRIR_48k.sofa").write_bytes(b"")
    save_sofa(folder / "UniS_Anechoic_BRIR_16k.sofa", positions, responses, RATE)
    return folder


def make_ash(folder: Path) -> Path:
    for room, place, sign in (("05A", "C1", 1), ("05A", "C2", -1), ("03", "C1", 1), ("16", "C1", 1), ("35", "C1", 1)):
        (folder / "BRIRs" / f"R{room}").mkdir(parents=True, exist_ok=True)
        for azimuth in (-90, -30, 0, 30, 90, 180):
            name = f"BRIR_R{room}_{place}_E0_A{azimuth}.wav"
            taps = 120 + abs(azimuth)
            soundfile.write(folder / "BRIRs" / f"R{room}" / name, ears(sign * azimuth, taps).T, 44100)
        soundfile.write(
            folder / "BRIRs" / f"R{room}" / f"BRIR_R{room}_{place}_True_Stereo.wav", np.zeros((9, 4)), 44100
        )
    return folder


def make_catt(folder: Path) -> Path:
    for room in ("0_0s", "0_3s", "0_4s"):
        for rate in ("16k", "48k"):
            place = folder / "Binaural" / rate / room
            place.mkdir(parents=True)
            for azimuth in range(-90, 95, 30):
                soundfile.write(place / f"CATT_{room}_{azimuth}.wav", ears(-azimuth).T, int(rate[:2]) * 1000)
    return folder


MAKERS = {"librispeech": make_librispeech, "wham": make_wham, "cipic": make_cipic, "surrey": make_surrey,
          "ash": make_ash, "catt": make_catt}  # fmt: skip


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("corpora")
    return {name: make(root / name) for name, make in MAKERS.items()}


@pytest.fixture(scope="module")
def data(corpora: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gathered") / "data"
    counts = gather(corpora, out)
    assert counts["librispeech"] == {"train": 24, "val": 12, "test": 12}
    assert counts["wham"] == {"train": 1, "val": 1, "test": 1}
    assert counts["cipic"] == {"train": 1, "val": 1, "test": 1}
    assert counts["surrey"] == {"train": 2, "val": 1, "test": 1}
    assert counts["ash"] == {"train": 2, "val": 1, "test": 1}  # room 35 is in no split of the paper
    assert counts["catt"] == {"train": 1, "val": 1, "test": 1}
    return out


def test_every_split_can_be_drawn_and_rendered(data: Path) -> None:
    bank = SoundBank(data)
    for split in ("train", "val", "test"):
        material = bank.material(split)
        scene = draw_tse(1, material, TseRecipe(samples=8000)).mixture
        assert np.isfinite(render(scene, bank, material.listeners).mixture).all()
    assert list(material.speakers)[0] == "librispeech-4000"
    assert bank.genders["librispeech-4000"] == "f" and bank.genders["librispeech-4001"] == "m"
    assert material.noises[0].name == "noise/wham/tt/01na0101.wav"
    assert set(material.listeners) == {"cipic_040", "surrey_A", "ash_16_C1", "catt_0_4s"}
    assert bank.rooms & set(material.listeners) == set(material.listeners) - {"cipic_040"}


@pytest.mark.parametrize(
    "file", ["hrtf/cipic_003", "brir/surrey_B", "brir/ash_05A_C1", "brir/ash_05A_C2", "brir/catt_0_0s"]
)
def test_what_is_on_the_left_is_earlier_and_louder_there(data: Path, file: str) -> None:
    """However the publisher counts."""
    listener = load_npz(data / f"{file}.npz")
    assert listener.sample_rate_hz == RATE
    for azimuth in (-80.0 if "cipic" in file else -90.0, 30.0):
        response = listener.responses[listener.nearest(azimuth, 0.0)]
        assert listener.azimuth_deg[listener.nearest(azimuth, 0.0)] == pytest.approx(azimuth, abs=0.1)
        assert np.sign(metrics.ild_db(response)) == np.sign(metrics.itd_us(response, RATE)) == np.sign(azimuth)


def test_cipic_as_sofa_is_cipic_as_mat(tmp_path: Path, data: Path) -> None:
    """The same grid of directions; number 608 is straight ahead."""
    from_mat = load_npz(data / "hrtf" / "cipic_003.npz")
    assert from_mat.azimuth_deg[608] == pytest.approx(0, abs=1e-3)
    assert from_mat.elevation_deg[608] == pytest.approx(0, abs=1e-3)
    lateral, polar = (
        grid.ravel() for grid in np.meshgrid(published.CIPIC_LATERAL, published.CIPIC_POLAR, indexing="ij")
    )
    azimuth, elevation = published.from_interaural_polar(lateral, polar)
    positions = np.stack([azimuth % 360, elevation, 0 * azimuth + 1], 1).astype(float)
    (tmp_path / "sofa").mkdir()
    save_sofa(tmp_path / "sofa" / "subject_003.sofa", positions, np.stack([ears(-a, 200) for a in lateral]), 44100)
    ((split, head),) = published.read_cipic(tmp_path / "sofa")
    assert (split, head.name) == ("train", "cipic_003")
    np.testing.assert_allclose(head.azimuth_deg, from_mat.azimuth_deg, atol=1e-3)
    resampled = head.resampled(RATE).responses
    np.testing.assert_allclose(resampled, from_mat.responses, atol=np.abs(resampled).max() * 1e-4)


@pytest.mark.parametrize(
    ("lateral", "polar", "azimuth", "elevation"),
    [(0, 0, 0, 0), (-45, 0, 45, 0), (30, 180, -150, 0), (0, 90, 0, 90), (0, -45, 0, -45)],
)
def test_interaural_polar(lateral: float, polar: float, azimuth: float, elevation: float) -> None:
    found = published.from_interaural_polar(np.array(float(lateral)), np.array(float(polar)))
    assert found[1] == pytest.approx(elevation, abs=1e-4)
    if abs(elevation) < 90:
        assert found[0] == pytest.approx(azimuth, abs=1e-4)


def test_the_papers_splits() -> None:
    assert [list(published.CIPIC_SPLITS.values()).count(s) for s in ("val", "test")] == [5, 9]
    assert [list(published.ASH_SPLITS.values()).count(s) for s in published.SPLITS] == [23, 6, 6]
    assert [list(published.CATT_SPLITS.values()).count(s) for s in published.SPLITS] == [7, 2, 2]


def test_a_corpus_again_replaces_its_own_rows(corpora: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "data"
    gather({"surrey": corpora["surrey"]}, out)
    for _ in range(2):
        gather({"catt": corpora["catt"], "wham": corpora["wham"]}, out)
    with (out / "brir" / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows] == ["surrey"] * 4 + ["catt"] * 3
    assert (out / "noise" / "wham").resolve() == corpora["wham"].resolve()


def test_other_folders_are_refused(corpora: dict[str, Path], tmp_path: Path) -> None:
    for name in MAKERS:
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(AudioError, match="expected"):
            gather({name: tmp_path / "empty"}, tmp_path / "data")
    assert not list((tmp_path / "data").rglob("manifest.csv"))
    with pytest.raises(AudioError, match="no such folder"):
        gather({"wham": tmp_path / "nowhere"}, tmp_path / "data")
    broken = tmp_path / "broken" / "BRIRs" / "R01"
    broken.mkdir(parents=True)
    (broken / "BRIR_R01_C1_E0_A0.wav").write_bytes(b"no wav")
    with pytest.raises(AudioError, match=r"A0\.wav: expected a wav"):
        gather({"ash": tmp_path / "broken"}, tmp_path / "data")


def test_command(corpora: dict[str, Path], tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["corpora", "--wham", str(corpora["wham"]), "--out", str(tmp_path / "d"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["files"] == {"wham": {"train": 1, "val": 1, "test": 1}}
    assert CliRunner().invoke(app, ["corpora", "--out", str(tmp_path / "d")]).exit_code == 2
