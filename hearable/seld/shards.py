"""Shards for training at scale: tar files of some clips each, as the package webdataset reads them.

A clip is two members of one name: ``fold1_room1_mix001.wav`` (or ``.flac``) and ``fold1_room1_mix001.csv``. The bytes
of a shard depend on the files and the seed alone.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hearable.errors import LabelError
from hearable.files import replacing
from hearable.seld.clips import ROWS, SOUND, paired


def write_shards(
    audio: Path,
    labels: Path,
    out: Path,
    clips_per_shard: int = 32,
    seed: int = 0,
    progress: Callable[[int], object] = lambda clips: None,
) -> list[Path]:
    """Write ``shard-000000.tar`` and on; each is there whole or not at all.

    Args:
        audio: folder of the sound files, of one format.
        labels: folder of their csv files.
        out: folder that exists.
        clips_per_shard: the last has fewer where they do not come out even.
        seed: of the order of the clips: a reader takes a shard from front to back, so neighbours must differ.
        progress: told how many clips have been written since the last time.

    Raises:
        LabelError: files do not pair up, two names differ only after a dot, or the system refuses to write.
    """
    clips = paired(audio, labels, SOUND, ROWS)
    if dotted := [name for name, *_ in clips if "." in name]:
        raise LabelError(f"{audio}: expected names without a dot (webdataset ends a name there), found {dotted[0]!r}")
    order = np.random.default_rng(seed).permutation(len(clips))
    shards = []
    for number, first in enumerate(range(0, len(clips), clips_per_shard)):
        chosen = [clips[i] for i in order[first : first + clips_per_shard]]
        shards.append(out / f"shard-{number:06d}.tar")
        with replacing(shards[-1], LabelError) as temporary, tarfile.open(temporary, "w") as tar:
            for name, sound, rows in chosen:
                for path in (sound, rows):
                    _add(tar, name + path.suffix, path)
        progress(len(chosen))
    return shards


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    member = tarfile.TarInfo(name)  # no owner, no time: they would make the bytes depend on the machine
    member.size = path.stat().st_size
    with path.open("rb") as file:
        tar.addfile(member, file)
