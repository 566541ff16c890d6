"""Recipes of SELD datasets: what a TOML file may say, and what it may not."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from hearable.errors import AudioError
from hearable.synthesis.labels import FRAME_S
from hearable.synthesis.seld_checks import NEAREST_M, check_room
from hearable.synthesis.seld_scene import Format, ShoeboxRoom
from hearable.synthesis.seld_sounds import BUILT_IN_LAYOUT, SoundSource
from hearable.synthesis.sound_folders import LAYOUTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Triple = tuple[Positive, Positive, Positive]
Seconds = Annotated[float, Meta(ge=FRAME_S)]
Speed = Annotated[float, Meta(gt=0, le=1000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]+$")]


class Range(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Uniform between two values."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"expected [low, high], found [{self.low}, {self.high}]")


class _Table(Struct, frozen=True, forbid_unknown_fields=True):
    """A table of the recipe: a key that it does not know is an error."""


class Sounds(_Table, frozen=True):
    """A source of sounds; see `SoundSource`."""

    layout: str = BUILT_IN_LAYOUT
    folder: str = ""
    per_class: Annotated[int, Meta(ge=1, le=100_000)] = 40
    labels: dict[str, str] = {}
    columns: dict[str, str] = {}

    def __post_init__(self) -> None:
        known = (BUILT_IN_LAYOUT, *LAYOUTS)
        if self.layout not in known:
            raise ValueError(f"expected a layout among {', '.join(known)}, found {self.layout!r}")
        if (self.layout == BUILT_IN_LAYOUT) == bool(self.folder):
            raise ValueError(f"expected a folder for every layout but {BUILT_IN_LAYOUT!r}, found {self.folder!r}")
        if not set(self.columns) <= {"path", "class", "split", "origin"}:
            raise ValueError(f"expected columns path, class, split or origin, found {', '.join(self.columns)}")
        if self.layout == BUILT_IN_LAYOUT and self.labels:
            raise ValueError(f"expected labels with a folder only, found them with {BUILT_IN_LAYOUT!r}")
        if self.columns and self.layout != "manifest":
            raise ValueError(f"expected columns with the layout 'manifest' only, found them with {self.layout!r}")


class Fold(_Table, frozen=True):
    """A fold: its own rooms and its own sounds.

    Attributes:
        number: goes into the names of its clips.
        clips: how many.
        rooms: how many rooms are drawn for it.
        split: train, val or test: takes sounds of this split where the sounds say theirs.
    """

    number: Count
    clips: Count
    rooms: Count = 0
    split: Literal["train", "val", "test"] = "train"


class Room(_Table, frozen=True):
    """A room for one fold: flat walls, as `ShoeboxRoom`, or measured.

    Attributes:
        fold: its number.
        responses: for each format of the recipe a file, see `load_room`.
        ambience: for each format a sound file, of any length, that the array recorded in the same room.
        tau: a folder of TAU-SRIR DB (formats foa and mic).
        name: of the room in that folder.
        tau_ambience: a folder of TAU-SNoise DB.
    """

    fold: Count
    size_m: Triple | None = None
    rt60_s: Positive | None = None
    array_m: Triple | None = None
    responses: dict[Format, str] = {}
    ambience: dict[Format, str] = {}
    tau: str = ""
    name: str = ""
    tau_ambience: str = ""

    def __post_init__(self) -> None:
        kinds = ((self.size_m, self.rt60_s, self.array_m), (self.responses,), (self.tau, self.name))
        if sum(any(kind) for kind in kinds) != 1 or not any(all(kind) for kind in kinds):
            raise ValueError("expected size_m, rt60_s and array_m, or responses, or tau and name")
        if (self.ambience and not self.responses) or (self.tau_ambience and not self.tau):
            raise ValueError("expected ambience beside responses, or tau_ambience beside tau")

    @property
    def shoebox(self) -> ShoeboxRoom | None:
        """The room as scenes have it, unless it is measured."""
        if self.size_m is None or self.rt60_s is None or self.array_m is None:
            return None
        return ShoeboxRoom(self.size_m, self.rt60_s, self.array_m)


class Rooms(_Table, frozen=True):
    """Between what the rooms are drawn; the array stands near the middle.

    Attributes:
        smallest_m: length, width and height.
        largest_m: length, width and height.
        rt60_s: reverberation time.
        array_height_m: from the floor.
        reverberant: if not, scenes are rendered in the free field; the rooms still limit where sources are.
    """

    smallest_m: Triple = (5.0, 4.0, 2.6)
    largest_m: Triple = (12.0, 10.0, 4.0)
    rt60_s: Range = Range(0.3, 1.0)
    array_height_m: Range = Range(1.2, 1.5)
    reverberant: bool = True

    def __post_init__(self) -> None:
        if any(low > high for low, high in zip(self.smallest_m, self.largest_m, strict=True)):
            raise ValueError(f"expected smallest_m below largest_m, found {self.smallest_m} and {self.largest_m}")


class EventRules(_Table, frozen=True):
    """What sounds when, where and how loud.

    Attributes:
        layers: of targets: so many may sound at once.
        interferer_layers: of interferers.
        sounding_s: of each layer; the rest are gaps.
        gap_s: the least gap between two events of a layer.
        longest_s: longer sounds are cut.
        elevation_deg: of the sources.
        distance_m: of the sources, less where a wall is nearer.
        level_db: RMS of an event 1 m from it, relative to full scale.
        sir_db: power of a layer of targets (their mean) over that of all interferers, free field, at the array.
    """

    layers: Annotated[int, Meta(ge=1, le=20)] = 3
    interferer_layers: Annotated[int, Meta(ge=0, le=20)] = 1
    sounding_s: Seconds = 40.0
    gap_s: Annotated[float, Meta(ge=0)] = 1.0
    longest_s: Seconds = 20.0
    elevation_deg: Range = Range(-40.0, 40.0)
    distance_m: Range = Range(1.0, 4.0)
    level_db: Range = Range(-38.0, -28.0)
    sir_db: float = 0.0

    def __post_init__(self) -> None:
        if not -90 <= self.elevation_deg.low <= self.elevation_deg.high <= 90:
            raise ValueError(f"expected elevation_deg within -90..90, found {self.elevation_deg}")
        if self.distance_m.low < NEAREST_M:
            raise ValueError(f"expected distance_m from {NEAREST_M:g} m on, found {self.distance_m.low:g} m")


class Motion(_Table, frozen=True):
    """What moves.

    Attributes:
        speeds_deg_s: angular speed, each as often; on a circle around the array or, as often, on a straight line.
        longer_than_s: shorter events stay where they are.
        share: of the events of a class that move; other classes do not.
    """

    speeds_deg_s: Annotated[tuple[Speed, ...], Meta(min_length=1)] = (10.0, 20.0, 40.0)
    longer_than_s: float = 3.0
    share: dict[str, Share] = {}


class AmbienceRules(_Table, frozen=True):
    """Sound from all around, see `Ambience`.

    Attributes:
        kind: ``recorded`` takes the sounds that are labelled ``ambience``; ``array`` what each (measured) room has.
        snr_db: of the targets.
    """

    kind: Literal["diffuse", "recorded", "array"] = "diffuse"
    snr_db: Range = Range(6.0, 30.0)


class SeldRecipe(_Table, frozen=True):
    """A dataset.

    Attributes:
        name: of the dataset.
        classes: their order gives the class numbers.
        sounds: where sounds come from.
        fold: the folds.
        seed: everything is drawn from it.
        rate: sample rate in Hz.
        clip_s: length of a clip in seconds, a multiple of 0.1.
        formats: what is rendered of each scene.
        stems: whether targets, interferers and ambience are written too, each by itself.
        interferers: kinds of sounds that are not labelled.
        room: rooms besides those that are drawn.
    """

    name: Name
    classes: Annotated[tuple[Name, ...], Meta(min_length=1)]
    sounds: Annotated[tuple[Sounds, ...], Meta(min_length=1)]
    fold: Annotated[tuple[Fold, ...], Meta(min_length=1)]
    seed: Annotated[int, Meta(ge=0)] = 0
    rate: Annotated[int, Meta(ge=8000, le=192000)] = 24000
    clip_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    formats: Annotated[tuple[Format, ...], Meta(min_length=1)] = ("foa", "mic")
    stems: bool = False
    interferers: tuple[Name, ...] = ()
    room: tuple[Room, ...] = ()
    rooms: Rooms = Rooms()
    events: EventRules = EventRules()
    motion: Motion = Motion()
    ambience: AmbienceRules | None = None

    def __post_init__(self) -> None:
        labels = [*self.classes, *self.interferers]
        if len(set(labels)) < len(labels):
            raise ValueError(f"expected distinct classes and interferers, found {', '.join(labels)}")
        if len(set(self.formats)) < len(self.formats):
            raise ValueError(f"expected distinct formats, found {', '.join(self.formats)}")
        unknown = sorted(set(self.motion.share) - set(labels))
        if unknown:
            raise ValueError(f"motion.share: expected classes or interferers, found {', '.join(unknown)}")
        numbers = [fold.number for fold in self.fold]
        if len(set(numbers)) < len(numbers):
            raise ValueError(f"expected distinct fold numbers, found {', '.join(map(str, numbers))}")
        if not any(fold.clips for fold in self.fold):
            raise ValueError("expected a fold with clips, found none")
        if self.events.interferer_layers and not self.interferers:
            raise ValueError("expected interferers for interferer_layers, found none")
        if self.events.sounding_s > self.clip_s:
            raise ValueError(f"expected sounding_s up to clip_s ({self.clip_s}), found {self.events.sounding_s}")
        if abs(self.clip_s * 10 - round(self.clip_s * 10)) > 1e-6 or self.rate % 10:
            raise ValueError(f"expected whole frames of 0.1 s, found clip_s {self.clip_s} at {self.rate} Hz")
        for fold in self.fold:
            if fold.clips and not fold.rooms and fold.number not in {room.fold for room in self.room}:
                raise ValueError(f"fold {fold.number}: expected a room, found none")
        if strangers := {room.fold for room in self.room} - set(numbers):
            raise ValueError(
                f"expected rooms of the folds {', '.join(map(str, numbers))}, found one of {min(strangers)}"
            )
        of_array = self.ambience is not None and self.ambience.kind == "array"
        if of_array and any(fold.rooms for fold in self.fold if fold.clips):
            raise ValueError("expected measured rooms for ambience of the kind 'array', found rooms that are drawn")
        for room in self.room:
            measured = ("foa", "mic") if room.tau else tuple(room.responses)
            if room.shoebox is None and not set(self.formats) <= set(measured):
                raise ValueError(f"expected responses of {', '.join(self.formats)}, found {', '.join(measured)}")
            recorded = ("foa", "mic") if room.tau_ambience else tuple(room.ambience)
            if of_array and not set(self.formats) <= set(recorded):
                found = ", ".join(recorded) or "none"
                raise ValueError(f"expected recordings of {', '.join(self.formats)} in each room, found {found}")

    @property
    def labels(self) -> tuple[str, ...]:
        """All labels that sounds are needed for."""
        recorded = self.ambience is not None and self.ambience.kind == "recorded"
        kinds = self.interferers if self.events.interferer_layers else ()
        return (*self.classes, *kinds, *(("ambience",) if recorded else ()))

    @property
    def sources(self) -> list[SoundSource]:
        """Where sounds come from."""
        return [SoundSource(s.layout, s.folder, s.per_class, s.labels, s.columns) for s in self.sounds]


def read_recipe(path: Path) -> SeldRecipe:
    """Read a recipe; its folders count from where it lies.

    Raises:
        AudioError: not a file of TOML, a key that is not known, a value that cannot be, or a room that cannot be.
    """
    try:
        data = tomllib.loads(path.read_text("utf-8"), parse_float=_finite)
        recipe = msgspec.convert(data, SeldRecipe)
        for room in recipe.room:
            if room.shoebox is not None:
                check_room(room.shoebox)
    except OSError as problem:
        raise AudioError(f"{path}: cannot read: {problem.strerror or problem}") from problem
    except ValueError as problem:  # also what msgspec and tomllib raise
        raise AudioError(f"{path}: {problem}") from problem

    def located(name: str) -> str:
        return str((path.parent / Path(name).expanduser()).resolve())

    sounds = tuple(msgspec.structs.replace(s, folder=located(s.folder)) if s.folder else s for s in recipe.sounds)
    rooms = tuple(
        msgspec.structs.replace(
            room,
            responses={kind: located(file) for kind, file in room.responses.items()},
            ambience={kind: located(file) for kind, file in room.ambience.items()},
            tau=located(room.tau) if room.tau else "",
            tau_ambience=located(room.tau_ambience) if room.tau_ambience else "",
        )
        for room in recipe.room
    )
    return msgspec.structs.replace(recipe, sounds=sounds, room=rooms)


def _finite(number: str) -> float:
    """TOML has inf and nan, too."""
    if not math.isfinite(value := float(number)):
        raise ValueError(f"expected finite numbers, found {number}")
    return value
