"""What users may rely on: names, signatures, an import without torch."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import hearable
from hearable import chunks, errors, quality, resampling, timing
from hearable.extractor import StreamingExtractor

ROOT = Path(__file__).resolve().parent.parent

NAMES = {
    "AudioError",
    "AudioReader",
    "AudioWriter",
    "EnrollmentError",
    "EnrollmentQuality",
    "HearableError",
    "LabelError",
    "LinkError",
    "Model",
    "ModelAltered",
    "ModelError",
    "ModelNotFound",
    "ModelSpec",
    "ProfileError",
    "ProfileMismatch",
    "SpeakerProfile",
    "SpecMismatch",
    "StreamingExtractor",
    "enroll",
    "extract",
    "extract_stream",
    "list_models",
    "load_model",
    "read_audio",
    "write_audio",
}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_public_names():
    assert set(hearable.__all__) == NAMES
    assert all(hasattr(hearable, name) for name in NAMES)
    assert list(hearable.__all__) == sorted(hearable.__all__)


def test_signatures():
    def parameters(function) -> list[str]:
        return list(inspect.signature(function).parameters)

    assert parameters(hearable.load_model) == ["name_or_path"]
    assert parameters(hearable.read_audio) == ["path", "start_s", "seconds"]
    assert parameters(hearable.write_audio) == ["path", "audio", "rate"]
    assert parameters(hearable.enroll) == ["clip", "rate", "model"]
    assert parameters(hearable.extract) == ["model", "profile", "clip", "rate", "background_db", "remove"]
    assert parameters(StreamingExtractor) == ["model", "profile", "background_db", "remove"]
    for name in ("process", "flush", "reset", "set_profile", "target_active"):
        assert hasattr(StreamingExtractor, name)


def test_every_error_is_in_the_tree_and_in_its_drawing():
    own = [c for c in vars(errors).values() if inspect.isclass(c) and c.__module__ == errors.__name__]
    assert all(issubclass(c, errors.HearableError) for c in own)
    assert all(c.__name__ in (errors.__doc__ or "") for c in own)
    assert all(c.__name__ in NAMES for c in own)


def test_every_module_imports_without_torch():
    code = """
import importlib, pathlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "lightning", "torchmetrics"):
            raise ImportError(name + " is blocked")

sys.meta_path.insert(0, Blocked())
for path in sorted(pathlib.Path("hearable").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if name.endswith("__main__"):
        continue
    importlib.import_module(name)
    print(name)
"""
    assert "hearable.extractor" in run(code).split()


def test_importing_the_library_does_not_load_what_it_does_not_need():
    loaded = run("import sys, hearable; print(*sys.modules)").split()
    for heavy in ("onnxruntime", "scipy", "sounddevice", "typer", "rich", "matplotlib", "torch"):
        assert heavy not in loaded


def test_only_the_session_imports_onnxruntime():
    using = [p.name for p in (ROOT / "hearable").rglob("*.py") if "import onnxruntime" in p.read_text()]
    assert using == ["session.py"]


def test_only_one_module_imports_sounddevice():
    using = [p.name for p in (ROOT / "hearable").rglob("*.py") if "import sounddevice" in p.read_text()]
    assert using == ["portaudio.py"]


@pytest.mark.parametrize("module", [chunks, quality, resampling, timing])
def test_examples_in_docstrings(module):
    failed, tried = doctest.testmod(module)
    assert tried and not failed
