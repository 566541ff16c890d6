"""Draws the clips of a SELD dataset from its recipe: the same seed, fold and number give the same clip anywhere."""

from __future__ import annotations

import itertools
import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hearable.errors import AudioError
from hearable.synthesis.ambience import recorded_s
from hearable.synthesis.labels import FRAME_S, Row, Span, label_rows
from hearable.synthesis.measured_rooms import RoomResponses
from hearable.synthesis.room_files import find_tau_ambience, load_room, load_tau_room
from hearable.synthesis.seld_checks import check_room
from hearable.synthesis.seld_paths import MeasuredPlaces, Places, least_free_distance_m
from hearable.synthesis.seld_recipe import Fold, Range, Room, SeldRecipe
from hearable.synthesis.seld_scene import Ambience, Event, MeasuredRoom, SeldScene, ShoeboxRoom
from hearable.synthesis.seld_sounds import SeldSounds, SoundEntry

SHORTEST_S = 0.5  # a layer takes no event of less than this for lack of room
MIDDLE = (0.4, 0.6)  # where in a drawn room the array stands, from wall to wall


@dataclass(frozen=True)
class ClipId:
    """Which clip: its fold, and its number in the fold from 0."""

    fold: int
    index: int


@dataclass(frozen=True)
class SeldClip:
    """A drawn clip.

    Attributes:
        name: ``fold1_room2_mix003``.
        scene: what is rendered.
        active: for each event of the scene, the stretches within its sound in which it is heard.
    """

    name: str
    scene: SeldScene
    active: tuple[tuple[Span, ...], ...]

    def labels(self, classes: Sequence[str]) -> list[Row]:
        """The labels; see `label_rows`."""
        return label_rows(self.scene, self.active, classes)


class SeldDraw:
    """Draws clips.

    Args:
        recipe: how.

    Attributes:
        sounds: the bank that the scenes name sounds of.
        rooms: the rooms of each fold.

    Raises:
        AudioError: a folder or the sounds of a class are missing, a fold gets no sound of a class, a room cannot be,
            or a source could be inside a wall.
    """

    def __init__(self, recipe: SeldRecipe):
        self.recipe = recipe
        self.sounds = SeldSounds(recipe.sources, recipe.labels, recipe.rate)
        self._entries = self._deal()
        self.rooms = {fold.number: self._rooms(fold) for fold in recipe.fold}

    def clips(self) -> list[ClipId]:
        """All clips of the dataset."""
        return [ClipId(fold.number, index) for fold in self.recipe.fold for index in range(fold.clips)]

    def name(self, clip: ClipId) -> str:
        """``fold1_room2_mix003``: rooms take turns."""
        room = clip.index % len(self.rooms[clip.fold])
        return f"fold{clip.fold}_room{room + 1}_mix{clip.index + 1:03d}"

    def draw(self, clip: ClipId) -> SeldClip:
        """Draw a clip.

        Raises:
            AudioError: a sound cannot be read or is silent.
        """
        rng = np.random.default_rng([self.recipe.seed, clip.fold, clip.index])
        return _Clip(self, rng, clip).finish()

    def entries(self, fold: int, label: str) -> list[SoundEntry]:
        """The sounds of a class in a fold."""
        return self._entries[fold, label]

    def _deal(self) -> dict[tuple[int, str], list[SoundEntry]]:
        """Sounds to folds: all of one origin (in a split) to one fold, as many sounds of a class to each fold."""
        by_label: dict[str, dict[tuple[str, str], list[SoundEntry]]] = defaultdict(lambda: defaultdict(list))
        for entry in self.sounds.entries:
            by_label[entry.label][entry.split, entry.origin].append(entry)
        fold_of: dict[tuple[str, str], int] = {}
        dealt: dict[tuple[int, str], list[SoundEntry]] = defaultdict(list)
        for label, origins in by_label.items():
            rng = np.random.default_rng([self.recipe.seed, zlib.crc32(label.encode())])
            names = list(origins)
            for name in (names[i] for i in rng.permutation(len(names))):
                entries = origins[name]
                open_to = [f.number for f in self.recipe.fold if name[0] in ("", f.split)]
                if open_to:
                    fewest = min(open_to, key=lambda number: len(dealt[number, label]))
                    dealt[fold_of.setdefault(name, fewest), label] += entries
        for fold in (fold for fold in self.recipe.fold if fold.clips):
            missing = [label for label in self.recipe.labels if not dealt[fold.number, label]]
            if missing:
                raise AudioError(
                    f"fold {fold.number}: expected sounds of every class, found none of {', '.join(missing)}: "
                    "a recording goes to one fold only: take more sounds or fewer folds"
                )
        return dict(dealt)

    def measured(self) -> dict[str, RoomResponses]:
        """The measured rooms by name."""
        rooms = itertools.chain(*self.rooms.values())
        return {room.name: room for room in rooms if isinstance(room, RoomResponses)}

    def places(self, rng: np.random.Generator, room: ShoeboxRoom | RoomResponses) -> Places | MeasuredPlaces:
        """What draws places in a room."""
        events = self.recipe.events
        limits = (events.elevation_deg.low, events.elevation_deg.high), (events.distance_m.low, events.distance_m.high)
        return MeasuredPlaces(rng, room, *limits) if isinstance(room, RoomResponses) else Places(rng, room, *limits)

    def _rooms(self, fold: Fold) -> list[ShoeboxRoom | RoomResponses]:
        rules = self.recipe.rooms
        rooms: list[ShoeboxRoom | RoomResponses] = []
        for room in (room for room in self.recipe.room if room.fold == fold.number):
            rooms.append(room.shoebox or self._load(room, f"fold{fold.number}_room{len(rooms) + 1}"))
        rng = np.random.default_rng([self.recipe.seed, fold.number, zlib.crc32(b"rooms")])
        for _ in range(fold.rooms):
            length, width, height = (float(side) for side in rng.uniform(rules.smallest_m, rules.largest_m))
            x, y = rng.uniform(*MIDDLE, 2)
            array = (float(x * length), float(y * width), _between(rng, rules.array_height_m))
            rooms.append(ShoeboxRoom((length, width, height), _between(rng, rules.rt60_s), array))
        for number, placed in enumerate(rooms, 1):
            self._check(f"fold {fold.number}, room {number}", placed)
        return rooms

    def _load(self, room: Room, name: str) -> RoomResponses:
        """A measured room; names in the dataset are its own."""
        rate = self.recipe.rate
        found = load_tau_room(room.tau, room.name, rate) if room.tau else load_room(room.responses, rate)
        files = {kind: Path(file) for kind, file in room.ambience.items()}
        if room.tau_ambience:
            files = find_tau_ambience(room.tau_ambience, room.tau, room.name)
        return replace(found, name=name, ambience=files)

    def _check(self, name: str, room: ShoeboxRoom | RoomResponses) -> None:
        events = self.recipe.events
        try:
            if isinstance(room, RoomResponses):
                self.places(np.random.default_rng(0), room)
                self._check_ambience(room)
                return
            check_room(room)
        except ValueError as problem:
            raise AudioError(f"{name}: {problem}") from problem
        low, high, nearest = events.elevation_deg.low, events.elevation_deg.high, events.distance_m.low
        free = least_free_distance_m(room, (low, high))
        if free < nearest:
            size = " x ".join(f"{side:.2f}" for side in room.size_m)
            raise AudioError(
                f"{name}: expected no wall within {nearest:g} m of the array at elevations from {low:g} to {high:g}, "
                f"found one at {free:.2f} m in a room of {size} m: lower distance_m, or narrow elevation_deg"
            )

    def _check_ambience(self, room: RoomResponses) -> None:
        if self.recipe.ambience is not None and self.recipe.ambience.kind == "array":
            seconds = recorded_s(room, self.recipe.formats)
            if seconds < self.recipe.clip_s:
                raise ValueError(f"expected {self.recipe.clip_s:g} s of ambience or more, found {seconds:.1f} s")


class _Clip:
    """One clip being drawn: the order of the calls decides what comes out."""

    def __init__(self, draw: SeldDraw, rng: np.random.Generator, clip: ClipId):
        self.draw, self.rng, self.clip = draw, rng, clip
        self.recipe, self.sounds = draw.recipe, draw.sounds
        rooms = draw.rooms[clip.fold]
        self.room = rooms[clip.index % len(rooms)]
        self.places = draw.places(rng, self.room)
        self.frame = self.recipe.rate // 10

    def finish(self) -> SeldClip:
        recipe, rules = self.recipe, self.recipe.events
        targets = [e for _ in range(rules.layers) for e in self.layer(recipe.classes, "target")]
        others = [e for _ in range(rules.interferer_layers) for e in self.layer(recipe.interferers, "interferer")]
        others = _at_ratio(others, _power(targets) / rules.layers, rules.sir_db)
        events = tuple(targets + others)
        scene = SeldScene(
            rate=recipe.rate,
            samples=round(recipe.clip_s * recipe.rate),
            seed=int(self.rng.integers(2**32)),
            room=self._room(),
            events=events,
            ambience=self.ambience(),
            formats=recipe.formats,
        )
        active = tuple(tuple(self.sounds.spans(event.sound)) for event in events)
        return SeldClip(self.draw.name(self.clip), scene, active)

    def _room(self) -> ShoeboxRoom | MeasuredRoom | None:
        if isinstance(self.room, RoomResponses):
            return MeasuredRoom(self.room.name)
        return self.room if self.recipe.rooms.reverberant else None

    def layer(self, labels: Sequence[str], role: str) -> list[Event]:
        """Events one after the other, with gaps, on the grid of the frames."""
        stretches = self.stretches(labels)
        frames = [-(-samples // self.frame) for _, _, samples in stretches]
        total, gap = round(self.recipe.clip_s / FRAME_S), round(self.recipe.events.gap_s / FRAME_S)
        while sum(frames) + gap * (len(frames) - 1) > total:
            frames.pop()
        spare = total - sum(frames) - gap * max(len(frames) - 1, 0)
        cuts = np.sort(self.rng.integers(0, spare + 1, len(frames)))
        before = itertools.accumulate((length + gap for length in frames), initial=0)
        return [
            self.event(stretch, role, int(cut + offset) * self.frame)
            for stretch, cut, offset in zip(stretches, cuts, before, strict=False)
        ]

    def stretches(self, labels: Sequence[str]) -> list[tuple[SoundEntry, int, int]]:
        """Sounds, first sample and length, until the layer is full; classes are drawn equally often."""
        rules, rate = self.recipe.events, self.recipe.rate
        left = round(rules.sounding_s * rate)
        found: list[tuple[SoundEntry, int, int]] = []
        while left >= (SHORTEST_S * rate if found else 1):
            entries = self.draw.entries(self.clip.fold, str(self.rng.choice(list(labels))))
            entry = entries[int(self.rng.integers(len(entries)))]
            spans = self.sounds.spans(entry.name)
            samples = min(spans[-1][1] - spans[0][0], round(rules.longest_s * rate), left)
            found.append((entry, spans[0][0], samples))
            left -= samples
        return found

    def event(self, stretch: tuple[SoundEntry, int, int], role: str, start: int) -> Event:
        entry, clip_start, samples = stretch
        motion, rate = self.recipe.motion, self.recipe.rate
        begin_s, end_s = start / rate, (start + samples) / rate
        share = motion.share.get(entry.label, 0.0) if end_s - begin_s > motion.longer_than_s else 0.0
        if self.rng.random() < share:
            path = self.places.path(begin_s, end_s, float(self.rng.choice(motion.speeds_deg_s)))
        else:
            path = self.places.place()
        level = _between(self.rng, self.recipe.events.level_db)
        return Event(
            entry.name,
            entry.label,
            "target" if role == "target" else "interferer",
            start,
            samples,
            clip_start,
            level,
            path,
        )

    def ambience(self) -> Ambience | None:
        rules = self.recipe.ambience
        if rules is None:
            return None
        snr, seed = _between(self.rng, rules.snr_db), int(self.rng.integers(2**32))
        if rules.kind != "recorded":
            return Ambience(rules.kind, snr, seed)
        entries = self.draw.entries(self.clip.fold, "ambience")
        return Ambience(rules.kind, snr, seed, entries[int(self.rng.integers(len(entries)))].name)


def _between(rng: np.random.Generator, limits: Range) -> float:
    return float(rng.uniform(limits.low, limits.high))


def _power(events: Sequence[Event]) -> float:
    """Energy at the array in the free field."""
    return sum(e.samples * 10 ** (e.level_db / 10) / float(np.mean([w.distance_m**2 for w in e.path])) for e in events)


def _at_ratio(events: list[Event], reference: float, ratio_db: float) -> list[Event]:
    """The events, louder or softer all alike, so that ``reference`` is ``ratio_db`` above them."""
    power = _power(events)
    if not power or not reference:
        return events
    change = 10 * np.log10(reference / power) - ratio_db
    return [replace(event, level_db=event.level_db + float(change)) for event in events]
