"""The host's side of the link, on a clock of the test's: losses, jitter, a pulled cable, what the wearer wants."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.link import BAD, simulate, ways
from hearable import metrics
from hearable.errors import EnrollmentError
from hearable.link import messages as m
from hearable.link.channel import Channel, Impairments
from hearable.link.device import Device
from hearable.link.frames import FrameReader, encode_frame
from hearable.link.host import HELD_CHUNKS, Host, to_int16
from hearable.link.jitter import JitterBuffer
from hearable.live.processor import LiveProcessor
from tests import tinykit, toymodel

MODEL = bytes(range(8))
DELAY = 7  # chunks
PERFECT = Impairments()


def done(profile) -> Future:
    future = Future()
    future.set_result(profile)
    return future


@pytest.fixture
def make_host(toy):
    def make(select: str | None = "ann", **options) -> Host:
        processor = LiveProcessor(toy, {"ann": toymodel.profile(7), "bob": toymodel.profile(0)})
        processor.select(select)
        options = {
            "model": MODEL,
            "delay_samples": DELAY * 128,
            "enroller": lambda clip: done(toymodel.profile(5)),
        } | options
        return Host(processor, **options)

    return make


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    """Four seconds of a voice at both ears, int16."""
    voice = tinykit.voice(140, 4.0, np.random.default_rng(1))
    return to_int16(np.stack([voice, np.roll(voice, 5) * 0.7]).astype(np.float32))


def sent(*messages, start: int = 0) -> bytes:
    return b"".join(encode_frame(m.pack(message, start + n)) for n, message in enumerate(messages))


def read(frames: list[bytes]) -> list:
    return [m.parse(body)[1] for body in FrameReader().push(b"".join(frames))]


def audio(n: int) -> m.AudioIn:
    return m.AudioIn(128 * n, np.full((2, 128), 100 * (n + 1) % 30000, np.int16))


def clocks(frames: list[bytes]) -> list[int]:
    return [message.clock // 128 for message in read(frames) if isinstance(message, m.AudioOut)]


class TestLink:
    """The bars: what is heard, and when."""

    def test_a_perfect_link_gives_what_the_processor_gives_at_its_delay(self, make_host, talk):
        host = make_host()
        run = simulate(Device(), host, talk, ways(PERFECT))
        reference = LiveProcessor(host.processor._model, {"ann": toymodel.profile(7)})
        reference.select("ann")
        begin = run.welcome.index(True) * 128
        entered = talk[:, begin:].copy()
        entered[:, :32] = (entered[:, :32].astype(int) * np.arange(1, 33)) >> 5  # faded in
        chunks = (entered / np.float32(32768)).reshape(2, -1, 128).transpose(1, 0, 2)
        expected = to_int16(np.concatenate([reference.step(np.ascontiguousarray(c)) for c in chunks], axis=1))
        played = run.heard[:, begin + DELAY * 128 :]
        assert np.array_equal(played[:, 32:], expected[:, 32 : played.shape[1]])

    @pytest.mark.parametrize("ordered", [False, True])
    def test_a_bad_link_costs_less_than_1_db_and_no_delay(self, make_host, talk, ordered):
        runs = [simulate(Device(), make_host(), talk, ways(i)) for i in (PERFECT, replace(BAD, ordered=ordered))]
        good, bad = (run.heard[:, 16000:].astype(np.float64) for run in runs)
        assert (metrics.si_sdr(bad, good) > 20).all()  # an output of 10 dB falls to 9.6 dB
        lag = np.argmax([np.vdot(np.roll(good, n, axis=1), bad) for n in range(-64, 65)]) - 64
        assert lag == 0

    def test_without_copies_there_is_more_to_conceal(self, make_host, talk):
        hosts = [make_host(), make_host()]
        for host, flags in zip(hosts, (m.COPIES, 0), strict=True):
            simulate(Device(hello=m.Hello(flags=flags)), host, talk[:, :48000], ways(replace(BAD, bit_errors=1e-4)))
        with_copies, without = (host.status() for host in hosts)
        assert with_copies.copied > 20 and without.copied == 0 and without.concealed > 3 * with_copies.concealed

    def test_a_pulled_cable_is_back_within_a_second_at_the_same_delay(self, make_host, talk):
        sound = np.tile(talk, (1, 3))[:, : 11 * 16000]
        up, down = ways(replace(PERFECT, jitter_s=0.005))
        host, device = make_host(), Device()

        def pull(now):
            up.cut = down.cut = 3 <= now < 8

        run = simulate(device, host, sound, (up, down), each=pull)
        back = 8 + run.welcome[1000:].index(True) * 0.008
        assert not any(run.welcome[500:1000]) and back < 8.5
        straight = simulate(Device(), make_host(), sound, ways(PERFECT))
        begin = round((back + 0.2) * 16000)
        same = metrics.si_sdr(run.heard[:, begin:], straight.heard[:, begin:])
        assert (same > 40).all() and run.heard.shape == straight.heard.shape
        assert np.array_equal(run.heard[:, 80000:112000], sound[:, 80000:112000])  # alone, it passes its microphones

    def test_drift_adds_up_to_nothing(self, make_host, talk):
        for ppm in (-20000, 20000):  # 2 %: in 4 s as much as 100 ppm in 13 minutes
            device = Device()
            run = simulate(device, make_host(), talk, ways(PERFECT), drift_ppm=ppm)
            assert device.jitter.concealed <= DELAY + 1 and all(run.welcome[40:])

    def test_what_is_cut_off_does_not_click(self, make_host):
        sound = to_int16(np.stack([np.sin(np.arange(48000) * 2 * np.pi * 200 / 16000)] * 2).astype(np.float32) * 0.5)
        run = simulate(Device(), make_host(select=None), sound, ways(replace(PERFECT, loss=0.3)))
        steepest = np.abs(np.diff(sound.astype(int), axis=1)).max()
        assert np.abs(np.diff(run.heard.astype(int), axis=1)).max() < 4 * steepest


class TestHandshake:
    @pytest.mark.parametrize(
        ("hello", "answer"),
        [
            (m.Hello(), m.WELCOME),
            (m.Hello(model=MODEL), m.WELCOME),
            (m.Hello(version=2), m.WRONG_VERSION),
            (m.Hello(rate_hz=48000), m.WRONG_FORMAT),
            (m.Hello(channels=1), m.WRONG_FORMAT),
            (m.Hello(model=bytes(7) + b"x"), m.WRONG_MODEL),
        ],
    )
    def test_answer(self, make_host, hello, answer):
        said = []
        host = make_host(tell=said.append)
        assert read(host.receive(sent(hello))) == [m.Welcome(m.VERSION, answer, DELAY * 128, 64, MODEL)]
        assert len(said) == 1 and said[0].startswith("device refused" if answer else "device connected")
        assert (host.receive(sent(audio(0))) == []) == bool(answer)
        host.receive(sent(hello))  # a device that is refused goes on asking, and is spoken of once
        assert len(said) == (1 if answer else 2)

    def test_no_sound_before_a_hello_and_none_from_ourselves(self, make_host):
        host = make_host()
        assert host.receive(sent(audio(0), audio(1))) == []
        host.receive(sent(m.Hello()))
        assert host.receive(sent(m.AudioOut(0, np.zeros((2, 128), np.int16)))) == []

    def test_a_format_that_the_protocol_has_not(self, toy):
        with pytest.raises(ValueError, match="expected a multiple of 128, found 100"):
            Host(LiveProcessor(toy), MODEL, 100, lambda clip: done(None))


class TestOrder:
    @pytest.fixture
    def host(self, make_host):
        host = make_host(select=None)
        host.receive(sent(m.Hello()))
        return host

    def test_a_missing_chunk_is_waited_for_and_then_given_up(self, host):
        assert clocks(host.receive(sent(audio(0)))) == [0]
        assert clocks(host.receive(sent(audio(2), audio(3)))) == []
        assert clocks(host.receive(sent(audio(1)))) == [1, 2, 3]
        assert clocks(host.receive(sent(audio(5), audio(6)))) == []
        assert clocks(host.receive(sent(audio(7)))) == [4, 5, 6, 7]
        assert host.status().concealed == 1
        assert clocks(host.receive(sent(audio(4)))) == []

    def test_a_copy_is_as_good_as_the_chunk(self, host):
        host.receive(sent(audio(0)))
        copy = m.CopyIn.of(128, audio(1).samples)
        assert clocks(host.receive(sent(audio(2), copy))) == [1, 2] and host.status().copied == 1

    def test_of_a_backlog_only_the_newest_is_processed(self, host):
        backlog = sent(*(audio(n % 2**20) for n in range(700)))
        answered = clocks(host.receive(backlog))
        assert answered[-1] == 699 and len(answered) <= HELD_CHUNKS and host.jumps > 0

    def test_a_host_that_is_too_slow_lets_everything_pass_and_then_tries_again(self, make_host):
        said = []
        host = make_host(tell=said.append)
        host.receive(sent(m.Hello(), audio(0)))
        assert not host.processor.shedding
        host.receive(sent(*(audio(n) for n in range(1, 12))))
        assert host.processor.shedding and said[-1] == "too slow: everything passes for 1 s"
        for n in range(12, 12 + 140):
            host.receive(sent(audio(n)))
        assert not host.processor.shedding and len(said) == 2

    def test_losses_are_counted(self, host):
        host.receive(sent(audio(0), start=65535) + sent(audio(1), start=3) + b"junk\0")
        status = host.status()
        assert (status.received, status.lost, status.damaged) == (2, 3, 1)

    def test_a_status_every_second(self, host):
        frames = [frame for n in range(250) for frame in host.receive(sent(audio(n), start=n))]
        found = [message for message in read(frames) if isinstance(message, m.HostStatus)]
        assert [status.received for status in found] == [125, 250] and found[0].people == 2


class TestControls:
    @pytest.fixture
    def host(self, make_host):
        host = make_host()
        host.receive(sent(m.Hello()))
        return host

    def feed(self, host, chunks: int, start: int = 0) -> None:
        for n in range(start, start + chunks):
            host.receive(sent(audio(n), start=n))

    def test_person_and_background(self, host):
        host.receive(sent(m.Controls(0, 1, -18)))
        assert host.processor.selected == "bob" and host.processor.background_db == -18
        host.receive(sent(m.Controls(0, 7, m.SILENT_DB)))
        assert host.processor.selected == "bob" and host.processor.background_db == -np.inf
        host.processor.select("ann")  # at the host: what the device repeats does not undo it
        host.receive(sent(m.Controls(0, 7, m.SILENT_DB)))
        assert host.processor.selected == "ann"
        host.receive(sent(m.Controls(0, m.HOSTS_CHOICE, 50)))
        assert host.processor.background_db == 0

    def test_a_look_enrolls(self, make_host):
        clips, said, kept = [], [], {}
        future = Future()
        host = make_host(enroller=lambda clip: clips.append(clip) or future, tell=said.append, keep=kept.__setitem__)
        host.receive(sent(m.Hello()))
        self.feed(host, 300)
        for _ in range(3):  # repeated: still one look
            host.receive(sent(m.Controls(1)))
        assert host.status().look == m.LOOK_LOOKING
        self.feed(host, 375, start=300)
        host.receive(sent(m.Controls(0)))
        self.feed(host, 1, start=675)
        assert clips[0].shape == (2, 48000) and host.processor.selected == "ann"
        profile = toymodel.profile(3)
        future.set_result(profile)
        self.feed(host, 1, start=676)
        assert kept == {"person-1": profile}
        assert host.processor.selected == "person-1" and host.status().look == m.LOOK_ENROLLED
        assert host.status().person == 2 and said[-1] == "enrolled person-1"

    def test_a_look_that_fails_says_why(self, make_host):
        said = []
        future = Future()
        future.set_exception(EnrollmentError("silence"))
        host = make_host(enroller=lambda clip: future, tell=said.append)
        host.receive(sent(m.Hello(), m.Controls(1), m.Controls(0)))
        assert host.status().look == m.LOOK_REFUSED and "nobody enrolled: look: expected 2 s" in said[-1]
        self.feed(host, 300)
        host.receive(sent(m.Controls(1)))
        host.receive(sent(m.Controls(0)))
        self.feed(host, 1, start=300)
        assert said[-1] == "nobody enrolled: silence" and host.processor.selected == "ann"

    def test_a_look_that_the_link_was_lost_in_is_forgotten(self, host):
        self.feed(host, 300)
        host.receive(sent(m.Controls(1)))
        host.receive(sent(m.Hello()))
        assert host.status().look == m.LOOK_NONE and host.processor.recent.looking_s is None
        host.receive(sent(m.Controls(0)))
        assert host.status().look == m.LOOK_NONE


class TestChannel:
    def test_loss_and_bit_errors_are_what_was_asked_for(self):
        channel = Channel(Impairments(loss=0.2, bit_errors=0.01, seed=3))
        for _ in range(2000):
            channel.send(bytes(100), 0.0)
        arrived = channel.receive(0.0)
        assert channel.lost == 2000 - len(arrived) and 340 < channel.lost < 460
        flipped = sum(bin(byte).count("1") for byte in b"".join(arrived))
        assert flipped / (800 * len(arrived)) == pytest.approx(0.01, rel=0.05)

    def test_jitter_overtakes_only_where_nothing_is_ordered(self):
        for ordered in (True, False):
            channel = Channel(Impairments(jitter_s=0.02, ordered=ordered))
            for n in range(100):
                channel.send(bytes([n]), n * 0.008)
            arrived = [p[0] for t in np.arange(0, 1, 0.001) for p in channel.receive(t)]
            assert sorted(arrived) == list(range(100)) and (arrived == sorted(arrived)) == ordered

    def test_nonsense(self):
        with pytest.raises(ValueError, match="between 0 and 1"):
            Impairments(loss=2)


def test_a_gap_is_played_backwards_then_silent_then_fades_in():
    jitter = JitterBuffer(8)
    ramp = np.tile(np.arange(128, dtype=np.int16) * 100, (2, 1))
    whole = ramp.astype(int)
    for n in (0, 1, 4):
        jitter.put(m.AudioIn(128 * n, ramp))
    first, second, gap, silence, back = (jitter.take()[0] for _ in range(5))
    assert first[0, 31] == ramp[0, 31] and first[0, 0] == 0 and np.array_equal(second, ramp)
    assert gap[0, 0] == ramp[0, 127] and gap[0, 64] == whole[0, 63] * 64 >> 7 and gap[0, 127] == 0
    assert not silence.any() and back[0, 15] == ramp[0, 15] // 2 and back[0, 40] == ramp[0, 40]
    assert jitter.concealed == 2
