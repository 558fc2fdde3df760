"""A control plane of 64 switches: built, rules installed and verified, its controller restarted, torn down."""

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


WHOLE = "built, rules installed and verified"
TARGETS = {WHOLE: "median <= 60"}


def run(quick: bool) -> list[BenchRow]:
    """A row for each step, beside what all that comes before the tables are verified takes."""
    measured = [_seconds() for _ in range(1 if quick else 3)]
    medians = {step: statistics.median(times[step] for times in measured) for step in measured[0]}
    return [
        BenchRow(
            name=f"{SPINES + LEAVES} switches, {CARDS} cards: {step}",
            unit="s",
            median=median,
            low=min(times[step] for times in measured),
            high=max(times[step] for times in measured),
            reference_name=None if step == WHOLE else WHOLE,
            reference_median=None if step == WHOLE else medians[WHOLE],
            ratio=None if step == WHOLE else median / medians[WHOLE],
            target=TARGETS.get(step),
        )
        for step, median in medians.items()
    ]


def _seconds() -> dict[str, float]:
    """By step."""
    fabric, setup = build(spines=SPINES, leaves=LEAVES, cards=CARDS), configured({})
    rules = switch_tables(fabric, setup.rules)
    found: dict[str, float] = {}
    began = last = time.perf_counter()
    step = ""

    def next_step(name: str) -> None:
        nonlocal last, step
        now = time.perf_counter()
        if step:
            found[step] = found.get(step, 0.0) + now - last
        last, step = now, name

    def progress(at: str) -> None:
        next_step("install" if at == "rules" else "build")

    with (
        tempfile.TemporaryDirectory() as directory,
        RunState.create("bench", directory=Path(directory)) as state,
    ):
        with control_plane(fabric, state=state, controller="ryu", setup=setup, progress=progress) as plane:
            next_step("verify")
            _check(plane.tables() == rules)
            whole = time.perf_counter() - began
            plane.stop_controller()
            next_step("restart of the controller")
            plane.start_controller()
            plane.settle()
            next_step("verify again")
            _check(plane.tables() == rules)
            next_step("tear-down")
        next_step("")
    return {WHOLE: whole, **found}


def _check(equal: bool) -> None:
    if not equal:
        raise MeasurementError("the tables are not the rules", remedy="please report this")
