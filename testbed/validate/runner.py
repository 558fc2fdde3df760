"""Runs oracles, each in a process of its own, as many at once as there are cores."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from testbed.errors import MeasurementError
from testbed.fabric.processes import die_with_parent
from testbed.validate import ORACLES
from testbed.validate.row import Oracle, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What an oracle found."""

    oracle: str
    rows: tuple[Row, ...]
    wall_s: float

    @property
    def failed(self) -> tuple[Row, ...]:
        """The rows that do not hold."""
        return tuple(row for row in self.rows if row.verdict == "fails")


def run_oracles(
    oracles: Sequence[Oracle], *, quick: bool, report: Callable[[Finding], None]
) -> list[Finding]:
    """All findings in the order of the oracles; `report` hears of each as it comes."""
    found = {}
    for finding in _as_they_come(oracles, quick):
        found[finding.oracle] = finding
        report(finding)
    return [found[oracle.name] for oracle in oracles]


def require_all(findings: Sequence[Finding]) -> None:
    """Raise `MeasurementError` that names every row that does not hold."""
    failed = [row for finding in findings for row in finding.failed]
    if not failed:
        return
    shown = [
        f"  {row.oracle}: {row.case}: {row.measured:.6g}, expected {row.expected:.6g}" for row in failed[:20]
    ]
    more = [f"  and {len(failed) - len(shown)} more"] if len(failed) > len(shown) else []
    lines = "\n".join([*shown, *more])
    raise MeasurementError(
        f"the model disagrees in {len(failed)} rows:\n{lines}",
        remedy="a model is at fault; ./tb validate NAME --all shows every row of an oracle",
    )


def _as_they_come(oracles: Sequence[Oracle], quick: bool) -> Iterator[Finding]:
    """One process for each core; with an error, or Ctrl-C, they end at once."""
    workers = min(len(oracles), len(os.sched_getaffinity(0)))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_init_worker, initargs=(os.getpid(),))
    try:
        for future in as_completed([pool.submit(run_oracle, oracle.name, quick) for oracle in oracles]):
            yield future.result()
    except BaseException:
        for process in list(pool._processes.values()):
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _init_worker(parent: int) -> None:
    """Make a worker end with its parent, and leave Ctrl-C to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(parent)


def run_oracle(name: str, quick: bool) -> Finding:
    """One oracle in this process."""
    began = time.monotonic()
    rows = tuple(ORACLES.get(name).run(quick))
    return Finding(oracle=name, rows=rows, wall_s=time.monotonic() - began)
