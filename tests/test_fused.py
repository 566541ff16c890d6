"""The fused C++ kernels against plain torch, values and gradients."""

import shutil
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="needs g++ and ninja")

from training import fused  # noqa: E402
from training.losses import steering_loss  # noqa: E402

TIME, BATCH, BANDS, CHANNELS = 9, 2, 5, 48


def mixing(dtype, channels, groups):
    return torch.randn(TIME, BATCH, BANDS, 2 * channels).to(dtype), torch.randn(groups, BANDS, BANDS)


CASES = {
    "gated_scan": lambda dtype: (
        torch.randn(TIME, BATCH, BANDS, 3 * CHANNELS).to(dtype),
        torch.randn(BATCH, BANDS, CHANNELS),
    ),
    "norm_film": lambda dtype: (
        torch.randn(TIME, BATCH, BANDS, CHANNELS),
        torch.randn(1, CHANNELS),
        torch.randn(1, CHANNELS),
        dtype == torch.bfloat16,
    ),
    "mix_bands": lambda dtype: mixing(dtype, CHANNELS, 8),
    # 24 channels: not a multiple of the widest lanes.
    "mix_bands ": lambda dtype: mixing(dtype, 24, 4),
}


def values_and_gradients(function, arguments):
    leaves = [a.clone().requires_grad_() if isinstance(a, torch.Tensor) else a for a in arguments]
    outputs = function(*leaves)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    generator = torch.Generator().manual_seed(1)
    sum((o.float() * torch.randn(o.shape, generator=generator)).sum() for o in outputs).backward()
    return [o.detach().float() for o in outputs] + [a.grad.float() for a in leaves if isinstance(a, torch.Tensor)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_fused_equals_reference(name, dtype, bound):
    torch.manual_seed(0)
    arguments = CASES[name](dtype)
    found = values_and_gradients(getattr(fused.FUSED, name.strip()), arguments)
    expected = values_and_gradients(getattr(fused.REFERENCE, name.strip()), arguments)
    for f, e in zip(found, expected, strict=True):
        assert (f - e).abs().max() <= bound * e.abs().max()


def test_compiled_equals_as_it_is():
    torch.manual_seed(0)
    arguments = torch.randn(7, 2, 3, 4, 16), torch.randn(7, 2, 3, 2, 2, 16)
    found = values_and_gradients(fused.COMPILED.fuse(steering_loss), arguments)
    expected = values_and_gradients(fused.FUSED.fuse(steering_loss), arguments)
    for f, e in zip(found, expected, strict=True):
        assert (f - e).abs().max() <= 2e-6 * e.abs().max()


def test_a_compiler_that_was_killed_holds_nobody_up(tmp_path, monkeypatch):
    def load(name, sources, extra_cflags, build_directory):
        lock = Path(build_directory) / "lock"  # as torch does: it waits while this is there
        assert not lock.exists()
        lock.touch()
        raise KeyboardInterrupt

    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    monkeypatch.setattr(fused.cpp_extension, "load", load)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            fused._kernels.__wrapped__()
