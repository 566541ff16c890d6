from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from hearable import session
from hearable.errors import ModelError, ModelNotFound, SpecMismatch
from hearable.session import Graph, open_graph, open_pair
from hearable.spec import StateSpec
from tests import toymodel


@pytest.fixture
def graph(toy) -> Graph:
    return toy.extractor


def save(model: onnx.ModelProto, folder, spec=None):
    if spec is not None:
        toymodel.describe(model, spec)
    onnx.save(model, folder / "m.onnx")
    return folder / "m.onnx"


def test_step_moves_the_state_on(graph):
    state = graph.state()
    chunk = np.ones((2, 128), np.float32)
    first = graph.step(chunk, np.ones(3, np.float32), state)
    assert first.shape == (2, 128) and first.dtype == np.float32
    assert not first[:, :64].any() and first[:, 64:].all()
    assert state.values["state.delay"].all()


def test_reset_is_zeros_again(graph):
    state = graph.state()
    graph.step(np.ones((2, 128), np.float32), np.ones(3, np.float32), state)
    state.reset()
    assert not any(array.any() for array in state.values.values())


def test_a_copied_state_goes_its_own_way(graph):
    state = graph.state()
    twin = state.copy()
    graph.step(np.ones((2, 128), np.float32), np.ones(3, np.float32), twin)
    assert not state.values["state.delay"].any() and twin.values["state.delay"].any()
    twin.reset()
    assert set(twin.values) == set(state.values)


def test_a_failed_step_leaves_the_state(graph):
    state = graph.state()
    graph.step(np.ones((2, 128), np.float32), np.ones(3, np.float32), state)
    before = state.values
    with pytest.raises(ModelError, match="cannot be run"):
        graph.step(np.ones((2, 127), np.float32), np.ones(3, np.float32), state)
    assert all(np.array_equal(state.values[name], tensor) for name, tensor in before.items())


def test_one_thread_that_does_not_spin(graph):
    options = graph._session.get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize(
    "wrong",
    [
        replace(toymodel.EXTRACTOR, chunk_samples=64),
        replace(toymodel.EXTRACTOR, conditioning_values=4),
        replace(toymodel.EXTRACTOR, states=toymodel.EXTRACTOR.states[:1]),
        replace(toymodel.EXTRACTOR, states=toymodel.EXTRACTOR.states[::-1]),
        replace(toymodel.EXTRACTOR, states=(StateSpec("delay", (2, 64)), StateSpec("level", (1, 2)))),
    ],
)
def test_a_graph_that_is_not_what_it_says(tmp_path, wrong):
    with pytest.raises(
        SpecMismatch, match=r"m\.onnx: inputs: expected chunk float32 .*; found chunk float32 \[2, 128\]"
    ):
        Graph(save(toymodel.extractor(), tmp_path, wrong))


def test_another_type_than_float32(tmp_path):
    model = toymodel.conditioner()
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    weights = onnx.numpy_helper.to_array(model.graph.initializer[0]).astype(np.float64)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weights, "weights"))
    with pytest.raises(SpecMismatch, match=r"found embedding tensor\(double\) \[8\]"):
        Graph(save(model, tmp_path))


def test_a_free_dimension_where_a_fixed_one_is_promised(tmp_path):
    model = toymodel.conditioner()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"
    with pytest.raises(SpecMismatch, match=r"expected embedding float32 \[8\]; found embedding float32 \[any\]"):
        Graph(save(model, tmp_path))


def test_a_graph_without_metadata(tmp_path):
    model = toymodel.enroller()
    del model.metadata_props[:]
    with pytest.raises(SpecMismatch, match="hearable.format"):
        Graph(save(model, tmp_path))


def test_another_kind_than_needed(toy_folder):
    with pytest.raises(SpecMismatch, match="expected a model of kind extractor, found enroller"):
        open_graph(toy_folder / "enroll.onnx", "extractor")


def test_no_onnx_file(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    with pytest.raises(ModelError, match=r"m\.onnx: expected an ONNX model"):
        Graph(tmp_path / "m.onnx")


def test_no_file_at_all(tmp_path):
    with pytest.raises(ModelNotFound, match=r"m\.onnx"):
        Graph(tmp_path / "m.onnx")


def test_a_huge_file_is_not_read(toy_folder, monkeypatch):
    monkeypatch.setattr(session, "MAX_FILE_BYTES", 10)
    with pytest.raises(ModelError, match="expected at most 10 bytes, found"):
        Graph(toy_folder / "toy.onnx")


def test_a_conditioner_of_another_model(tmp_path):
    toymodel.save_pair(tmp_path)
    other = toymodel.conditioner()
    toymodel.describe(other, replace(toymodel.CONDITIONER, embedding_space="other-v2"))
    onnx.save(other, tmp_path / "toy.conditioner.onnx")
    with pytest.raises(SpecMismatch, match="embedding_space: expected toy-v1, as in toy.onnx, found other-v2"):
        open_pair(tmp_path / "toy.onnx")


def test_a_missing_conditioner(tmp_path):
    toymodel.save_pair(tmp_path)
    (tmp_path / "toy.conditioner.onnx").unlink()
    with pytest.raises(ModelNotFound, match="toy.onnx: expected its conditioner toy.conditioner.onnx beside it"):
        open_pair(tmp_path / "toy.onnx")


def test_shipped_models_are_opened_by_name(shipped):
    extractor, conditioner = open_pair("toy")
    assert (extractor.spec.kind, conditioner.spec.kind) == ("extractor", "conditioner")


def test_the_toy_models_are_valid(toy_folder):
    for path in toy_folder.glob("*.onnx"):
        onnx.checker.check_model(onnx.load(path), full_check=True)


def test_a_session_leaves_nothing_in_the_home_folder(toy, tmp_path):
    code = "import sys; from hearable.session import Graph; Graph(sys.argv[1])"
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "ORT_"))} | {"HOME": str(tmp_path)}
    command = [sys.executable, "-c", code, str(toy.extractor.path)]
    subprocess.run(command, check=True, env=environment, cwd=Path(__file__).parents[1])
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
