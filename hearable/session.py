"""Running a graph: the only module that imports onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hearable.checkpoints import conditioner_path, locate, verify_hash
from hearable.chunks import Audio
from hearable.errors import ModelError, ModelNotFound, SpecMismatch
from hearable.spec import Kind, ModelSpec, Shape, StateSpec

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_FILE_BYTES = 256 * 2**20


class State:
    """The state of one stream: named tensors, zeros to begin with.

    Attributes:
        values: ``state.<name>`` to float32 array, as the graph takes them.
    """

    def __init__(self, specs: Sequence[StateSpec]):
        self._specs = tuple(specs)
        self.values: dict[str, NDArray[np.float32]] = {}
        self.reset()

    def reset(self) -> None:
        """Back to zeros."""
        self.values = {f"state.{s.name}": np.zeros(s.shape, np.float32) for s in self._specs}

    def copy(self) -> State:
        """A state that goes its own way from here. Arrays are shared: a step replaces them, it never writes in them."""
        twin = State(())
        twin._specs, twin.values = self._specs, dict(self.values)
        return twin


class Graph:
    """An ONNX file whose inputs and outputs are those that its metadata names; one thread, which does not spin.

    Running it changes nothing in it: threads and streams may share it.

    Args:
        path: the file.
        kind: the kind that is needed; any if ``None``.
        shipped: verify the file against ``SHA256SUMS`` in its folder.

    Attributes:
        path: the file.
        spec: what it says about itself.

    Raises:
        ModelNotFound: no such file.
        ModelAltered: ``shipped``, and the hash is another one.
        ModelError: too large, or not an ONNX file that this onnxruntime can run.
        SpecMismatch: no such metadata, another kind, or inputs and outputs other than the metadata says.
    """

    def __init__(self, path: str | Path, kind: Kind | None = None, shipped: bool = False):
        self.path = Path(path)
        content = _read(self.path)
        if shipped:
            verify_hash(self.path, content)
        self._session = open_session(content, self.path)
        try:
            self.spec = ModelSpec.from_metadata(self._session.get_modelmeta().custom_metadata_map)
            _check_signature("inputs", self.spec.inputs(), self._session.get_inputs())
            _check_signature("outputs", self.spec.outputs(), self._session.get_outputs())
        except SpecMismatch as problem:
            raise SpecMismatch(f"{self.path}: {problem}") from problem
        if kind is not None:
            self.require(kind)
        self._outputs = list(self.spec.outputs())
        self._state_names = [f"state.{s.name}" for s in self.spec.states]

    def require(self, kind: Kind) -> None:
        """Refuse to be used as another kind of graph.

        Raises:
            SpecMismatch: another kind is needed.
        """
        if self.spec.kind != kind:
            raise SpecMismatch(f"{self.path}: expected a model of kind {kind}, found {self.spec.kind}")

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """All outputs, in order, for all inputs by name. Shapes are the spec's; onnxruntime checks them.

        Raises:
            ModelError: the graph cannot be run on these inputs.
        """
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(self._outputs, dict(inputs))
        except Exception as problem:  # onnxruntime has no common class of its errors
            raise ModelError(f"{self.path}: cannot be run: {_first_line(problem)}") from problem
        return outputs

    def state(self) -> State:
        """A new stream's state."""
        return State(self.spec.states)

    def step(self, chunk: Audio, conditioning: NDArray[np.float32], state: State) -> Audio:
        """One chunk ``[channels, chunk_samples]`` through an extractor; the state moves on.

        The output ``[channels, chunk_samples]`` lags behind the chunk by ``lookahead_samples``.

        Raises:
            ModelError: as ``run``; the state is then what it was.
        """
        outputs = self.run({"chunk": chunk, "conditioning": conditioning, **state.values})
        # onnxruntime gives new arrays at each run and takes them back without a copy; binding buffers saves 0.03 ms.
        state.values = dict(zip(self._state_names, outputs[1:], strict=True))
        return outputs[0]


def open_graph(name_or_path: str | Path, kind: Kind) -> Graph:
    """A shipped model by its name, verified against its published hash, or any model by its path.

    Raises:
        ModelError: as ``Graph``.
    """
    path, shipped = locate(name_or_path)
    return Graph(path, kind, shipped)


def open_pair(name_or_path: str | Path) -> tuple[Graph, Graph]:
    """An extractor and the conditioner beside it, which must fit each other.

    Raises:
        ModelError: as ``Graph``, or one of the two is of another model.
    """
    path, shipped = locate(name_or_path)
    extractor = Graph(path, "extractor", shipped)
    conditioner = Graph(conditioner_path(path), "conditioner", shipped)
    for key in ("name", "embedding_space", "embedding_values", "conditioning_values"):
        expected, found = getattr(extractor.spec, key), getattr(conditioner.spec, key)
        if expected != found:
            raise SpecMismatch(f"{conditioner.path}: {key}: expected {expected}, as in {path.name}, found {found}")
    return extractor, conditioner


def _read(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ModelError(
                f"{path}: expected at most {MAX_FILE_BYTES} bytes, found {size}: is this a hearable model?"
            )
        return path.read_bytes()
    except OSError as problem:
        raise ModelNotFound(f"{path}: cannot read the model: {problem.strerror or problem}") from problem


def open_session(content: bytes, path: Path) -> InferenceSession:
    """Any ONNX graph, read from a file: one thread, which does not spin.

    Raises:
        ModelError: not an ONNX file that this onnxruntime can run.
    """
    # onnxruntime 1.32 and later write a device id and events under ~/.cache unless told not to, before the import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Imported here: it takes longer than everything else, and reading sound or profiles does not need it.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.log_severity_level = 3  # what matters is raised
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as problem:  # onnxruntime has no common class of its errors
        raise ModelError(f"{path}: expected an ONNX model, found none that runs: {_first_line(problem)}") from problem


def _check_signature(what: str, expected: Mapping[str, Shape], nodes: Sequence[Any]) -> None:
    """Names, order, shapes and float32, exactly."""
    wanted = [f"{name} float32 {_show(shape)}" for name, shape in expected.items()]
    found = []
    for node in nodes:
        shape = tuple(d if isinstance(d, int) else None for d in node.shape)
        kind = "float32" if node.type == "tensor(float)" else node.type
        found.append(f"{node.name} {kind} {_show(shape)}")
    if wanted != found:
        raise SpecMismatch(f"{what}: expected {', '.join(wanted)}; found {', '.join(found)}")


def _show(shape: Shape) -> str:
    return "[" + ", ".join("any" if d is None else str(d) for d in shape) + "]"


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
