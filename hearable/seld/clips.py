"""Files that belong together: sound with its labels, labels with predictions, by their names."""

from __future__ import annotations

from pathlib import Path

from hearable.errors import LabelError

SOUND = (".wav", ".flac")
ROWS = (".csv",)


def paired(
    first: Path, second: Path, first_suffixes: tuple[str, ...], second_suffixes: tuple[str, ...]
) -> list[tuple[str, Path, Path]]:
    """Name, first and second file of each clip, by name; folders inside the folders (folds) do not matter.

    Raises:
        LabelError: a folder is missing or empty, a file of a clip is missing, or a name occurs twice.
    """
    ones, others = _by_name(first, first_suffixes), _by_name(second, second_suffixes)
    for names, folder in ((ones.keys() - others.keys(), second), (others.keys() - ones.keys(), first)):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise LabelError(f"{folder}: expected a file of each clip, missing that of {min(names)!r}{more}")
    return [(name, ones[name], others[name]) for name in sorted(ones)]


def _by_name(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    kind = " or ".join(suffixes)
    if not folder.is_dir():
        raise LabelError(f"{folder}: expected a folder of {kind} files, found none")
    files: dict[str, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix in suffixes):
        if path.stem in files:
            raise LabelError(f"{folder}: expected distinct file names, found {files[path.stem]} and {path}")
        files[path.stem] = path
    if not files:
        raise LabelError(f"{folder}: expected {kind} files, found none")
    return files
