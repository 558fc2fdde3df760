"""A control plane of 64 switches: built, its rules installed by Ryu, read back and compared with what was computed."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from testbed.controller.rules import switch_tables
from testbed.controller.timing import configured
from testbed.errors import MeasurementError
from testbed.fabric.control_plane import control_plane
from testbed.fabric.state import RunState
from testbed.run.benchmark import BenchRow
from topologies.leaf_spine import build

SPINES, LEAVES, CARDS = 16, 48, 768


def run(quick: bool) -> list[BenchRow]:
    """One row: from nothing to tables that have been verified."""
    times = [_seconds() for _ in range(1 if quick else 3)]
    return [
        BenchRow(
            name=f"rules of {SPINES + LEAVES} switches, {CARDS} cards: installed and verified",
            unit="s",
            median=statistics.median(times),
            low=min(times),
            high=max(times),
            target="median <= 60",
        )
    ]


def _seconds() -> float:
    fabric, setup = build(spines=SPINES, leaves=LEAVES, cards=CARDS), configured({})
    with (
        tempfile.TemporaryDirectory() as directory,
        RunState.create("bench", directory=Path(directory)) as state,
    ):
        began = time.perf_counter()
        with control_plane(fabric, state=state, controller="ryu", setup=setup) as plane:
            if plane.tables() != switch_tables(fabric, setup.rules):
                raise MeasurementError("the tables are not the rules", remedy="please report this")
            return time.perf_counter() - began
