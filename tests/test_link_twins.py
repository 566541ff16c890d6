"""The firmware's jitter buffer and session against their Python twins: the same bytes and samples, whatever comes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from hearable.link import messages as m
from hearable.link.channel import Channel, Impairments
from hearable.link.device import Device
from hearable.link.frames import encode_frame

FIRMWARE = Path(__file__).parent.parent / "firmware_bridge"
ROOM = 1 << 16  # more than any of the structs


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if not (shutil.which("make") and (shutil.which("gcc") or shutil.which("cc"))):
        pytest.skip("apt install gcc make")
    build = tmp_path_factory.mktemp("build")
    subprocess.run(["make", "-s", "-C", FIRMWARE, "shared", f"BUILD={build}"], check=True, timeout=300)
    loaded = ctypes.CDLL(str(build / "libhb_link.so"))
    loaded.hb_device_init.restype = ctypes.c_bool
    loaded.hb_device_chunk.restype = ctypes.c_size_t
    return loaded


class Firmware:
    """The C device, called as ``Device`` is."""

    CONTROLS = 20  # where they lie in hb_device, behind hb_hello

    def __init__(self, library, count: int, hello: m.Hello):
        self.functions = library
        self.memory = ctypes.create_string_buffer(ROOM)
        self.slots = ctypes.create_string_buffer(ROOM)
        model = hello.model if any(hello.model) else None
        assert library.hb_device_init(self.memory, self.slots, count, bool(hello.flags), model)

    def receive(self, data: bytes) -> None:
        self.functions.hb_device_receive(self.memory, data, ctypes.c_size_t(len(data)))

    def chunk(self, microphones: m.Samples, controls: m.Controls) -> tuple[m.Samples, bytes]:
        button, person, background = astuple(controls)
        self.memory[self.CONTROLS : self.CONTROLS + 3] = bytes([button, person, background % 256])
        samples = ctypes.create_string_buffer(microphones.T.astype("<i2").tobytes(), 512)
        out = ctypes.create_string_buffer(2048)
        length = self.functions.hb_device_chunk(self.memory, samples, out)
        return np.frombuffer(samples.raw, "<i2").reshape(128, 2).T, out.raw[:length]


def answers(rng, chunk: int, delay: int) -> list[bytes]:
    """What a host, a bad one, might send while a device is at a chunk."""
    sound = rng.normal(scale=rng.choice([3, 3000, 30000]), size=(2, 128))
    samples = np.clip(sound, -32768, 32767).astype(np.int16)
    clock = 128 * (chunk - delay + int(rng.integers(-2, 20))) % 2**32
    drawn = [
        m.AudioOut(clock, samples),
        m.CopyOut.of((clock - 128) % 2**32, samples),
        m.CopyOut.of((clock + 128) % 2**32, samples),
        m.HostStatus(people=2),
        m.AudioOut(clock + 5, samples),
        m.AudioIn(clock, samples),
    ]
    picked = [message for message in drawn if rng.random() < 0.6]
    if chunk % 40 == 7:
        picked.append(
            m.Welcome(m.VERSION, int(rng.integers(0, 2)), 128 * delay + int(rng.integers(0, 9)), 64, bytes(8))
        )
    return [encode_frame(m.pack(message, int(rng.integers(0, 2**16)))) for message in picked]


@pytest.mark.parametrize("seed", range(3))
def test_firmware_and_twin_do_the_same(library, seed):
    rng = np.random.default_rng(seed)
    hello = m.Hello(flags=seed % 2, model=bytes([seed] * 8))
    twin, firmware = Device(8, hello), Firmware(library, 8, hello)
    channel = Channel(Impairments(loss=0.1, bit_errors=1e-4, jitter_s=0.03, seed=seed))
    delay = [3, 7, 12][seed]
    kinds, welcomes = set(), 0
    for chunk in range(800):
        if not 300 < chunk < 400:  # then the host is away
            for frame in answers(rng, chunk, delay):
                channel.send(frame, 0.008 * chunk)
        arrived = b"".join(channel.receive(0.008 * (chunk + 1)))
        twin.receive(arrived)
        firmware.receive(arrived)
        if rng.random() < 0.05:
            twin.controls = replace(twin.controls, person=int(rng.integers(0, 3)), background_db=-20, button=1)
        sound = rng.normal(scale=8000, size=(2, 128)).clip(-32768, 32767).astype(np.int16)
        (heard, sent), (expected, wanted) = firmware.chunk(sound, twin.controls), twin.chunk(sound)
        assert np.array_equal(heard, expected) and sent == wanted, chunk
        welcomes += twin.welcome
        kinds |= {sent[1] if sent else None}
    assert 400 < welcomes < 800 and twin.jitter.copied > 20 and twin.jitter.concealed > 20


def test_the_clock_wraps(library):
    """Four devices' lives of 74 hours would be too long: the twin is put near the end."""
    twin = Device(8)
    twin._clock = twin._heard = 2**32 - 3 * 128
    twin.receive(encode_frame(m.pack(m.Welcome(m.VERSION, m.WELCOME, 256, 64, bytes(8)), 0)))
    played = []
    for n in range(8):
        clock = (2**32 - 3 * 128 + 128 * n) % 2**32
        heard, _ = twin.chunk(np.zeros((2, 128), np.int16))
        played.append(int(heard[0, 64]))
        twin.receive(encode_frame(m.pack(m.AudioOut(clock, np.full((2, 128), n + 1, np.int16)), n + 1)))
    assert played == [0, 0, 1, 2, 3, 4, 5, 6] and twin.welcome
