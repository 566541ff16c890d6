"""What a graph says about itself, and the ONNX metadata that it is written in (docs/architecture.md)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, TypeAlias, get_args

from hearable.errors import SpecMismatch

FORMAT = "1"
PREFIX = "hearable."
MAX_STATE_VALUES = 2**24  # 64 MB: a wrong shape must not exhaust the memory

Kind: TypeAlias = Literal["extractor", "conditioner", "enroller"]
Shape: TypeAlias = tuple["int | None", ...]

_NUMBERS_OF_KIND: dict[str, tuple[str, ...]] = {
    "extractor": (
        "sample_rate_hz",
        "channels",
        "chunk_samples",
        "lookahead_samples",
        "embedding_values",
        "conditioning_values",
        "parameters",
        "macs_per_chunk",
    ),
    "conditioner": ("embedding_values", "conditioning_values"),
    "enroller": ("sample_rate_hz", "channels", "embedding_values", "parameters"),
}
_MAY_BE_ZERO = {"lookahead_samples", "parameters", "macs_per_chunk"}
_STATE = re.compile(r"(?P<name>[A-Za-z0-9_]+):(?P<shape>[1-9][0-9]*(x[1-9][0-9]*)*)")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class StateSpec:
    """One state tensor: input ``state.<name>``, output ``state.<name>.out``, zeros to begin with."""

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class ModelSpec:
    """What a graph takes and gives. A number that its kind does not have is 0.

    Attributes:
        kind: ``extractor``, ``conditioner`` or ``enroller``.
        name: the model's name, as in ``load_model(name)``.
        embedding_values: length of a speaker embedding.
        embedding_space: embeddings of one space can be compared; profiles of another are refused.
        sample_rate_hz: rate of the sound (extractor, enroller).
        channels: 2: left, right (extractor, enroller).
        chunk_samples: samples a call takes and gives (extractor).
        lookahead_samples: how far the output lags behind the input within a call (extractor).
        conditioning_values: length of the conditioning (extractor, conditioner).
        states: the state tensors, in the graph's order (extractor).
        parameters: number of weights (extractor, enroller).
        macs_per_chunk: multiply-accumulates a call (extractor).
    """

    kind: Kind
    name: str
    embedding_values: int
    embedding_space: str
    sample_rate_hz: int = 0
    channels: int = 0
    chunk_samples: int = 0
    lookahead_samples: int = 0
    conditioning_values: int = 0
    states: tuple[StateSpec, ...] = ()
    parameters: int = 0
    macs_per_chunk: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise SpecMismatch(f"kind: expected one of {', '.join(get_args(Kind))}, found {self.kind!r}")
        for key in ("name", "embedding_space"):
            if not _WORD.fullmatch(getattr(self, key)):
                raise SpecMismatch(f"{key}: expected letters, digits, '.', '_', '-', found {getattr(self, key)!r}")
        own = _NUMBERS_OF_KIND[self.kind]
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in own and (value < 0 or (value == 0 and field.name not in _MAY_BE_ZERO)):
                raise SpecMismatch(f"{field.name}: expected a positive number, found {value}")
        names = [s.name for s in self.states]
        if len(set(names)) != len(names):
            raise SpecMismatch(f"states: expected distinct names, found {', '.join(names)}")
        values = sum(math.prod(s.shape) for s in self.states)
        if values > MAX_STATE_VALUES:
            raise SpecMismatch(f"states: expected at most {MAX_STATE_VALUES} values, found {values}")

    @property
    def latency_samples(self) -> int:
        """Algorithmic latency: chunk + lookahead."""
        return self.chunk_samples + self.lookahead_samples

    @property
    def chunk_ms(self) -> float:
        """Duration of a chunk: the time there is to compute it."""
        return 1000 * self.chunk_samples / self.sample_rate_hz

    def inputs(self) -> dict[str, Shape]:
        """Name and shape of each input, in order; ``None`` is a free dimension."""
        if self.kind == "conditioner":
            return {"embedding": (self.embedding_values,)}
        if self.kind == "enroller":
            return {"clip": (self.channels, None)}
        first: dict[str, Shape] = {
            "chunk": (self.channels, self.chunk_samples),
            "conditioning": (self.conditioning_values,),
        }
        return first | {f"state.{s.name}": s.shape for s in self.states}

    def outputs(self) -> dict[str, Shape]:
        """Name and shape of each output, in order."""
        if self.kind == "conditioner":
            return {"conditioning": (self.conditioning_values,)}
        if self.kind == "enroller":
            return {"embedding": (self.embedding_values,), "voice": (self.channels, None)}
        first: dict[str, Shape] = {"output": (self.channels, self.chunk_samples)}
        return first | {f"state.{s.name}.out": s.shape for s in self.states}

    def to_metadata(self) -> dict[str, str]:
        """Flat strings for ``metadata_props``; ``from_metadata`` reads them back."""
        metadata = {PREFIX + "format": FORMAT, PREFIX + "kind": self.kind, PREFIX + "name": self.name}
        for key in _NUMBERS_OF_KIND[self.kind]:
            metadata[PREFIX + key] = str(getattr(self, key))
        metadata[PREFIX + "embedding_space"] = self.embedding_space
        if self.kind == "extractor":
            metadata[PREFIX + "states"] = ";".join(f"{s.name}:{'x'.join(map(str, s.shape))}" for s in self.states)
        return metadata

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ModelSpec:
        """Read a graph's metadata; keys of other programs are left alone.

        Raises:
            SpecMismatch: a key is missing or its value cannot be used.
        """
        found = _text(metadata, "format")
        if found != FORMAT:
            raise SpecMismatch(f"{PREFIX}format: expected {FORMAT}, found {found!r}: use the hearable that wrote it")
        kind = _text(metadata, "kind")
        if kind not in _NUMBERS_OF_KIND:
            raise SpecMismatch(f"{PREFIX}kind: expected one of {', '.join(_NUMBERS_OF_KIND)}, found {kind!r}")
        numbers = {key: _number(metadata, key) for key in _NUMBERS_OF_KIND[kind]}
        states = parse_states(_text(metadata, "states")) if kind == "extractor" else ()
        return cls(
            kind=kind,  # type: ignore[arg-type]  # membership was checked above
            name=_text(metadata, "name"),
            embedding_space=_text(metadata, "embedding_space"),
            states=states,
            **numbers,
        )


def parse_states(text: str) -> tuple[StateSpec, ...]:
    """Read ``time0:1x44x64;time1:1x44x64``; an empty text is a graph without state.

    Raises:
        SpecMismatch: an entry is not ``name:AxBxC``.
    """
    states = []
    for entry in text.split(";") if text else []:
        match = _STATE.fullmatch(entry)
        if not match:
            raise SpecMismatch(f"{PREFIX}states: expected entries like time0:1x44x64, found {entry!r}")
        states.append(StateSpec(match["name"], tuple(int(n) for n in match["shape"].split("x"))))
    return tuple(states)


def _text(metadata: Mapping[str, str], key: str) -> str:
    if PREFIX + key not in metadata:
        raise SpecMismatch(f"expected the metadata key {PREFIX}{key}, found none: is this a hearable model?")
    return metadata[PREFIX + key]


def _number(metadata: Mapping[str, str], key: str) -> int:
    text = _text(metadata, key)
    if not re.fullmatch(r"[0-9]{1,12}", text):
        raise SpecMismatch(f"{PREFIX}{key}: expected a whole number, found {text!r}")
    return int(text)
