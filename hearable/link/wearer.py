"""What the wearer of a device wants, as its button and its knobs say."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from hearable.chunks import Audio
from hearable.errors import HearableError
from hearable.link.messages import (
    HOSTS_CHOICE_DB,
    LOOK_ENROLLED,
    LOOK_LOOKING,
    LOOK_NONE,
    LOOK_REFUSED,
    SILENT_DB,
    Controls,
)
from hearable.live.people import new_name
from hearable.live.processor import LiveProcessor
from hearable.profiles import SpeakerProfile


class Enroller(Protocol):
    """Makes a profile of a clip ``[2, samples]`` at the protocol's rate, elsewhere: the sound must not wait."""

    def __call__(self, clip: Audio) -> Future[SpeakerProfile]:
        """Begin."""


class Wearer:
    """Follows a device's controls, which come again and again: only what changes is done.

    Args:
        processor: what is steered.
        enroller: enrolls whom the wearer looks at.
        tell: takes a sentence for the user when something happened.
        keep: takes name and profile of whoever was enrolled; the sound waits for it.

    Attributes:
        look: how the last look stands, as ``HostStatus.look``.
    """

    def __init__(
        self,
        processor: LiveProcessor,
        enroller: Enroller,
        tell: Callable[[str], None],
        keep: Callable[[str, SpeakerProfile], None],
    ):
        self.look = LOOK_NONE
        self._processor, self._enroller, self._tell, self._keep = processor, enroller, tell, keep
        self._controls = Controls()
        self._enrolling: Future[SpeakerProfile] | None = None

    def obey(self, controls: Controls) -> None:
        """Take what the device says."""
        before, self._controls = self._controls, controls
        if controls.button and not before.button:
            self._processor.look_start()
            self.look = LOOK_LOOKING
        elif before.button and not controls.button:
            self._end_look()
        if controls.person != before.person and controls.person < len(self._processor.people):
            self._processor.select(self._processor.people[controls.person])
        if controls.background_db not in (before.background_db, HOSTS_CHOICE_DB):
            level = controls.background_db
            self._processor.background_db = -math.inf if level == SILENT_DB else min(level, 0)

    def forget_look(self) -> None:
        """The link was lost in a look."""
        self._controls = replace(self._controls, button=0)
        self._processor.recent.look_cancel()
        if self.look == LOOK_LOOKING:
            self.look = LOOK_NONE

    def _end_look(self) -> None:
        try:
            self._enrolling = self._enroller(self._processor.look_stop())
        except HearableError as problem:
            self._refuse(problem)

    def finish_look(self) -> None:
        """If the enrollment is done, add the person and let them be heard."""
        if self._enrolling is None or not self._enrolling.done():
            return
        done, self._enrolling = self._enrolling, None
        try:
            profile = done.result()
        except HearableError as problem:
            self._refuse(problem)
            return
        name = new_name(self._processor.people)
        self._processor.add(name, profile)
        self._processor.select(name)
        self.look = LOOK_ENROLLED
        self._tell(f"enrolled {name}")
        self._keep(name, profile)

    def _refuse(self, problem: HearableError) -> None:
        self.look = LOOK_REFUSED
        self._tell(f"nobody enrolled: {problem}")
