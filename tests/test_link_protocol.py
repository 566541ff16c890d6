"""The wire protocol: C and Python on the same vectors, on chance, and on what is damaged."""

from __future__ import annotations

import doctest
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.vectors import generate
from hearable.link import frames, messages
from hearable.link.frames import FrameReader, encode_frame

FIRMWARE = Path(generate.__file__).parent.parent
VECTORS = [line.split() for line in generate.PATH.read_text().splitlines() if not line.startswith("#")]
needs_compiler = pytest.mark.skipif(
    not (shutil.which("make") and (shutil.which("gcc") or shutil.which("cc"))), reason="apt install gcc make"
)


def make(target: str, build: Path) -> str:
    done = subprocess.run(
        ["make", "-C", FIRMWARE, target, f"BUILD={build}"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    return done.stdout


def test_the_vectors_are_what_the_generator_writes():
    assert generate.text() == generate.PATH.read_text()


def test_python_reads_the_vectors():
    for kind, body, *rest in VECTORS:
        if kind == "frame":
            assert list(FrameReader().push(bytes.fromhex(rest[0]))) == [bytes.fromhex(body)]
        else:
            sequence, message = messages.parse(bytes.fromhex(body))
            assert [message.TYPE, sequence, *generate.numbers(message)] == list(map(int, rest))


@needs_compiler
def test_c_reads_and_writes_the_vectors_and_survives_mutation_under_sanitizers(tmp_path):
    said = make("check", tmp_path)
    assert f"{len(VECTORS)} vectors" in said and "link ok" in said and "fuzz ok" in said


@pytest.mark.skipif(not shutil.which("arm-none-eabi-gcc"), reason="apt install gcc-arm-none-eabi")
def test_c_builds_for_cortex_m_and_needs_only_memory_functions(tmp_path):
    make("cortex-m", tmp_path)
    for cpu in ("cortex-m7", "cortex-m55"):
        command = ["arm-none-eabi-nm", "-u", tmp_path / cpu / "libhb_link.a"]
        wanted = {line.split()[1] for line in subprocess.check_output(command, text=True).splitlines() if " U " in line}
        assert {name for name in wanted if not name.startswith("hb_")} <= {"memcpy", "memset", "memmove"}


@pytest.mark.skipif(not shutil.which("clang"), reason="apt install clang")
def test_clang_has_nothing_to_say(tmp_path):
    make("clang", tmp_path)


@given(st.binary(min_size=1, max_size=1024), st.binary(max_size=50))
@settings(max_examples=100, deadline=None)
def test_a_frame_survives_what_comes_before_it(body, noise):
    assert list(FrameReader().push(noise + b"\0" + encode_frame(body)))[-1] == body


@given(st.lists(st.binary(max_size=400), max_size=12))
@settings(max_examples=100, deadline=None)
def test_no_bytes_break_the_reader_and_pieces_do_not_matter(pieces):
    whole, reader = FrameReader(), FrameReader()
    expected = list(whole.push(b"".join(pieces)))
    found = [body for piece in pieces for body in reader.push(piece)]
    assert (found, reader.damaged) == (expected, whole.damaged)
    for body in pieces:
        messages.parse(body)


@given(st.sampled_from(range(1, 11)), st.binary(max_size=800))
@settings(max_examples=200, deadline=None)
def test_what_parses_is_packed_as_it_came(kind, payload):
    body = bytes([kind]) + payload
    sequence, message = messages.parse(body)
    if message is not None:
        packed = messages.pack(message, sequence)
        assert body.startswith(packed) and len(packed) > 3


def test_each_bit_of_a_frame_matters():
    frame = encode_frame(bytes(range(40)))
    for bit in range(8 * (len(frame) - 1)):
        damaged = bytearray(frame)
        damaged[bit // 8] ^= 1 << bit % 8
        reader = FrameReader()
        assert not list(reader.push(bytes(damaged))) and reader.damaged >= 1


def test_an_endless_frame_costs_no_memory_and_is_one_loss():
    reader = FrameReader()
    for _ in range(1000):
        assert not list(reader.push(b"x" * 1000))
    assert len(reader._rest) <= 2 * frames.MAX_BODY_BYTES
    assert list(reader.push(b"\0" + encode_frame(b"next"))) == [b"next"] and reader.damaged == 1


@pytest.mark.parametrize("body", [b"", bytes(1025)])
def test_a_body_that_no_frame_holds(body):
    with pytest.raises(ValueError, match=f"expected 1 to 1024 bytes, found {len(body)}"):
        encode_frame(body)


@pytest.mark.parametrize("level", [0, 1, 100, 5000, 32767, 32768])
def test_a_copy_is_within_half_a_step(level):
    """Seven bits and the sign: the step is at most a 64th of the peak, a 127th where that is no power of two's edge."""
    samples = np.linspace(-level, min(level, 32767), 256).astype(np.int16).reshape(2, 128)
    copy = messages.CopyIn.of(0, samples)
    step = 2 ** np.array(copy.shift)
    assert (step <= np.maximum(1, np.abs(samples.astype(int)).max(axis=1) / 63)).all()
    assert (np.abs(copy.samples.astype(int) - samples) <= step[:, None] / 2).all()


def test_a_copys_shift_is_checked():
    copy = messages.CopyIn(0, (10, 0), np.zeros((2, 128), np.int8))
    assert messages.parse(messages.pack(copy, 7)) == (7, None)


def test_examples_in_docstrings():
    failed, tried = doctest.testmod(frames)
    assert tried and not failed
