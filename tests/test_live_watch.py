"""What the user is told about the sound itself."""

from __future__ import annotations

import math

from hearable.live.processor import Meters
from hearable.live.watch import SoundWatch


class Watched:
    """A watch that sees meters ten times a second, on a clock of its own."""

    def __init__(self) -> None:
        self.time, self.chunks = 0.0, 0
        self.watch = SoundWatch(lambda: self.time)

    def see(self, seconds: float, in_db=(-30.0, -30.0), bad_samples=0, fault=None, flows=True) -> list[str]:
        said = []
        for _ in range(round(10 * seconds)):
            self.time += 0.1
            self.chunks += 12 * flows
            said += self.watch.news(
                Meters(in_db, in_db, None, False, -math.inf, False, False, None, self.chunks, 0, bad_samples, fault)
            )
        return said


def test_silent_microphones_are_told_once_and_so_is_their_return():
    watched = Watched()
    assert watched.see(5) == []
    assert watched.see(2, in_db=(-120.0, -120.0)) == []  # a pause
    said = watched.see(10, in_db=(-120.0, -120.0))
    assert len(said) == 1 and "nothing comes from the microphones" in said[0]
    assert watched.see(5) == ["both microphones are heard again"]
    assert "left microphone" in watched.see(5, in_db=(-120.0, -40.0))[0]


def test_a_device_that_does_not_run_is_no_silent_microphone():
    assert Watched().see(10, in_db=(-120.0, -120.0), flows=False) == []


def test_bad_samples_and_faults_are_told_when_they_begin():
    watched = Watched()
    assert len(watched.see(1, bad_samples=3)) == 1
    assert watched.see(5, bad_samples=9) == []
    assert len(watched.see(15, bad_samples=9) + watched.see(1, bad_samples=10)) == 1
    assert watched.see(1, bad_samples=10, fault="it broke") == ["it broke"]
