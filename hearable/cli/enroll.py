"""``hearable enroll``: a profile of the person straight ahead, from a short clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hearable import enrollment
from hearable.audio import AudioReader
from hearable.chunks import Audio
from hearable.cli.console import Json, emit, lines, require_other, say, warn
from hearable.errors import EnrollmentError
from hearable.profiles import EnrollmentQuality


def enroll(
    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", help="Binaural recording of the person, who speaks in front of you.")
    ],
    out: Annotated[Path, typer.Option(help="Profile to write: NAME.profile, or .json for text.")],
    start: Annotated[float, typer.Option(min=0, help="Seconds of the clip to skip.")] = 0.0,
    seconds: Annotated[
        float | None, typer.Option(min=enrollment.MIN_SECONDS, help="Seconds to use; best 3 to 5.")
    ] = None,
    model: Annotated[str, typer.Option(help="Enroller: a name or a path to an .onnx.")] = "enroll",
    as_json: Json = False,
) -> None:
    """Make a profile of whoever speaks straight ahead, and say whether the clip will do."""
    require_other(out, [clip])
    audio, rate = _read(clip, start, seconds)
    try:
        profile = enrollment.enroll(audio, rate, model)
    except EnrollmentError as problem:
        raise EnrollmentError(f"{clip}: {str(problem).removeprefix('enrollment clip: ')}") from problem
    profile.save(out)
    quality = profile.quality
    assert quality is not None  # enroll() always judges
    if as_json:
        emit(
            {"profile": str(out), "embedding_space": profile.embedding_space, **quality.rounded()},
        )
        return
    lines(described(quality))
    for warning in quality.warnings:
        warn(warning)
    say(f"Wrote {out}")


def _read(path: Path, start: float, seconds: float | None) -> tuple[Audio, int]:
    """The clip; an hour is refused before it is read."""
    import numpy as np

    with AudioReader(path, start, seconds, stereo=True) as reader:
        found = reader.samples / reader.rate
        if found > enrollment.MAX_SECONDS:
            raise EnrollmentError(
                f"{path}: expected {enrollment.MIN_SECONDS:g} to {enrollment.MAX_SECONDS:g} s, found {found:.1f} s: "
                "say where the person speaks, such as --start 12 --seconds 5"
            )
        return np.concatenate(list(reader.blocks()), axis=1), reader.rate


def described(quality: EnrollmentQuality) -> list[tuple[str, str]]:
    """The quality as names and values to show."""
    return [
        ("speech found", f"{quality.speech_seconds:.1f} s of {quality.seconds:.1f} s"),
        ("estimated SNR", f"{quality.snr_db:.0f} dB"),
        ("direction", enrollment.towards(quality.off_axis_deg)),
        ("from the front", f"{quality.frontal:.0%} of the sound"),
        ("will it do", "yes" if quality.ok else "no"),
    ]
