"""Variants for devices: each says what it is, is measured, and is shipped only where it is worth it."""

import re
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from safetensors.torch import save_file  # noqa: E402

from export.__main__ import app  # noqa: E402
from export.quantise import calibration, dynamic, quantised_nodes, static  # noqa: E402
from export.scores import Scoring, score  # noqa: E402
from export.to_onnx import export_extractor  # noqa: E402
from export.variants import Variant, judge, make, recommended, save, to_ort, withdraw  # noqa: E402
from export.vectors import noise  # noqa: E402
from hearable.extractor import load_model  # noqa: E402
from hearable.protocol import Evaluator, Protocol  # noqa: E402
from hearable.session import Graph  # noqa: E402
from hearable.timing import summarize  # noqa: E402
from tests import tinykit, toymodel  # noqa: E402
from training.network import Extractor, ExtractorConfig  # noqa: E402

SMALL = ExtractorConfig(channels=12, blocks=2, mixing_groups=2, voices=2, voice_channels=20)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    torch.manual_seed(0)
    return export_extractor(Extractor(SMALL), "small", "space-1", tmp_path_factory.mktemp("pair"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return tinykit.make(tmp_path_factory.mktemp("kit") / "data")


def outputs(path, conditioning, chunks):
    graph = load_model(path).extractor
    state = graph.state()
    return np.stack([graph.step(chunk, conditioning, state) for chunk in noise(graph.spec, chunks)])


def test_8_bit_variants_hold_8_bits_and_are_near(pair, tmp_path):
    model, conditioner = (onnx.load(path) for path in pair)
    graph = Graph(pair[0])
    conditioning = np.random.default_rng(0).normal(size=graph.spec.conditioning_values).astype(np.float32)
    state, feeds = graph.state(), []
    for chunk in noise(graph.spec, 12):
        feeds.append({"chunk": chunk, "conditioning": conditioning, **state.values})
        graph.step(chunk, conditioning, state)
    exact = outputs(pair[0], conditioning, 12)
    for name, quantised in (("dynamic", dynamic(model)), ("static", static(model, feeds))):
        path = save(quantised, conditioner, name, tmp_path)
        assert load_model(path).spec == replace(graph.spec, name=name)
        kinds = [t.data_type for t in quantised.graph.initializer if t.data_type == onnx.TensorProto.INT8]
        assert len(kinds) > 12  # a matrix that two nodes share is stored once
        difference = np.abs(outputs(path, conditioning, 12) - exact).max()
        assert 0 < difference < 0.2 * np.abs(exact).max()


def test_transforms_and_floors_keep_their_precision(pair):
    nodes = {node.name: node for node in onnx.load(pair[0]).graph.node}
    tensors = {t.name: t for t in onnx.load(pair[0]).graph.initializer}
    chosen = quantised_nodes(onnx.load(pair[0]))
    assert len(chosen) > 8
    assert all(tensors[nodes[name].input[1]].dims[0] < 256 for name in chosen)


def test_calibration_gives_every_input(data, tmp_path):
    path, enroller = toymodel.save_pair(tmp_path), toymodel.save_enroller(tmp_path)
    feeds = list(calibration(path, str(enroller), data, tinykit.SPLIT, 1))
    assert len(feeds) == 80000 // 128 // 25
    assert {name: value.shape for name, value in feeds[0].items()} == toymodel.EXTRACTOR.inputs()


def test_what_is_asked_for_is_written_and_scored(data, tmp_path, capsys):
    path, enroller = toymodel.save_pair(tmp_path), toymodel.save_enroller(tmp_path)
    out = tmp_path / "out"
    card = make(str(path), out, False, True, True, Scoring(data, 1, tinykit.SPLIT, tinykit.SPLIT, str(enroller)))
    assert card.read_text() in capsys.readouterr().out
    assert all(f"| {name} | " in card.read_text() for name in ("toy", "toy-half", "toy-half.c"))
    assert {p.name for p in out.iterdir()} >= {"toy.onnx", "toy.conditioner.onnx", "toy.ort", "hb_nn.h", "toy-half.c"}
    assert "ai.onnx;" in (out / "toy.operators.config").read_text()
    given, expected = (np.fromfile(out / "vectors" / f"{n}.f32", "<f4") for n in ("input", "expected"))
    assert given.size == expected.size == 100 * 2 * 128


def test_scores_are_those_of_an_evaluation_and_are_kept(data, tmp_path):
    path, enroller = toymodel.save_pair(tmp_path), toymodel.save_enroller(tmp_path)
    scoring, file = Scoring(data, 2, tinykit.SPLIT, tinykit.SPLIT, str(enroller)), tmp_path / "scores.csv"
    found = score([path], scoring, file)
    evaluator = Evaluator(Protocol(data, tinykit.SPLIT, str(path), str(enroller)))
    rows = [row for scene in range(2) for row in evaluator.rows(scene) if row.condition == "noisy"]
    assert found == [pytest.approx(np.mean([row.si_sdri_db for row in rows]), abs=1e-4)]
    lines = file.read_text().splitlines()
    assert len(lines) == 2
    # A scene that is missing or was not written to its end is computed, the others are read.
    name = lines[0].split(",")[0]
    file.write_text(f"{name},0,7.0\n{name},1,-1")
    assert score([path], scoring, file) == [pytest.approx((7.0 + rows[1].si_sdri_db) / 2, abs=1e-4)]
    assert file.read_text().splitlines() == [f"{name},0,7.0", lines[1]]


def test_ort_format_equals_the_graph(pair, tmp_path):
    model, conditioner = (onnx.load(path) for path in pair)
    path = save(model, conditioner, "small", tmp_path)
    target, config = to_ort(path)
    conditioning = np.zeros(Graph(path).spec.conditioning_values, np.float32)
    chunk = noise(Graph(path).spec, 1)[0]
    graphs = Graph(path), Graph(target)
    found = [graph.step(chunk, conditioning, graph.state()) for graph in graphs]
    assert np.abs(found[0] - found[1]).max() < 1e-6
    assert "LayerNormalization" in config.read_text()


def test_8_bits_are_shipped_where_smaller_and_as_good(tmp_path):
    first = Variant("m", tmp_path, 100, -np.inf, summarize([0.001], 0.008), 8.0)
    eight = replace(first, name="m-int8-static", size=60, timing=summarize([0.0007], 0.008), si_sdri_db=7.85)
    for variant, shipped in (
        (eight, True),
        (replace(eight, si_sdri_db=7.7), False),
        (replace(eight, size=101), False),
        (replace(eight, si_sdri_db=None), False),
        (replace(first, name="m-half", si_sdri_db=7.9), True),
    ):
        assert judge([first, variant])[1].shipped == shipped
    assert recommended(judge([first, eight])) == eight
    assert recommended(judge([first, replace(eight, timing=summarize([0.00097], 0.008))])) == first
    assert recommended(judge([first, replace(eight, size=101)])) == first


def test_a_variant_that_is_not_shipped_leaves_nothing_behind(tmp_path):
    kinds = (".onnx", ".conditioner.onnx", ".ort", ".operators.config")
    for name in ("m", "m-int8-static"):
        for kind in kinds:
            (tmp_path / (name + kind)).touch()
    withdraw(tmp_path / "m-int8-static.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"m" + kind for kind in kinds}


def test_command_line_takes_a_model_and_names_what_is_wrong(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    weights, file = tmp_path / "weights.safetensors", tmp_path / "file"
    file.write_text("no weights")
    save_file({"other": torch.zeros(1)}, weights)
    for arguments, expected in (
        (("extractor", tmp_path / "none"), "does not exist"),
        (("extractor", weights, "--preset", "huge"), "expected one of base, base-long, tiny, tiny-long, paper"),
        (("toy", "--out", file), "is a file"),
        (("toy", "--out", tmp_path, "--wrong"), "No such option"),
    ):
        history = ("--history", "none") if arguments[0] in ("extractor", "enroller") else ()
        refused = run(*arguments, *history)
        assert refused.exit_code == 2 and expected in " ".join(re.sub("[│╭╮╰╯─]", "", refused.output).split())
    for kind in ("extractor", "enroller"):
        for wrong in (file, weights):
            refused = run(kind, wrong, "--history", "none")
            assert refused.exit_code == 1 and f"error: {wrong}: expected " in refused.output
    missing = run(tmp_path / "none.onnx", "--out", tmp_path)
    assert missing.exit_code == 1 and "no model file" in missing.output
    unscored = run("toy", "--out", tmp_path, "--int8")
    assert unscored.exit_code == 2 and "--data" in unscored.output
    assert "safetensors" in run("extractor", "--help").output
