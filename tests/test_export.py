"""Export: the graph equals the network, says what it is, and a wrong graph is noticed."""

import dataclasses
import functools
import hashlib
import importlib.util
import re

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from export.card import add_scores, write_card, write_sums  # noqa: E402
from export.to_onnx import export_enroller, export_extractor  # noqa: E402
from export.verify import VerificationError, verify_enroller, verify_extractor  # noqa: E402
from hearable.checkpoints import published_hashes, verify_hash  # noqa: E402
from hearable.errors import ModelAltered  # noqa: E402
from hearable.scores import Condition, Row, summarise, worst  # noqa: E402
from hearable.session import open_pair  # noqa: E402
from training.network import Extractor, ExtractorConfig  # noqa: E402

SMALL = ExtractorConfig(channels=16, blocks=2, mixing_groups=4)
OTHER = ExtractorConfig(
    channels=24, blocks=1, mixing_groups=3, bands=((8, 4), (8, 8), (10, 16)), voices=2, voice_layers=1, key=8
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network = Extractor(SMALL)
    path, _ = export_extractor(network, "small", "space-1", tmp_path_factory.mktemp("models"))
    return network, path


def test_graph_equals_network(exported):
    network, path = exported
    assert all(difference <= 1e-4 for difference in verify_extractor(network, path, chunks=250).values())


def test_graph_equals_network_of_another_shape(tmp_path):
    torch.manual_seed(0)
    network = Extractor(OTHER)
    for parameter in network.parameters():  # untrained biases and norms are zeros and ones: they would hide mistakes
        parameter.data += 0.05 * torch.randn_like(parameter)
    for bias in network.decoder.biases:  # beams to anywhere, not straight ahead
        bias.data += torch.randn_like(bias)
    path, _ = export_extractor(network, "other", "space-1", tmp_path)
    assert all(difference <= 1e-6 for difference in verify_extractor(network, path, chunks=250).values())


def test_another_network_is_noticed(exported):
    _, path = exported
    torch.manual_seed(1)
    with pytest.raises(VerificationError):
        verify_extractor(Extractor(SMALL), path, chunks=4)


def test_contract_is_in_the_metadata(exported):
    network, path = exported
    spec = open_pair(path)[0].spec
    assert (spec.sample_rate_hz, spec.chunk_samples, spec.lookahead_samples, spec.latency_samples) == (
        16000,
        128,
        64,
        192,
    )
    assert spec.parameters == sum(p.numel() for p in network.parameters())
    assert {s.name for s in spec.states} == set(network.initial_state(1))
    assert spec.macs_per_chunk > 2 * 512 * 512  # at least the DFT of both ears


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_card_and_hashes(exported):
    _, path = exported
    card = write_card(path, "one line of history", {"onnx": 1e-7})
    assert "one line of history" in card.read_text()
    write_sums(path.parent)
    assert set(published_hashes(path.parent)) == {"small.onnx", "small.conditioner.onnx"}
    verify_hash(path)


def scored(scene: int, condition: Condition, **values: float) -> Row:
    """A row of an evaluation."""
    where = ("anna", 2, "kemar", "head", "same", 40.0, 10.0, 0.7, "ok")
    return Row("run", scene, condition, 0, *where, **values)


def test_scores_go_on_the_card_of_the_model_that_was_evaluated(exported):
    _, path = exported
    card = write_card(path, "one line of history", {"onnx": 1e-7})
    measured = {"input_si_sdr_db": -2.0, "si_sdri_db": 1.25, "snri_db": 2.5, "confused": False}
    rows = [scored(scene, condition, **measured) for scene in range(3) for condition in ("noisy", "moving")]
    rows += [scored(0, "absent", leak_db=-12.5), scored(0, "alone", si_sdr_db=14.5)]
    settings = {"model": "small", "split": "val", "seed": 4, "baselines": False, "perceptual": True}
    summary = {
        "scenes": 3,
        "settings": settings | {"sha256": {"extractor": sha256(path)}},
        **summarise(rows),
        "worst": [dataclasses.asdict(row) for row in worst(rows)],
    }
    add_scores(card, summary)
    once = card.read_text()
    add_scores(card, summary)
    assert card.read_text() == once
    assert "`hearable evaluate --data DATA --model small --scenes 3 --seed 4 --split val --perceptual`" in once
    assert re.search(r"\|means \(95%\) +\| +noisy \|\n\|-+\|-+\|\n\|SI-SDRi, dB +\|1.25 \(1.25..1.25\) \|", once)
    assert "-12.5 (-12.5..-12.5)" in once and "14.5 (14.5..14.5)" in once
    assert "one line of history" in once and "- onnx: 1.0e-07" in once
    summary["settings"]["sha256"] = {"extractor": "0" * 64}
    with pytest.raises(ModelAltered, match="evaluate this one"):
        add_scores(card, summary)


def test_a_model_is_verified_by_command(tmp_path, monkeypatch):
    from safetensors.torch import save_file
    from typer.testing import CliRunner

    import export.__main__ as command

    monkeypatch.setattr(command, "verify_extractor", functools.partial(verify_extractor, chunks=100))
    torch.manual_seed(0)
    network, weights = Extractor(ExtractorConfig()), tmp_path / "weights.safetensors"
    save_file(network.state_dict(), weights)
    path, _ = export_extractor(network, "base", "space-1", tmp_path)
    assert CliRunner().invoke(command.app, ["verify", str(weights), str(path)]).exit_code == 0
    save_file(Extractor(ExtractorConfig()).state_dict(), weights)
    assert CliRunner().invoke(command.app, ["verify", str(weights), str(path)]).exit_code == 1


@pytest.mark.skipif(not importlib.util.find_spec("resemblyzer"), reason="pip install --no-deps resemblyzer")
def test_enroller_equals_network_at_any_length(tmp_path):
    from training.enroller import FRONTAL, Enroller

    torch.manual_seed(0)
    network = Enroller(dataclasses.replace(FRONTAL, channels=16, mixing_groups=4, blocks=2))
    path = export_enroller(network, "enroll", "space-1", tmp_path)
    assert verify_enroller(network, path)["onnx"] <= 1e-4
    whole = path.stat().st_size
    # Weights that half precision holds are stored in it, with no other result.
    for parameter in network.parameters():
        parameter.data = parameter.data.half().float()
    path = export_enroller(network, "enroll", "space-1", tmp_path)
    assert verify_enroller(network, path)["onnx"] <= 1e-4
    assert path.stat().st_size < 0.7 * whole


@pytest.mark.skipif(not importlib.util.find_spec("resemblyzer"), reason="pip install --no-deps resemblyzer")
def test_the_command_replaces_a_model_once_the_new_one_is_verified(tmp_path, monkeypatch):
    from safetensors.torch import save_file
    from typer.testing import CliRunner

    import export.__main__ as command
    from training.enroller import Enroller

    def run(*options: str):
        return CliRunner().invoke(command.app, ["enroller", str(weights), "--out", str(tmp_path / "models"), *options])

    weights, network = tmp_path / "weights.safetensors", Enroller()
    save_file(network.state_dict(), weights)
    for history in ("first", "second"):
        with torch.no_grad():
            network.equaliser += 0.1
        save_file(network.state_dict(), weights)
        assert run("--history", history).exit_code == 0
    (graph,) = (tmp_path / "models").glob("*.onnx")
    verify_hash(graph)
    card = graph.with_suffix(".md").read_text()
    assert "second" in card and f"{sum(p.numel() for p in network.parameters()):,} parameters" in card
    assert sum(p.numel() for p in network.parameters()) <= 2e6

    def refuse(*_):
        raise VerificationError("too far")

    monkeypatch.setattr(command, "verify_enroller", refuse)
    assert run("--history", "third").exit_code != 0
    verify_hash(graph)
    assert "second" in graph.with_suffix(".md").read_text()
    assert len(list((tmp_path / "models").iterdir())) == 3
