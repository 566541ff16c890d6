"""A file is either written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hearable.errors import HearableError


@contextmanager
def replacing(path: Path, error: type[HearableError]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` at the end, remove it on any exception.

    Raises:
        HearableError: of the class ``error``, when the folder is missing, the target is not a regular file, or the
            system refuses to rename. What goes wrong while the file is written passes through.
    """
    target = path.resolve()  # a link stays a link
    if not target.parent.is_dir():
        raise error(f"{path}: no folder {target.parent}: make it first")
    if target.exists() and not target.is_file():
        raise error(f"{path}: expected a regular file or none, found something else: choose another name")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        try:
            os.replace(temporary, target)
        except OSError as problem:
            raise error(f"{path}: cannot write: {problem.strerror or problem}") from problem
    finally:
        temporary.unlink(missing_ok=True)
