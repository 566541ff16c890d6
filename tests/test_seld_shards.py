"""Shards: what webdataset reads from them is what was there."""

import io
import tarfile

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

from hearable.cli import app
from hearable.errors import LabelError
from hearable.seld.shards import write_shards


@pytest.fixture
def clips(tmp_path):
    """Audio and labels of 5 clips in two folds."""
    rng = np.random.default_rng(0)
    for n in range(5):
        for kind in ("foa", "labels"):
            (tmp_path / kind / f"fold{n % 2}").mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / "foa" / f"fold{n % 2}" / f"clip{n}.wav", rng.uniform(-1, 1, (2400, 4)), 24000)
        (tmp_path / "labels" / f"fold{n % 2}" / f"clip{n}.csv").write_text(f"0,{n},0,10,0\n")
    return tmp_path


def test_shards_hold_every_clip_once_and_the_same_bytes_each_time(clips):
    again = []
    for name in ("one", "two"):
        (clips / name).mkdir()
        shards = write_shards(clips / "foa", clips / "labels", clips / name, clips_per_shard=2)
        assert [shard.name for shard in shards] == [f"shard-00000{n}.tar" for n in range(3)]
        again.append([shard.read_bytes() for shard in shards])
    assert again[0] == again[1]
    names = [name for shard in shards for name in tarfile.open(shard).getnames()]
    assert sorted(names) == sorted(f"clip{n}.{suffix}" for n in range(5) for suffix in ("wav", "csv"))
    assert names != sorted(names)


def test_webdataset_reads_them(clips):
    webdataset = pytest.importorskip("webdataset")
    done = CliRunner().invoke(
        app, ["seld", "shards", str(clips / "foa"), str(clips / "labels"), str(clips / "out"), "--clips", "3"]
    )
    assert done.exit_code == 0 and "shard-000001.tar" in done.output
    urls = sorted(str(path) for path in (clips / "out").iterdir())
    read = {sample["__key__"]: sample for sample in webdataset.WebDataset(urls, shardshuffle=False)}
    assert set(read) == {f"clip{n}" for n in range(5)}
    assert read["clip3"]["csv"] == b"0,3,0,10,0\n"
    audio, rate = soundfile.read(io.BytesIO(read["clip3"]["wav"]))
    assert (audio.shape, rate) == ((2400, 4), 24000)


def test_a_clip_without_labels_is_named(clips):
    (clips / "labels" / "fold1" / "clip3.csv").unlink()
    with pytest.raises(LabelError, match="missing that of 'clip3'"):
        write_shards(clips / "foa", clips / "labels", clips)
