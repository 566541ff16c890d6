"""hearable-rt: equal to Python here and on aarch64 (emulated), within its memory, without allocations in the stream."""

import glob
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import soundfile

from export.emit_c import emit
from hearable.session import Graph
from tests import toymodel

SOURCE = Path(__file__).parents[1] / "firmware_bridge"
CHUNKS = 200
ORT_AARCH64 = "onnxruntime==1.22.1"  # 1.28 and later need /proc/cpuinfo of an ARM, which qemu-user does not show
needs_gcc = pytest.mark.skipif(
    not shutil.which("gcc") or not shutil.which("make"), reason="not installed: gcc, make (Debian: gcc, make)"
)
pytestmark = needs_gcc


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    build = tmp_path_factory.mktemp("build")
    make = ["make", "-s", "-C", str(SOURCE / "port" / "linux"), f"BUILD={build}"]
    subprocess.run(make, check=True, capture_output=True)
    return build


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """A model with state, its conditioning as a file, sound, and what Python makes of it."""
    folder = tmp_path_factory.mktemp("model")
    path = toymodel.save_pair(folder)
    conditioning = np.array([0.5, 1.0, 0.0], np.float32)
    conditioning.tofile(folder / "conditioning.f32")
    graph = Graph(path)
    sound = np.random.default_rng(0).normal(scale=0.1, size=(CHUNKS, 2, 128)).astype(np.float32)
    state = graph.state()
    return path, folder / "conditioning.f32", sound, np.stack([graph.step(c, conditioning, state) for c in sound])


def library():
    folder = Path(onnxruntime.__file__).parent / "capi"
    return sorted(glob.glob(str(folder / "libonnxruntime.so*")))[0]


def run(command, vectors, ort, sound=None, **environment):
    path, conditioning, given, _ = vectors
    frames = (given if sound is None else sound).transpose(0, 2, 1).tobytes()
    variables = os.environ | {"ONNXRUNTIME": str(ort), "HB_REPORT": "1"} | environment
    done = subprocess.run([*command, path, conditioning], input=frames, capture_output=True, env=variables)
    assert done.returncode == 0, done.stderr.decode()
    output = np.frombuffer(done.stdout, np.float32).reshape(-1, 128, 2).transpose(0, 2, 1)
    return output, {k: int(v) for k, v in re.findall(r"(\w+) (-?\d+)", done.stderr.decode())}


def test_equals_python_within_its_memory(built, vectors):
    output, report = run([built / "hearable-rt"], vectors, library())
    assert np.abs(output - vectors[3]).max() < 1e-4
    assert report["chunks"] == CHUNKS
    assert report["peak_kb"] < 60_000
    assert report["heap_growth_bytes"] == 0


def watcher(compiler, folder):
    """What counts the allocations and measures the memory of a program that loads it first."""
    library = folder / "watch.so"
    flags = ["-std=c99", "-pedantic", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fPIC", "-shared"]
    subprocess.run([compiler, *flags, SOURCE / "tests" / "watch_memory.c", "-o", library], check=True)
    return library


def test_allocates_nothing_after_start(built, vectors, tmp_path):
    watch = watcher("gcc", tmp_path)
    few, many = (
        run([built / "hearable-rt"], vectors, library(), vectors[2][:chunks], LD_PRELOAD=str(watch))[1]
        for chunks in (50, CHUNKS)
    )
    assert few["libc_allocations"] == many["libc_allocations"] > 1000  # those of hb_open are seen
    assert many["arena_requests"] > 10 * CHUNKS and many["arena_overflows"] == 0
    assert many["resident_kb"] < 60_000


def test_the_heap_serves_from_its_arena_and_then_from_the_c_library(tmp_path):
    folder = SOURCE / "port" / "linux"
    flags = [
        "-std=c99",
        "-pedantic",
        "-O1",
        "-fno-builtin",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Werror",
        f"-I{folder}",
    ]
    command = ["gcc", *flags, SOURCE / "tests" / "test_heap.c", folder / "hb_heap.c", "-o", tmp_path / "test_heap"]
    subprocess.run(command, check=True)
    subprocess.run([tmp_path / "test_heap"], check=True)


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_generated_c_takes_the_place_of_onnxruntime(vectors, tmp_path, compiler):
    if not shutil.which(compiler):
        pytest.skip(f"not installed: {compiler} (Debian: {compiler})")
    path = vectors[0]
    emit(onnx.load(path), tmp_path)
    make = ["make", "-s", "-C", str(SOURCE / "port" / "linux"), "static", f"MODEL={tmp_path / 'toy'}"]
    subprocess.run([*make, f"BUILD={tmp_path}", f"CC={compiler}"], check=True, capture_output=True)
    output, report = run([tmp_path / "toy-rt"], vectors, "none")
    assert np.abs(output - vectors[3]).max() < 1e-6
    assert report["peak_kb"] < 10_000


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_wav_comes_out_aligned(built, vectors, tmp_path, subtype):
    path, conditioning, sound, expected = vectors
    samples = 50 * 128 + 17
    whole = np.concatenate(list(sound), 1)[:, :samples]
    soundfile.write(tmp_path / "in.wav", whole.T, 16000, subtype)
    command = [built / "hearable-rt", path, conditioning, tmp_path / "in.wav", tmp_path / "out.wav"]
    subprocess.run(command, check=True, env=os.environ | {"ONNXRUNTIME": library()})
    found, rate = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert (rate, found.shape) == (16000, (samples, 2))
    aligned = np.concatenate(list(expected), 1)[:, 64 : 64 + 50 * 128]  # those that hold no sample of the cut
    assert np.abs(found.T[:, : 49 * 128] - aligned[:, : 49 * 128]).max() < 1e-4


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_16"])
def test_wav_ends_with_its_sound(built, vectors, tmp_path, subtype):
    path, conditioning, sound, _ = vectors
    whole, given, heard = np.concatenate(list(sound[:5]), 1), tmp_path / "in.wav", tmp_path / "out.wav"

    def listen():
        command = [built / "hearable-rt", path, conditioning, given, heard]
        subprocess.run(command, check=True, env=os.environ | {"ONNXRUNTIME": library()})
        return soundfile.read(heard, dtype="float32")[0]

    soundfile.write(given, whole[:, :600].T, 16000, subtype)
    expected = listen()
    assert expected.shape == (600, 2)
    with given.open("ab") as file:  # a chunk behind the data
        file.write(b"LIST" + (1000).to_bytes(4, "little") + bytes(range(1, 251)) * 4)
    assert np.array_equal(listen(), expected)
    soundfile.write(given, whole.T, 16000, subtype)
    missing = 40 * 2 * (4 if subtype == "FLOAT" else 2)
    os.truncate(given, given.stat().st_size - missing)  # the header says more than there is
    assert np.array_equal(listen(), expected)


def test_what_is_wrong_is_said(built, vectors, tmp_path):
    path, conditioning, *_ = vectors
    (tmp_path / "no.onnx").write_bytes(b"no model")
    (tmp_path / "short.f32").write_bytes(b"1234")
    (tmp_path / "no.wav").write_bytes(b"RIFF")
    soundfile.write(tmp_path / "in.wav", np.zeros((1000, 2)), 16000)
    before = (tmp_path / "in.wav").read_bytes()
    for arguments, expected in (
        ((path,), "usage"),
        ((tmp_path / "no.onnx", conditioning), "no.onnx"),
        ((path.with_name("toy.conditioner.onnx"), conditioning), "hearable"),
        ((path, tmp_path / "short.f32"), "conditioning"),
        ((path, conditioning, tmp_path / "no.wav", tmp_path / "out.wav"), "wav"),
        ((path, conditioning, tmp_path / "in.wav", tmp_path / "in.wav"), "expected another file"),
    ):
        environment = os.environ | {"ONNXRUNTIME": library()}
        done = subprocess.run([built / "hearable-rt", *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 1 and expected in done.stderr
    assert (tmp_path / "in.wav").read_bytes() == before
    if (built / "hearable-alsa").exists():
        (tmp_path / "long.f32").write_bytes(bytes(16))  # of another model
        command = [built / "hearable-alsa", path, tmp_path / "long.f32"]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"ONNXRUNTIME": library()})
        assert done.returncode == 1 and "long.f32: expected the model's conditioning" in done.stderr
    done = subprocess.run([built / "hearable-rt", path, conditioning], capture_output=True, text=True, env={})
    assert done.returncode == 1 and "libonnxruntime.so" in done.stderr


ALSA = Path("/usr/share/alsa/alsa.conf")


def test_alsa_plays_what_the_model_makes_of_what_it_hears(built, vectors, tmp_path):
    program = built / "hearable-alsa"
    if not (program.exists() and ALSA.exists()):
        pytest.skip("ALSA is not installed (Debian: libasound2-dev)")
    path, conditioning, sound, expected = vectors
    sound.transpose(0, 2, 1).tofile(tmp_path / "in.raw")
    played = tmp_path / "out.raw"
    (tmp_path / "asoundrc").write_text(
        f'pcm.ears {{ type file slave.pcm null file "/dev/null" infile "{tmp_path / "in.raw"}" format raw }}\n'
        f'pcm.speech {{ type file slave.pcm null file "{played}" format raw }}\n'
    )
    environment = os.environ | {"ONNXRUNTIME": library(), "ALSA_CONFIG_PATH": f"{ALSA}:{tmp_path / 'asoundrc'}"}
    command = [program, path, conditioning, "ears", "speech"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as running:
        # The null device does not wait: the file is soon long enough.
        for _ in range(300):
            if played.exists() and played.stat().st_size > sound.nbytes:
                break
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, report = running.communicate(timeout=60)
    assert (running.returncode, report) == (0, "0 xruns\n")
    frames = np.fromfile(played, np.float32).reshape(-1, 128, 2).transpose(0, 2, 1)
    assert not frames[:2].any()  # what playback is begun with
    assert np.abs(frames[2 : CHUNKS // 2] - expected[: CHUNKS // 2 - 2]).max() < 1e-4


@pytest.fixture(scope="session")
def ort_aarch64(request):
    """Onnxruntime for aarch64, from its wheel, kept in pytest's cache."""
    folder = Path(request.config.cache.mkdir("ort-aarch64"))
    if not list(folder.rglob("libonnxruntime.so.*")):
        platforms = ["--platform", "manylinux_2_28_aarch64", "--platform", "manylinux_2_27_aarch64"]
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *platforms]
        try:
            subprocess.run([*pip, "--python-version", "3.11", "-d", folder, ORT_AARCH64], check=True, timeout=120)
        except (subprocess.SubprocessError, OSError):
            pytest.skip(f"{ORT_AARCH64} for aarch64 cannot be fetched")
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            wheel.extractall(folder)
    return next(folder.rglob("libonnxruntime.so.*"))


TOOLS = ("aarch64-linux-gnu-gcc", "qemu-aarch64")


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)),
    reason=f"not installed: {', '.join(TOOLS)} (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross, qemu-user)",
)
def test_aarch64_equals_python_within_its_memory_and_allocates_nothing(built, vectors, ort_aarch64, tmp_path):
    emulated = ["qemu-aarch64", "-L", "/usr/aarch64-linux-gnu", built / "aarch64" / "hearable-rt"]
    output, report = run(emulated, vectors, ort_aarch64)
    assert np.abs(output - vectors[3]).max() < 1e-4
    assert report["heap_growth_bytes"] == 0
    # Given to the program, not to the emulator.
    watch = watcher("aarch64-linux-gnu-gcc", tmp_path)
    emulated[1:1] = ["-E", f"LD_PRELOAD={watch}"]
    few, many = (run(emulated, vectors, ort_aarch64, vectors[2][:chunks])[1] for chunks in (20, 60))
    assert few["libc_allocations"] == many["libc_allocations"] > 1000
    assert many["arena_overflows"] == 0
    assert many["resident_kb"] < 60_000
