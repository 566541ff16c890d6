"""Where the models lie, and whether they are the published ones."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from hearable.errors import ModelAltered, ModelNotFound

SUMS = "SHA256SUMS"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_SUM = re.compile(r"(?P<hash>[0-9a-f]{64})  (?P<file>[A-Za-z0-9][A-Za-z0-9._-]*)")
_CONDITIONER = ".conditioner.onnx"


def models_folder() -> Path:
    """The folder of shipped models: beside this module in an installed package, one folder up in a checkout."""
    here = Path(__file__).resolve().parent
    beside = here / "models"
    return beside if beside.is_dir() else here.parent / "models"


def list_models() -> list[str]:
    """Names of the shipped extractors and enrollers, sorted: of the files that are there, and that should be."""
    folder = models_folder()
    files = {f.name for f in folder.glob("*.onnx")} | (
        set(published_hashes(folder)) if (folder / SUMS).exists() else set()
    )
    stems = (Path(file).stem for file in files if not file.endswith(_CONDITIONER))
    return sorted(stem for stem in stems if _NAME.fullmatch(stem))


def model_path(name: str) -> Path:
    """Path of a shipped model.

    Raises:
        ModelNotFound: the name holds anything but letters, digits, ``_`` and ``-``, or there is no such model.
    """
    path = models_folder() / f"{name}.onnx"
    if not _NAME.fullmatch(name) or not path.is_file():
        if name in list_models():
            raise ModelNotFound(f"{path}: the file of a shipped model is missing: reinstall hearable")
        known = ", ".join(list_models()) or "none"
        raise ModelNotFound(f"no model {name!r} in {models_folder()}: expected one of {known}, or a path to an .onnx")
    return path


def conditioner_path(path: Path) -> Path:
    """The conditioner that belongs to an extractor: ``base.onnx`` -> ``base.conditioner.onnx``."""
    return path.with_name(path.stem + _CONDITIONER)


def locate(name_or_path: str | Path) -> tuple[Path, bool]:
    """Path of a model, and whether its hash is to be verified: of a shipped one, and where a list names the file.

    A ``Path``, or a text that ends in ``.onnx`` or holds a slash, is a path; any other text is a name.

    Raises:
        ModelNotFound: there is no such model.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and not (text.endswith(".onnx") or "/" in text or "\\" in text):
        return model_path(text), True
    path = Path(name_or_path)
    if not path.is_file():
        raise ModelNotFound(f"no model file {path}: expected the name of a shipped model or a path to an .onnx")
    return path, _is_listed(path)


def _is_listed(path: Path) -> bool:
    """Whether a ``SHA256SUMS`` beside the file names it. One in another form is none of ours."""
    try:
        return path.name in published_hashes(path.parent)
    except ModelAltered:
        return False


def published_hashes(folder: Path) -> dict[str, str]:
    """File name to SHA-256, from the folder's ``SHA256SUMS`` (the format of ``sha256sum``).

    Raises:
        ModelAltered: the list is missing, or a line is not ``<64 hex digits>  <file name>``.
    """
    try:
        lines = (folder / SUMS).read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ModelAltered(f"{folder / SUMS}: expected a readable list of hashes: reinstall hearable") from problem
    hashes: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _SUM.fullmatch(line)
        if not match or match["file"] in hashes:
            raise ModelAltered(
                f"{folder / SUMS}, line {number}: expected '<sha256>  <file>' once a file, found {line!r}"
            )
        hashes[match["file"]] = match["hash"]
    return hashes


def verify_hash(path: Path, content: bytes | None = None) -> None:
    """Compare a file with ``SHA256SUMS`` in its folder.

    Args:
        path: the file.
        content: its bytes, if they have been read already: what is then used is what was verified.

    Raises:
        ModelAltered: the file is not in the list, or its hash is another one.
    """
    expected = published_hashes(path.parent).get(path.name)
    if expected is None:
        raise ModelAltered(f"{path}: expected a line in {SUMS}, found none: reinstall hearable, or export it again")
    found = hashlib.sha256(path.read_bytes() if content is None else content).hexdigest()
    if found != expected:
        raise ModelAltered(
            f"{path}: expected SHA-256 {expected}, found {found}: reinstall hearable, or export it again"
        )
