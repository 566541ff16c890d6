"""Preparing a corpus, drawing examples, training and resuming, on a tiny data kit made here."""

import csv
import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytestmark = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="needs g++ and ninja")

from safetensors.torch import load_file  # noqa: E402

from hearable.errors import AudioError, ModelError  # noqa: E402
from hearable.synthesis.recipes import TseRecipe  # noqa: E402
from training import corpus, train  # noqa: E402
from training.data import VOICES, Curriculum, Endless, ExtractionScenes, collate  # noqa: E402
from training.enrollments import Enrollments, predict  # noqa: E402
from training.losses import distortion_db, negative_snr_db, separation_loss, si_sdr_db, steering_loss  # noqa: E402
from training.network import Extractor, ExtractorConfig, Separator  # noqa: E402
from training.optim import orthogonalise  # noqa: E402
from training.presets import ENROLLERS, EXTRACTORS, ExtractorPreset, RecognitionPreset, VoicePreset  # noqa: E402
from training.separations import SeparatedScenes, separate_scenes, smooth_response, take_apart  # noqa: E402
from training.tasks import FRONT, RECOGNITION, EnrollerTask, RecognitionTask, Task, schedule  # noqa: E402
from training.train import build, load_separation, load_weights, run, save_weights  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent
RATE = 16000
SAMPLES = 40 * 128  # long enough to decide whose voice it is
RECIPE = TseRecipe(samples=SAMPLES, enrollment_samples=SAMPLES, talkers=(2,))
NETWORK = ExtractorConfig(channels=16, blocks=2, mixing_groups=4, voice_channels=8, voice_layers=1, key=4)
PRESET = ExtractorPreset(
    network=NETWORK,
    recipe=RECIPE,
    speeds=(1.0,),
    batch=1,
    ramp=4,
    warmup=1,
    steps=4,
    validation_samples=SAMPLES,
    validation_scenes=2,
)


def write_manifest(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_responses(path, taps, key):
    azimuth = np.arange(0, 360, 30, dtype=np.float32)
    responses = np.zeros((len(azimuth), 2, taps), np.int16)
    lag = np.round(8 * np.sin(np.radians(azimuth))).astype(int)
    for i, d in enumerate(lag):
        responses[i, 0, 8 + max(0, -d)] = responses[i, 1, 8 + max(0, d)] = 20000
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path, **{key: responses, "scale": np.float32(5e-5), "azimuth": azimuth, "elevation": 0 * azimuth, "fs": 16000}
    )


def fake_embedding(speech):
    """Band levels of a sound: enough to tell two of the test's voices apart."""
    spectrum = np.abs(np.fft.rfft(speech, 510))[:256]
    return (spectrum + 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    root = tmp_path_factory.mktemp("kit")
    rng = np.random.default_rng(0)
    speech, noise, heads, rooms = [], [], [], []
    for split in ("train", "val", "test"):
        for speaker in range(6):
            for n in range(2):
                path = f"{split}/s{speaker}-{n}.wav"
                (root / "speech" / split).mkdir(parents=True, exist_ok=True)
                sound = np.convolve(rng.standard_normal(2 * RATE), rng.standard_normal(9), "same") * 0.02
                soundfile.write(root / "speech" / path, sound, RATE)
                speech.append(
                    {"path": path, "speaker": f"{split}{speaker}", "split": split, "gender": "?", "licence": "CC0-1.0"}
                )
        (root / "noise" / split).mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "noise" / split / "n.wav", rng.standard_normal(RATE) * 0.02, RATE)
        noise.append({"path": f"noise/{split}/n.wav", "split": split, "licence": "CC0"})
        write_responses(root / "hrtf" / f"head_{split}.npz", 32, "hrir_q")
        heads.append({"path": f"hrtf/head_{split}.npz", "split": split, "licence": "CC0"})
        write_responses(root / "brir" / f"room_{split}.npz", 64, "brir_q")
        rooms.append({"path": f"brir/room_{split}.npz", "split": split, "licence": "CC0"})
    speech.append({**speech[0], "path": "missing.wav", "speaker": "gpl", "licence": "GPL-2.0"})
    for name, rows in (("speech", speech), ("noise", noise), ("hrtf", heads), ("brir", rooms)):
        write_manifest(root / name, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "embed_many", lambda utterances: np.stack([fake_embedding(u) for u in utterances]))
        patch.setattr(corpus, "SPEEDS", {s: (1.0,) for s in ("train", "val", "test")})
        corpus.prepare(root, root / "cache")
    return root


@pytest.fixture(scope="module")
def scenes(kit):
    sounds, material = corpus.load_material(kit, kit / "cache", "train", (1.0,))
    return ExtractionScenes(sounds, material, Curriculum(RECIPE, 4), targets=2)


def test_licences_that_weights_should_not_inherit_are_left_out(kit, scenes, caplog, monkeypatch):
    caplog.set_level("WARNING")
    assert "gpl" not in scenes.sounds.speakers
    assert len(scenes.sounds.speakers) == 6
    assert len(corpus.Corpora(kit).rows("speech", "train")) == 12
    assert "speech: 1 of 13 files left out: weights should not inherit GPL-2.0" in caplog.text
    monkeypatch.setattr(corpus, "EXCLUDED_LICENCES", ("CC0",))
    assert len(corpus.Corpora(kit).rows("noise", "val")) == 1  # which is not trained on
    with pytest.raises(AudioError, match="1 of 1 files left out: .* CC0: expected others"):
        corpus.Corpora(kit).rows("noise", "train")


@pytest.mark.parametrize(("kind", "key", "taps"), [("hrtf", "hrir_q", 32), ("brir", "brir_q", 600)])
def test_one_s_own_folder_needs_no_manifests_and_heads_or_rooms(kit, tmp_path, monkeypatch, kind, key, taps):
    for split in ("train", "val"):
        for file in (kit / "speech" / split).iterdir():
            speaker = tmp_path / "speech" / split / file.name.split("-")[0]
            speaker.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, speaker)
        shutil.copytree(kit / "noise" / split, tmp_path / "noise" / split)
        write_responses(tmp_path / kind / split / f"{split}.npz", taps, key)
    monkeypatch.setattr(corpus, "embed_many", lambda utterances: np.stack([fake_embedding(u) for u in utterances]))
    monkeypatch.setattr(corpus, "SPEEDS", {"train": (1.0,), "val": (1.0,)})
    corpus.prepare(tmp_path, tmp_path / "cache")
    sounds, material = corpus.load_material(tmp_path, tmp_path / "cache", "train")
    assert sorted(material.speakers) == [f"s{n}" for n in range(6)]
    assert list(material.listeners) == ["train"] and material.listener_weights == [1.0]
    curriculum = Curriculum(RECIPE, 4)  # the first scene is an easy one
    mixture, target, *_ = next(ExtractionScenes(sounds, material, curriculum).examples(0))
    assert np.abs(mixture).max() > 0 and mixture.shape == target.shape == (2, SAMPLES)


def test_a_scene_gives_each_talker_in_turn(scenes):
    (mixture, first, a, *_), (again, second, b, *_) = scenes.examples(3)
    np.testing.assert_array_equal(mixture, again)
    assert np.abs(first - second).max() > 0
    assert np.abs(a - b).max() > 0
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-5)


def test_a_scene_depends_on_its_number_alone(scenes):
    for one, other in zip(scenes.examples(7), scenes.examples(7), strict=True):
        for x, y in zip(one, other, strict=True):
            np.testing.assert_array_equal(x, y)


def test_an_absent_speaker_gives_silence(kit, scenes):
    silent = ExtractionScenes(scenes.sounds, scenes.material, scenes.curriculum, targets=2, absent=1.0)
    for mixture, target, *_ in silent.examples(0):
        assert np.abs(target).max() == 0 < np.abs(mixture).max()


class LevelEnroller(torch.nn.Module):
    """Stands for the enrollment network: its embedding tells the clip's length and level."""

    def frontal(self, clips):
        return clips, None

    def embed(self, voices, clips):
        level = voices.square().mean((1, 2)).sqrt()
        return torch.nn.functional.pad(torch.stack([level, level + clips.shape[-1]], 1), (0, 254))


def test_predicted_embeddings_are_of_other_utterances(kit, scenes, monkeypatch):
    monkeypatch.setattr(corpus, "SPEEDS", {"train": (1.0,)})
    predict(LevelEnroller(), kit, kit / "cache", "train", RECIPE, 40)
    enrollments = Enrollments(kit / "cache", "train")
    rows = np.load(kit / "cache" / "enrollments-train.npy")
    assert len(rows) >= 40 and len(np.unique(rows[:, 0])) > 30
    speaker = next(iter(scenes.sounds.speakers))
    one, other = (frozenset([u.name]) for u in scenes.sounds.speakers[speaker])
    rng = np.random.default_rng(0)
    assert enrollments.draw(speaker, one | other, rng) is None
    assert enrollments.draw("nobody", frozenset(), rng) is None
    heard = [enrollments.draw(speaker, one, rng) for _ in range(20)]
    assert all(any(np.array_equal(e, row) for row in rows) for e in heard if e is not None)
    fed = ExtractionScenes(
        scenes.sounds, scenes.material, Curriculum(RECIPE, 0), enrollments=enrollments, predicted=1.0
    )
    embeddings = [embedding for i in range(10) for _, _, embedding, *_ in fed.examples(i)]
    assert any(np.array_equal(e, row) for e in embeddings for row in rows)


def test_embeddings_that_were_not_written_to_their_end_have_no_index(kit, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "SPEEDS", {"train": (1.0,)})
    predict(LevelEnroller(), kit, kit / "cache", "train", RECIPE, 16)
    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        predict(LevelEnroller(), kit, kit / "cache", "train", RECIPE, 16)
    assert not (kit / "cache" / "enrollments-train.json").exists()


def test_voices_are_the_loudest_sources_and_the_target_is_known_among_them(kit, scenes):
    *_, voices, number = next(scenes.examples(2))
    assert voices.shape == (VOICES, 2, RECIPE.samples)
    mixture, target, *_ = next(scenes.examples(2))
    np.testing.assert_array_equal(voices[number], target)
    # Two talkers and all noise: together the whole mixture.
    np.testing.assert_allclose(voices.sum(0), mixture, atol=1e-6)
    three = Curriculum(dataclasses.replace(RECIPE, talkers=(3,)), 0)
    scene = ExtractionScenes(scenes.sounds, scenes.material, three)
    mixture, *_, voices, _ = next(scene.examples(2))
    assert np.abs(mixture - voices.sum(0)).max() > 1e-4 * np.abs(mixture).max()


def test_where_one_talks_the_other_voices_are_noise_and_silence(scenes):
    for directions, silent in ((0, 2), (1, 1), (3, 0)):
        recipe = dataclasses.replace(RECIPE, talkers=(1,), noise_directions=(directions,))
        alone = ExtractionScenes(scenes.sounds, scenes.material, Curriculum(recipe, 0))
        ((mixture, target, _, voices, number),) = alone.examples(1)
        np.testing.assert_array_equal(voices[number], target)
        np.testing.assert_allclose(voices.sum(0), mixture, atol=1e-6)
        assert (np.abs(voices).max((1, 2)) == 0).sum() == silent


def test_ranks_see_different_scenes(scenes):
    firsts = []
    for rank in range(2):
        firsts.append(next(iter(Endless(scenes, rank=rank, world=2)))[0])
    assert np.abs(firsts[0] - firsts[1]).max() > 0


@pytest.fixture
def updates(monkeypatch):
    """Numbers of the updates as they are made: whoever begins anew counts from zero."""
    made, training_step = [], Task.training_step

    def step(task, *arguments):
        made.append(task.updates)
        return training_step(task, *arguments)

    monkeypatch.setattr(Task, "training_step", step)
    return made


@pytest.mark.timeout(600)  # it compiles the network's kernels, if it is the first
def test_train_then_resume(kit, tmp_path, updates):
    run(PRESET, "tiny", kit, kit / "cache", tmp_path, 1, validate_every=2)
    first = (tmp_path / "tiny" / "weights.safetensors").read_bytes()
    assert (tmp_path / "tiny" / "last.ckpt").exists()
    run(dataclasses.replace(PRESET, steps=6), "tiny", kit, kit / "cache", tmp_path, 1, validate_every=2)
    checkpoint = torch.load(tmp_path / "tiny" / "last.ckpt", weights_only=False)
    assert checkpoint["updates"] == 6
    assert updates == [0, 1, 2, 3, 4, 5]
    assert (tmp_path / "tiny" / "weights.safetensors").read_bytes() != first


def test_a_run_that_was_killed_goes_on_as_if_it_had_not_been(kit, tmp_path, monkeypatch, updates):
    class Killed(BaseException):
        pass

    def step(task, *arguments):
        if task.updates == 2:
            raise Killed
        return training_step(task, *arguments)

    preset = dataclasses.replace(PRESET, steps=4)
    run(preset, "whole", kit, kit / "cache", tmp_path, 1)
    training_step = Task.training_step
    monkeypatch.setattr(train, "KEEP_S", -1.0)
    monkeypatch.setattr(train, "ASKED_EVERY", 2)
    with monkeypatch.context() as killing, pytest.raises(Killed):
        killing.setattr(Task, "training_step", step)
        run(preset, "killed", kit, kit / "cache", tmp_path, 1)
    run(preset, "killed", kit, kit / "cache", tmp_path, 1)
    assert updates == [0, 1, 2, 3] + [0, 1] + [2, 3]
    whole, killed = (load_file(tmp_path / name / "weights.safetensors") for name in ("whole", "killed"))
    for name, weight in whole.items():
        torch.testing.assert_close(killed[name], weight, atol=1e-6, rtol=1e-5)


SCRIPT = """
import dataclasses, sys
from pathlib import Path
from tests.test_training import EQUAL
from training.train import run
run(EQUAL, "two", Path(sys.argv[1]), Path(sys.argv[1]) / "cache", Path(sys.argv[2]), 2)
"""
# One update of plain Adam on the whole loss; nothing is drawn but by the scene's number.
EQUAL = dataclasses.replace(PRESET, steps=1, muon=False)


def gradients(run_folder):
    """Adam's first moment after one update: a tenth of the gradient."""
    checkpoint = torch.load(run_folder / "last.ckpt", weights_only=False)
    return [state["exp_avg"] * 10 for state in checkpoint["optimizer_states"][0]["state"].values()]


@pytest.mark.timeout(600)  # it compiles the network's kernels, if it is the first
def test_two_processes_give_the_gradients_of_one(kit, tmp_path):
    """Two processes with one scene each, one process with both."""
    (tmp_path / "two.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "two.py"), str(kit), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    run(dataclasses.replace(EQUAL, batch=2), "one", kit, kit / "cache", tmp_path, 1)
    run(EQUAL, "half", kit, kit / "cache", tmp_path, 1)
    two, one, half = (gradients(tmp_path / name) for name in ("two", "one", "half"))
    size = max(float(g.abs().max()) for g in one)
    for a, b in zip(two, one, strict=True):
        torch.testing.assert_close(a, b, atol=1e-4 * size, rtol=1e-3)
    # And it is not that every scene gives the same.
    assert max(float((a - b).abs().max()) for a, b in zip(half, one, strict=True)) > 0.05 * size


MIXTURE, EMBEDDING, NUMBER = (4, 2, SAMPLES), (4, 256), torch.zeros(4, dtype=torch.long)
FRAMES = SAMPLES // 128 + 1
OF_VOICES, OF_TALKERS = (4, FRAMES, 2, VOICES, VOICES), (4, FRAMES, 2, VOICES, 2)
SHORT = {"recipe": RECIPE, "speeds": (1.0,), "batch": 4}
ON_ANY_DEVICE = {
    "extractor": (EQUAL, [MIXTURE, MIXTURE, EMBEDDING, (4, VOICES, 2, SAMPLES), NUMBER]),
    "paper": (EXTRACTORS["paper"], [MIXTURE, MIXTURE, EMBEDDING, (4, VOICES, 2, SAMPLES), NUMBER]),
    "voice": (VoicePreset(network=NETWORK, **SHORT), [MIXTURE, EMBEDDING]),
    "recognition": (
        RecognitionPreset(network=NETWORK, **SHORT),
        [(4, FRAMES, VOICES, 44), OF_VOICES, OF_TALKERS, (4, FRAMES, 2, 2), NUMBER[:, None].expand(-1, 2), (4, 2, 256)],
    ),
    "enroll": (ENROLLERS["enroll"], [MIXTURE, MIXTURE, EMBEDDING]),
}


@pytest.mark.parametrize("kind", ON_ANY_DEVICE)
def test_nothing_is_tied_to_the_cpu(kit, kind):
    """On a device without numbers, mixing in a tensor of the CPU is an error."""
    if kind == "enroll" and not importlib.util.find_spec("resemblyzer"):
        pytest.skip("pip install --no-deps resemblyzer")
    preset, batch = ON_ANY_DEVICE[kind]
    task = build(preset, kit / "cache").to("meta")
    tensors = [x if isinstance(x, torch.Tensor) else torch.empty(x) for x in batch]
    tensors = [tensor.to("meta") for tensor in tensors]
    if kind == "recognition":  # its loss takes apart who is there and who is not: shapes that depend on numbers
        loss = sum(part.float().mean() for part in task.scores(tensors))
    else:
        loss = task.loss(tensors)
        task.validation_step(tensors, 0)
    assert loss.device.type == "meta" and loss.shape == ()
    loss.backward()


def test_recognition_is_trained_first_and_taken_over(kit, tmp_path):
    voice = VoicePreset(network=NETWORK, recipe=RECIPE, speeds=(1.0,), batch=4, warmup=1, steps=3, validation_scenes=4)
    run(voice, "voice", kit, kit / "cache", tmp_path, 1, validate_every=3)
    trained = tmp_path / "voice" / "weights.safetensors"
    task = build(PRESET, kit / "cache")
    before = {name: value.clone() for name, value in task.network.state_dict().items()}
    load_weights(task.network, trained, RECOGNITION)
    changed = {name for name, value in task.network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(RECOGNITION) for name in changed)


def test_weights_of_another_network_are_refused(tmp_path):
    network, path = Extractor(NETWORK), tmp_path / "weights.safetensors"
    other = {
        "blocks.2.mixing [4, 44, 44], found none": dataclasses.replace(NETWORK, blocks=3),
        "voice.outward.weight [8, 8], found [4, 8]": dataclasses.replace(NETWORK, key=8),
        "weights, found blocks.1.band_in.bias too": dataclasses.replace(NETWORK, blocks=1),
    }
    save_weights(network, path)
    for message, config in other.items():
        with pytest.raises(ModelError, match=re.escape(message)):
            load_weights(Extractor(config), path)
    load_weights(Extractor(dataclasses.replace(NETWORK, blocks=3)), path, RECOGNITION)
    load_separation(Separator(dataclasses.replace(NETWORK, voices=1, key=8)), path)
    with pytest.raises(ModelError, match="encoder.weights.0 .* found"):
        load_separation(Separator(dataclasses.replace(NETWORK, channels=8)), path)
    path.write_text("not weights")
    with pytest.raises(ModelError, match="weights.safetensors: expected weights"):
        load_weights(network, path)


def test_recognition_is_trained_alone_and_then_kept(kit, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SPEEDS", {"train": (1.0,), "val": (1.0,)})
    predict(LevelEnroller(), kit, kit / "cache", "train", RECIPE, 20)
    predict(LevelEnroller(), kit, kit / "cache", "val", RECIPE, 20)
    preset = RecognitionPreset(
        network=NETWORK, recipe=RECIPE, speeds=(1.0,), warmup=1, batch=2, steps=3, validation_scenes=4
    )
    start = tmp_path / "start.safetensors"
    network = build(PRESET, kit / "cache").network
    save_weights(network, start)
    for split in ("train", "val"):
        separate_scenes(network, kit, kit / "cache", split, RECIPE, range(4), False)
    run(preset, "recognition", kit, kit / "cache", tmp_path, 1, start=start, validate_every=3)
    before, after = load_file(start), load_file(tmp_path / "recognition" / "weights.safetensors")
    # The moving average of what does not change differs by its rounding.
    changed = {name for name in before if not torch.allclose(before[name], after[name], atol=1e-6)}
    assert changed
    assert all(name.startswith(RECOGNITION) for name in changed)

    run(PRESET, "more", kit, kit / "cache", tmp_path, 1, start=tmp_path / "recognition" / "weights.safetensors")
    more = load_file(tmp_path / "more" / "weights.safetensors")
    kept = {name for name in after if torch.allclose(after[name], more[name], atol=1e-6)}
    assert {name for name in after if name.startswith(RECOGNITION)} <= kept
    assert any(name.startswith("blocks.1") for name in after.keys() - kept)


def test_who_is_alone_in_a_scene_taken_apart_is_looked_for_twice(kit, scenes, monkeypatch):
    monkeypatch.setattr(corpus, "SPEEDS", {"train": (1.0,)})
    predict(LevelEnroller(), kit, kit / "cache", "train", RECIPE, 20)
    found = {}
    for talkers in (1, 2):
        recipe = dataclasses.replace(RECIPE, talkers=(talkers,))
        torch.manual_seed(0)
        separate_scenes(Extractor(NETWORK), kit, kit / "cache", "train", recipe, range(1), False, 1, (1.0,))
        separated = SeparatedScenes(scenes.sounds, kit / "cache", "train", 0.0, 0.0)
        _, _, of_talkers, power, order, embeddings = found[talkers] = next(separated.examples(0))
        assert of_talkers.shape[-1] == power.shape[-1] == len(order) == len(embeddings) == 2
        assert (order[0] == order[1]) == (power[..., 0] == power[..., 1]).all() == (talkers == 1)
        # Other utterances of the same speaker may be the teacher's.
        assert (np.linalg.norm(embeddings[0] - embeddings[1]) < 0.1) == (talkers == 1)
    assert [part.shape for part in found[1]] == [part.shape for part in found[2]]


def test_two_workers_take_the_same_scenes_apart(kit, tmp_path):
    torch.manual_seed(0)
    network = Extractor(NETWORK)
    found = []
    for workers in (1, 2):
        separate_scenes(network, kit, kit / "cache", "train", RECIPE, range(12), False, workers, (1.0,))
        found.append({p.name: p.read_bytes() for p in (kit / "cache").glob("separations-train*")})
    assert len(found[0]) == 6 and found[0] == found[1]
    whole = json.loads((kit / "cache" / "separations-train.json").read_text())
    separate_scenes(network, kit, kit / "cache", "train", RECIPE, range(3, 9), False, 1, (1.0,))
    assert json.loads((kit / "cache" / "separations-train.json").read_text()) == whole[3:9]


def test_a_scene_is_heard_through_another_response_each_time():
    rng = np.random.default_rng(0)
    heard = np.stack([smooth_response(44, rng) for _ in range(2000)])
    assert abs(heard.mean()) < 0.1 and 1.0 < heard.std() < 2.5
    assert np.abs(np.diff(heard, axis=1)).mean() < 0.2 * heard.std()  # smooth along the bands


@torch.no_grad()
def test_a_speaker_is_looked_for_in_every_scene_of_the_batch(scenes):
    torch.manual_seed(0)
    network = Extractor(NETWORK)
    task = RecognitionTask(network, RecognitionPreset(network=NETWORK, recipe=RECIPE))
    mixture, target, embedding, talkers, _ = collate([example for i in range(3) for example in scenes.examples(i)])
    mixture, talkers = mixture[::2], talkers[::2]
    *apart, of_talkers, power, order = take_apart(network, mixture, talkers, False)
    sought = [of_talkers[..., :2], power[..., :2], order[:, :2]]
    scores, right, distortion = task.scores([*apart, *sought, embedding.unflatten(0, (3, 2))])
    assert scores.shape[1:] == (3, 6, VOICES + 1)
    own = torch.eye(3, dtype=torch.bool).repeat_interleave(2, 1)
    assert (right[own] < VOICES).all() and (right[~own] == VOICES).all()
    # The two talkers of a scene are two voices.
    assert all(right[i, 2 * i] != right[i, 2 * i + 1] for i in range(3))
    # What is heard, by its products with the talkers, is what the network gives.
    heard = network(mixture.repeat_interleave(2, 0), network.conditioner(embedding))
    expected = distortion_db(heard[:, None], target[:, None])[:, 0, 0]
    torch.testing.assert_close(distortion.flatten(), expected, atol=0.3, rtol=0)


def test_a_direction_is_judged_by_what_does_not_come_from_there():
    torch.manual_seed(0)
    sound = torch.view_as_complex(torch.randn(50, 1, 1, 9, 2))
    response = torch.view_as_complex(torch.randn(1, 1, 2, 9, 2))
    source = torch.view_as_real(sound[:, :, :, None] * response).movedim(-1, -2)
    steering = (
        torch.view_as_real(response[None] * (0.3 + 0.4j)).movedim(-1, -2).flatten(3, 4).expand(50, -1, -1, -1, -1)
    )
    assert steering_loss(steering, source) == pytest.approx(-30, abs=0.1)
    away = torch.view_as_real(torch.stack([-response[:, :, 1].conj(), response[:, :, 0].conj()], 2)[None])
    assert steering_loss(away.movedim(-1, -2).flatten(3, 4).expand(50, -1, -1, -1, -1), source) == pytest.approx(
        0, abs=0.1
    )


def test_separation_loss_finds_the_order():
    torch.manual_seed(0)
    talkers = torch.randn(2, 3, 2, 500)
    orders = torch.tensor([[2, 0, 1], [0, 2, 1]])
    voices = torch.stack([t[o.argsort()] for t, o in zip(talkers, orders, strict=True)])
    loss, order = separation_loss(voices + 0.1 * torch.randn(voices.shape), talkers)
    assert order.tolist() == orders.tolist()
    assert float(loss) == pytest.approx(-20, abs=0.5)


def test_an_output_without_a_source_costs_what_it_leaks():
    torch.manual_seed(0)
    talkers = torch.randn(1, 3, 2, 500)
    talkers[:, 1:] = 0
    voices = 0.1 * torch.randn(1, 3, 2, 500)
    voices[:, 1] = talkers[:, 0]
    voices.requires_grad_()
    loss, order = separation_loss(voices, talkers)
    assert order[0, 0] == 1
    # One voice without fault, -30 dB, and two that leak at -20.
    assert loss.item() == pytest.approx(-(30 + 20 + 20) / 3, abs=0.3)
    loss.backward()
    assert torch.isfinite(voices.grad).all()
    assert voices.grad[0, 0].abs().max() > 0


def test_a_silent_source_has_no_direction():
    torch.manual_seed(0)
    steering = torch.randn(50, 1, 2, 4, 9, requires_grad=True)
    sources = torch.randn(50, 1, 2, 2, 2, 9)
    sources[:, :, 1] = 0
    loss = steering_loss(steering, sources)
    torch.testing.assert_close(loss, steering_loss(steering[:, :, :1], sources[:, :, :1]))
    loss.backward()
    assert torch.isfinite(steering.grad).all()


def test_distortion_is_the_mean_of_snr_and_si_sdr():
    torch.manual_seed(0)
    targets = torch.randn(2, 3, 2, 4000)
    targets -= targets.mean(-1, keepdim=True)
    estimates = 0.7 * targets.flip(1) + 0.3 * torch.randn(2, 3, 2, 4000)
    every = distortion_db(estimates, targets)
    assert every.shape == (2, 3, 3)
    for e, t in ((0, 2), (1, 1), (2, 0)):
        snr = -negative_snr_db(estimates[:, e], targets[:, t], targets[:, t])
        si_sdr = si_sdr_db(estimates[:, e], targets[:, t]).mean(1)
        torch.testing.assert_close(every[:, e, t], -(snr + si_sdr) / 2, atol=0.15, rtol=0)
    # A hopeless estimate has a floor, and a gradient.
    silent = torch.full((1, 1, 2, 4000), 1e-7, requires_grad=True)
    distortion_db(silent, targets[:1, :1]).backward()
    assert torch.isfinite(silent.grad).all()


def test_loss_is_the_negative_snr():
    target = torch.randn(1, 2, 1000)
    noisy = target + 0.1 * torch.randn(1, 2, 1000)
    expected = -10 * torch.log10(target.square().sum() / (noisy - target).square().sum())
    assert negative_snr_db(noisy, target, target)[0] == pytest.approx(float(expected), abs=0.5)
    # Silence wanted: the loss is the level of the output against the mixture.
    mixture = torch.randn(1, 2, 1000)
    leak = negative_snr_db(0.1 * mixture, torch.zeros_like(mixture), mixture)
    assert leak[0] == pytest.approx(-20, abs=0.5)


def test_si_sdr_equals_torchmetrics():
    metrics = pytest.importorskip("torchmetrics.functional.audio")
    target, estimate = torch.randn(3, 2, 800), torch.randn(3, 2, 800)
    expected = metrics.scale_invariant_signal_distortion_ratio(estimate, target, zero_mean=True)
    torch.testing.assert_close(si_sdr_db(estimate, target), expected, atol=1e-3, rtol=0)


def test_orthogonalise_brings_singular_values_near_one():
    for shape in ((3, 20, 8), (8, 20), (44, 16)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape)))
        assert 0.3 < values.min() and values.max() < 1.4


def test_schedule():
    assert schedule(0, 10, 100, 0.25) == pytest.approx(0.1)
    assert schedule(50, 10, 100, 0.25) == 1.0
    assert schedule(100, 10, 100, 0.25) == 0.0


@pytest.mark.skipif(not importlib.util.find_spec("resemblyzer"), reason="pip install --no-deps resemblyzer")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("recognition",), "expected --start"),
        (("extractor", "--preset", "huge"), "expected one of base, base-long, tiny, tiny-long, paper"),
        (("enroller", "--voice", "weights.safetensors"), "extraction network only"),
        (("extractor", "--separation", "weights.safetensors"), "enrollment network only"),
        (("voice", "--set", "stepz=5"), "stepz: expected one of"),
        (("voice", "--set", "steps=few"), "steps: expected a whole number, found 'few'"),
        (("extractor", "--set", "half=True"), "half: expected true or false, found 'True'"),
        (("separations", "weights.safetensors", "--preset", "huge"), "expected one of recognition, tiny-recognition"),
    ],
)
def test_a_command_says_what_it_expected(arguments, message):
    from typer.testing import CliRunner

    from training.__main__ import app

    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.skipif(not importlib.util.find_spec("resemblyzer"), reason="pip install --no-deps resemblyzer")
def test_the_mean_of_weights(tmp_path):
    from safetensors.torch import load_file, save_file
    from typer.testing import CliRunner

    from training.__main__ import app

    networks = [Extractor(NETWORK), Extractor(NETWORK), Extractor(dataclasses.replace(NETWORK, channels=8))]
    files = [str(tmp_path / f"{number}.safetensors") for number in range(3)]
    for network, file in zip(networks, files, strict=True):
        save_file(network.state_dict(), file)
    out = tmp_path / "mean.safetensors"
    assert CliRunner().invoke(app, ["average", str(out), *files[:2], "--nobody", "-0.75"]).exit_code == 0
    a, b, mean = load_file(files[0]), load_file(files[1]), load_file(out)
    torch.testing.assert_close(mean.pop("nobody"), a["nobody"] - 0.75)
    assert mean.keys() == a.keys() - {"nobody"}
    for name, value in mean.items():
        torch.testing.assert_close(value, (a[name] + b[name]) / 2)
    assert CliRunner().invoke(app, ["average", str(out), *files]).exit_code == 1


def test_the_student_is_no_part_of_its_teacher():
    from training.enroller import Enroller
    from training.teacher import load_ge2e

    with torch.no_grad():
        Enroller().encoder.lstm.weight_ih_l0.add_(1.0)
    student = Enroller()
    torch.testing.assert_close(student.encoder.lstm.weight_ih_l0, load_ge2e().lstm.weight_ih_l0)


@pytest.mark.skipif(not importlib.util.find_spec("resemblyzer"), reason="pip install --no-deps resemblyzer")
def test_the_front_end_of_enrollment_goes_on_from_separation_and_is_trained_alone(kit, tmp_path, monkeypatch):
    monkeypatch.setattr(corpus, "SPEEDS", {"train": (1.0,), "val": (1.0,)})
    short = dataclasses.replace(RECIPE, enrollment_samples=2 * RATE)
    preset = dataclasses.replace(
        ENROLLERS["front"], recipe=short, speeds=(1.0,), batch=2, steps=3, warmup=1, validation_scenes=2
    )
    start, separation = tmp_path / "start.safetensors", tmp_path / "separation.safetensors"
    extractor = Extractor(ExtractorConfig())
    save_weights(extractor, separation)
    before = build(preset, kit / "cache").network
    save_weights(before, start)
    load_separation(before.separator, separation)
    torch.testing.assert_close(before.separator.voices[0].weight, extractor.voices[0].weight)
    run(preset, "front", kit, kit / "cache", tmp_path, 1, start=start, separation=separation, validate_every=3)
    after = load_file(tmp_path / "front" / "weights.safetensors")
    changed = {name for name, value in before.state_dict().items() if not torch.allclose(value, after[name], atol=1e-6)}
    assert changed and all(name.startswith(FRONT) for name in changed)


@pytest.mark.skipif(not importlib.util.find_spec("resemblyzer"), reason="pip install --no-deps resemblyzer")
@torch.no_grad()
def test_what_is_found_in_a_clip_is_measured_by_the_frontal_talker():
    from training.enroller import FRONTAL, Enroller

    torch.manual_seed(0)
    task = EnrollerTask(Enroller(dataclasses.replace(FRONTAL, channels=8, blocks=1)), ENROLLERS["front"])
    # In turns, a talker straight ahead and one at the left ear alone.
    turns = torch.arange(2 * RATE) // 4000 % 2
    voices = 0.1 * torch.randn(2, 1, 2 * RATE) * torch.stack([turns, 1 - turns])[:, None]
    image, aside = voices[0].expand(2, -1)[None], voices[1][None] * torch.tensor([1.0, 0.0])[:, None]
    assert task.distance(image, image) < 1e-3
    assert task.distance(10 * image, image) < 1e-3  # the encoder hears a level of its own
    assert task.distance(image + aside, image) > 0.2
