"""The twin on one core: a permutation of 4 KiB frames at line rate through a leaf-spine fabric, whole models on.

A packet-hop is one frame, data or acknowledgement, over one link. No reference program is at hand in a clean checkout;
for scale, on the machine the targets come from htsim's RoCE binary did 3.4 M and 2.0 M packet-hops/s.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.run.benchmark import BenchRow
from testbed.run.plan import cell_plan
from testbed.run.resolve import resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Experiment, Scenario
from testbed.units import PS_PER_US

KIB = 1024
TARGETS_MHOPS = {16: 8, 128: 6}


def run(quick: bool) -> list[BenchRow]:
    """Packet-hops per second with 16 and with 128 cards."""
    repeats = 2 if quick else 5
    with one_core():
        return [
            _row(cards, nic, repeats=repeats, microseconds=(2000 if quick else 8000) * 16 // cards)
            for cards in TARGETS_MHOPS
            for nic in ("transparent", "rdma")
        ]


def permutation(cards: int, nic: str) -> Experiment:
    """Every card to the one half the fabric away, 64 KiB messages in 4 KiB frames, back to back."""
    leaves = max(4, cards // 8)
    parameters = {"cards": cards, "leaves": leaves, "spines": leaves // 2}
    return Experiment(
        name="bench",
        question="How fast?",
        topology="leaf_spine",
        topology_parameters=parameters,
        switch="tomahawk5",
        nics=(nic,),
        sizes_bytes=(64 * KIB,),
        scenarios=(Scenario(name="permutation", kind="permutation"),),
        records=1,
        emulated_records=0,
    )


def _row(cards: int, nic: str, *, repeats: int, microseconds: int) -> BenchRow:
    resolved = resolve(permutation(cards, nic))
    cell, network = resolved.cells[0], resolved.networks[0]
    plan = cell_plan(
        cell,
        network,
        schedule=schedule_of(cell, network.fabric),
        seed=1,
        measure_until_ps=microseconds * PS_PER_US,
    )
    speeds = [_speed(plan) for _ in range(repeats)]
    return BenchRow(
        name=f"twin, {cards} cards, {nic}",
        unit="M packet-hops/s",
        median=statistics.median(speeds),
        low=min(speeds),
        high=max(speeds),
        target=f"median >= {TARGETS_MHOPS[cards]}",
    )


def _speed(plan: dict[str, object]) -> float:
    """Millions of packet-hops per second of one whole run."""
    twin = _engine.Twin(build_plan(plan))
    began = time.perf_counter()
    twin.run(_engine.NEVER_PS)
    return twin.hops / (time.perf_counter() - began) / 1e6


@contextmanager
def one_core() -> Iterator[None]:
    """Stay on one core, as the figure says."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
