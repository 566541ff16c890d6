"""What stands behind a user interface: processor, engine, people, looks, recordings. Commands in, status out."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import platformdirs

from hearable.chunks import Audio
from hearable.enrollment import enroll
from hearable.errors import HearableError
from hearable.extractor import load_model
from hearable.live.engine import Engine, EngineMeters
from hearable.live.people import keep, kept_people, new_name
from hearable.live.processor import LEAST_BACKGROUND_DB, LiveProcessor, Meters
from hearable.live.recent import LOOK_S
from hearable.live.recorder import Recorder
from hearable.live.replay import Replay
from hearable.live.watch import NOTHING_COMES, SoundWatch
from hearable.profiles import SpeakerProfile
from hearable.session import open_graph


@dataclass(frozen=True)
class Settings:
    """How to start: models by name or path, profiles (the first is selected), devices, recording, replay."""

    model: str = "base"
    enroller: str = "enroll"
    profiles: tuple[Path, ...] = ()
    input: str | None = None
    output: str | None = None
    record: Path | None = None
    replay: Path | None = None


@dataclass(frozen=True)
class Status:
    """What a display shows: engine, sound, people, whether a profile is being made, the folder recorded to."""

    engine: EngineMeters
    sound: Meters
    people: tuple[str, ...]
    enrolling: bool
    recording: str | None


def sessions_folder() -> Path:
    """Where sessions are recorded to, unless another folder is given."""
    return Path(platformdirs.user_data_path("hearable")) / "sessions"


class Control:
    """Runs live hearing for one user.

    Args:
        settings: how to start.
        tell: takes a sentence for the user when something happened; called by several threads.

    Raises:
        HearableError: a model, profile, device or replay that cannot be used.
    """

    def __init__(self, settings: Settings, tell: Callable[[str], None]):
        self._settings, self._show = settings, tell
        model = load_model(settings.model)
        self.processor = LiveProcessor(model)
        # Before sound flows: loading a graph holds the interpreter's lock for some 35 ms.
        self._enroller = open_graph(settings.enroller, "enroller")
        self._enrolling = threading.Lock()
        self._recorder: Recorder | None = None
        self._watch = SoundWatch()
        self._replay = None if settings.replay is None else Replay(settings.replay)
        self.engine = Engine(self.processor, settings.input, settings.output, self._replay, self._tell, self._tap)
        self._commands: dict[str, Callable[..., None]] = {
            "select": self._select,
            "bypass": self._bypass,
            "mute": self._mute,
            "background": self._background,
            "nudge": self._nudge,
            "toggle": self._toggle,
            "look": self._look,
            "record": self._record,
            "devices": self._devices,
        }
        for path in settings.profiles:
            self._add(path.stem, SpeakerProfile.load(path))
        if settings.profiles:
            self.processor.select(settings.profiles[0].stem)
        for name, profile in kept_people(model, self._tell).items():
            if name not in self.processor.people:
                self._add(name, profile)

    def _tell(self, text: str) -> None:
        self._log("said", text=text)
        self._show(text)

    def start(self, patient: bool = False) -> None:
        """Begin, everything passing unless a profile was given.

        Args:
            patient: wait for devices.

        Raises:
            AudioError: no devices that will do, or no folder to record to.
        """
        if self._replay is not None:
            self._replay.apply_due(self._again)
        self.engine.open(patient)
        if self._settings.record is not None:
            self._record()  # before the first chunk
        self.engine.start()

    def close(self) -> None:
        """End recording and sound."""
        self.end_recording()
        self.engine.stop()

    def end_recording(self) -> None:
        """Complete the files, if any."""
        if self._recorder is not None:
            self._record()

    def status(self) -> Status:
        """What a display shows."""
        sound = self.processor.meters()
        recorder = self._recorder
        return Status(
            engine=self.engine.meters(),
            sound=sound,
            people=self.processor.people,
            enrolling=self._enrolling.locked(),
            recording=None if recorder is None else str(recorder.folder),
        )

    def poll(self) -> None:
        """To be called some times a second: ends a look of 5 s and a recording that cannot be written, tells news."""
        for text in self._watch.news(self.processor.meters()):
            self._tell(text)
            if text == NOTHING_COMES:
                self.engine.look_again()
        looking_s = self.processor.recent.looking_s
        if looking_s is not None and looking_s >= LOOK_S[1]:
            self.do("look", False)
        if (recorder := self._recorder) is not None and recorder.problem is not None:
            self._recorder = None
            self._tell(f"recording ended: {recorder.problem}")

    def do(self, command: str, *arguments: Any) -> None:
        """Carry out a command; what goes wrong is told, not raised.

        ``select NAME`` (or ``None``), ``bypass BOOL``, ``mute BOOL``, ``background DB``, ``look BOOL`` (begin, end),
        ``record``, ``devices INPUT OUTPUT``; relative to what is, for keys that are faster than a display:
        ``nudge DB`` (the background), ``toggle bypass`` and ``toggle mute``.
        """
        try:
            self._commands[command](*arguments)
        except (HearableError, ValueError) as problem:
            self._tell(str(problem))

    # ---- commands

    def _select(self, name: str | None) -> None:
        self.processor.select(name)
        self._log("select", name=name)

    def _bypass(self, on: bool) -> None:
        self.processor.bypass = on
        self._log("bypass", on=on)

    def _mute(self, on: bool) -> None:
        self.processor.muted = on
        self._log("mute", on=on)

    def _background(self, level_db: float) -> None:
        self.processor.background_db = level_db if level_db >= LEAST_BACKGROUND_DB else -float("inf")
        # As text where it is no number: JSON has no infinity.
        self._log("background", db=level_db if level_db >= LEAST_BACKGROUND_DB else None)

    def _nudge(self, by_db: float) -> None:
        # From silence, the first step up is the least level.
        level_db = max(self.processor.background_db, LEAST_BACKGROUND_DB - abs(by_db))
        self._background(min(0.0, level_db + by_db))

    def _toggle(self, what: str) -> None:
        if what == "bypass":
            self._bypass(not self.processor.bypass)
        else:
            self._mute(not self.processor.muted)

    def _look(self, on: bool) -> None:
        self._log("look", on=on)
        if on:
            self.processor.look_start()
            return
        clip = self.processor.look_stop()
        if not self._enrolling.acquire(blocking=False):
            self._tell("one moment: the last look is still being learnt")
            return
        threading.Thread(target=self._learn, args=(clip,), name="hearable-enroll", daemon=True).start()

    def _record(self) -> None:
        if self._recorder is not None:
            recorder, self._recorder = self._recorder, None
            recorder.close()
            self._tell(f"recorded to {recorder.folder}" if recorder.problem is None else recorder.problem)
            return
        recorder = Recorder(self._settings.record or sessions_folder(), self.processor.rate)
        for name, profile in self.processor.profiles.items():
            recorder.person(name, profile)
        sound = self.processor.meters()
        recorder.event("engine", **{k: v for k, v in asdict(self.engine.meters()).items() if k != "stream"})
        self._recorder = recorder
        self._select(sound.selected)
        self._bypass(sound.bypass)
        self._mute(sound.muted)
        self._background(sound.background_db)
        self._tell(f"recording to {recorder.folder}")

    def _devices(self, input: str | None, output: str | None) -> None:
        self.engine.use(input, output)

    # ---- people

    def _add(self, name: str, profile: SpeakerProfile) -> None:
        self.processor.add(name, profile)
        if self._recorder is not None:
            self._recorder.person(name, profile)

    def _learn(self, clip: Audio) -> None:
        """Enroll from a clip: it takes a while, in a thread of its own."""
        try:
            profile = enroll(clip, self.processor.rate, self._enroller)
            name = new_name(self.processor.people)
            self._add(name, profile)
            self._select(name)
            quality = profile.quality
            verdict = "good" if quality is None or quality.ok else f"weak: {'; '.join(quality.warnings)}"
            keep(name, profile, self._tell)
            # Last: a small window shows the newest lines.
            self._tell(f"{name} enrolled, {verdict}")
        except HearableError as problem:
            self._tell(str(problem))
        finally:
            self._enrolling.release()

    # ---- recording and replay

    def _tap(self, before: Audio, after: Audio) -> None:
        """Each chunk, in the worker."""
        if (recorder := self._recorder) is not None:
            recorder.take(before, after)
        if self._replay is not None:
            self._replay.after_chunk(self._again)

    def _log(self, do: str, **details: Any) -> None:
        if (recorder := self._recorder) is not None:
            recorder.event(do, **details)

    def _again(self, event: dict[str, Any]) -> None:
        """What was done in the replayed session, in the worker; looks are not repeated: their profiles are there."""
        assert self._replay is not None
        do = event["do"]
        try:
            if do == "add":
                self._add(str(event["name"]), SpeakerProfile.load(self._replay.path / Path(event["profile"]).name))
            elif do == "select":
                self._select(event["name"])
            elif do in ("bypass", "mute"):
                self.do(do, bool(event["on"]))
            elif do == "background":
                self._background(-float("inf") if event["db"] is None else float(event["db"]))
        except (HearableError, KeyError, TypeError, ValueError) as problem:
            self._tell(f"replay: {do}: {problem}")
