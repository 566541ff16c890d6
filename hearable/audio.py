"""Sound files in and out, block by block, and the checks at the edge. Sound is float32 ``[channels, samples]``."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile
from numpy.typing import ArrayLike

from hearable.chunks import Audio
from hearable.errors import AudioError
from hearable.files import replacing
from hearable.resampling import StreamResampler, resample, resampled_length

__all__ = [
    "Audio",
    "AudioReader",
    "AudioWriter",
    "StreamResampler",
    "read_audio",
    "require_audio",
    "require_stereo",
    "resample",
    "resampled_length",
    "write_audio",
]

BLOCK_SAMPLES = 16384
_KEPT_SUBTYPES = ("PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
_UNKNOWN_SIZE = 0x7FFFF000  # programs that write to a pipe leave 0, or about 2 or 4 GB, as the size


def require_audio(audio: ArrayLike, what: str = "audio", allow_empty: bool = False, first: int = 0) -> Audio:
    """Check sound from outside and return it as float32 ``[channels, samples]``.

    Args:
        audio: numbers ``[channels, samples]``; floats in -1..1 by convention. Integers are refused: their scale is
            not known.
        what: what to call it in the error.
        allow_empty: whether 0 samples will do.
        first: number of the first sample in the whole that this is a block of, for the error.

    Raises:
        AudioError: not two axes, not floating point, empty, or holding NaN or infinity.
    """
    array = np.asarray(audio)
    if array.ndim != 2 or array.shape[0] < 1:
        raise AudioError(f"{what}: expected an array [channels, samples], found shape {list(array.shape)}")
    if not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"{what}: expected floating-point samples in -1..1, found {array.dtype}: divide by full scale")
    if array.shape[1] == 0 and not allow_empty:
        raise AudioError(f"{what}: expected at least one sample, found none")
    with np.errstate(over="ignore"):  # too large for float32: found by the next check
        array = array.astype(np.float32, copy=False)
    if not np.isfinite(array).all():
        bad = first + int(np.argmin(np.isfinite(array).all(axis=0)))
        raise AudioError(
            f"{what}: expected finite samples, found NaN or infinity at sample {bad}: repair the recording"
        )
    return array


def require_stereo(audio: ArrayLike, what: str = "audio", allow_empty: bool = False) -> Audio:
    """``require_audio``, and exactly two channels: left ear, right ear.

    Raises:
        AudioError: as ``require_audio``, or not two channels.
    """
    array = require_audio(audio, what, allow_empty)
    _check_ears(array.shape[0], what)
    return array


def _check_ears(channels: int, what: str) -> None:
    if channels == 1:
        raise AudioError(
            f"{what}: expected 2 channels (left and right ear), found 1: record with a microphone at each ear"
        )
    if channels != 2:
        raise AudioError(
            f"{what}: expected 2 channels (left and right ear), found {channels}: keep the two ears' channels"
        )


class AudioReader(AbstractContextManager["AudioReader"]):
    """A sound file, read in blocks: memory does not grow with its length.

    Args:
        path: any file that libsndfile reads (wav, flac, ogg, opus, mp3, ...).
        start_s: seconds to skip.
        seconds: how much to read; to the end if ``None`` or if less is there.
        stereo: refuse a file that has not exactly two channels.

    Attributes:
        rate: samples a second.
        channels: number of channels.
        samples: samples that will be read.
        subtype: how the file stores a sample, as libsndfile calls it (``PCM_16``, ``FLOAT``, ...).

    Raises:
        AudioError: no such file, not sound, shorter than its header says, or nothing to read.
    """

    def __init__(self, path: str | Path, start_s: float = 0.0, seconds: float | None = None, stereo: bool = False):
        self.path = Path(path)
        if not self.path.is_file():
            raise AudioError(f"{path}: no such file")
        _check_wav_size(self.path)
        try:
            self._file = soundfile.SoundFile(self.path)
        except (soundfile.LibsndfileError, OSError) as problem:
            raise AudioError(f"{path}: expected a sound file, found something else ({_reason(problem)}): "
                             "convert it to wav or flac") from problem  # fmt: skip
        self.rate: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.subtype: str = self._file.subtype
        try:
            self.samples = self._seek(start_s, seconds)
            if stereo:
                _check_ears(self.channels, str(path))
        except BaseException:
            self.close()
            raise

    def _seek(self, start_s: float, seconds: float | None) -> int:
        total: int = self._file.frames
        if not 0 <= start_s < float("inf") or (seconds is not None and not 0 < seconds < float("inf")):
            raise AudioError(f"{self.path}: expected a start of 0 s or later and a positive length, "
                             f"found {start_s} s and {seconds} s")  # fmt: skip
        start = round(start_s * self.rate)
        if total == 0:
            raise AudioError(f"{self.path}: expected samples, found 0.000 s in all: record it again")
        if start >= total:
            raise AudioError(f"{self.path}: expected sound from {start_s} s on, found {total / self.rate:.3f} s in all")
        if start:
            self._file.seek(start)
        self._start = start
        return total - start if seconds is None else min(total - start, max(1, round(seconds * self.rate)))

    def blocks(self, block_samples: int = BLOCK_SAMPLES) -> Iterator[Audio]:
        """Iterate once over the sound in ``[channels, up to block_samples]``.

        Raises:
            AudioError: the file ends early or cannot be decoded, or holds NaN or infinity.
        """
        left = self.samples
        while left:
            try:
                frames = self._file.read(min(block_samples, left), dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as problem:
                raise AudioError(
                    f"{self.path}: cannot be decoded ({_reason(problem)}): record or copy it again"
                ) from problem
            if not len(frames):
                raise AudioError(
                    f"{self.path}: expected {self.samples} samples, found {self.samples - left}: "
                    "the file is truncated: record or copy it again"
                )
            first = self._start + self.samples - left
            left -= len(frames)
            yield np.ascontiguousarray(require_audio(frames.T, str(self.path), first=first))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_audio(path: str | Path, start_s: float = 0.0, seconds: float | None = None) -> tuple[Audio, int]:
    """Read a sound file: float32 ``[channels, samples]`` and its rate in Hz.

    Args:
        path: any file that libsndfile reads.
        start_s: seconds to skip.
        seconds: how much to read; to the end if ``None`` or if less is there.

    Raises:
        AudioError: as ``AudioReader``.
    """
    with AudioReader(path, start_s, seconds) as reader:
        return np.concatenate(list(reader.blocks()), axis=1), reader.rate


class AudioWriter(AbstractContextManager["AudioWriter"]):
    """A sound file, written in blocks beside its final name and renamed when the ``with`` ends without an exception.

    Args:
        path: where to; the suffix names the format.
        rate: samples a second.
        channels: number of channels.
        like: how to store a sample (a reader's ``subtype``), where that is uncompressed and the format can; else
            24-bit integers where the format can, else the format's own default. Integers clip at full scale.

    Raises:
        AudioError: an unknown suffix, no such folder, or the system refuses to write.
    """

    def __init__(self, path: str | Path, rate: int, channels: int = 2, like: str | None = None):
        self.path = Path(path)
        self.rate = rate
        self.channels = channels
        self.format, self.subtype = _format_of(self.path, like)
        self._exit = ExitStack()

    def __enter__(self) -> AudioWriter:
        with ExitStack() as stack:
            temporary = stack.enter_context(replacing(self.path, AudioError))
            try:
                self._file = stack.enter_context(
                    soundfile.SoundFile(temporary, "w", self.rate, self.channels, self.subtype, format=self.format)
                )
            except (soundfile.LibsndfileError, OSError, ValueError) as problem:
                raise AudioError(
                    f"{self.path}: cannot write {self.channels} channels at {self.rate} Hz as {self.format} "
                    f"({_reason(problem)}): choose a .wav"
                ) from problem
            self._exit = stack.pop_all()
        return self

    def write(self, block: ArrayLike) -> None:
        """Append float32 ``[channels, samples]``.

        Raises:
            AudioError: another number of channels, NaN or infinity, or the disk is full.
        """
        audio = require_audio(block, str(self.path), allow_empty=True)
        if audio.shape[0] != self.channels:
            raise AudioError(f"{self.path}: expected {self.channels} channels, found {audio.shape[0]}")
        try:
            self._file.write(audio.T)
        except soundfile.LibsndfileError as problem:
            raise self._refused(problem) from problem

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._exit.__exit__(kind, value, trace)
        except soundfile.LibsndfileError as problem:
            raise self._refused(problem) from problem

    def _refused(self, problem: Exception) -> AudioError:
        return AudioError(f"{self.path}: cannot write ({_reason(problem)}): is the disk full?")


def write_audio(path: str | Path, audio: ArrayLike, rate: int) -> None:
    """Write float32 ``[channels, samples]`` at ``rate`` Hz: whole, or not at all.

    Raises:
        AudioError: as ``require_audio`` and ``AudioWriter``.
    """
    array = require_audio(audio, str(path))
    with AudioWriter(path, rate, array.shape[0]) as writer:
        writer.write(array)


def _format_of(path: Path, like: str | None) -> tuple[str, str]:
    """The names that libsndfile has for the format and the sample type to write."""
    name = path.suffix[1:].upper()
    if name == "OPUS":
        return "OGG", "OPUS"
    if name not in soundfile.available_formats():
        raise AudioError(f"{path}: expected a sound file's suffix such as .wav or .flac, found {path.suffix!r}")
    wanted = ([like] if like in _KEPT_SUBTYPES else []) + ["PCM_24", soundfile.default_subtype(name)]
    return name, next(s for s in wanted if soundfile.check_format(name, s))


def _check_wav_size(path: Path) -> None:
    """Refuse a wav whose header promises more sound than the file holds: libsndfile would read what there is.

    Raises:
        AudioError: the data chunk ends behind the end of the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
            return
        long_size = None
        while len(entry := file.read(8)) == 8:
            chunk, length = struct.unpack("<4sI", entry)
            begin = file.tell()
            if chunk == b"ds64":
                long_size = struct.unpack("<8xQ", file.read(16).ljust(16, b"\0"))[0]
            if chunk == b"data":
                promised = long_size if long_size and length == 0xFFFFFFFF else length
                if promised > size - begin and (promised < _UNKNOWN_SIZE or long_size):
                    raise AudioError(
                        f"{path}: expected {promised} bytes of sound, found {size - begin}: "
                        "the file is truncated: record or copy it again"
                    )
                return
            file.seek(begin + length + length % 2)


def _reason(problem: Exception) -> str:
    text: str = getattr(problem, "error_string", None) or getattr(problem, "strerror", None) or str(problem)
    return text.strip().rstrip(".")
