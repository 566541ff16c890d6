"""How far ``hearable synth verify`` can be trusted: small datasets of all kinds, as they are and with faults in them.

Run it with ``python -m benchmarks.seld_verify``. Datasets differ in room (simulated, the free field, measured), rate,
layers, motion, interferers and ambience; whatever is drawn, it is drawn from the dataset's number. A dataset as it was
made must pass. Faults are put into every few datasets, and hashed anew, so that only what they hold can tell.
"""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sofar
import soundfile
import typer

from hearable.synthesis.built_in_sounds import BUILT_IN
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.generate import generate
from hearable.synthesis.render_seld import render_seld
from hearable.synthesis.seld_files import MANIFEST, fingerprint, write_manifest
from hearable.synthesis.seld_recipe import read_recipe
from hearable.synthesis.seld_scene import CHANNELS, Ambience, Event, Format, SeldScene, ShoeboxRoom, Waypoint
from hearable.synthesis.verify import Report, verify_dataset

FORMATS: tuple[Format, ...] = ("foa", "mic", "binaural")
CLASSES = [name for name in BUILT_IN if name not in ("engine", "fire", "general")]
INTERFERERS = ["engine", "fire", "general"]
ROOMS = ("simulated", "simulated", "free field", "measured")
MEASURED_RATE, RECORDED_S = 24000, 20.0

Audio = np.ndarray[Any, np.dtype[np.int16]]


def recipe_of(number: int, measured: Path) -> tuple[str, str]:
    """The recipe of a dataset in TOML, and what it is in one line."""
    rng = np.random.default_rng(number)
    room = ROOMS[number % len(ROOMS)]
    layers = int(rng.integers(1, 4))
    rate = MEASURED_RATE if room == "measured" else int(rng.choice([16000, 24000, 48000], p=[0.2, 0.6, 0.2]))
    clip_s = float(rng.choice([6.0, 10.0, 15.0]))
    rt60_s = float(rng.uniform(0.15, 1.0))
    others = int(rng.integers(2))
    share = float(rng.choice([0.0, 0.5, 1.0]))
    kinds = ["none", "diffuse"] + (["array"] if room == "measured" else [])
    ambience = str(rng.choice(kinds, p=[0.2, *[0.8 / (len(kinds) - 1)] * (len(kinds) - 1)]))
    snr_db = float(rng.uniform(6, 25))
    classes = sorted(rng.choice(CLASSES, int(rng.integers(3, len(CLASSES) + 1)), replace=False).tolist())
    rooms = 0 if room == "measured" else 1
    lines = [
        f'name = "n{number}"',
        f"seed = {number}",
        f"rate = {rate}",
        f"clip_s = {clip_s}",
        f"formats = {json.dumps(FORMATS)}",
        f"stems = {str(bool(rng.integers(2))).lower()}",
        f"classes = {json.dumps(classes)}",
        f"interferers = {json.dumps(INTERFERERS)}",
        "sounds = [{ per_class = 6 }]",
        f"fold = [{{ number = 1, clips = 2, rooms = {rooms} }}, {{ number = 2, clips = 2, rooms = {rooms} }}]",
        f"events = {{ layers = {layers}, interferer_layers = {others}, sounding_s = {0.6 * clip_s}, gap_s = 0.3 }}",
        f"motion = {{ longer_than_s = 1.0, share = {{ {', '.join(f'{name} = {share}' for name in classes)} }} }}",
    ]
    if room == "measured":
        files, own = (
            "{ " + ", ".join(f'{f} = "{measured / f}{end}"' for f in FORMATS) + " }" for end in (".sofa", ".wav")
        )
        both = f"responses = {files}, ambience = {own}"
        lines.append(f"room = [{{ fold = 1, {both} }}, {{ fold = 2, {both} }}]")
    else:
        dry = ", reverberant = false" if room == "free field" else ""
        lines.append(f"rooms = {{ rt60_s = [{rt60_s}, {rt60_s + 0.1}]{dry} }}")
    if ambience != "none":
        lines.append(f'ambience = {{ kind = "{ambience}", snr_db = [{snr_db}, {snr_db + 10}] }}')
    about = f"{room}, {rate} Hz, {clip_s:g} s, {layers}+{others} layers, {share:.0%} moving, ambience {ambience}"
    return "\n".join(lines), f"{about}, RT60 {rt60_s:.2f} s" if room == "simulated" else about


class Click:
    def read(self, sound: str, start: int, samples: int) -> np.ndarray:
        return np.ones(samples, np.float32)


def measure_room(folder: Path) -> None:
    """Write a room's responses and what its arrays recorded: three circles of places in a shoebox."""
    room = ShoeboxRoom((7.0, 5.5, 3.0), 0.4, (3.3, 2.6, 1.4))
    azimuth, elevation = (v.ravel() for v in np.meshgrid(np.arange(-180.0, 180.0, 10.0), (-20.0, 0.0, 20.0)))
    heard: dict[Format, list[np.ndarray]] = {name: [] for name in FORMATS}
    for a, e in zip(azimuth.tolist(), elevation.tolist(), strict=True):
        click = Event("click", "click", "target", 0, 1, 0, 0.0, (Waypoint(0.0, a, e, 1.5),))
        scene = SeldScene(MEASURED_RATE, round(0.5 * MEASURED_RATE), 0, room, (click,), None, FORMATS)
        for name, stems in render_seld(scene, Click()).stems.items():
            heard[name].append(stems.mix())
    quiet = SeldScene(
        MEASURED_RATE, round(RECORDED_S * MEASURED_RATE), 0, room, (), Ambience("diffuse", 0.0, 1), FORMATS
    )
    recorded = render_seld(quiet, Click()).stems
    for name in FORMATS:
        sofa = sofar.Sofa("GeneralFIR")
        sofa.Data_IR = np.array(heard[name], np.float64)
        sofa.Data_SamplingRate, sofa.Data_Delay = MEASURED_RATE, np.zeros((1, CHANNELS[name]))
        sofa.ReceiverPosition = np.zeros((CHANNELS[name], 3))
        sofa.SourcePosition_Type, sofa.SourcePosition_Units = "cartesian", "metre"
        sofa.SourcePosition, sofa.ListenerPosition = 1.5 * unit_vectors(azimuth, elevation), [[0.0, 0.0, 0.0]]
        sofar.write_sofa(str(folder / f"{name}.sofa"), sofa)
        ambience = recorded[name].ambience
        soundfile.write(folder / f"{name}.wav", (0.2 * ambience / np.abs(ambience).max()).T, MEASURED_RATE, "FLOAT")


# --- faults


def change_audio(out: Path, kind: Format, change: Callable[[Audio], Audio]) -> None:
    for path in (out / f"{kind}_dev").glob("*.wav"):
        audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
        soundfile.write(path, change(audio), rate, "PCM_16")


def change_labels(out: Path, change: Callable[[list[str]], list[str]]) -> None:
    for path in (out / "metadata_dev").glob("*.csv"):
        with path.open(newline="") as file:
            rows = [change(row) for row in csv.reader(file)]
        path.write_text("".join(",".join(row) + "\n" for row in rows))


def rotated(kind: Format) -> Callable[[Audio], Audio]:
    order = {"foa": [0, 3, 2, 1], "mic": [1, 2, 3, 0], "binaural": [1, 0]}[kind]
    return lambda audio: audio[:, order]


def clicked(audio: Audio) -> Audio:
    changed = audio.astype(np.int32)
    changed[len(audio) // 2] += 8000
    return np.asarray(np.clip(changed, -32768, 32767), np.int16)


def clipped(audio: Audio) -> Audio:
    most = int(np.abs(audio.astype(np.int32)).max() * 0.5)
    return np.asarray(np.clip(audio, -most, most), np.int16)


def turned_scenes(out: Path) -> None:
    """Scenes and labels mirrored alike: only the sound tells."""
    for path in (out / "scenes").glob("*.json"):
        made = json.loads(path.read_text())
        for waypoint in (w for event in made["scene"]["events"] for w in event["path"]):
            waypoint["azimuth_deg"] *= -1
        path.write_text(json.dumps(made))
    change_labels(out, lambda row: [*row[:3], str(-int(row[3])) if row[3] != "-180" else "-180", row[4]])


def shortened_rooms(out: Path) -> None:
    for path in (out / "rooms").glob("*.wav"):
        audio, rate = soundfile.read(path)
        soundfile.write(path, audio * np.exp(-np.arange(len(audio)) / rate * 6)[:, None], rate, "PCM_16")


def late(out: Path) -> None:
    for kind in FORMATS:
        for path in (out / f"{kind}_dev").glob("*.wav"):
            audio, rate = soundfile.read(path, dtype="int16", always_2d=True)
            soundfile.write(path, np.roll(audio, rate // 5, axis=0), rate, "PCM_16")


Fault = tuple[str, Callable[[Path], None], list[tuple[str, str]]]
"""What is wrong, what makes it so, and by which check and in which words each format of it must be found."""


def faults() -> list[Fault]:
    found: list[Fault] = []
    for first in range(3):  # in each format another one, and each in each
        kinds = dict(zip(("rotated", "clicks", "clipped"), np.roll(FORMATS, first).tolist(), strict=True))

        def change(out: Path, kinds: dict[str, Format] = kinds) -> None:
            change_audio(out, kinds["rotated"], rotated(kinds["rotated"]))
            change_audio(out, kinds["clicks"], clicked)
            change_audio(out, kinds["clipped"], clipped)

        ear = "ITD" if kinds["rotated"] == "binaural" else "DOA"
        wanted = [(f"{kinds['rotated']} {ear}", ""), ("clicks", kinds["clicks"]), ("clipping", kinds["clipped"])]
        found.append(
            (f"{kinds['rotated']} rotated, {kinds['clicks']} clicks, {kinds['clipped']} clipped", change, wanted)
        )
    directions = [("foa DOA", ""), ("mic DOA", ""), ("binaural ITD", "")]
    found.append(("mirrored labels and scenes", turned_scenes, directions))
    wrong = lambda row: [row[0], str((int(row[1]) + 1) % 3), *row[2:]]  # noqa: E731
    found.append(("wrong class", lambda out: change_labels(out, wrong), [("label grid", "")]))
    off = lambda row: [*row[:3], str(int(row[3]) + 0.5), row[4]]  # noqa: E731
    found.append(("label off the grid", lambda out: change_labels(out, off), [("label grid", "")]))
    found.append(("wrong RT60", shortened_rooms, [("RT60", "")]))
    found.append(("sound 0.2 s late", late, [("label shift", "")]))
    return found


def seal(out: Path) -> None:
    files = [p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file() and p.name != MANIFEST]
    write_manifest(out, {name: fingerprint(out / name) for name in files})


def found_by(report: Report, check: str, words: str) -> bool:
    failed = {c.name for c in report.checks if not c.passed}
    return check in failed and any(words in fault for fault in report.faults)


def main(datasets: int = 24, first: int = 0, faults_every: int = 5, workers: int = 1) -> None:
    """Print each dataset, false alarms and faults that were not found."""
    alarms, put, missed, judged = 0, 0, 0, Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        numbers = range(first, first + datasets)
        if any(ROOMS[number % len(ROOMS)] == "measured" for number in numbers):
            measure_room(folder)
        for number in numbers:
            text, about = recipe_of(number, folder)
            (folder / "recipe.toml").write_text(text)
            out = folder / f"n{number}"
            generate(read_recipe(folder / "recipe.toml"), out, workers=workers)
            report = verify_dataset(out, workers)
            alarms += not report.passed
            can = {check.name for check in report.checks if check.bound}
            judged.update(can)
            print(f"{number}: {about}: {'passed' if report.passed else report.faults}", flush=True)
            for what, change, wanted in faults() if number % faults_every == 0 else ():
                bad = shutil.copytree(out, folder / "bad")
                shutil.rmtree(bad / "stems", ignore_errors=True)
                change(bad)
                seal(bad)
                report = verify_dataset(bad, workers)
                for check, words in (pair for pair in wanted if pair[0] in can):
                    put += 1
                    if not found_by(report, check, words):
                        missed += 1
                        print(f"{number}: not found: {what}: {check} {words}", flush=True)
                shutil.rmtree(bad)
            shutil.rmtree(out)
    print(f"{datasets} datasets, {alarms} false alarms; {put} faults, {missed} not found")
    print("judged: " + ", ".join(f"{check} {count}" for check, count in judged.items()))


if __name__ == "__main__":
    typer.run(main)
