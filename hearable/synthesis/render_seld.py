"""SELD scenes to audio, in every format from one scene, with stems that sum to the mix and levels measured on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hearable.synthesis.acoustics import Acoustics, FreeField, Heard, Shoebox, add
from hearable.synthesis.ambience import ambience
from hearable.synthesis.arrays import Receiver, receiver
from hearable.synthesis.hrir import HrirSet
from hearable.synthesis.measured_rooms import Measured, RoomResponses
from hearable.synthesis.render import SoundBank
from hearable.synthesis.seld_checks import check_scene
from hearable.synthesis.seld_scene import Event, Format, MeasuredRoom, SeldScene, ShoeboxRoom

Audio = NDArray[np.float32]

FADE_OUT, FADE_IN = 256, 64  # samples: events may be cut out of longer sounds, and attacks must stay
QUIET_DB = -30.0  # stands for the targets' level where there are none


@dataclass(frozen=True)
class Image:
    """What one event alone gives at the array: float32 ``[channels, n]`` from sample ``start`` of the scene on."""

    start: int
    audio: Audio


@dataclass(frozen=True)
class EventLevels:
    """Of one event in one format; powers are those of W in FOA, the mean of the channels' in the others.

    Attributes:
        level_db: power of the image over the event's samples, relative to full scale.
        snr_db: the image's power over that of the ambience, both over the event's samples; infinite without ambience.
        sir_db: the image's power over that of all other interferers together, both over the event's samples; infinite
            where there are none.
        drr_db: energy of the direct sound over that of everything that came later; infinite in the free field. In a
            measured room the direct sound is what comes within 2.5 ms of it.
    """

    level_db: float
    snr_db: float
    sir_db: float
    drr_db: float


@dataclass(frozen=True)
class Stems:
    """One format of a scene.

    Attributes:
        events: the image of each event, in the scene's order.
        ambience: float32 ``[channels, samples]``.
        levels: of each event, in the scene's order.
        snr_db: power of all targets together over the ambience's, both over the whole scene.
    """

    events: tuple[Image, ...]
    ambience: Audio
    levels: tuple[EventLevels, ...]
    snr_db: float

    def mix(self) -> Audio:
        """Ambience plus each event's image, added in the scene's order: ``[channels, samples]``."""
        return _sum(self.events, self.ambience)


@dataclass(frozen=True)
class RenderedSeld:
    """A scene in each of its formats."""

    stems: dict[Format, Stems]


def render_seld(
    scene: SeldScene,
    bank: SoundBank,
    rooms: Mapping[str, RoomResponses] | None = None,
    listeners: Mapping[str, HrirSet] | None = None,
) -> RenderedSeld:
    """Render a scene in each of its formats.

    Args:
        scene: what is to be rendered.
        bank: has the sounds that the scene names, at the scene's rate.
        rooms: measured rooms by name.
        listeners: HRIR sets by name, beside ``spherical_head``.

    Raises:
        ValueError: an impossible scene (see `check_scene`), a sound that is silent or shorter than its event, a
            measured room that lacks a format or has another rate.
        KeyError: no such room or listener.
    """
    check_scene(scene)
    listener = None if scene.listener == "spherical_head" else (listeners or {})[scene.listener]
    array = receiver(scene.formats, scene.rate, listener)
    room = (rooms or {})[scene.room.name] if isinstance(scene.room, MeasuredRoom) else None
    acoustics = _acoustics(scene, array, room)
    images, drr = [], []
    for number, event in enumerate(scene.events):
        heard = acoustics.heard(_dry(event, bank), event, np.random.default_rng([scene.seed, 1, number]))
        images.append(_image(heard, event, scene.samples))
        drr.append({name: _drr_db(name, part, heard) for name, part in array.slices.items()})
    background = ambience(scene, bank, array, room)
    return RenderedSeld(
        {
            name: _stems(
                scene,
                name,
                tuple(Image(image.start, image.audio[part]) for image in images),
                [ratios[name] for ratios in drr],
                background[part],
            )
            for name, part in array.slices.items()
        }
    )


def _acoustics(scene: SeldScene, array: Receiver, room: RoomResponses | None) -> Acoustics:
    if room is not None:
        return Measured(array, room)
    if isinstance(scene.room, ShoeboxRoom):
        return Shoebox(array, scene.room, np.random.default_rng([scene.seed, 0]))
    return FreeField(array)


def _dry(event: Event, bank: SoundBank) -> Audio:
    dry = bank.read(event.sound, event.clip_start, event.samples)
    if len(dry) < event.samples:
        raise ValueError(
            f"{event.sound}: expected {event.samples} samples from {event.clip_start} on, found {len(dry)}"
        )
    dry = _faded(dry, event.clip_start > 0)
    rms = float(np.sqrt(np.mean(dry.astype(np.float64) ** 2)))
    if not 0 < rms < np.inf:
        raise ValueError(f"{event.sound}: expected a sound, found an RMS level of {rms:g}")
    return np.asarray(dry * np.float32(10 ** (event.level_db / 20) / rms))


def _faded(dry: Audio, cut: bool) -> Audio:
    """A sound that ends, and if it is ``cut`` also begins, without a click."""
    faded: Audio = dry.copy()
    if end := min(FADE_OUT, len(dry) // 4):
        faded[-end:] *= np.cos(np.linspace(0, np.pi / 2, end, dtype=np.float32)) ** 2
    if cut and (begin := min(FADE_IN, len(dry) // 4)):
        faded[:begin] *= np.sin(np.linspace(0, np.pi / 2, begin, dtype=np.float32)) ** 2
    return faded


def _image(heard: Heard, event: Event, samples: int) -> Image:
    """What falls into the scene."""
    audio, start = add(heard.direct, heard.later), event.start - heard.lead
    return Image(max(start, 0), audio[:, max(-start, 0) : samples - start])


def _stems(scene: SeldScene, name: Format, images: tuple[Image, ...], drr_db: list[float], background: Audio) -> Stems:
    silence = np.zeros_like(_counted(name, background))
    targets, interferers = (
        _sum([i for i, e in zip(images, scene.events, strict=True) if e.role == role], silence)
        for role in ("target", "interferer")
    )
    target_power = _power(name, targets)
    background = _levelled(scene, name, background, target_power)
    levels = []
    for event, image, ratio_db in zip(scene.events, images, drr_db, strict=True):
        span = slice(event.start, event.start + event.samples)
        own = _counted(name, image.audio)[:, event.start - image.start :][:, : event.samples]
        others = interferers[:, span] - own if event.role == "interferer" else interferers[:, span]
        power = _power(name, own)
        snr_db, sir_db = (_db(power, _power(name, other)) for other in (background[:, span], others))
        levels.append(EventLevels(_db(power, 1.0), snr_db, sir_db, ratio_db))
    return Stems(images, background, tuple(levels), _db(target_power, _power(name, background)))


def _levelled(scene: SeldScene, name: Format, background: Audio, target_power: float) -> Audio:
    """The ambience at the level that the scene asks for."""
    power = _power(name, background)
    if scene.ambience is None or power == 0:
        return background
    wanted = (target_power or 10 ** (QUIET_DB / 10)) * 10 ** (-scene.ambience.snr_db / 10)
    return np.asarray(background * np.float32(np.sqrt(wanted / power)))


def _sum(images: Sequence[Image], onto: Audio) -> Audio:
    total: Audio = onto.copy()
    for image in images:
        total[:, image.start : image.start + image.audio.shape[1]] += image.audio[: len(total)]
    return total


def _drr_db(name: Format, part: slice, heard: Heard) -> float:
    direct, later = (_power(name, audio[part]) * audio.shape[1] for audio in (heard.direct, heard.later))
    return _db(direct, later)


def _counted(name: Format, audio: Audio) -> Audio:
    """The channels whose power counts."""
    return audio[:1] if name == "foa" else audio


def _power(name: Format, audio: Audio) -> float:
    """Of W in FOA, the mean of the channels' in the other formats."""
    heard = _counted(name, audio)
    return sum(float(np.dot(channel, channel)) for channel in heard) / max(heard.size, 1)


def _db(power: float, reference: float) -> float:
    """Infinite without a reference, minus infinite without power."""
    if reference == 0:
        return float("inf")
    return float(10 * np.log10(power / reference)) if power else float("-inf")
