"""The C of a model: equal to its ONNX chunk after chunk, without heap or libm, in the memory that it says."""

import shutil
import subprocess

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from export.bands import Bands, gathered  # noqa: E402
from export.compiled import Compiled  # noqa: E402
from export.dft import analysis_window, synthesis_window  # noqa: E402
from export.emit_c import emit, half_weights, plan  # noqa: E402
from export.loops import leaves  # noqa: E402
from export.lower import Compute, Lowering, UnsupportedGraph, View  # noqa: E402
from export.to_onnx import export_extractor  # noqa: E402
from hearable.session import Graph  # noqa: E402
from tests import toymodel  # noqa: E402
from training.network import Extractor, ExtractorConfig, dft_matrices  # noqa: E402

SMALL = ExtractorConfig(channels=12, blocks=2, mixing_groups=2, voices=2, voice_channels=20)
STRICT = ["-O2", "-pedantic", "-Wshadow"]
CHUNKS = 500

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed (Debian: gcc)")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small untrained extractor with weights of half precision, as a file."""
    folder = tmp_path_factory.mktemp("c")
    torch.manual_seed(0)
    network = Extractor(SMALL)
    for parameter in network.parameters():  # untrained biases and norms are zeros and ones: they would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    path, _ = export_extractor(network, "small", "space-1", folder)
    onnx.save(half_weights(onnx.load(path)), path)
    return path


@pytest.fixture(scope="module")
def compiled(model):
    return Compiled(onnx.load(model), model.parent, STRICT)


def largest_difference(path, compiled, chunks, seed=0):
    graph, rng = Graph(path), np.random.default_rng(seed)
    state = graph.state()
    conditioning = rng.normal(size=graph.spec.conditioning_values).astype(np.float32)
    ours, worst = compiled.state(), 0.0
    for n in range(chunks):
        level = 10 ** (-3 + 2 * (n // 50 % 2))
        chunk = (level * rng.normal(size=(graph.spec.channels, graph.spec.chunk_samples))).astype(np.float32)
        expected = graph.step(chunk, conditioning, state)
        worst = max(worst, float(np.abs(compiled.step(chunk, conditioning, ours) - expected).max()))
    return worst


@needs_gcc
def test_c_equals_onnx_over_500_chained_chunks(model, compiled):
    assert largest_difference(model, compiled, CHUNKS) < 2e-6
    assert largest_difference(model, compiled, 20, seed=1) < 2e-6


@needs_gcc
def test_any_extractor_graph_will_do(tmp_path):
    path = toymodel.save_pair(tmp_path)
    assert largest_difference(path, Compiled(onnx.load(path), tmp_path), 50) < 1e-6


@needs_gcc
def test_c_needs_neither_heap_nor_libm(compiled):
    names = subprocess.run(["nm", "-u", compiled.object], check=True, capture_output=True, text=True).stdout.split()
    assert set(names) - {"U"} <= {"memcpy", "memset"}
    sizes = subprocess.run(["size", compiled.object], check=True, capture_output=True, text=True).stdout.split()
    assert sizes[7:9] == ["0", "0"]  # data and bss: everything that changes is the caller's


@needs_gcc
def test_c_stays_within_its_memory(model, tmp_path):
    path = tmp_path / model.name
    path.write_bytes(model.read_bytes())
    emit(onnx.load(path), tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "small.h"\n#include <stdlib.h>\nint main(void) {\n'
        "    hb_small *m = malloc(sizeof *m);\n    float c[HB_SMALL_CONDITIONING_VALUES] = {0}, *x = calloc(512, 4);\n"
        "    hb_small_start(m, c);\n    for (int i = 0; i < 3; i++) hb_small_process(m, x, x + 256);\n"
        "    free(m);\n    free(x);\n    return 0;\n}\n"
    )
    flags = ["-std=c99", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover"]
    subprocess.run(
        ["gcc", *flags, tmp_path / "main.c", tmp_path / "small.c", "-o", tmp_path / "main", "-lm"], check=True
    )
    subprocess.run([tmp_path / "main"], check=True)


def test_weights_are_stored_at_half_precision(model, tmp_path):
    header = emit(onnx.load(model), tmp_path)[0].read_text()
    weight_bytes = int(header.split("_WEIGHT_BYTES ")[1].split()[0])
    floats = sum(int(np.prod(i.dims)) for i in onnx.load(model).graph.initializer if i.data_type == 1)
    dft = sum(m.numel() for m in dft_matrices(512))
    assert weight_bytes < 2.3 * (floats - dft) + 3 * 4 * 512  # the windows and turns of the FFT


def test_windows_of_the_transforms_are_recognised():
    forward, inverse = (m.numpy() for m in dft_matrices(256))
    assert analysis_window(forward) is not None
    assert synthesis_window(inverse) is not None
    assert analysis_window(forward + 1e-3) is None
    assert synthesis_window(inverse[::-1]) is None
    assert analysis_window(np.eye(256)) is None


def test_bands_are_recognised():
    pool = np.repeat(np.eye(5, dtype=np.float32), [1, 1, 4, 4, 4], 0) * np.array([1, 1, 0.25, 0.25, 0.5], np.float32)
    assert gathered(pool) == [Bands(2, 1, 1.0), Bands(2, 4, 0.25), Bands(1, 4, 0.5)]
    assert gathered(pool[::-1]) is None  # from high to low
    assert gathered(pool[:, :4]) is None  # bins in no band
    assert gathered(np.pad(pool, ((0, 0), (0, 1)))) is None  # a band without bins
    assert gathered(pool + pool[::-1]) is None


def test_buffers_that_live_at_once_lie_apart(model):
    steps = Lowering(onnx.load(model)).steps
    offsets, size = plan(steps)
    sizes, spans = {}, {}
    for time, step in enumerate(steps):
        views = leaves(step.value) if isinstance(step, Compute) else list(step.sources)
        buffers = [v.buffer for v in [step.target, *views] if isinstance(v, View)]
        for buffer in buffers + [b for b in [getattr(step, "scratch", None)] if b]:
            sizes[buffer.name] = buffer.size
            spans.setdefault(buffer.name, []).append(time)
    for one in offsets:
        assert offsets[one] + sizes[one] <= size
        for other in offsets:
            together = spans[one][0] <= spans[other][-1] and spans[other][0] <= spans[one][-1]
            if one != other and together:
                apart = offsets[one] + sizes[one] <= offsets[other] or offsets[other] + sizes[other] <= offsets[one]
                assert apart, (one, other)


def test_what_has_no_c_is_refused(tmp_path):
    graph = toymodel.extractor()
    graph.graph.node[2].op_type = "Erf"
    with pytest.raises(UnsupportedGraph, match="Erf"):
        emit(graph, tmp_path)
    with pytest.raises(UnsupportedGraph, match="conditioner"):
        emit(toymodel.conditioner(), tmp_path)
