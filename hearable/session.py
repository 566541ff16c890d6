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
from hearable.spec import Kind, ModelSpec, Shape

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

MAX_FILE_BYTES = 256 * 2**20


class State:
    """The state of one stream, zeros to begin with, and the memory in which its steps are computed.

    Tensors there are twice: a step reads the newest and writes the others, which then are the newest. onnxruntime is
    told where they are once, not at every chunk: that saves 0.03 ms.
    """

    def __init__(self, spec: ModelSpec):
        self._spec = spec
        chunk = spec.channels, spec.chunk_samples
        self._inputs = {
            "chunk": np.zeros(chunk, np.float32),
            "conditioning": np.zeros(spec.conditioning_values, np.float32),
        }
        self._output = np.zeros(chunk, np.float32)
        self._tensors = [{s.name: np.zeros(s.shape, np.float32) for s in spec.states} for _ in range(2)]
        self._newest = 0
        self._bound: tuple[InferenceSession, list[Any]] | None = None

    @property
    def values(self) -> dict[str, NDArray[np.float32]]:
        """A copy of each tensor, by ``state.<name>``, as the graph takes them."""
        return {f"state.{name}": tensor.copy() for name, tensor in self._tensors[self._newest].items()}

    def reset(self) -> None:
        """Back to zeros."""
        for tensor in self._tensors[self._newest].values():
            tensor.fill(0)

    def copy(self) -> State:
        """A state that goes its own way from here."""
        twin = State(self._spec)
        for name, tensor in self._tensors[self._newest].items():
            np.copyto(twin._tensors[twin._newest][name], tensor)
        return twin

    def step(self, session: InferenceSession, inputs: Mapping[str, NDArray[np.float32]]) -> Audio:
        """Through a session that takes this state, which moves on; ``inputs`` are the others, of float32."""
        for name, own in self._inputs.items():
            given = inputs[name]
            if given.shape != own.shape or given.dtype != own.dtype:
                raise ValueError(f"{name}: expected float32 {own.shape}, found {given.dtype} {given.shape}")
            own[...] = given
        if self._bound is None or self._bound[0] is not session:
            self._bound = session, [self._bind(session, old) for old in range(2)]
        session.run_with_iobinding(self._bound[1][self._newest])
        self._newest = 1 - self._newest
        output: Audio = self._output.copy()
        return output

    def _bind(self, session: InferenceSession, old: int) -> Any:
        binding = session.io_binding()
        tensors = {f"state.{name}": tensor for name, tensor in self._tensors[old].items()}
        for name, array in (self._inputs | tensors).items():
            binding.bind_input(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        tensors = {f"state.{name}.out": tensor for name, tensor in self._tensors[1 - old].items()}
        for name, array in ({"output": self._output} | tensors).items():
            binding.bind_output(name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding


class Graph:
    """An ONNX file whose inputs and outputs are those that its metadata names; one thread, which does not spin.

    Running it changes nothing in it: threads and streams may share it.

    Args:
        path: the file.
        kind: the kind that is needed; any if ``None``.
        listed: verify the file against ``SHA256SUMS`` in its folder.

    Attributes:
        path: the file.
        spec: what it says about itself.

    Raises:
        ModelNotFound: no such file.
        ModelAltered: ``listed``, and the hash is another one.
        ModelError: too large, or not an ONNX file that this onnxruntime can run.
        SpecMismatch: no such metadata, another kind, or inputs and outputs other than the metadata says.
    """

    def __init__(self, path: str | Path, kind: Kind | None = None, listed: bool = False):
        self.path = Path(path)
        content = _read(self.path)
        if listed:
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

    def require(self, kind: Kind) -> None:
        """Refuse to be used as another kind of graph.

        Raises:
            SpecMismatch: another kind is needed.
        """
        if self.spec.kind != kind:
            raise SpecMismatch(f"{self.path}: expected a model of kind {kind}, found {self.spec.kind}: "
                               "`hearable models` tells which is what")  # fmt: skip

    def run(self, inputs: Mapping[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        """All outputs, in order, for all inputs by name. Shapes are the spec's; onnxruntime checks them.

        Raises:
            ModelError: the graph cannot be run on these inputs.
        """
        try:
            outputs: list[NDArray[np.float32]] = self._session.run(self._outputs, dict(inputs))
        except Exception as problem:  # onnxruntime has no common class of its errors
            raise self._failed(problem) from problem
        return outputs

    def state(self) -> State:
        """A new stream's state."""
        return State(self.spec)

    def step(self, chunk: Audio, conditioning: NDArray[np.float32], state: State) -> Audio:
        """One chunk ``[channels, chunk_samples]`` through an extractor; the state moves on.

        The output ``[channels, chunk_samples]`` lags behind the chunk by ``lookahead_samples``.

        Raises:
            ModelError: as ``run``; the state is then what it was.
        """
        try:
            return state.step(self._session, {"chunk": chunk, "conditioning": conditioning})
        except Exception as problem:  # onnxruntime has no common class of its errors
            raise self._failed(problem) from problem

    def _failed(self, problem: Exception) -> ModelError:
        return ModelError(f"{self.path}: cannot be run: {_first_line(problem)}")


def open_graph(name_or_path: str | Path, kind: Kind) -> Graph:
    """A shipped model by its name, or any by its path, verified against its published hash if it has one.

    Raises:
        ModelError: as ``Graph``.
    """
    path, listed = locate(name_or_path)
    return Graph(path, kind, listed)


def open_pair(name_or_path: str | Path) -> tuple[Graph, Graph]:
    """An extractor and the conditioner beside it, which must fit each other.

    Raises:
        ModelError: as ``Graph``, or one of the two is of another model.
    """
    path, listed = locate(name_or_path)
    extractor = Graph(path, "extractor", listed)
    beside = conditioner_path(path)
    if not beside.is_file():
        raise ModelNotFound(f"{path}: expected its conditioner {beside.name} beside it, found none: put it there")
    conditioner = Graph(beside, "conditioner", listed)
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
    # Weights in memory of their own, not among the arena's: a chunk that finds cold caches is a tenth faster.
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
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
        raise SpecMismatch(f"{what}: expected {', '.join(wanted)}; found {', '.join(found)}: "
                           "export the model again with this hearable")  # fmt: skip


def _show(shape: Shape) -> str:
    return "[" + ", ".join("any" if d is None else str(d) for d in shape) + "]"


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0] if str(problem).strip() else type(problem).__name__
