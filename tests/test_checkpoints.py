from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hearable import checkpoints
from hearable.errors import ModelAltered, ModelNotFound
from hearable.session import open_graph


@pytest.fixture
def folder(shipped, tmp_path, monkeypatch) -> Path:
    """A copy of the toy models that a test may damage."""
    copy = tmp_path / "models"
    shutil.copytree(shipped, copy)
    monkeypatch.setattr(checkpoints, "models_folder", lambda: copy)
    return copy


def test_models_are_listed_without_their_conditioners(folder):
    assert checkpoints.list_models() == ["enroll", "toy"]


def test_a_name_is_found(folder):
    assert checkpoints.model_path("toy") == folder / "toy.onnx"
    assert checkpoints.conditioner_path(checkpoints.model_path("toy")) == folder / "toy.conditioner.onnx"


@pytest.mark.parametrize("name", ["base", "../models/toy", "toy.conditioner", "", ".", "toy\0", "/etc/passwd", "TOY\n"])
def test_any_other_name_is_not_found_and_the_known_ones_are_shown(folder, name):
    with pytest.raises(ModelNotFound, match="enroll, toy"):
        checkpoints.model_path(name)


def test_a_shipped_model_that_is_gone_is_told_from_an_unknown_one(folder):
    (folder / "toy.onnx").unlink()
    assert checkpoints.list_models() == ["enroll", "toy"]
    with pytest.raises(ModelNotFound, match="toy.onnx.*missing: reinstall"):
        checkpoints.model_path("toy")


def test_a_path_needs_no_hash(folder, tmp_path):
    elsewhere = shutil.copy(folder / "enroll.onnx", tmp_path / "mine.onnx")
    for given in (elsewhere, str(elsewhere)):
        assert checkpoints.locate(given) == (Path(elsewhere), False)
    assert open_graph(elsewhere, "enroller").spec.name == "enroll"


def test_a_path_is_verified_where_a_list_names_it(folder, tmp_path):
    path = folder / "enroll.onnx"
    assert checkpoints.locate(path) == (path, True)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelAltered, match="expected SHA-256"):
        open_graph(path, "enroller")
    (folder / "SHA256SUMS").write_text("of something else\n")
    assert checkpoints.locate(path) == (path, False)


def test_a_missing_path(tmp_path):
    with pytest.raises(ModelNotFound, match="nothing.onnx"):
        checkpoints.locate(tmp_path / "nothing.onnx")


def test_an_altered_model_is_refused_by_name(folder):
    path = folder / "enroll.onnx"
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ModelAltered, match="expected SHA-256 [0-9a-f]{64}, found [0-9a-f]{64}"):
        open_graph("enroll", "enroller")


def test_a_model_without_a_published_hash_is_refused_by_name(folder):
    shutil.copy(folder / "enroll.onnx", folder / "other.onnx")
    with pytest.raises(ModelAltered, match="found none"):
        open_graph("other", "enroller")


@pytest.mark.parametrize(
    "line", ["", "abc  toy.onnx", "0" * 64 + " toy.onnx", "A" * 64 + "  toy.onnx", "0" * 64 + "  ../toy.onnx"]
)
def test_the_list_of_hashes_is_read_strictly(folder, line):
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text() + line + "\n")
    with pytest.raises(ModelAltered, match="line 4"):
        checkpoints.verify_hash(folder / "toy.onnx")


def test_a_file_listed_twice_is_refused(folder):
    sums = folder / "SHA256SUMS"
    sums.write_text(sums.read_text() * 2)
    with pytest.raises(ModelAltered, match="once a file"):
        checkpoints.verify_hash(folder / "toy.onnx")


def test_a_missing_list(folder):
    (folder / "SHA256SUMS").unlink()
    with pytest.raises(ModelAltered, match="SHA256SUMS"):
        checkpoints.verify_hash(folder / "toy.onnx")


def test_the_checkouts_folder_is_found():
    assert checkpoints.models_folder() == Path(__file__).resolve().parent.parent / "models"
