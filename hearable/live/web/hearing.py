"""What all pages of one server share: models, people, seats."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from hearable.extractor import Model
from hearable.live.realtime import prepare_thread
from hearable.live.web.seats import Seats
from hearable.profiles import SpeakerProfile
from hearable.session import Graph

MOST_PEOPLE = 50


class Hearing:
    """Models, people and seats.

    Args:
        model: the extractor.
        enroller: makes profiles of those who are looked at.
        people: who can be selected from the beginning, by name.
        seats: how many pages and recordings are served at once.

    Attributes:
        people: by name, in the order in which they were added; all pages see the same.
        workers: a thread for each seat, so that no stream waits for another, in real time where permitted.

    Raises:
        ProfileMismatch: one of the people is of another embedding space than the model.
    """

    def __init__(self, model: Model, enroller: Graph, people: Mapping[str, SpeakerProfile], seats: int):
        self.model, self.enroller = model, enroller
        self.people: dict[str, SpeakerProfile] = {}
        for name, profile in people.items():
            model.condition(profile)
            self.people[name] = profile
        self.seats = Seats(seats)
        self.workers = ThreadPoolExecutor(seats, "hearing", prepare_thread)

    def free_name(self) -> str:
        """A name for somebody who was given none."""
        return next(name for n in range(1, len(self.people) + 2) if (name := f"Person {n}") not in self.people)
