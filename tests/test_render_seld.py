"""Rendered SELD scenes: direction, level, reverberation, motion, stems."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")
from scipy.signal import resample

from hearable.metrics import itd_us
from hearable.synthesis.arrays import LEAD, TAPS, Receiver
from hearable.synthesis.diffuse import even_directions
from hearable.synthesis.directions import angle_between_deg, unit_vectors
from hearable.synthesis.render_seld import RenderedSeld, render_seld
from hearable.synthesis.rooms import images, wall_gain
from hearable.synthesis.seld_scene import Ambience, Event, SeldScene, ShoeboxRoom, Waypoint
from hearable.synthesis.trajectories import along
from tests.test_synthesis import Noises

RATE = 24000
START = 2400
ROOM = ShoeboxRoom((6.0, 5.0, 3.0), 0.5, (3.0, 2.0, 1.5))
RNG = np.random.default_rng(7)


class Sound:
    """A bank of one sound."""

    def __init__(self, sound: np.ndarray):
        self.sound = sound.astype(np.float32)

    def read(self, sound: str, start: int, samples: int) -> np.ndarray:
        return self.sound[start : start + samples]


def event(*path: Waypoint, samples: int = RATE, role: str = "target", start: int = START) -> Event:
    return Event("a", "dog", role, start, samples, 0, -20.0, path)  # type: ignore[arg-type]


def scene(*events: Event, room: ShoeboxRoom | None = None, seconds: float = 2.0, **more) -> SeldScene:
    return SeldScene(RATE, round(seconds * RATE), 3, room, events, **more)


def turning(deg_per_s: float, seconds: float, distance_m: float = 1.3, azimuth: float = -60.0) -> tuple[Waypoint, ...]:
    begin = START / RATE
    return (
        Waypoint(begin, azimuth, 10.0, distance_m),
        Waypoint(begin + seconds, azimuth + deg_per_s * seconds, 10.0, distance_m),
    )


def intensity_direction(foa: np.ndarray) -> np.ndarray:
    w, y, z, x = foa.astype(np.float64)
    vector = np.array([w @ x, w @ y, w @ z])
    return vector / np.linalg.norm(vector)


def directions(count: int) -> list[tuple[float, float]]:
    return [(float(RNG.uniform(-180, 180)), float(RNG.uniform(-40, 40))) for _ in range(count)]


class TestDirection:
    def test_foa_in_the_free_field(self):
        for azimuth, elevation in directions(6):
            mix = render_seld(scene(event(Waypoint(0, azimuth, elevation, 1.2))), Noises()).stems["foa"].mix()
            assert angle_between_deg(intensity_direction(mix), unit_vectors(azimuth, elevation)) < 0.1

    def test_foa_in_a_room(self):
        def error(azimuth: float, elevation: float) -> float:
            shot = scene(event(Waypoint(0, azimuth, elevation, 1.2)), room=ROOM, formats=("foa",))
            return float(angle_between_deg(
                intensity_direction(render_seld(shot, Noises()).stems["foa"].mix()), unit_vectors(azimuth, elevation)
            ))  # fmt: skip

        assert np.median([error(*d) for d in directions(15)]) <= 5

    def test_moving_foa_at_each_label_frame(self):
        path = turning(40.0, 2.0)
        foa = render_seld(scene(event(*path, samples=2 * RATE), seconds=2.5), Noises()).stems["foa"].mix()
        for frame in range(1, 20):
            begin = START + frame * RATE // 10
            azimuth, elevation, _ = along(path, [(begin + RATE / 20) / RATE])
            found = intensity_direction(foa[:, begin : begin + RATE // 10])
            assert angle_between_deg(found, unit_vectors(azimuth, elevation)[0]) < 2

    def test_moving_microphones_at_each_label_frame(self):
        path = turning(-40.0, 1.0, azimuth=150.0)
        mic = render_seld(scene(event(*path)), Noises()).stems["mic"].mix()
        candidates = even_directions(3000)
        steering = Receiver(("mic",), RATE).spectra(candidates, 512)[:, :, 10:130:2]  # 0.5 to 6 kHz
        steering = steering / np.linalg.norm(steering, axis=1, keepdims=True)
        for frame in range(1, 10):
            begin = START + frame * RATE // 10
            azimuth, elevation, _ = along(path, [(begin + RATE / 20) / RATE])
            blocks = np.lib.stride_tricks.sliding_window_view(mic[:, begin : begin + RATE // 10], 512, -1)[:, ::256]
            spectra = np.fft.rfft(blocks * np.hanning(512))[..., 10:130:2]
            power = sum(
                np.sum(np.abs(np.einsum("dcf,cf->df", steering.conj(), s, optimize=True)) ** 2, -1)
                for s in spectra.transpose(1, 0, 2)
            )
            assert angle_between_deg(candidates[np.argmax(power)], unit_vectors(azimuth, elevation)[0]) < 2

    def test_ears_hear_the_itd_of_the_head(self):
        receiver = Receiver(("binaural",), RATE)
        for azimuth in (-120.0, -30.0, 0.0, 75.0):
            shot = scene(event(Waypoint(0, azimuth, 0, 1.2)), formats=("binaural",))
            heard = render_seld(shot, Noises()).stems["binaural"].mix()
            response = np.fft.irfft(receiver.spectra(unit_vectors([azimuth], [0.0]), TAPS), TAPS)[0]
            assert itd_us(heard, RATE) == pytest.approx(itd_us(response, RATE), abs=20)


class TestMotion:
    TIME = np.arange(2 * RATE) / RATE

    @pytest.mark.parametrize("room", [None, ROOM])
    def test_a_moving_tone_does_not_click(self, room):
        edges = np.clip(np.minimum(self.TIME, self.TIME[-1] - self.TIME) / 0.2, 0, 1)
        tone = np.sin(2 * np.pi * 500 * self.TIME) * np.sin(np.pi / 2 * edges) ** 2
        shot = scene(event(*turning(40.0, 2.0), samples=len(tone)), room=room, seconds=2.8)
        shot = replace(shot, formats=("foa", "mic", "binaural"))
        for stems in render_seld(shot, Sound(tone)).stems.values():
            spectra = np.abs(np.fft.rfft(stems.mix() * np.blackman(shot.samples))) ** 2
            above = np.fft.rfftfreq(shot.samples, 1 / RATE) > 1000
            for spectrum in spectra:
                assert 10 * np.log10(spectrum[above].sum() / spectrum.sum()) < -90

    def test_radial_motion_is_the_exact_delay(self):
        speed, near, seconds = 2.0, 1.0, 1.5
        sound = np.fft.irfft(np.fft.rfft(RNG.normal(size=round(seconds * RATE))) * (
            np.fft.rfftfreq(round(seconds * RATE), 1 / RATE) < 9000
        )) * np.hanning(round(seconds * RATE))  # fmt: skip
        begin = START / RATE
        path = (Waypoint(begin, 30, 0, near), Waypoint(begin + seconds, 30, 0, near + speed * seconds))
        heard = render_seld(scene(event(*path, samples=len(sound))), Sound(sound)).stems["foa"].mix()[0]
        sound *= 0.1 / np.sqrt(np.mean(sound**2))
        # What is heard at t left at u: t = u + (near + speed u) / c.
        left = (np.arange(scene().samples - START) / RATE - near / 343.0) / (1 + speed / 343.0)
        fine = resample(sound, 64 * len(sound))
        exact = np.interp(left * RATE * 64, np.arange(len(fine)), fine, left=0, right=0) / (near + speed * left)
        error = heard[START:] - exact
        assert 10 * np.log10(np.sum(exact**2) / np.sum(error**2)) > 60

    @pytest.mark.parametrize("room", [None, ROOM])
    def test_static_and_moving_events_are_alike_loud(self, room):
        still = render_seld(scene(event(turning(0, 2)[0], samples=2 * RATE), room=room, seconds=3.0), Noises())
        moving = render_seld(scene(event(*turning(40, 2), samples=2 * RATE), room=room, seconds=3.0), Noises())
        for name in ("foa", "mic"):
            a, b = (r.stems[name].levels[0] for r in (still, moving))
            assert a.level_db == pytest.approx(b.level_db, abs=1.0)
            assert a.drr_db == pytest.approx(b.drr_db, abs=1.5) or room is None

    def test_a_sound_that_is_cut_does_not_click(self):
        tone = np.cos(2 * np.pi * 500 * np.arange(4 * RATE) / RATE)
        shot = scene(replace(event(Waypoint(0, 0, 0, 1.0)), clip_start=RATE), formats=("foa",))
        bend = np.abs(np.diff(render_seld(shot, Sound(tone)).stems["foa"].mix()[0].astype(np.float64), 2))
        end = START + RATE + round(RATE / 343.0)
        middle = bend[START + 2000 : START + RATE - 2000].max()
        assert (
            bend[START - 200 : START + 1000].max() < 1.5 * middle and bend[end - 1000 : end + 200].max() < 1.1 * middle
        )

    def test_level_follows_distance(self):
        near, far = (
            render_seld(scene(event(Waypoint(0, 0, 0, d))), Noises()).stems["foa"].levels[0].level_db
            for d in (1.0, 4.0)
        )
        assert near == pytest.approx(-20.0, abs=0.6)  # the band's edge is not passed
        assert near - far == pytest.approx(20 * np.log10(4), abs=0.1)

    def test_the_tail_of_a_moving_event_goes_on(self):
        shot = scene(event(*turning(40, 1)), room=ROOM, formats=("foa",))
        foa = render_seld(shot, Noises()).stems["foa"].mix()[0]
        end = START + RATE
        power = [np.mean(foa[end + a : end + a + 1200] ** 2) for a in (1200, 7200)]
        assert 10 * np.log10(power[0] / power[1]) == pytest.approx(60 * 0.25 / 0.5, abs=3)


class TestRoom:
    def response(self, room: ShoeboxRoom, seconds: float) -> np.ndarray:
        pulse = np.eye(1, 100)[0]
        shot = scene(event(Waypoint(0, 30, 5, 1.0), samples=100), room=room, seconds=seconds, formats=("foa",))
        return render_seld(shot, Sound(pulse)).stems["foa"].mix()[0, START:].astype(np.float64)

    @pytest.mark.parametrize("size", [(3.0, 3.0, 2.5), (6.0, 5.0, 3.0), (12.0, 9.0, 4.0)])
    @pytest.mark.parametrize("rt60_s", [0.25, 0.5, 1.2])
    def test_reverberation_time(self, size, rt60_s):
        room = ShoeboxRoom(size, rt60_s, tuple(0.45 * s for s in size))
        response = self.response(room, rt60_s + 0.3)
        decay = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] + 1e-30)
        inside = np.flatnonzero((decay < decay[0] - 5) & (decay > decay[0] - 35))
        slope = np.polyfit(inside / RATE, decay[inside], 1)[0]
        assert -60 / slope == pytest.approx(rt60_s, rel=0.08)

    def test_early_reflections_are_those_of_pyroomacoustics(self):
        pra = pytest.importorskip("pyroomacoustics", reason="pip install pyroomacoustics")
        constants = {"c": 343.0, "rir_hpf_enable": False}
        before = {name: pra.constants.get(name) for name in constants}
        try:
            for name, value in constants.items():
                pra.constants.set(name, value)
            other = pra.ShoeBox(ROOM.size_m, fs=RATE, materials=pra.Material(1 - wall_gain(ROOM) ** 2), max_order=12)
            other.add_source(np.array(ROOM.array_m) + unit_vectors(30, 5))
            other.add_microphone(ROOM.array_m)
            other.compute_rir()
        finally:
            for name, value in before.items():
                pra.constants.set(name, value)
        theirs = other.rir[0][0][pra.constants.get("frac_delay_length") // 2 :]
        ours = self.response(ROOM, 0.5)
        span = slice(0, round(0.036 * RATE))  # images begin to fade after 0.038 s
        # Up to 9 kHz: how the band ends is each one's own choice.
        ours, theirs = (np.fft.irfft(np.fft.rfft(r[span], 4096)[:1536], 4096) for r in (ours, theirs))
        assert np.sum((ours - theirs) ** 2) < 0.01 * np.sum(ours**2)

    def test_images_are_whole_within_reach(self):
        few = images(ROOM, 8.0)
        more = images(ROOM, 16.0)
        position = np.array([1.0, -0.5, 0.3])
        near = [np.sort(np.linalg.norm(i.seen_from_array(position), axis=-1)) for i in (few, more)]
        np.testing.assert_allclose(near[0][near[0] < 8], near[1][near[1] < 8])
        assert few.count[0] == 0 and np.all(few.count[1:] > 0)


@pytest.fixture(scope="module")
def shot() -> SeldScene:
    return scene(
        event(Waypoint(0, 30, 0, 1.2)),
        event(*turning(20, 1), start=6000),
        event(Waypoint(0, -90, 10, 1.5), role="interferer", samples=20000),
        room=ROOM,
        seconds=1.6,
        ambience=Ambience("diffuse", 12.0, 5),
        formats=("foa", "mic", "binaural"),
    )


@pytest.fixture(scope="module")
def rendered(shot: SeldScene) -> RenderedSeld:
    return render_seld(shot, Noises())


class TestStems:
    def test_they_sum_to_the_mix(self, shot, rendered):
        for name, channels in (("foa", 4), ("mic", 4), ("binaural", 2)):
            stems = rendered.stems[name]
            total = stems.ambience.copy()
            for image in stems.events:
                total[:, image.start : image.start + image.audio.shape[1]] += image.audio
            mix = stems.mix()
            assert mix.shape == (channels, shot.samples) and mix.dtype == np.float32
            np.testing.assert_array_equal(total, mix)

    def test_levels_are_those_of_the_stems(self, shot, rendered):
        stems = rendered.stems["foa"]

        def over(index: int, audio: np.ndarray) -> float:
            e = shot.events[index]
            return float(np.sum(audio[0, e.start : e.start + e.samples].astype(np.float64) ** 2))

        alone = [replace(stems, events=(i,), ambience=np.zeros_like(stems.ambience)).mix() for i in stems.events]
        for index, levels in enumerate(stems.levels):
            own = over(index, alone[index])
            assert levels.snr_db == pytest.approx(10 * np.log10(own / over(index, stems.ambience)), abs=1e-3)
            noise = over(index, alone[2]) if index < 2 else 0.0
            assert levels.sir_db == (pytest.approx(10 * np.log10(own / noise), abs=1e-3) if noise else np.inf)
        targets = np.sum((alone[0] + alone[1])[0] ** 2.0)
        assert 10 * np.log10(targets / np.sum(stems.ambience[0] ** 2.0)) == pytest.approx(12.0, abs=1e-3)
        assert all(s.snr_db == pytest.approx(12.0, abs=1e-3) for s in rendered.stems.values())

    def test_drr_is_that_of_the_response(self):
        room = replace(ROOM, rt60_s=0.3)
        levels = render_seld(scene(event(Waypoint(0, 30, 5, 1.0)), room=room), Noises()).stems["foa"].levels[0]
        response = TestRoom().response(room, 1.0)
        first = round(1 / 343 * RATE) + LEAD
        ratio = np.sum(response[:first] ** 2) / np.sum(response[first:] ** 2)
        assert levels.drr_db == pytest.approx(10 * np.log10(ratio), abs=1.0)

    def test_the_same_scene_gives_the_same_bytes_and_another_seed_another_tail(self, shot, rendered):
        again, other = render_seld(shot, Noises()), render_seld(replace(shot, seed=4), Noises())
        for name, stems in rendered.stems.items():
            assert stems.mix().tobytes() == again.stems[name].mix().tobytes()
            assert np.any(stems.events[0].audio != other.stems[name].events[0].audio)

    def test_a_format_does_not_depend_on_the_others(self, shot, rendered):
        alone = render_seld(replace(shot, formats=("foa",)), Noises()).stems["foa"]
        for a, b in zip(alone.events, rendered.stems["foa"].events, strict=True):
            np.testing.assert_allclose(a.audio, b.audio, atol=2e-6)

    def test_nothing_but_ambience(self):
        stems = render_seld(scene(ambience=Ambience("diffuse", 20.0, 1)), Noises()).stems["foa"]
        assert 10 * np.log10(np.mean(stems.mix()[0] ** 2.0)) == pytest.approx(-50.0, abs=0.01)

    def test_a_recording_from_all_around(self):
        sound = np.convolve(RNG.normal(size=3 * RATE), np.ones(8) / 8)
        shot = scene(event(Waypoint(0, 0, 0, 1)), ambience=Ambience("recorded", 0.0, 1, "rain"), seconds=6.0)
        foa = render_seld(shot, Sound(sound)).stems["foa"].ambience
        np.testing.assert_allclose(np.corrcoef(foa), np.eye(4), atol=0.06)
        np.testing.assert_allclose(foa.var(1) / foa[0].var(), [1, 1 / 3, 1 / 3, 1 / 3], rtol=0.1)

    @pytest.mark.parametrize(
        ("sound", "more", "message"),
        [
            (np.ones(500), {}, "a: expected 24000 samples from 0 on, found 500"),
            (np.zeros(RATE), {}, "a: expected a sound, found an RMS level of 0"),
            (np.ones(RATE), {"ambience": Ambience("recorded", 0, 1, "rain"), "seconds": 2.0}, None),
            (np.ones(RATE), {"ambience": Ambience("array", 0, 1)}, "no measured room: expected ambience of foa, mic"),
        ],
    )
    def test_sounds_that_will_not_do(self, sound, more, message):
        if message is None:
            sound, message = sound[:20000], "expected 24000 samples"
        with pytest.raises(ValueError, match=message):
            render_seld(scene(event(Waypoint(0, 0, 0, 1)), **more), Sound(sound))
