"""A speaker's profile: who is to be heard. Kept as npz without pickle, or as JSON."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hearable.errors import ProfileError
from hearable.files import replacing

FORMAT = "hearable-profile-1"
MAX_FILE_BYTES = 2**20
MAX_VALUES = 4096
_KEYS = ("format", "embedding", "embedding_space", "quality")


@dataclass(frozen=True)
class EnrollmentQuality:
    """How good an enrollment clip was. Estimates, to judge a clip by, not measurements.

    Attributes:
        seconds: length of the clip.
        speech_seconds: how much of it is speech.
        snr_db: speech above the steady background.
        off_axis_deg: direction of the talker that the network found in front, + left, or, where that is hardly anybody
            (``frontal`` is small), of the clip's strongest talker; 0 is straight ahead (or behind: ears cannot tell).
            ``None`` where there is no speech, or an ear is missing.
        frontal: share 0..1 of the clip's energy that the enrollment network took for the talker in front.
        warnings: what is wrong, each with its mend; empty if the clip will do.
    """

    seconds: float
    speech_seconds: float
    snr_db: float
    off_axis_deg: float | None
    frontal: float
    warnings: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the clip will do."""
        return not self.warnings

    def rounded(self) -> dict[str, object]:
        """Plain data to show, rounded to what the estimates are good for; what is not a number is ``None``."""
        values = asdict(self)
        warnings = list(values.pop("warnings"))
        numbers = {name: round(v, 3) if v is not None and math.isfinite(v) else None for name, v in values.items()}
        return {"ok": self.ok, **numbers, "warnings": warnings}


@dataclass(frozen=True, eq=False)
class SpeakerProfile:
    """Who is to be heard.

    Attributes:
        embedding: float32 ``[values]``, of unit norm.
        embedding_space: the space it belongs to; a model of another refuses the profile.
        quality: how good the enrollment was; ``None`` if the embedding came from elsewhere.

    Raises:
        ProfileError: not such an embedding.
    """

    embedding: NDArray[np.float32]
    embedding_space: str
    quality: EnrollmentQuality | None = field(default=None)

    def __post_init__(self) -> None:
        array = self.embedding
        if array.dtype != np.float32 or array.ndim != 1 or not 1 <= array.size <= MAX_VALUES:
            raise ProfileError(f"embedding: expected 1 to {MAX_VALUES} float32 values, "
                               f"found {array.dtype} {list(array.shape)}: enroll again")  # fmt: skip
        norm = float(np.linalg.norm(array.astype(np.float64)))
        if not abs(norm - 1) < 1e-3:  # also refuses NaN
            raise ProfileError(f"embedding: expected unit norm, found {norm:.6g}: enroll again")
        if not isinstance(self.embedding_space, str) or not self.embedding_space:
            raise ProfileError(f"embedding_space: expected a name, found {self.embedding_space!r}: enroll again")

    def save(self, path: str | Path) -> None:
        """Write the profile: JSON if the suffix is ``.json``, otherwise npz. Whole, or not at all.

        Raises:
            ProfileError: no such folder, or the system refuses to write.
        """
        path = Path(path)
        content = self._json() if path.suffix.lower() == ".json" else self._npz()
        with replacing(path, ProfileError) as temporary:
            try:
                temporary.write_bytes(content)
            except OSError as problem:
                raise ProfileError(f"{path}: cannot write: {problem.strerror or problem}") from problem

    @classmethod
    def load(cls, path: str | Path) -> SpeakerProfile:
        """Read a profile that ``save`` wrote. Nothing in the file is executed.

        Raises:
            ProfileError: no such file, too large, or not a profile.
        """
        path = Path(path)
        try:
            size = path.stat().st_size
            if size > MAX_FILE_BYTES:
                raise ProfileError(f"expected at most {MAX_FILE_BYTES} bytes, found {size}")
            content = path.read_bytes()
            values = _parse_npz(content) if content[:2] == b"PK" else _parse_json(content)
            return cls(values["embedding"], values["embedding_space"], _quality(values["quality"]))
        except ProfileError as problem:
            raise ProfileError(f"{path}: {problem}") from problem
        except OSError as problem:
            raise ProfileError(f"{path}: cannot read the profile: {problem.strerror or problem}") from problem

    def _quality_text(self) -> str:
        return json.dumps(None if self.quality is None else asdict(self.quality))

    def _npz(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(
            buffer,
            format=np.array(FORMAT),
            embedding=self.embedding,
            embedding_space=np.array(self.embedding_space),
            quality=np.array(self._quality_text()),
        )
        return buffer.getvalue()

    def _json(self) -> bytes:
        values = {
            "format": FORMAT,
            # the shortest decimals that read back as the same float32
            "embedding": [float(str(v)) for v in self.embedding],
            "embedding_space": self.embedding_space,
            "quality": json.loads(self._quality_text()),
        }
        return (json.dumps(values, indent=1) + "\n").encode()


def _parse_npz(content: bytes) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > MAX_FILE_BYTES:  # a small file may unpack to a large one
                raise ProfileError(f"expected at most {MAX_FILE_BYTES} bytes, found {size} when unpacked")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            values = {key: arrays[key] for key in arrays.files}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, KeyError, NotImplementedError) as problem:
        raise ProfileError(f"expected a profile, found an unreadable file ({problem}): enroll again") from problem
    _check_keys(values)
    try:
        texts: dict[str, Any] = {key: str(values[key][()]) for key in ("format", "embedding_space", "quality")}
        texts["quality"] = json.loads(texts["quality"])
    except (ValueError, RecursionError) as problem:
        raise ProfileError(f"expected a profile, found damaged text ({problem}): enroll again") from problem
    _check_format(texts["format"])
    return texts | {"embedding": values["embedding"]}


def _parse_json(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise ProfileError(
            "expected a profile, found neither npz nor JSON: give what `hearable enroll` wrote"
        ) from problem
    try:
        if not isinstance(values, dict):
            raise ValueError("no object")
        _check_keys(values)
        _check_format(values["format"])
        return values | {"embedding": np.array(values["embedding"], np.float32)}
    except (ValueError, TypeError, OverflowError, RecursionError) as problem:
        raise ProfileError(f"expected a profile, found something else ({problem}): enroll again") from problem


def _check_keys(values: Mapping[str, Any]) -> None:
    if set(values) != set(_KEYS):
        raise ProfileError(
            f"expected the keys {', '.join(_KEYS)}, found {', '.join(sorted(values))[:200]}: enroll again"
        )


def _check_format(found: object) -> None:
    if found != FORMAT:
        raise ProfileError(f"expected the format {FORMAT}, found {str(found)[:40]!r}: enroll again")


def _quality(values: object) -> EnrollmentQuality | None:
    if values is None:
        return None
    try:
        if not isinstance(values, dict):
            raise TypeError("no object")
        numbers = {k: float(v) for k, v in values.items() if k not in ("warnings", "off_axis_deg")}
        direction = None if values["off_axis_deg"] is None else float(values["off_axis_deg"])
        return EnrollmentQuality(**numbers, off_axis_deg=direction, warnings=tuple(str(w) for w in values["warnings"]))
    except (TypeError, ValueError, KeyError) as problem:
        raise ProfileError(
            f"expected an enrollment quality, found something else ({problem}): enroll again"
        ) from problem
