"""The wheel and the sdist, built from a copy of what they are made of."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build", reason="pip install 'hearable[dev]'")

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dist(tmp_path_factory) -> Path:
    """A folder with the wheel and the sdist; the checkout stays clean, and other folders are there to be left out."""
    source = tmp_path_factory.mktemp("source")
    clean = shutil.ignore_patterns("__pycache__", "*.tmp")
    for name in ("hearable", "models", "training", "export"):
        shutil.copytree(ROOT / name, source / name, ignore=clean)
    (source / "datasets").mkdir()
    (source / "models" / "SHA256SUMS").touch()
    for name in ("pyproject.toml", "LICENSE", "README.md", "MANIFEST.in"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert "would be ignored" not in said, said[-4000:]  # a folder with data that is not among the packages
    return out


@pytest.fixture(scope="module")
def wheel(dist) -> list[str]:
    return zipfile.ZipFile(next(dist.glob("*.whl"))).namelist()


def metadata(dist: Path) -> str:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        return archive.read(next(n for n in archive.namelist() if n.endswith("/METADATA"))).decode()


def test_the_wheel_holds_only_hearable(wheel):
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"hearable"}
    assert not [name for name in wheel if "test" in name.split("/")[-1]]


def test_the_wheel_holds_every_module(wheel):
    expected = {p.relative_to(ROOT).as_posix() for p in (ROOT / "hearable").rglob("*.py")}
    assert {name for name in wheel if name.endswith(".py")} == expected
    assert "hearable/py.typed" in wheel


def test_the_wheel_holds_the_local_page(wheel):
    static = {p.relative_to(ROOT).as_posix() for p in (ROOT / "hearable" / "live" / "web" / "static").iterdir()}
    assert static and static <= set(wheel)


def test_the_wheel_holds_the_models(wheel):
    shipped = [p for p in (ROOT / "models").iterdir() if p.suffix in (".onnx", ".md") or p.name == "SHA256SUMS"]
    assert {f"hearable/models/{p.name}" for p in shipped} <= set(wheel)
    assert "hearable/models/SHA256SUMS" in wheel


def test_the_install_brings_no_torch(dist):
    required = [
        line for line in metadata(dist).splitlines() if line.startswith("Requires-Dist:") and "extra" not in line
    ]
    names = {line.split()[1].split(">")[0].split(";")[0] for line in required}
    assert names == {
        "numpy",
        "onnxruntime",
        "soundfile",
        "soxr",
        "sounddevice",
        "typer",
        "rich",
        "platformdirs",
        "textual",
        "cobs",
        "pyserial",
        "starlette",
        "uvicorn",
        "websockets",
    }


def test_licence_and_script(dist, wheel):
    assert "License-Expression: Apache-2.0" in metadata(dist)
    assert any(name.endswith("licenses/LICENSE") for name in wheel)
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as archive:
        points = archive.read(next(n for n in wheel if n.endswith("entry_points.txt"))).decode()
    assert "hearable = hearable.cli:app" in points


def test_the_sdist_builds_the_same_wheel(dist):
    """``build`` makes the wheel from the sdist, so what is in the wheel is in the sdist too."""
    names = tarfile.open(next(dist.glob("*.tar.gz"))).getnames()
    assert any(name.endswith("/LICENSE") for name in names)
    assert any(name.endswith("/models/SHA256SUMS") for name in names)
