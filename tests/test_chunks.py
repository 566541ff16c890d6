from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hearable.chunks import Rechunker, SampleQueue

sizes = st.lists(st.integers(0, 400), max_size=20)


def ramp(samples: int) -> np.ndarray:
    return np.arange(2 * samples, dtype=np.float32).reshape(2, samples)


def split(audio: np.ndarray, lengths: list[int]) -> list[np.ndarray]:
    return np.split(audio, np.cumsum(lengths)[:-1], axis=1) if lengths else []


@given(sizes, st.integers(1, 200))
def test_chunks_are_exact_and_lose_nothing(lengths, chunk_samples):
    audio = ramp(sum(lengths))
    rechunker = Rechunker(chunk_samples, channels=2)
    chunks = [chunk for block in split(audio, lengths) for chunk in rechunker.push(block)]
    assert all(chunk.shape == (2, chunk_samples) and chunk.flags.c_contiguous for chunk in chunks)
    assert rechunker.pending_samples == audio.shape[1] % chunk_samples
    if chunks:
        together = np.concatenate(chunks, axis=1)
        np.testing.assert_array_equal(together, audio[:, : together.shape[1]])


@given(sizes, sizes)
def test_the_queue_gives_what_it_took(pushed, popped):
    audio = ramp(sum(pushed))
    queue = SampleQueue(channels=2)
    for block in split(audio, pushed):
        queue.push(block)
    out = [queue.pop(min(n, len(queue))) for n in popped] + [queue.pop(len(queue))]
    np.testing.assert_array_equal(np.concatenate(out, axis=1), audio)


def test_the_caller_may_reuse_its_memory():
    block = np.ones((1, 3), np.float32)
    queue = SampleQueue(channels=1)
    queue.push(block)
    block[:] = 7
    assert queue.pop(3).tolist() == [[1, 1, 1]]


def test_asking_for_more_than_there_is():
    queue = SampleQueue(channels=1)
    queue.push(np.ones((1, 3), np.float32))
    with pytest.raises(ValueError, match="0 to 3 .*found 4"):
        queue.pop(4)
    assert len(queue) == 3


def test_a_block_is_taken_before_its_chunks_are_fetched():
    rechunker = Rechunker(2, channels=1)
    rechunker.push(np.ones((1, 3), np.float32))
    assert rechunker.pending_samples == 3
    assert len(list(rechunker.push(np.ones((1, 1), np.float32)))) == 2


def test_reset_forgets_the_rest():
    rechunker = Rechunker(4, channels=1)
    list(rechunker.push(np.ones((1, 3), np.float32)))
    rechunker.reset()
    assert rechunker.pending_samples == 0
