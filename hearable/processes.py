"""Worker processes that end with the one that started them, however it ends."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

from hearable.errors import HearableError

Job = TypeVar("Job")
Result = TypeVar("Result")


def process_map(function: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[Result]:
    """Results of a function for each job, in the jobs' order, computed by processes.

    A worker shares one pipe with this process and nothing with the others: no lock, queue or shared memory, so nothing
    waits for one that has died. Whenever the iteration ends the workers are killed; what has begun is lost.

    Args:
        function: it and what it takes and returns can be pickled.
        jobs: taken while results are asked for, so they may be endless; no more are begun ahead of the next result than
            two a worker.
        workers: how many processes.

    Raises:
        HearableError: a worker was killed.
        Exception: whatever ``function`` raises.
    """
    # Spawned, not forked: the threads of onnxruntime, torch and BLAS do not survive a fork.
    context = get_context("spawn")
    pipes, processes = [], []
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, function), daemon=True)
            process.start()
            theirs.close()  # so that the end of the worker is the end of the pipe
            pipes.append(ours)
            processes.append(process)
        yield from _results(pipes, jobs)
    finally:
        for process in processes:
            process.kill()
        for process, pipe in zip(processes, pipes, strict=True):
            process.join()
            pipe.close()


def _results(pipes: Sequence[Connection], jobs: Iterable[Any]) -> Iterator[Any]:
    numbered, idle = enumerate(jobs), list(pipes)
    found: dict[int, Any] = {}
    due = 0
    while True:
        ahead = len(found) + len(pipes) - len(idle)
        for job in islice(numbered, min(len(idle), 2 * len(pipes) - ahead)):
            _alive(idle.pop().send, job)
        if due in found:
            yield found.pop(due)
            due += 1
        elif len(idle) == len(pipes):
            return
        else:
            busy = [pipe for pipe in pipes if pipe not in idle]
            ready = wait(busy)
            for pipe in (pipe for pipe in busy if pipe in ready):
                number, result, problem, where = _alive(pipe.recv)
                if problem is not None:
                    raise problem from RuntimeError(f"in a worker process:\n{where}")
                found[number] = result
                idle.append(pipe)


def _alive(act: Callable[..., Any], *values: Any) -> Any:
    try:
        return act(*values)
    except (EOFError, OSError) as problem:
        raise HearableError("expected results of a worker process, but it was killed: is there too little memory for "
                            "so many workers?") from problem  # fmt: skip


def _work(pipe: Connection, function: Callable[[Any], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the parent ends this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        number, job = pipe.recv()
        answer: tuple[Any, ...]
        try:
            answer = number, function(job), None, ""
        except Exception as problem:
            answer = number, None, problem, traceback.format_exc()
        pipe.send(answer)


def _end_with_parent() -> None:
    """What has begun is not worth finishing for nobody."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
