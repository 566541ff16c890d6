from __future__ import annotations

import numpy as np
import pytest

from hearable.timing import measure, summarize


def test_percentiles_and_factor():
    timing = summarize(np.linspace(0.001, 0.004, 301), chunk_s=0.008)
    assert timing.chunks == 301
    assert timing.rtf == pytest.approx(0.3125)
    assert (timing.p50_ms, timing.p95_ms, timing.p99_ms) == pytest.approx((2.5, 3.85, 3.97))
    assert timing.max_ms == pytest.approx(4.0)
    assert timing.missed == 0


def test_a_chunk_as_long_as_it_lasts_is_in_time():
    assert summarize([0.008, 0.0081], chunk_s=0.008).missed == 1


def test_no_chunks():
    with pytest.raises(ValueError, match="at least one chunk"):
        summarize([], chunk_s=0.008)


def test_a_graph_is_timed(toy):
    timing = measure(toy.extractor, chunks=20, warmup=2)
    assert timing.chunks == 20
    assert 0 < timing.p50_ms <= timing.p99_ms <= timing.max_ms
