"""The generated C on Cortex-M7 and Cortex-M55 under QEMU equals ONNX, and says what it takes."""

import shutil

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from benchmarks.microcontroller import BOARDS, prepare, run  # noqa: E402
from export.to_onnx import export_extractor  # noqa: E402
from hearable.checkpoints import model_path  # noqa: E402
from hearable.session import open_graph  # noqa: E402
from training.network import Extractor, ExtractorConfig  # noqa: E402

SMALL = ExtractorConfig(channels=12, blocks=2, mixing_groups=2, voice_channels=20)
MISSING = [tool for tool in ("arm-none-eabi-gcc", "qemu-system-arm", "make") if not shutil.which(tool)]
PACKAGES = "gcc-arm-none-eabi, libnewlib-arm-none-eabi, qemu-system-arm, make"
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (Debian: {PACKAGES})")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mcu")
    torch.manual_seed(0)
    path, _ = export_extractor(Extractor(SMALL), "small-net", "space-1", folder)
    return folder, *prepare(path, folder, 500)


@pytest.mark.parametrize("board", BOARDS)
def test_c_equals_onnx_over_500_chained_chunks(prepared, board):
    folder, name, expected = prepared
    report = run(board, folder, name, expected)
    assert report.difference < 2e-6
    assert abs(report.calibration - 2_000_000) < 100  # the counter counts instructions
    assert report.instructions_mean <= report.instructions_max < 2_000_000
    assert 0 < report.stack < 4096
    assert report.weights < report.flash < report.weights + 40_000


@pytest.mark.parametrize("board", BOARDS)
def test_the_tiny_model_fits(tmp_path, board):
    spec = open_graph(model_path("tiny"), "extractor").spec
    assert spec.parameters <= 200_000
    assert spec.macs_per_chunk <= 2_500_000
    name, expected = prepare("tiny", tmp_path, 10)
    report = run(board, tmp_path, name, expected)
    assert report.difference < 2e-6
    assert report.weights <= 400_000
    assert report.ram <= 256_000
    assert report.instructions_max <= 4_000_000
