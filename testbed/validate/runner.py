"""Runs oracles, each in a process of its own, as many at once as there are cores."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from functools import partial

from testbed.errors import MeasurementError
from testbed.run.workers import in_workers
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
    names = [oracle.name for oracle in oracles]
    remedy = "look at `dmesg | tail` (out of memory?), or name fewer oracles"
    with in_workers(partial(run_oracle, quick=quick), names, kind="an oracle's", remedy=remedy) as futures:
        for future in as_completed(futures):
            report(future.result())
        return [future.result() for future in futures]


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


def run_oracle(name: str, quick: bool) -> Finding:
    """One oracle in this process."""
    began = time.monotonic()
    rows = tuple(ORACLES.get(name).run(quick))
    return Finding(oracle=name, rows=rows, wall_s=time.monotonic() - began)
