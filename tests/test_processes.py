"""Worker processes: results in order, jobs without end, and no waiting for a worker that is gone or at work."""

import itertools
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from hearable.errors import AudioError, HearableError
from hearable.processes import process_map

ROOT = Path(__file__).parents[1]


def late(number: int) -> tuple[int, int]:
    time.sleep(0.1 if number == 0 else 0.0)
    return number, os.getpid()


def large(number: int) -> np.ndarray:
    return np.full(2_000_000, number)


def note(folder: Path, number: int) -> int:
    (folder / f"{os.getpid()}-{number}").touch()
    return number


def ends(how: str, number: int) -> int:
    if number == 3:
        if how == "error":
            raise AudioError("number 3")
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def deaf(folder: Path, number: int) -> int:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, number)
    if number:
        time.sleep(600)
    return number


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition, seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.02)
    assert condition()


def pids(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[0]) for path in folder.iterdir()}


def test_results_come_in_order():
    found = list(process_map(late, range(7), 2))
    assert [number for number, _ in found] == list(range(7))
    assert os.getpid() not in {pid for _, pid in found}
    assert list(process_map(late, [], 1)) == []


def test_endless_jobs_are_begun_only_a_little_ahead_and_the_end_waits_for_nobody(tmp_path):
    results = process_map(partial(deaf, tmp_path), itertools.count(), 2)
    assert next(results) == 0
    wait_until(lambda: len(pids(tmp_path)) == 2)
    begin = time.monotonic()
    results.close()  # both sleep, and hear no SIGTERM
    assert time.monotonic() - begin < 30
    assert not any(map(alive, pids(tmp_path)))
    assert len(list(tmp_path.iterdir())) <= 4


def test_what_is_half_sent_holds_nothing_up():
    results = process_map(large, itertools.count(), 2)
    assert next(results)[0] == 0 and next(results)[0] == 1
    results.close()


@pytest.mark.parametrize("how, problem", [("error", AudioError), ("killed", HearableError)])
def test_a_fault_in_a_worker_is_raised(how, problem):
    results = process_map(partial(ends, how), itertools.count(), 1)
    assert list(itertools.islice(results, 3)) == [0, 1, 2]
    with pytest.raises(problem, match="number 3" if how == "error" else "was killed"):
        next(results)


def test_workers_end_with_a_parent_that_was_killed(tmp_path):
    code = (
        "import itertools, sys\nfrom functools import partial\nfrom pathlib import Path\n"
        "from hearable.processes import process_map\nfrom tests.test_processes import deaf\n"
        "if __name__ == '__main__':\n    list(process_map(partial(deaf, Path(sys.argv[1])), itertools.count(1), 1))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT)
    wait_until(lambda: any(tmp_path.iterdir()))
    parent.kill()
    parent.wait()
    (worker,) = pids(tmp_path)
    wait_until(lambda: not alive(worker))
