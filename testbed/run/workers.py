"""Processes that compute side by side, one for each core. They end with their parent, and at once if it gives up."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol, TypeVar

from testbed.errors import FabricError
from testbed.fabric.processes import die_with_parent

SPAWN = multiprocessing.get_context("spawn")


class _Closable(Protocol):
    close: Callable[[], None]


_Job = TypeVar("_Job")
_Result = TypeVar("_Result")


def worker_count(jobs: int) -> int:
    """How many run at once."""
    return min(jobs, len(os.sched_getaffinity(0)))


@contextmanager
def in_workers(
    work: Callable[[_Job], _Result],
    jobs: Sequence[_Job],
    *,
    kind: str,
    remedy: str,
    prepare: Callable[[], None] | None = None,
) -> Iterator[list[Future[_Result]]]:
    """The futures of all jobs, in their order.

    Args:
        work: a function of a module, called in the workers.
        jobs: its arguments.
        kind: what the error calls a worker that dies.
        remedy: what to do then.
        prepare: called in each worker before its first job.
    """
    pool = ProcessPoolExecutor(
        worker_count(len(jobs)), mp_context=SPAWN, initializer=_begin, initargs=(os.getpid(), prepare)
    )
    processes: Mapping[int, Any] = pool._processes  # kept: a broken pool forgets them
    ends = _ends_of_workers(pool)
    try:
        try:
            with _without_interrupts():  # a worker ignores Ctrl-C, but only once it has started
                futures = [pool.submit(work, job) for job in jobs]
        finally:  # it is submitting that starts workers: from here on there are no new ones
            for end in ends:
                end.close()
        yield futures
    except BrokenProcessPool as error:
        pool.shutdown(cancel_futures=True)  # until its own thread has ended, exit codes may not be known
        raise FabricError(
            f"{kind} process{_killed(processes)} died in mid-run; the run is void", remedy=remedy
        ) from error
    except BaseException:
        for process in list(processes.values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _ends_of_workers(pool: ProcessPoolExecutor) -> tuple[_Closable, _Closable]:
    """The ends of the pool's pipes that only workers use. Once all workers have started, they are to be closed here.

    Else, when workers are killed, the thread that hands out jobs waits forever for room in a pipe that none reads any
    more, and the one that collects results for the rest of one that none writes. Python closes the former itself, from
    3.11.5 on (github.com/python/cpython/issues/94777).
    """
    private: Any = pool
    ends = private._call_queue._reader, private._result_queue._writer
    for end in ends:
        _close_in_turn(end)
    return ends


def _close_in_turn(end: _Closable) -> None:
    """Let two threads close it: unguarded, the second might close what has got the same number meanwhile."""
    close, lock = end.close, Lock()

    def close_alone() -> None:
        with lock:
            close()

    end.close = close_alone


def _begin(parent: int, prepare: Callable[[], None] | None) -> None:
    """Make a worker end with its parent, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)
    if prepare is not None:
        prepare()


def _killed(processes: Mapping[int, Any]) -> str:
    """Pid and signal of the worker that did not end by the pool's own SIGTERM."""
    ended = ((pid, process.exitcode) for pid, process in processes.items())
    killed = [f" (pid {pid}, {_how(code)})" for pid, code in ended if code not in (None, 0, -signal.SIGTERM)]
    return next(iter(killed), "")


def _how(exit_code: int) -> str:
    return signal.Signals(-exit_code).name if exit_code < 0 else f"exit code {exit_code}"


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold SIGINT back from this thread and from what it starts."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
