"""People who were looked at are kept, and are there the next time: live, in the page, over the bridge."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from pathlib import Path

import platformdirs

from hearable.errors import HearableError
from hearable.extractor import Model
from hearable.profiles import SpeakerProfile


def people_folder() -> Path:
    """Where they are kept, a profile each."""
    return Path(platformdirs.user_data_path("hearable")) / "people"


def _path(name: str) -> Path:
    return people_folder() / f"{name}.profile"


def kept_people(model: Model, tell: Callable[[str], None]) -> dict[str, SpeakerProfile]:
    """Those that are kept, by name; ``tell`` is told of each whose profile cannot be used with the model."""
    people = {}
    for path in sorted(people_folder().glob("*.profile")):
        try:
            profile = SpeakerProfile.load(path)
            model.condition(profile)
        except HearableError as problem:
            tell(f"{path.stem} is left out: {problem}")
        else:
            people[path.stem] = profile
    return people


def new_name(taken: Collection[str]) -> str:
    """For somebody who was looked at: not one of those taken, nor of anybody kept, usable with this model or not."""
    names = (f"person-{number}" for number in itertools.count(1))
    return next(name for name in names if name not in taken and not _path(name).exists())


def keep(name: str, profile: SpeakerProfile, tell: Callable[[str], None]) -> None:
    """Keep somebody for the next time; ``tell`` is told where, or why not."""
    path = _path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        profile.save(path)
        tell(f"kept as {path}: rename or delete it as you like")
    except (HearableError, OSError) as problem:
        tell(str(problem))
