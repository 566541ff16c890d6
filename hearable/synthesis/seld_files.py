"""The files of a SELD dataset: where they lie, how a clip is written, what was written already.

::

    out/
    ├── dataset.json               recipe and seed
    ├── foa_dev/ mic_dev/ binaural_dev/   <clip>.wav, 16 bit
    ├── metadata_dev/              <clip>.csv, labels as DCASE writes them
    ├── scenes/                    <clip>.json: every event with its path, levels and role, interferers too
    ├── rooms/                     <room>.wav: the response of each room to a click, 1 m in front
    ├── stems/                     <format>/<clip>_<role>.wav, if the recipe says so; they add up to the clip exactly
    ├── card.md card.png           what is in it
    └── manifest.csv               path, sha256 and size of every file
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.synthesis.labels import write_labels
from hearable.synthesis.render_seld import RenderedSeld, Stems
from hearable.synthesis.seld_draw import SeldClip
from hearable.synthesis.seld_scene import SeldScene

ROLES = ("target", "interferer", "ambience")
LABELS, SCENES, ROOMS = "metadata_dev", "scenes", "rooms"
MANIFEST = "manifest.csv"
PEAK = 0.98  # louder clips are turned down as a whole
FULL_SCALE = 32768

Samples = NDArray[np.int16]


def audio_folder(name: str) -> str:
    """Where the clips of a format are."""
    return f"{name}_dev"


def write_json(path: Path, data: object) -> None:
    """Write JSON; infinite values become null.

    Raises:
        AudioError: the system refuses to write.
    """
    with replacing(path, AudioError) as temporary:
        temporary.write_text(json.dumps(_finite(data), indent=1, allow_nan=False) + "\n", "utf-8")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        AudioError: cannot be read, or is no JSON.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise AudioError(f"{path}: cannot read: {problem}") from problem


def write_wav(path: Path, samples: Samples, rate: int) -> None:
    """Write ``[channels, samples]`` as 16 bit.

    Raises:
        AudioError: the system refuses to write.
    """
    with replacing(path, AudioError) as temporary:
        try:
            soundfile.write(temporary, samples.T, rate, "PCM_16", format="WAV")
        except soundfile.LibsndfileError as problem:
            raise AudioError(f"{path}: cannot write: {problem}") from problem


def write_clip(out: Path, clip: SeldClip, rendered: RenderedSeld, classes: tuple[str, ...], stems: bool) -> None:
    """Write all files of a clip, its scene last: a clip with a scene is whole.

    Raises:
        AudioError: the system refuses to write.
    """
    by_role = {name: _by_role(clip.scene, heard) for name, heard in rendered.stems.items()}
    peak = max(float(np.abs(sum(parts.values())).max()) for parts in by_role.values())
    gain = min(1.0, PEAK / peak) if peak else 1.0
    files = []
    for name, parts in by_role.items():
        whole = {role: np.rint(audio * (gain * FULL_SCALE)).astype(np.int16) for role, audio in parts.items()}
        # The mix is the sum of what is written, so that stems on disk add up to it exactly.
        sounds = {f"{audio_folder(name)}/{clip.name}.wav": sum(whole.values(), np.int16(0))}
        if stems:
            sounds |= {f"stems/{name}/{clip.name}_{role}.wav": audio for role, audio in whole.items()}
        for path, audio in sounds.items():
            write_wav(out / path, np.asarray(audio), clip.scene.rate)
        files += list(sounds)
    files.append(f"{LABELS}/{clip.name}.csv")
    write_labels(out / files[-1], clip.labels(classes))
    write_json(scene_path(out, clip.name), _scene(out, clip, rendered, gain, files))


def scene_path(out: Path, name: str) -> Path:
    """Where a clip's scene is."""
    return out / SCENES / f"{name}.json"


def is_whole(out: Path, name: str) -> bool:
    """Whether all files of a clip are there, with their sizes."""
    path = scene_path(out, name)
    if not path.is_file():
        return False
    try:
        files = read_json(path)["files"]
        return all((out / file).stat().st_size == entry["bytes"] for file, entry in files.items())
    except (AudioError, OSError, KeyError, TypeError, AttributeError):
        return False


def fingerprint(path: Path) -> dict[str, Any]:
    """SHA-256 and size of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "bytes": path.stat().st_size}


def write_manifest(out: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the manifest: ``path,sha256,bytes``.

    Raises:
        AudioError: the system refuses to write.
    """
    with replacing(out / MANIFEST, AudioError) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "sha256", "bytes"])
        writer.writerows([path, entry["sha256"], entry["bytes"]] for path, entry in sorted(files.items()))


def _by_role(scene: SeldScene, stems: Stems) -> dict[str, NDArray[np.float32]]:
    parts = {role: np.zeros_like(stems.ambience) for role in ROLES}
    parts["ambience"] += stems.ambience
    for event, image in zip(scene.events, stems.events, strict=True):
        parts[event.role][:, image.start : image.start + image.audio.shape[1]] += image.audio
    return parts


def _scene(out: Path, clip: SeldClip, rendered: RenderedSeld, gain: float, files: list[str]) -> dict[str, Any]:
    """What a clip's file says: ``active`` and ``levels`` are in the order of the scene's events."""
    return {
        "name": clip.name,
        "gain_db": 20 * math.log10(gain),
        "scene": clip.scene.to_dict(),
        "active": clip.active,
        "snr_db": {name: stems.snr_db for name, stems in rendered.stems.items()},
        "levels": {name: [asdict(levels) for levels in stems.levels] for name, stems in rendered.stems.items()},
        "files": {file: fingerprint(out / file) for file in files},
    }


def _finite(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not math.isfinite(data) else data
