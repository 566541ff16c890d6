"""Checks one clip of a made dataset: its files, its labels against its scene, and its sound against its labels."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from hearable.errors import AudioError, HearableError
from hearable.seld.events import Events, read_labels
from hearable.synthesis.directions import angle_between_deg
from hearable.synthesis.labels import FRAME_S, label_rows
from hearable.synthesis.seld_checks import check_scene
from hearable.synthesis.seld_files import LABELS, ROLES, audio_folder, read_json
from hearable.synthesis.seld_listen import expected_itd_s, foa_directions, itd_s, steered_directions
from hearable.synthesis.seld_scene import CHANNELS, Format, SeldScene, ShoeboxRoom

Audio = NDArray[np.float32]

AMBIENCE_N_FFT = 1024  # divides that of `diffuse_covariance`
FLAT_SAMPLES = 4  # so many equal samples at the peak are clipped
CLICK, CLICK_AWAY = 8.0, 3.0  # a jump so many times what is around it, and what is farther away
AWAY_SAMPLES = 300  # so far: a voice has a sharp peak in each of its periods
CLICK_LEAST = 0.003  # of full scale
TAIL_S = 0.3  # so long what has ended still disturbs
LEAST_SNR_DB, LEAST_DRR_DB = 10.0, -5.0  # of an event that is judged by ear
SHIFTS = np.arange(-10, 11)
WORST_DEG = 60.0  # larger errors count as this where shifts are compared


@dataclass
class ClipFindings:
    """What one clip shows.

    Attributes:
        name: of the clip.
        faults: by check.
        errors: for each format, of each frame with one source: degrees, or microseconds.
        by_shift: for each shift of the labels, the sum of the FOA or MIC errors and the frames, ``[2, shifts]``.
        level_errors_db: for each format, of each event that sounds alone from its start to its end, how much louder the
            clip is than the scene says.
        rt60_s: of its room, if that is simulated.
        covariance: for each format, of the ambience alone ``[bins, channels, channels]``, and the number of blocks.
    """

    name: str
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    by_shift: NDArray[np.float64] | None = None
    rt60_s: float | None = None
    level_errors_db: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    covariance: dict[str, tuple[NDArray[np.complex128], int]] = field(default_factory=dict)


def check_clip(out: Path, path: Path, recipe: dict[str, Any]) -> ClipFindings:
    """Check the clip whose scene is at ``path``."""
    found = ClipFindings(path.stem)
    try:
        made = read_json(path)
        scene = SeldScene.from_dict(made["scene"])
        check_scene(scene)
        active, levels, gain_db = made["active"], made["levels"], made["gain_db"]
        labels = read_labels(out / LABELS / f"{path.stem}.csv")
    except HearableError as problem:
        found.faults["format"].append(str(problem))
        return found
    except (KeyError, TypeError, ValueError) as problem:
        found.faults["format"].append(f"{path}: not a scene: {problem!r}")
        return found
    found.rt60_s = scene.room.rt60_s if isinstance(scene.room, ShoeboxRoom) else None
    _check_labels(found, labels, scene, active, recipe)
    alone = _alone(labels, scene, levels[scene.formats[0]])
    for name in scene.formats:
        try:
            audio = _read_clip(out / audio_folder(name) / f"{path.stem}.wav", scene, CHANNELS[name])
            _check_stems(found, out, name, audio)
        except AudioError as problem:
            found.faults["format"].append(str(problem))
            continue
        _check_sound(found, name, audio)
        found.level_errors_db[name] = _level_errors_db(name, audio, scene, levels[name], gain_db)
        _listen(found, name, audio, scene, alone)
        _ambience(found, name, audio, scene)
    found.faults = dict(found.faults)
    return found


def read_wav(path: Path) -> tuple[Audio, int]:
    """``[channels, samples]`` and rate of a 16-bit wav.

    Raises:
        AudioError: it cannot be read, or is no such file.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.subtype != "PCM_16":
                raise AudioError(f"{path}: expected 16-bit samples, found {file.subtype}")
            return np.ascontiguousarray(file.read(dtype="float32", always_2d=True).T), file.samplerate
    except (soundfile.LibsndfileError, OSError) as problem:
        raise AudioError(f"{path}: cannot read: {problem}") from problem


def _read_clip(path: Path, scene: SeldScene, channels: int) -> Audio:
    audio, rate = read_wav(path)
    if (rate, audio.shape) != (scene.rate, (channels, scene.samples)):
        raise AudioError(
            f"{path}: expected {channels} channels, {scene.samples} samples at {scene.rate} Hz, "
            f"found {audio.shape[0]}, {audio.shape[1]} at {rate} Hz"
        )
    return audio


def _check_labels(
    found: ClipFindings, labels: Events, scene: SeldScene, active: Sequence[Any], recipe: dict[str, Any]
) -> None:
    def fault(text: str) -> None:
        found.faults["label grid"].append(f"{found.name}: {text}")

    frames = round(scene.samples / scene.rate / FRAME_S)
    angles = np.concatenate([labels.azimuth_deg, labels.elevation_deg])
    if np.any(angles != np.rint(angles)):
        fault("expected whole degrees")
    if np.any(np.abs(labels.azimuth_deg) > 180) or np.any(np.abs(labels.elevation_deg) > 90):
        fault("expected azimuth within -180..180 and elevation within -90..90")
    if np.any(labels.frame >= frames) or np.any(np.diff(labels.frame) < 0):
        fault(f"expected frames in order, from 0 to {frames - 1}")
    if np.any(labels.class_index >= len(recipe["classes"])):
        fault(f"expected classes from 0 to {len(recipe['classes']) - 1}")
    most = max(Counter(labels.frame.tolist()).values(), default=0)
    if most > recipe["events"]["layers"]:
        fault(f"expected at most {recipe['events']['layers']} targets at once, found {most}")
    columns = (labels.frame, labels.class_index, labels.event, labels.azimuth_deg, labels.elevation_deg)
    written = list(zip(*(column.tolist() for column in columns), strict=True))
    drawn = label_rows(scene, active, recipe["classes"])
    if written != drawn:
        missing, extra = len(set(drawn) - set(written)), len(set(written) - set(drawn))
        fault(f"labels are not those of its scene: {missing} rows missing, {extra} too many")


def _check_stems(found: ClipFindings, out: Path, name: str, audio: Audio) -> None:
    folder = out / "stems" / name
    if folder.is_dir():
        parts = [read_wav(folder / f"{found.name}_{role}.wav")[0] for role in ROLES]
        if any(part.shape != audio.shape for part in parts) or np.any(sum(parts) != audio):
            found.faults["stems"].append(f"{found.name}: {name}: the stems do not add up to the clip")


def _check_sound(found: ClipFindings, name: str, audio: Audio) -> None:
    for number, channel in enumerate(audio):
        peak = float(np.abs(channel).max())
        if peak == 0:
            found.faults["clipping"].append(f"{found.name}: {name} channel {number} is silent")
            continue
        for level in (channel.max(), channel.min()):
            if abs(level) > 0.001 and _longest_run(channel == level) >= FLAT_SAMPLES:
                found.faults["clipping"].append(f"{found.name}: {name} channel {number} is clipped at {level:.3f}")
        at = click(channel)
        if at is not None:
            found.faults["clicks"].append(f"{found.name}: {name} channel {number} clicks at sample {at}")


def click(channel: Audio) -> int | None:
    """The sample at which the second difference leaps farthest out of what it is around it on both sides, if any."""
    bend = np.abs(np.diff(channel.astype(np.float64), 2))
    near = np.lib.stride_tricks.sliding_window_view(np.pad(bend, 24), 49)
    candidates = np.flatnonzero(bend > CLICK_LEAST)
    around = np.maximum(near[candidates, :22].max(axis=1), near[candidates, 27:].max(axis=1))
    leaps = candidates[bend[candidates] > CLICK * around]
    clicks = [leap for leap in leaps.tolist() if bend[leap] > CLICK_AWAY * _beside(bend, leap)]
    return max(clicks, key=bend.__getitem__) + 1 if clicks else None


def _beside(bend: NDArray[np.float64], at: int) -> float:
    """The largest farther than two samples, and no farther than ``AWAY_SAMPLES``, from a place."""
    before, after = bend[max(at - AWAY_SAMPLES, 0) : max(at - 2, 0)], bend[at + 3 : at + AWAY_SAMPLES]
    return float(max(before.max(initial=0.0), after.max(initial=0.0)))


def _longest_run(flags: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))


def _busy(scene: SeldScene, tail_s: float) -> NDArray[np.int64]:
    """How many events sound in each frame, each with a tail."""
    frames = round(scene.samples / scene.rate / FRAME_S)
    count = np.zeros(frames, np.int64)
    for event in scene.events:
        end_s = (event.start + event.samples) / scene.rate + tail_s
        count[int(event.start / scene.rate / FRAME_S) : int(np.ceil(end_s / FRAME_S - 1e-9))] += 1
    return count


def _alone(labels: Events, scene: SeldScene, levels: Sequence[dict[str, float | None]]) -> Events:
    """Labels of the frames in which one target sounds, well above ambience, and nothing else did just before."""
    targets = [number for number, event in enumerate(scene.events) if event.role == "target"]
    targets.sort(key=lambda number: scene.events[number].start)
    clear = [label for label, number in enumerate(targets) if _clear(levels[number])]
    frames = np.flatnonzero(_busy(scene, TAIL_S) == 1)
    once = np.flatnonzero(np.bincount(labels.frame) == 1) if len(labels) else frames[:0]
    return labels.select(np.isin(labels.frame, np.intersect1d(frames, once)) & np.isin(labels.event, clear))


def _clear(levels: dict[str, float | None]) -> bool:
    snr_db, drr_db = levels["snr_db"], levels["drr_db"]  # none is infinite
    return (snr_db is None or snr_db >= LEAST_SNR_DB) and (drr_db is None or drr_db >= LEAST_DRR_DB)


def _level_errors_db(
    name: Format, audio: Audio, scene: SeldScene, levels: Sequence[dict[str, float | None]], gain_db: float
) -> NDArray[np.float64]:
    """Measured minus written level of the events that nothing else overlaps, not even half the decay before them."""
    busy = _busy(scene, max(TAIL_S, _reverberation_s(scene) / 2))
    heard = audio[:1] if name == "foa" else audio
    frame = FRAME_S * scene.rate
    found = []
    for event, level in zip(scene.events, levels, strict=True):
        end = event.start + event.samples
        level_db, snr_db = level["level_db"], level["snr_db"]
        if level_db is not None and busy[int(event.start / frame) : math.ceil(end / frame - 1e-9)].max() == 1:
            ambience = 0.0 if snr_db is None else 10 ** (-snr_db / 10)
            power = np.mean(np.square(heard[:, event.start : end], dtype=np.float64))
            found.append(10 * np.log10(power / (1 + ambience) + 1e-20) - level_db - gain_db)
    return np.array(found)


def _listen(found: ClipFindings, name: Format, audio: Audio, scene: SeldScene, alone: Events) -> None:
    if not len(alone):
        return
    direct = alone.select(_heard_directly(audio, scene)[alone.frame])
    if name == "binaural":
        if scene.listener == "spherical_head":
            heard = itd_s(audio, scene.rate, direct.frame)
            found.errors[name] = 1e6 * np.abs(heard - expected_itd_s(direct.directions, scene.rate))
        return
    listen = foa_directions if name == "foa" else partial(steered_directions, name)
    found.errors[name] = angle_between_deg(listen(audio, scene.rate, direct.frame), direct.directions)
    if found.by_shift is None:
        found.by_shift = _by_shift(listen, audio, scene, alone)


def _heard_directly(audio: Audio, scene: SeldScene) -> NDArray[np.bool_]:
    """For each frame: whether it is not just reverberation dying away, as between two steps or knocks."""
    frames = round(scene.samples / scene.rate / FRAME_S)
    whole = audio[:, : frames * round(FRAME_S * scene.rate)].astype(np.float64)
    power = np.mean(whole.reshape(len(audio), frames, -1) ** 2, axis=(0, 2))
    change_db = np.diff(10 * np.log10(power + 1e-12), prepend=-np.inf)
    reverberation_s = _reverberation_s(scene)
    return np.asarray(change_db > -0.5 * 60 * FRAME_S / reverberation_s if reverberation_s else np.full(frames, True))


def _reverberation_s(scene: SeldScene) -> float:
    """Of its room; a guess for a measured one."""
    return scene.room.rt60_s if isinstance(scene.room, ShoeboxRoom) else 1.0 if scene.room else 0.0


def _by_shift(listen: Any, audio: Audio, scene: SeldScene, alone: Events) -> NDArray[np.float64]:
    """What the errors would be, were the labels of some frames earlier or later."""
    frames = round(scene.samples / scene.rate / FRAME_S)
    heard = listen(audio, scene.rate, np.arange(frames))
    sums = np.zeros((2, len(SHIFTS)))
    for column, shift in enumerate(SHIFTS):
        moved = alone.frame + shift
        inside = (moved >= 0) & (moved < frames)
        errors = angle_between_deg(heard[moved[inside]], alone.directions[inside])
        sums[:, column] = np.minimum(errors, WORST_DEG).sum(), inside.sum()
    return sums


def _ambience(found: ClipFindings, name: str, audio: Audio, scene: SeldScene) -> None:
    if scene.ambience is None or scene.ambience.kind == "array":
        return
    tail_s = 0.2 + (scene.room.rt60_s if isinstance(scene.room, ShoeboxRoom) else 2.0 if scene.room else 0.0)
    quiet = _busy(scene, tail_s) == 0
    frame = round(FRAME_S * scene.rate)
    window = np.hanning(AMBIENCE_N_FFT)
    covariance = np.zeros((AMBIENCE_N_FFT // 2 + 1, len(audio), len(audio)), np.complex128)
    blocks = 0
    for begin in range(0, scene.samples - AMBIENCE_N_FFT + 1, AMBIENCE_N_FFT // 2):
        if quiet[begin // frame] and quiet[min((begin + AMBIENCE_N_FFT - 1) // frame, len(quiet) - 1)]:
            spectra = np.fft.rfft(audio[:, begin : begin + AMBIENCE_N_FFT] * window).T
            covariance += spectra[:, :, None] * spectra[:, None, :].conj()
            blocks += 1
    if blocks:
        found.covariance[name] = covariance, blocks
