"""The demo: its clips are what they claim, and the script does what the README says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("matplotlib", reason="pip install 'hearable[synthesis]'")
pytest.importorskip("scipy", reason="pip install 'hearable[synthesis]'")

import hearable
from hearable import checkpoints
from hearable.metrics import si_sdr
from hearable.quality import estimate
from tests import toymodel

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CLIPS = ("enrollment", "mixture", "target")
SHIPPED = {"base", "enroll"} <= set(checkpoints.list_models())


def run(script: str, *arguments: str) -> None:
    """Run an example as ``python examples/<script>`` would."""
    before = sys.argv
    sys.argv = [str(EXAMPLES / script), *arguments]
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    finally:
        sys.argv = before


def clip(name: str) -> np.ndarray:
    audio, rate = hearable.read_audio(EXAMPLES / "demo" / f"{name}.flac")
    assert rate == 16000
    return audio


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Toy models under the names that the demo asks for."""
    folder = tmp_path / "models"
    folder.mkdir()
    toymodel.save_pair(folder, "base")
    toymodel.save_enroller(folder)
    toymodel.publish(folder)
    monkeypatch.setattr(checkpoints, "models_folder", lambda: folder)
    return folder


class TestScript:
    def test_writes_three_sounds_and_a_picture(self, models, tmp_path, capsys):
        out = tmp_path / "new" / "demo"
        run("demo.py", str(out))
        assert sorted(f.name for f in out.iterdir()) == ["enrollment.wav", "extracted.wav", "levels.png", "mixture.wav"]
        for name in ("enrollment", "mixture"):
            np.testing.assert_allclose(hearable.read_audio(out / f"{name}.wav")[0], clip(name), atol=1e-6)
        assert soundfile.info(out / "extracted.wav").frames == clip("mixture").shape[1]
        assert (out / "levels.png").read_bytes().startswith(b"\x89PNG")
        shown = capsys.readouterr().out
        for part in ("enrolled from 5.0 s", "dB in the mixture", "dB in the result", "ms a chunk of 8 ms", "wrote "):
            assert part in shown

    def test_the_printed_scores_are_those_of_what_it_wrote(self, models, tmp_path, capsys, monkeypatch):
        # The toy model scales: its score would be the mixture's.
        monkeypatch.setattr(hearable, "extract", lambda model, profile, mixture, rate: mixture / 4 + clip("target") / 2)
        run("demo.py", str(tmp_path / "demo"))
        extracted, _ = hearable.read_audio(tmp_path / "demo" / "extracted.wav")
        before, after = (si_sdr(audio, clip("target")).mean() for audio in (clip("mixture"), extracted))
        assert after > before + 3
        assert f"{before:.1f} dB in the mixture, {after:.1f} dB in the result" in capsys.readouterr().out

    def test_without_models_it_says_so_and_writes_nothing(self, models, tmp_path):
        for file in models.iterdir():
            file.unlink()
        with pytest.raises(SystemExit) as stopped:
            run("demo.py", str(tmp_path / "demo"))
        # a text as exit code: Python prints it on standard error and exits with 1
        assert str(stopped.value.code).startswith("error: no model 'base'") and "\n" not in str(stopped.value.code)
        assert not (tmp_path / "demo").exists()

    @pytest.mark.skipif(not SHIPPED, reason="no trained models in models/")
    def test_the_shipped_models_make_the_target_clearer(self, tmp_path):
        run("demo.py", str(tmp_path))
        extracted, _ = hearable.read_audio(tmp_path / "extracted.wav")
        mixture, target = clip("mixture"), clip("target")
        assert si_sdr(extracted, target).mean() > si_sdr(mixture, target).mean() + 1


class TestClips:
    def test_voices_and_clips_are_small(self):
        assert sum(f.stat().st_size for f in EXAMPLES.rglob("*") if f.suffix in (".flac", ".opus")) < 3e6

    def test_the_mixture_is_hard_enough_and_holds_the_target(self):
        mixture, target = clip("mixture"), clip("target")
        assert mixture.shape == target.shape
        assert -6 < si_sdr(mixture, target).mean() < 1
        # What is left without the target holds nothing of it.
        assert np.max(si_sdr(mixture - target, target)) < -20

    def test_the_enrolled_talker_is_in_front_and_not_alone(self):
        found = estimate(clip("enrollment"), 16000)
        assert abs(found.off_axis_deg) < 5 and found.speech_seconds > 2 and found.snr_db < 15

    def test_they_are_what_the_script_renders(self, tmp_path, monkeypatch):
        script = runpy.run_path(str(EXAMPLES / "make_demo.py"))
        (tmp_path / "voices").symlink_to(EXAMPLES / "voices")
        monkeypatch.setitem(script["main"].__globals__, "HERE", tmp_path)
        script["main"]()
        for name in CLIPS:
            rendered, _ = hearable.read_audio(tmp_path / "demo" / f"{name}.flac")
            # Not to the bit: decoders and resamplers differ a little from version to version.
            assert np.min(si_sdr(rendered, clip(name))) > 40
