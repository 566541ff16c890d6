"""Labels of a SELD scene as DCASE writes them: frames of 100 ms, whole degrees, targets only."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hearable.errors import AudioError
from hearable.files import replacing
from hearable.synthesis.seld_scene import SeldScene
from hearable.synthesis.trajectories import along

FRAME_S = 0.1

Span = tuple[int, int]
"""First sample that sounds and the one after the last."""

Row = tuple[int, int, int, int, int]
"""Frame (from 0), class, event number, azimuth (-180..179, 0 front, + left), elevation (+ up)."""


def label_rows(scene: SeldScene, active: Sequence[Sequence[Span]], classes: Sequence[str]) -> list[Row]:
    """The labels of a scene, by frame, class and event; targets are numbered from 0 in the order of their starts.

    A frame is labelled when a stretch of the event fills half of it or more; a stretch too short for that labels the
    frame that it fills most. The direction is that at the frame's centre. The time that sound takes to the array (9 ms
    for 3 m) is not counted.

    Args:
        scene: what is rendered.
        active: for each event of the scene, the stretches within its sound in which it is heard.
        classes: their order gives the class numbers.

    Raises:
        ValueError: a target of no class.
    """
    frame_samples = FRAME_S * scene.rate
    targets = [(e, spans) for e, spans in zip(scene.events, active, strict=True) if e.role == "target"]
    rows: list[Row] = []
    for number, (event, spans) in enumerate(sorted(targets, key=lambda t: t[0].start)):
        if event.label not in classes:
            raise ValueError(f"expected a class among {', '.join(classes)}, found {event.label!r}")
        shift = event.start - event.clip_start
        heard = [(max(a, event.clip_start), min(b, event.clip_start + event.samples)) for a, b in spans]
        frames = _frames([(a + shift, b + shift) for a, b in heard if a < b], frame_samples, scene.samples)
        azimuth, elevation, _ = along(event.path, (np.array(frames) + 0.5) * FRAME_S)
        degrees = zip(_whole_azimuth(azimuth), np.rint(elevation).astype(int).tolist(), strict=True)
        kind = classes.index(event.label)
        rows += [(frame, kind, number, a, e) for frame, (a, e) in zip(frames, degrees, strict=True)]
    return sorted(rows)


def write_labels(path: Path, rows: Sequence[Row]) -> None:
    """Write a csv without a header, one row a frame and event.

    Raises:
        AudioError: the system refuses to write.
    """
    with replacing(path, AudioError) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def _frames(spans: Sequence[Span], frame_samples: float, scene_samples: int) -> list[int]:
    found: set[int] = set()
    last = int(np.ceil(scene_samples / frame_samples)) - 1
    for begin, end in spans:
        frames = np.arange(int(begin / frame_samples), min(int((end - 1) / frame_samples), last) + 1)
        filled = np.minimum(end, (frames + 1) * frame_samples) - np.maximum(begin, frames * frame_samples)
        enough = frames[filled >= frame_samples / 2]
        found.update(enough.tolist() if len(enough) else [int(frames[np.argmax(filled)])])
    return sorted(found)


def _whole_azimuth(azimuth_deg: NDArray[np.float64]) -> list[int]:
    """Rounded into -180..179: 179.7 is -180."""
    return [int(degrees) for degrees in (np.rint(azimuth_deg).astype(int) + 180) % 360 - 180]
