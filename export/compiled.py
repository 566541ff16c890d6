"""A model's C, compiled for this machine and called from Python, to be compared and timed beside its graph."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.emit_c import emit
from hearable.spec import ModelSpec

FLAGS = ("-std=c99", "-O3", "-fno-math-errno", "-Wall", "-Wextra", "-Wconversion", "-Werror")


class Compiled:
    """Steps like a `hearable.session.Graph`.

    Args:
        model: an extractor's graph.
        folder: for its C, and for what gcc makes of it.
        flags: more of them for gcc.

    Raises:
        UnsupportedGraph: it holds something that has no C.
        CalledProcessError: gcc refuses it.
    """

    def __init__(self, model: onnx.ModelProto, folder: Path, flags: Sequence[str] = ()):
        self.header, self.path = emit(model, folder)
        self.object, library = self.path.with_suffix(".o"), self.path.with_suffix(".so")
        subprocess.run(["gcc", *FLAGS, *flags, "-fPIC", "-c", self.path, "-o", self.object], check=True)
        subprocess.run(["gcc", "-shared", self.object, "-o", library], check=True)
        spec = ModelSpec.from_metadata({p.key: p.value for p in model.metadata_props})
        self.spec = replace(spec, name=self.path.name)
        numbers = re.findall(r"(?:STATE_VALUES |WEIGHT_BYTES |arena\[)(\d+)", self.header.read_text())
        states, self.weight_bytes, arena = map(int, numbers)
        self._bytes = 4 * (spec.conditioning_values + 2 * states + arena + 1)
        code, symbol = ctypes.CDLL(str(library)), re.sub(r"\W", "_", spec.name)
        self._start, self._process = (getattr(code, f"hb_{symbol}_{what}") for what in ("start", "process"))

    def state(self) -> bytearray:
        """Of a stream that has not begun."""
        return bytearray()

    def step(self, chunk: np.ndarray, conditioning: np.ndarray, state: bytearray) -> np.ndarray:
        """One chunk ``[channels, samples]`` in, one out; the speaker is that of a stream's first chunk."""
        begins = not state
        if begins:
            state.extend(bytes(self._bytes))
        memory = (ctypes.c_char * len(state)).from_buffer(state)
        if begins:
            self._start(memory, _pointer(conditioning))
        output = np.full_like(chunk, np.nan)
        self._process(memory, _pointer(chunk), _pointer(output))
        return output


def _pointer(values: np.ndarray) -> Any:
    return np.ascontiguousarray(values, np.float32).ctypes.data_as(ctypes.c_void_p)
