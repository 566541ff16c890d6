"""The SELD baseline: losses, examples from files, shards and scenes, a run that learns and goes on where it stopped."""

import itertools
import json
import shutil

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")
pytestmark = pytest.mark.skipif(not (shutil.which("g++") and shutil.which("ninja")), reason="needs g++ and ninja")

from hearable.errors import AudioError, LabelError  # noqa: E402
from hearable.seld.accdoa import multi_accdoa  # noqa: E402
from hearable.seld.events import Events  # noqa: E402
from hearable.seld.features import RATE  # noqa: E402
from hearable.seld.shards import write_shards  # noqa: E402
from hearable.synthesis.directions import unit_vectors  # noqa: E402
from training.presets import SeldPreset  # noqa: E402
from training.seld import train, train_on_files  # noqa: E402
from training.seld_data import Shape, Shuffled, Store, StoredClips, StoredExamples, shard_examples  # noqa: E402
from training.seld_losses import WAYS, adpit_loss  # noqa: E402
from training.seld_network import SeldNet  # noqa: E402
from training.seld_task import decode  # noqa: E402

SHAPE = Shape(classes=2, frames=10)
PRESET = SeldPreset(shape=SHAPE, batch=4, steps=60, warmup=5, learning_rate=3e-3, ema=0.9)
SECONDS = 3


def write_clip(folder, name, seed):
    """A tone of each class (400 Hz, 3 kHz) from a place of its own, one after the other, in FOA, with labels."""
    rng = np.random.default_rng(seed)
    audio = 1e-3 * rng.normal(size=(4, SECONDS * RATE))
    rows = []
    for event, frames in enumerate(np.array_split(np.arange(10 * SECONDS), 3)):
        kind, azimuth, elevation = event % 2, int(rng.integers(-180, 180)), int(rng.integers(-40, 40))
        x, y, z = unit_vectors(azimuth, elevation)
        samples = np.arange(frames[0] * RATE // 10, (frames[-1] + 1) * RATE // 10)
        tone = 0.2 * np.sin(2 * np.pi * (400, 3000)[kind] * samples / RATE)
        audio[:, samples] += tone * np.array([1, y, z, x])[:, None]
        rows += [f"{frame},{kind},{event},{azimuth},{elevation}\n" for frame in frames]
    for part in ("foa", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / "foa" / f"{name}.wav", audio.T, RATE)
    (folder / "labels" / f"{name}.csv").write_text("".join(rows))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for seed, fold in enumerate((1, 1, 2, 5, 6)):
        write_clip(folder, f"fold{fold}_room1_mix{seed:03}", seed)
    return folder


@pytest.fixture
def store(clips, tmp_path):
    made = Store(tmp_path / "store")
    made.add_files(clips / "foa", clips / "labels", "foa")
    return made


def test_the_network_has_the_size_of_the_baseline():
    size = {kind: sum(p.numel() for p in SeldNet(kind).parameters()) for kind in ("foa", "mic")}
    # The published 494,628 and 496,356 have one GRU bias less (1536) and the batch norms' statistics more (384).
    assert size == {"foa": 494628 + 1536 - 384, "mic": 496356 + 1536 - 384}
    assert SeldNet("mic", 12, 3)(torch.zeros(2, 10, 50, 64)).shape == (2, 10, 9, 12)


def test_adpit_takes_any_order_of_the_tracks_and_nothing_less():
    rows = [
        (0, 0, 0, 10, 0),
        (1, 0, 0, 10, 0),
        (1, 0, 1, 90, 0),
        (2, 0, 0, 10, 0),
        (2, 0, 1, 90, 0),
        (2, 0, 2, -90, 30),
    ]
    target = torch.from_numpy(multi_accdoa(Events.from_rows(rows), 4, 1))[None]
    directions = torch.from_numpy(Events.from_rows(rows).directions).float()
    assert len(WAYS) == 13
    for order in itertools.permutations(range(3)):
        tracks = torch.stack([directions[[0, 0, 0]], directions[[1, 2, 2]], directions[[3, 4, 5]], torch.zeros(3, 3)])
        output = tracks[:, list(order)].reshape(1, 4, 9, 1)
        assert adpit_loss(output, target) == pytest.approx(0, abs=1e-12)
        only_one = tracks.clone()
        only_one[1] = directions[1]
        assert adpit_loss(only_one.reshape(1, 4, 9, 1), target) > 0.04
    assert adpit_loss(torch.full((1, 4, 9, 1), 0.5), torch.zeros(1, 4, 6, 4, 1)) == pytest.approx(0.25)


def test_examples_are_the_clips_cut_up(store):
    names = store.names(1, 2)
    assert names == [f"fold{fold}_room1_mix00{n}" for n, fold in enumerate((1, 1, 2))]
    examples, whole = StoredExamples(store, names, SHAPE), StoredClips(store, names, SHAPE)
    assert len(examples) == 3 * SECONDS
    for n, (features, target) in enumerate(examples[i] for i in range(len(examples))):
        parts, targets, _ = whole[n // SECONDS]
        np.testing.assert_array_equal(features, parts[n % SECONDS])
        np.testing.assert_array_equal(target, targets[n % SECONDS])
    assert whole[0][1].any()
    mean, deviation = examples.statistics()
    stacked = np.stack([examples[i][0] for i in range(len(examples))])
    np.testing.assert_allclose(mean, stacked.mean((0, 2))[:, None], atol=1e-2)
    np.testing.assert_allclose(deviation, stacked.std((0, 2))[:, None], rtol=1e-2, atol=1e-4)


def test_what_a_perfect_network_says_is_what_sounds(store):
    parts, target, events = StoredClips(store, store.names(1), SHAPE)[0]
    said = decode(torch.from_numpy(target))
    np.testing.assert_array_equal(said.frame, events.frame)
    np.testing.assert_array_equal(said.class_index, events.class_index)
    np.testing.assert_allclose(said.directions, events.directions, atol=1e-6)


def test_sounds_that_are_not_four_channels_at_24_khz_are_refused(tmp_path):
    write_clip(tmp_path, "fold1_a", 0)
    soundfile.write(tmp_path / "foa" / "fold1_a.wav", np.zeros((16000, 4)), 16000)
    with pytest.raises(AudioError, match="expected 4 channels at 24000 Hz, found 4 at 16000"):
        Store(tmp_path / "store").add_files(tmp_path / "foa", tmp_path / "labels", "foa")


def test_a_run_is_taken_up_at_the_example_where_it_stopped(store):
    examples = StoredExamples(store, store.names(1), SHAPE)
    first = [target for _, target in itertools.islice(iter(Shuffled(examples, 3, 0)), 14)]
    later = [target for _, target in itertools.islice(iter(Shuffled(examples, 3, 9)), 5)]
    np.testing.assert_array_equal(first[9:], later)
    assert not np.array_equal(first[:6], first[6:12])


def key(target):
    """The store keeps six digits."""
    return (np.round(target, 3) + 0.0).tobytes()


def test_shards_give_the_same_examples(clips, store, tmp_path):
    pytest.importorskip("webdataset")
    shards = write_shards(clips / "foa", clips / "labels", tmp_path, clips_per_shard=2)
    found = list(shard_examples(shards, SHAPE))
    assert len(found) == 5 * SECONDS
    stored = StoredExamples(store, store.names(1, 2, 5, 6), SHAPE)
    wanted = {key(target): features for features, target in (stored[i] for i in range(len(stored)))}
    for features, target in found:
        np.testing.assert_allclose(features, wanted[key(target)], atol=0.04)


def test_a_run_learns_and_goes_on_where_it_stopped(clips, store, tmp_path):
    """Scored on the clips it has seen: whether it generalises is for the experiment to say."""
    names = {split: store.names(1, 2) for split in ("train", "val", "test")}
    untrained = train(SeldPreset(shape=SHAPE, batch=4, steps=1), tmp_path / "untrained", store, names, seed=0)
    found = train(PRESET, tmp_path / "run", store, names, seed=0)
    scores = found["official2021"]["scores"]
    assert scores["f"] > 0.5 > untrained["official2021"]["scores"]["f"]
    assert scores["le"] < 25
    (tmp_path / "run" / "result.json").unlink()
    again = train(PRESET, tmp_path / "run", store, names, seed=0)  # nothing is left to do: the same weights
    assert again == found


def test_files_are_split_by_their_folds(clips, tmp_path):
    preset = SeldPreset(shape=Shape(classes=2, frames=10, tracks=3), batch=2, steps=2)
    found = train_on_files(preset, tmp_path / "run", clips / "foa", clips / "labels", seed=1)
    assert found["clips"] == {"train": 3, "val": 1, "test": 1}
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == json.loads(json.dumps(found))


def test_any_fold_may_be_left_to_score_and_every_class_is_learned(clips, tmp_path):
    """As STARSS23 has it: fold 3 to train, fold 4 to test, and a distance in each label."""
    folder = tmp_path / "starss"
    for part in ("foa", "labels"):
        (folder / part / "dev").mkdir(parents=True)
        for path in (clips / part).iterdir():
            to = folder / part / "dev" / path.name.replace("fold1", "fold3").replace("fold2", "fold4")
            rows = [line + ",150" for line in path.read_text().splitlines()] if part == "labels" else []
            to.write_text("\n".join(rows)) if rows else to.write_bytes(path.read_bytes())
    preset = SeldPreset(shape=SHAPE, batch=2, steps=2)
    found = train_on_files(preset, tmp_path / "run", folder / "foa", folder / "labels", 0, val=4, test=4)
    assert found["clips"] == {"train": 4, "val": 1, "test": 1}
    one = SeldPreset(shape=Shape(classes=1, frames=10), batch=2, steps=2)
    with pytest.raises(LabelError, match="expected 1 classes, found 2"):
        train_on_files(one, tmp_path / "one", folder / "foa", folder / "labels", 0)
