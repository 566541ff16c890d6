"""Measured rooms: readers on tiny files of the published layouts, and scenes in them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")
from scipy.io import savemat

from hearable.errors import AudioError
from hearable.synthesis.arrays import foa_gains
from hearable.synthesis.directions import angle_between_deg, unit_vectors
from hearable.synthesis.measured_rooms import RoomResponses
from hearable.synthesis.render_seld import render_seld
from hearable.synthesis.room_files import find_tau_ambience, load_room, load_tau_room
from hearable.synthesis.seld_scene import Ambience, Event, MeasuredRoom, SeldScene, Waypoint
from tests.test_synthesis import Noises

RATE = 24000
AZIMUTH = np.arange(0.0, 360.0, 30.0)
RNG = np.random.default_rng(2)


def foa(azimuth: np.ndarray = AZIMUTH, taps: int = 600, gain: float = 3.0) -> np.ndarray:
    """``[positions, 4, taps]``: a pulse after 40 samples and a faint tail from 200 on."""
    responses = np.zeros((len(azimuth), 4, taps), np.float32)
    responses[:, :, 40] = gain * foa_gains(unit_vectors(azimuth, np.zeros_like(azimuth)))
    responses[:, :, 200:] = 0.02 * gain * RNG.normal(size=responses[:, :, 200:].shape)
    return responses


def save_npz(path: Path, responses: np.ndarray, key: str, **more) -> Path:
    scale = np.abs(responses).max() / 32767
    np.savez(path, **{key: np.round(responses / scale).astype(np.int16)}, scale=np.float32(scale), fs=RATE, **more)
    return path


@pytest.fixture(scope="module")
def room(tmp_path_factory) -> RoomResponses:
    wxyz = foa()[:, [0, 3, 1, 2]]
    path = tmp_path_factory.mktemp("room") / "hall.npz"
    save_npz(path, wxyz, "foa_q", azimuth=AZIMUTH, elevation=0 * AZIMUTH, distance=2.0)
    return load_room({"foa": path}, RATE)


def scene(*path: Waypoint, **more) -> SeldScene:
    event = Event("a", "dog", "target", 2400, RATE, 0, -20.0, path)
    return SeldScene(RATE, 2 * RATE, 1, MeasuredRoom("hall"), (event,), formats=("foa",), **more)


class TestReaders:
    def test_npz(self, room):
        assert (room.name, room.rate) == ("hall", RATE)
        np.testing.assert_allclose(room.azimuth_deg[[0, 1, 6, 9]], [0, 30, -180, -90])
        direct = room.responses["foa"][:, :, 40]
        expected = foa_gains(unit_vectors(AZIMUTH, 0 * AZIMUTH)) / 2  # 2 m away
        np.testing.assert_allclose(direct, expected, atol=1e-3)

    def test_npz_of_one_position_and_of_two_ears(self, tmp_path):
        one = foa(np.array([90.0]))[0][[0, 3, 1, 2]]
        directions = {"intensity_azimuth": np.float32(90), "intensity_elevation": np.float32(-5)}
        room = load_room({"foa": save_npz(tmp_path / "one.npz", one, "foa_q", **directions)}, 48000)
        assert room.responses["foa"].shape == (1, 4, 1200) and room.elevation_deg[0] == -5
        ears = foa()[:, :2]
        path = save_npz(tmp_path / "ears.npz", ears, "brir_q", azimuth=AZIMUTH, elevation=0 * AZIMUTH)
        assert load_room({"binaural": path}, RATE).responses["binaural"].shape == (12, 2, 600)

    @pytest.mark.parametrize("version", ["5", "7.3"])
    def test_matlab(self, tmp_path, version):
        path = tmp_path / "room.mat"
        values = {"fs": float(RATE), "azimuth": AZIMUTH, "elevation": 5 + 0 * AZIMUTH, "distance": 1.5 + 0 * AZIMUTH}
        values |= {"foa": foa(), "mic": foa(gain=7.0)}
        if version == "5":
            savemat(path, values)
        else:
            h5py = pytest.importorskip("h5py", reason="pip install h5py")
            with h5py.File(path, "w", userblock_size=512) as file:
                for name, value in values.items():
                    file[name] = np.transpose(np.atleast_2d(value))
            with path.open("r+b") as file:  # what MATLAB writes in front
                file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
        room = load_room({"foa": path, "mic": path}, RATE)
        np.testing.assert_allclose(room.azimuth_deg, (AZIMUTH + 180) % 360 - 180, atol=1e-9)
        np.testing.assert_allclose(room.elevation_deg, 5)
        assert room.responses["mic"].shape == (12, 4, 600)
        expected = foa_gains(unit_vectors(AZIMUTH, 0 * AZIMUTH)) / 1.5
        np.testing.assert_allclose(room.responses["foa"][:, :, 40], expected, atol=1e-3)

    def test_files_that_do_not_belong_together(self, tmp_path):
        np.savez(tmp_path / "a.npz", fs=RATE, azimuth=AZIMUTH, elevation=0 * AZIMUTH, foa=foa())
        np.savez(tmp_path / "b.npz", fs=RATE, azimuth=AZIMUTH[:5], elevation=0 * AZIMUTH[:5], mic=foa()[:5])
        with pytest.raises(AudioError, match="b: expected the positions of a, found others"):
            load_room({"foa": tmp_path / "a.npz", "mic": tmp_path / "b.npz"}, RATE)
        (tmp_path / "c.wav").touch()
        with pytest.raises(AudioError, match=r"c.wav: .* expected a file .sofa, .mat or .npz, found .wav"):
            load_room({"foa": tmp_path / "c.wav"}, RATE)

    def test_sofa(self, tmp_path):
        sofar = pytest.importorskip("sofar", reason="pip install sofar")
        listener = np.array([[1.0, 2.0, 1.5]])
        paths = {}
        for name, responses in (("foa", foa()), ("mic", foa(gain=7.0))):
            sofa = sofar.Sofa("GeneralFIR")
            sofa.Data_IR, sofa.Data_SamplingRate = responses, RATE
            sofa.SourcePosition = listener + 1.5 * unit_vectors(AZIMUTH, 10 + 0 * AZIMUTH)
            sofa.SourcePosition_Type, sofa.SourcePosition_Units = "cartesian", "metre"
            sofa.ListenerPosition, sofa.ListenerPosition_Units = listener, "metre"
            sofa.ReceiverPosition, sofa.Data_Delay = np.zeros((4, 3)), np.zeros((1, 4))
            paths[name] = tmp_path / f"{name}.sofa"
            sofar.write_sofa(str(paths[name]), sofa)
        room = load_room(paths, RATE)
        np.testing.assert_allclose(room.azimuth_deg, (AZIMUTH + 180) % 360 - 180, atol=1e-6)
        np.testing.assert_allclose(room.elevation_deg, 10, atol=1e-6)
        np.testing.assert_allclose(room.distance_m, 1.5)
        assert set(room.responses) == {"foa", "mic"}
        np.testing.assert_allclose(room.responses["foa"][:, 0, 40], 1 / 1.5, rtol=1e-3)

    def test_sofa_of_a_listener_who_looks_elsewhere(self, tmp_path):
        sofar = pytest.importorskip("sofar", reason="pip install sofar")
        for kind, position in (("cartesian", [[0.0, 2.0, 0.0]]), ("spherical", [[90.0, 0.0, 2.0]])):
            sofa = sofar.Sofa("GeneralFIR")  # one source on the left, a listener who turns
            sofa.Data_IR, sofa.Data_SamplingRate = foa(-AZIMUTH), RATE
            sofa.SourcePosition, sofa.SourcePosition_Type = position, kind
            sofa.SourcePosition_Units = "metre" if kind == "cartesian" else "degree, degree, metre"
            sofa.ListenerView = unit_vectors(90 + AZIMUTH, 0 * AZIMUTH)
            sofa.ReceiverPosition, sofa.Data_Delay = np.zeros((4, 3)), np.zeros((1, 4))
            sofar.write_sofa(str(tmp_path / "turned.sofa"), sofa)
            room = load_room({"foa": tmp_path / "turned.sofa"}, RATE)
            apart = unit_vectors(room.azimuth_deg, room.elevation_deg) - unit_vectors(-AZIMUTH, 0 * AZIMUTH)
            np.testing.assert_allclose(apart, 0, atol=1e-9)
            np.testing.assert_allclose(room.distance_m, 2.0)

    def test_tau_srir(self, tmp_path):
        h5py = pytest.importorskip("h5py", reason="pip install h5py")
        lower, upper = foa(AZIMUTH[:5]), foa(AZIMUTH[5:])
        doas = np.empty((1, 2), object)
        doas[0, 0], doas[0, 1] = (unit_vectors(a, 0 * a) for a in (AZIMUTH[:5], AZIMUTH[5:]))
        fields = [("name", object), ("year", object), ("doa_xyz", object), ("n_rirs", object)]
        rooms = np.empty((2, 1), fields)
        rooms[0, 0] = ("gym", 2017, np.zeros((0, 3)), np.zeros((1, 2)))
        rooms[1, 0] = ("tc352", 2019, doas, np.array([[5, 7]]))
        savemat(tmp_path / "rirdata.mat", {"rirdata": {"fs": float(RATE), "room": rooms}})
        with h5py.File(tmp_path / "rirs_10_tc352.mat", "w") as file:
            for name in ("foa", "mic"):
                cells = file.create_dataset(f"rirs/{name}", (2, 1), h5py.ref_dtype)
                for n, part in enumerate((lower, upper)):
                    cells[n, 0] = file.create_dataset(f"#refs#/{name}{n}", data=part.astype(np.float64)).ref
        room = load_tau_room(tmp_path, "tc352", RATE)
        np.testing.assert_allclose(room.azimuth_deg, (AZIMUTH + 180) % 360 - 180, atol=1e-9)
        assert room.responses["mic"].shape == (12, 4, 600)
        expected = foa_gains(unit_vectors(AZIMUTH, 0 * AZIMUTH))
        np.testing.assert_allclose(room.responses["foa"][:, :, 40], expected, atol=1e-3)
        fields = [(f"field{n}", object) for n in range(10)]
        info = np.empty((2, 1), fields)
        info[0, 0], info[1, 0] = ((*range(6), 2.5, 0, 0, kind) for kind in ("linear", "circular"))
        savemat(tmp_path / "measinfo.mat", {"measinfo": info})
        farther = load_tau_room(tmp_path, "tc352", RATE)
        np.testing.assert_allclose(farther.distance_m, 2.5)
        np.testing.assert_allclose(farther.responses["foa"], room.responses["foa"] / 2.5, atol=1e-6)
        with pytest.raises(AudioError, match="expected rirs_<number>_gym.mat, found no such file"):
            load_tau_room(tmp_path, "gym", RATE)

    def test_tau_snoise(self, tmp_path):
        srirs, folder = tmp_path / "TAU-SRIR_DB", tmp_path / "TAU-SNoise_DB"
        (folder / "01_bomb_center").mkdir(parents=True)
        srirs.mkdir()
        (srirs / "rirs_01_bomb_shelter.mat").touch()
        with pytest.raises(AudioError, match=r"expected 01_\*/ambience_foa_sn3d_24k_edited.wav for the room bomb"):
            find_tau_ambience(folder, srirs, "bomb_shelter")
        files = {"foa": "ambience_foa_sn3d_24k_edited.wav", "mic": "ambience_tetra_24k_edited.wav"}
        for name in files.values():
            (folder / "01_bomb_center" / name).touch()
        found = find_tau_ambience(folder, srirs, "bomb_shelter")
        assert found == {kind: folder / "01_bomb_center" / name for kind, name in files.items()}
        with pytest.raises(AudioError, match="for the room gym"):
            find_tau_ambience(folder, srirs, "gym")

    def test_what_is_no_room(self, tmp_path):
        np.savez(tmp_path / "none.npz", scale=1.0)
        with pytest.raises(
            AudioError, match=r"none.npz: expected room impulse responses: expected binaural in it, found scale"
        ):
            load_room({"binaural": tmp_path / "none.npz"}, RATE)
        path = save_npz(tmp_path / "odd.npz", foa()[:, :3], "brir_q", azimuth=AZIMUTH, elevation=0 * AZIMUTH)
        with pytest.raises(AudioError, match=r"expected binaural as \[12, 2, taps\], found \[12, 3, 600\]"):
            load_room({"binaural": path}, RATE)
        (tmp_path / "text.sofa").write_text("hello")
        with pytest.raises(AudioError, match="text.sofa"):
            load_room({"foa": tmp_path / "text.sofa"}, RATE)


class TestScenes:
    def test_direction_level_and_drr(self, room):
        stems = render_seld(scene(Waypoint(0, 62, 0, 2)), Noises(), {"hall": room}).stems["foa"]
        w, y, _, x = stems.mix().astype(np.float64)
        assert np.degrees(np.arctan2(w @ y, w @ x)) == pytest.approx(60, abs=3)
        response = room.responses["foa"][2, 0].astype(np.float64)
        drr = 10 * np.log10(response[40] ** 2 / np.sum(response[200:] ** 2))
        assert stems.levels[0].drr_db == pytest.approx(drr, abs=0.5)
        energy = np.sum(response**2)
        assert stems.levels[0].level_db == pytest.approx(-20 + 10 * np.log10(energy), abs=0.3)

    def test_a_path_goes_through_the_measured_positions(self, room):
        moving = scene(Waypoint(0.1, -60, 0, 2), Waypoint(1.1, 60, 0, 2))
        foa = render_seld(moving, Noises(), {"hall": room}).stems["foa"].mix().astype(np.float64)
        for frame in range(1, 10):
            w, y, z, x = foa[:, 2440 + frame * 2400 : 2440 + (frame + 1) * 2400]
            label = unit_vectors(-60 + 12 * frame + 6, 0)
            assert angle_between_deg(np.array([w @ x, w @ y, w @ z]), label) < 18  # positions are 30 degrees apart

    def test_ambience_of_the_array(self, room, tmp_path):
        recording = 0.1 * RNG.normal(size=(4, 3 * RATE)).astype(np.float32)
        soundfile.write(tmp_path / "ambience.wav", recording.T, RATE, "FLOAT")
        own = dataclasses.replace(room, ambience={"foa": tmp_path / "ambience.wav"})
        shot = scene(Waypoint(0, 0, 0, 2), ambience=Ambience("array", 10.0, 3))
        ambience = render_seld(shot, Noises(), {"hall": own}).stems["foa"].ambience
        lag = np.argmax(np.correlate(recording[2], ambience[2], "valid"))
        part = recording[:, lag : lag + shot.samples]
        np.testing.assert_allclose(ambience / ambience[0, 0], part / part[0, 0], rtol=1e-2, atol=1e-2)
        soundfile.write(tmp_path / "ambience.wav", recording[:, :RATE].T, RATE)
        with pytest.raises(ValueError, match=r"hall: expected 2 s of ambience or more, found 1.00 s"):
            render_seld(shot, Noises(), {"hall": own})
        soundfile.write(tmp_path / "ambience.wav", recording[:3].T, RATE)
        with pytest.raises(AudioError, match="expected 4 channels, found 3"):
            render_seld(shot, Noises(), {"hall": own})

    def test_what_a_room_lacks(self, room):
        for change, message in (({"formats": ("foa", "mic")}, "expected responses of foa, mic, found foa"),
                                ({"rate": 16000}, "expected responses at 16000 Hz, found 24000 Hz")):  # fmt: skip
            shot = scene(Waypoint(0, 0, 0, 2))
            with pytest.raises(ValueError, match=message):
                render_seld(SeldScene(**{**vars(shot), **change}), Noises(), {"hall": room})
        with pytest.raises(KeyError, match="hall"):
            render_seld(scene(Waypoint(0, 0, 0, 2)), Noises())
