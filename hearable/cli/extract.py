"""``hearable extract``: enrolled people out of a recording of any length."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from hearable.audio import AudioReader, AudioWriter
from hearable.chunks import Audio
from hearable.cli.console import Json, emit, progress_bar, require_other, say, warn
from hearable.errors import ProfileMismatch
from hearable.extractor import Model, load_model
from hearable.profiles import SpeakerProfile
from hearable.recordings import extract_stream

# Of noisy clips of different validation speakers, one pair in a thousand is as alike; of one speaker's, one in eleven.
ALIKE = 0.95
LEAST_DB, MOST_DB = -200.0, 60.0
FLOATS = ("FLOAT", "DOUBLE")  # how libsndfile calls the samples that do not clip


def extract(
    mixture: Annotated[Path, typer.Argument(metavar="MIXTURE", help="Binaural recording, any rate and length.")],
    profile: Annotated[list[Path], typer.Option(help="Whom to extract, from `hearable enroll`; may be repeated.")],
    out: Annotated[Path, typer.Option(help="Sound file to write, as long as the mixture and at its rate.")],
    background: Annotated[float | None, typer.Option(metavar="DB", help="Keep the rest, at this gain in dB.")] = None,
    separate: Annotated[bool, typer.Option("--separate", help="One file each: OUT-<profile name>.")] = False,
    remove: Annotated[bool, typer.Option("--remove", help="Give everything but these people.")] = False,
    model: Annotated[str, typer.Option(help="Extractor: a name or a path to an .onnx.")] = "base",
    as_json: Json = False,
) -> None:
    """Extract enrolled people from a recording, both ears kept, aligned with it to the sample."""
    _check_gain(background, remove)
    paths = output_paths(out, profile) if separate else [out]
    for path in paths:
        require_other(path, [mixture, *profile])
    loaded = load_model(model)
    people = load_profiles(loaded, profile)
    for one, other in [] if separate else alike(people):
        warn(f"{profile[one]} and {profile[other]} are as alike as two clips of one person, who would be heard twice")
    with AudioReader(mixture, stereo=True) as reader:
        stream = extract_stream(
            loaded, people, reader.blocks(), reader.rate, background_db=background, remove=remove, separate=separate
        )
        begin = time.perf_counter()
        with progress_bar("extracting", reader.samples, not as_json) as advance:
            clipped = _write(reader, paths, stream, advance)
        elapsed = time.perf_counter() - begin
        seconds, rate = reader.samples / reader.rate, reader.rate
    for path in clipped:
        warn(f"{path}: louder than full scale and clipped: lower the mixture, or give it as 32-bit float")
    if as_json:
        emit(
            {
                "outputs": [str(path) for path in paths],
                "clipped": [str(path) for path in clipped],
                "model": loaded.spec.name,
                "sample_rate_hz": rate,
                "seconds": round(seconds, 3),
                "compute_s": round(elapsed, 3),
                "rtf": round(elapsed / seconds, 5),
            }
        )
        return
    say(f"Wrote {', '.join(map(str, paths))}")
    say(f"{seconds:.1f} s of sound in {elapsed:.1f} s: real-time factor {elapsed / seconds:.3f}")


def _write(
    reader: AudioReader, paths: Sequence[Path], stream: Iterable[Audio], advance: Callable[[int], object]
) -> list[Path]:
    """Write ``[outputs, 2, samples]`` to a file each; return those that integers could not hold."""
    peaks = [0.0] * len(paths)
    with _writers(paths, reader) as writers:
        for heard in stream:
            for n, (writer, block) in enumerate(zip(writers, heard, strict=True)):
                writer.write(block)
                peaks[n] = max(peaks[n], float(abs(block).max(initial=0.0)))
            advance(heard.shape[-1])
    return [w.path for w, peak in zip(writers, peaks, strict=True) if peak > 1 and w.subtype not in FLOATS]


def _check_gain(background: float | None, remove: bool) -> None:
    if background is None:
        return
    if remove:
        raise typer.BadParameter("cannot be used with --remove", param_hint="--background")
    if math.isnan(background) or not LEAST_DB <= background <= MOST_DB:
        raise typer.BadParameter(
            f"expected {LEAST_DB:g} to {MOST_DB:g} dB, found {background:g}", param_hint="--background"
        )


def output_paths(out: Path, profiles: Sequence[Path]) -> list[Path]:
    """``out.wav`` and ``alice.profile`` -> ``out-alice.wav``, for each profile.

    Raises:
        typer.BadParameter: two profiles of one name: one result would overwrite the other.
    """
    paths = [out.with_name(f"{out.stem}-{profile.stem}{out.suffix}") for profile in profiles]
    if len(set(paths)) < len(paths):
        raise typer.BadParameter("with --separate, expected profiles of different names", param_hint="--profile")
    return paths


def load_profiles(model: Model, paths: Sequence[Path]) -> list[SpeakerProfile]:
    """The profiles, checked against the model here so that an error names the file."""
    people = []
    for path in paths:
        person = SpeakerProfile.load(path)
        try:
            model.condition(person)
        except ProfileMismatch as problem:
            raise ProfileMismatch(f"{path}: {str(problem).removeprefix('profile: ')}") from problem
        people.append(person)
    return people


def alike(people: Sequence[SpeakerProfile]) -> list[tuple[int, int]]:
    """Pairs that may be one person: their embeddings' cosine is above `ALIKE`."""
    pairs = itertools.combinations(range(len(people)), 2)
    return [(i, j) for i, j in pairs if people[i].embedding @ people[j].embedding > ALIKE]


@contextmanager
def _writers(paths: Sequence[Path], reader: AudioReader) -> Iterator[list[AudioWriter]]:
    """A writer for each path. All files appear at the end, or none that was not there before."""
    new = [path for path in paths if not path.exists()]
    try:
        with ExitStack() as stack:
            yield [
                stack.enter_context(AudioWriter(path, reader.rate, reader.channels, reader.subtype)) for path in paths
            ]
    except BaseException:
        for path in new:  # renamed already when closing another one failed
            path.unlink(missing_ok=True)
        raise
