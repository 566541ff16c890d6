"""When a computer that is too slow does without the network."""

from __future__ import annotations

import pytest

from hearable.live.overload import Overload

CHUNK_S = 0.008


def rest(overload: Overload, late_chunks: int = 3) -> float:
    """Be late for some chunks; returns how long the network rests once that is over, in seconds."""
    begins = [overload.watch(True) for _ in range(late_chunks)]
    assert begins == [True] + [False] * (late_chunks - 1) and overload.resting
    chunks = 0
    while overload.resting:
        assert not overload.watch(False)
        chunks += 1
    return chunks * CHUNK_S


def test_rests_double_while_trouble_returns_and_are_short_again_after_a_calm_minute():
    overload = Overload(CHUNK_S)
    assert not overload.watch(False) and not overload.resting
    assert [rest(overload) for _ in range(7)] == pytest.approx([1, 2, 4, 8, 16, 30, 30], abs=2 * CHUNK_S)
    for _ in range(round(61 / CHUNK_S)):
        overload.watch(False)
    assert rest(overload) == pytest.approx(1, abs=2 * CHUNK_S)
