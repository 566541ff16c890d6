from __future__ import annotations

from dataclasses import replace

import pytest

from hearable.errors import SpecMismatch
from hearable.spec import MAX_STATE_VALUES, ModelSpec, StateSpec, parse_states
from tests import toymodel


@pytest.mark.parametrize("spec", [toymodel.EXTRACTOR, toymodel.CONDITIONER, toymodel.ENROLLER])
def test_metadata_reads_back(spec):
    assert ModelSpec.from_metadata(spec.to_metadata()) == spec


def test_metadata_is_flat_strings_with_the_agreed_keys():
    metadata = toymodel.EXTRACTOR.to_metadata()
    assert metadata["hearable.format"] == "1"
    assert metadata["hearable.kind"] == "extractor"
    assert metadata["hearable.states"] == "delay:2x64;level:2x1"
    assert all(isinstance(v, str) for v in metadata.values())
    assert set(toymodel.CONDITIONER.to_metadata()) == {
        f"hearable.{key}"
        for key in ("format", "kind", "name", "embedding_values", "conditioning_values", "embedding_space")
    }


def test_keys_of_other_programs_are_left_alone():
    assert ModelSpec.from_metadata(toymodel.ENROLLER.to_metadata() | {"author": "x"}) == toymodel.ENROLLER


@pytest.mark.parametrize("key", sorted(toymodel.EXTRACTOR.to_metadata()))
def test_a_missing_key_is_named(key):
    metadata = toymodel.EXTRACTOR.to_metadata()
    del metadata[key]
    with pytest.raises(SpecMismatch, match=key):
        ModelSpec.from_metadata(metadata)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "2"),
        ("kind", "vocoder"),
        ("name", "../base"),
        ("embedding_space", ""),
        ("chunk_samples", "0"),
        ("chunk_samples", "-128"),
        ("chunk_samples", "128.0"),
        ("chunk_samples", "1e9"),
        ("lookahead_samples", "9" * 40),
        ("states", "delay"),
        ("states", "delay:2x64;"),
        ("states", "delay:2x0"),
        ("states", "de lay:2x64"),
        ("states", "delay:2x64;delay:2x1"),
        ("states", f"big:{MAX_STATE_VALUES}x2"),
    ],
)
def test_a_bad_value_is_refused_and_shown(key, value):
    with pytest.raises(SpecMismatch, match="expected .*found"):
        ModelSpec.from_metadata(toymodel.EXTRACTOR.to_metadata() | {f"hearable.{key}": value})


def test_a_graph_may_have_no_state_and_no_lookahead():
    spec = replace(toymodel.EXTRACTOR, states=(), lookahead_samples=0)
    assert ModelSpec.from_metadata(spec.to_metadata()) == spec
    assert parse_states("") == ()


def test_inputs_and_outputs_in_the_graphs_order():
    assert list(toymodel.EXTRACTOR.inputs()) == ["chunk", "conditioning", "state.delay", "state.level"]
    assert list(toymodel.EXTRACTOR.outputs()) == ["output", "state.delay.out", "state.level.out"]
    assert toymodel.ENROLLER.inputs() == {"clip": (2, None)}
    assert toymodel.ENROLLER.outputs() == {"embedding": (8,), "voice": (2, None)}
    assert toymodel.CONDITIONER.outputs() == {"conditioning": (3,)}


def test_latency_and_chunk_time():
    assert toymodel.EXTRACTOR.latency_samples == 192
    assert toymodel.EXTRACTOR.chunk_ms == 8.0
    assert parse_states("a:1x44x64;b:3") == (StateSpec("a", (1, 44, 64)), StateSpec("b", (3,)))
