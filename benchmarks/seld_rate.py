"""SELD scenes beside pyroomacoustics rendering the same, in one run, in seconds of one core's time.

Run it with ``OMP_NUM_THREADS=1 python -m benchmarks.seld_rate``. Both render FOA and the four microphones of a 60-s
scene in one room; pyroomacoustics' microphones are on no sphere. A response of a place costs pyroomacoustics the same
wherever the place is, so moving events are timed at some of the places and counted for all. At last a worker of
``hearable synth`` makes clips of the 2021 dataset, in three formats and on the disk.
"""

from __future__ import annotations

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pyroomacoustics as pra
import typer
from pyroomacoustics.directivities import CardioidFamily, DirectionVector
from scipy.signal import fftconvolve, oaconvolve

from hearable.memory import keep_freed_memory
from hearable.synthesis.arrays import MIC_DIRECTIONS_DEG, MIC_RADIUS_M
from hearable.synthesis.directions import unit_vectors
from hearable.synthesis.generate import generate
from hearable.synthesis.render_seld import render_seld
from hearable.synthesis.seld_recipe import read_recipe
from hearable.synthesis.seld_scene import Ambience, Event, SeldScene, ShoeboxRoom, Waypoint
from hearable.synthesis.trajectories import positions

RATE = 24000
ROOM = ShoeboxRoom((6.0, 5.0, 3.0), 0.5, (3.0, 2.0, 1.5))
DATASET = Path("datasets/dcase2021/recipe.toml")
STEP_S = 0.1  # between the places of a moving event, as the DCASE generators have it
# Omnidirectional W and figures of eight along y, z, x: azimuth and colatitude.
FIGURES = ((1.0, 0.0, 0.0), (0.0, 90.0, 90.0), (0.0, 0.0, 0.0), (0.0, 0.0, 90.0))


class Noise:
    def __init__(self) -> None:
        self.noise = np.random.default_rng(0).standard_normal(61 * RATE).astype(np.float32)

    def read(self, sound: str, start: int, samples: int) -> np.ndarray:
        return self.noise[start : start + samples]


def event(start_s: float, seconds: float, *path: Waypoint) -> Event:
    return Event("noise", "piano", "target", round(start_s * RATE), round(seconds * RATE), 0, -30.0, path)


def static_scene() -> SeldScene:
    """Four layers of 40 s."""
    events = tuple(event(5.0 * n, 40.0, Waypoint(0, 80.0 * n - 120, 10.0 * n - 15, 1.3)) for n in range(4))
    return SeldScene(RATE, 60 * RATE, 1, ROOM, events, Ambience("diffuse", 15.0, 2))


def moving_scene() -> SeldScene:
    """Four events of 5 s at 40 degrees a second."""
    paths = (
        (Waypoint(12.0 * n, 80.0 * n - 120, 0, 1.3), Waypoint(12.0 * n + 5, 80.0 * n + 80, 10, 1.3)) for n in range(4)
    )
    return replace(static_scene(), events=tuple(event(12.0 * n, 5.0, *path) for n, path in enumerate(paths)))


def other_responses(place: np.ndarray) -> list[np.ndarray]:
    """Responses of one place: four of FOA, four of the microphones."""
    absorption, order = pra.inverse_sabine(ROOM.rt60_s, ROOM.size_m)
    capsules = unit_vectors(*np.array(MIC_DIRECTIONS_DEG, np.float64).T) * MIC_RADIUS_M
    array = np.array(ROOM.array_m)
    responses = []
    for foa in (True, False):
        room = pra.ShoeBox(ROOM.size_m, fs=RATE, materials=pra.Material(absorption), max_order=order)
        room.add_source(array + place)
        if foa:
            shapes = [CardioidFamily(DirectionVector(a, c, degrees=True), p) for p, a, c in FIGURES]
            room.add_microphone_array(np.tile(array[:, None], 4), directivity=shapes)
        else:
            room.add_microphone_array(array[:, None] + capsules.T)
        room.compute_rir()
        responses += [channel[0] for channel in room.rir]
    return responses


def other_scene(scene: SeldScene, sample: int) -> float:
    """Seconds that pyroomacoustics and scipy need: responses of every place, convolutions."""
    noise, spent = Noise(), 0.0
    for e in scene.events:
        seconds = e.samples / RATE
        times = np.arange(0, seconds, STEP_S) if len(e.path) > 1 else np.zeros(1)
        places = positions(e.path, e.start / RATE + times)
        timed = places[:: max(1, len(places) // sample)]
        begin = time.process_time()
        for place in timed:
            responses = other_responses(place)
        spent += (time.process_time() - begin) * len(places) / len(timed)
        dry = noise.read("", 0, e.samples)
        begin = time.process_time()
        if len(places) == 1:
            for response in responses:
                fftconvolve(dry, response)
        else:  # windowed pieces, each through its response
            for piece in np.array_split(dry, len(places)):
                for response in responses:
                    oaconvolve(np.pad(piece, (0, len(piece))), response)
        spent += time.process_time() - begin
    return spent


def main(
    sample: Annotated[int, typer.Option(help="Places of a moving event that pyroomacoustics is timed at.")] = 2,
    repeat: Annotated[int, typer.Option(help="Runs of ours, of which the fastest counts.")] = 3,
    clips: Annotated[int, typer.Option(min=1, help="Clips of the dataset.")] = 6,
) -> None:
    """Print seconds and ratios."""
    keep_freed_memory()  # as a worker of hearable synth does
    render_seld(replace(static_scene(), events=()), Noise())  # tables are made once in a process
    for name, scene in (("static", static_scene()), ("moving", moving_scene())):
        ours = []
        for _ in range(repeat):
            begin = time.process_time()
            render_seld(scene, Noise())
            ours.append(time.process_time() - begin)
        if name == "moving":
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"memory at most {memory:.0f} MB")
        theirs = other_scene(scene, sample)
        print(f"{name}: {min(ours):.2f} s, pyroomacoustics {theirs:.1f} s, {theirs / min(ours):.1f} times as fast")
    with tempfile.TemporaryDirectory() as folder:
        generate(read_recipe(DATASET), Path(folder), clips)
    worker = resource.getrusage(resource.RUSAGE_CHILDREN)  # with its start
    seconds = (worker.ru_utime + worker.ru_stime) / clips
    print(f"dataset: {seconds:.2f} s a clip, memory of the worker at most {worker.ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    typer.run(main)
