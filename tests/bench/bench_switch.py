"""What a switch with everything on costs the twin, beside the same fabric and messages with plain FIFO switches.

Everything: lossless classes with ingress accounting, marking, weighted scheduling, a shaper, flowlets, trimming,
in-band telemetry in every packet, sampling, the watchdog. Runs alternate, so that both meet the same machine. A message
of 4 KiB is one frame; the 16 frames of 64 KiB follow each other at line rate, and since telemetry makes each longer at
each hop, they queue where those of the plain switch cut through: twice the events.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.run.benchmark import BenchRow
from testbed.run.plan import cell_plan
from testbed.run.resolve import resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Experiment, Scenario
from testbed.units import PS_PER_US, format_size
from tests.bench.bench_twin import one_core

PLAIN: Mapping[str, int | str] = {"pipeline_latency": "600ns", "buffer": "160MB"}
EVERYTHING: Mapping[str, int | str] = PLAIN | {
    "lossless": "3",
    "watchdog": "100us:200us",
    "ecn": "100KB:400KB:20%",
    "scheduling": "dwrr",
    "shaper": "3:800Gbps:1MB",
    "paths": "flowlet:100us",
    "trim": "64B:6",
    "int": "on",
    "sflow": 1000,
}
CARDS = (16, 128)
SIZES_BYTES = (4096, 65_536)


def run(quick: bool) -> list[BenchRow]:
    """Time per packet-hop with everything on, and its ratio to that of plain switches."""
    with one_core():
        return [
            _row(cards, size_bytes, repeats=3 if quick else 7, scale=1 if quick else 3)
            for cards in CARDS
            for size_bytes in SIZES_BYTES
        ]


def loaded(cards: int, size_bytes: int, settings: Mapping[str, int | str]) -> Experiment:
    """Messages at 60 % load, each to any other card."""
    leaves = max(4, cards // 8)
    return Experiment(
        name="bench",
        question="What do features cost?",
        topology="leaf_spine",
        topology_parameters={"cards": cards, "leaves": leaves, "spines": leaves // 2},
        switch="ideal",
        switch_settings=settings,
        nics=("transparent",),
        sizes_bytes=(size_bytes,),
        scenarios=(Scenario(name="load", kind="poisson", load_permille=600),),
        records=1,
        emulated_records=0,
    )


def plan_of(
    cards: int, size_bytes: int, settings: Mapping[str, int | str], *, until_ps: int
) -> dict[str, Any]:
    """The engine's plan of that experiment."""
    resolved = resolve(loaded(cards, size_bytes, settings))
    cell, network = resolved.cells[0], resolved.networks[0]
    return cell_plan(
        cell, network, schedule=schedule_of(cell, network.fabric), seed=1, measure_until_ps=until_ps
    )


def _row(cards: int, size_bytes: int, *, repeats: int, scale: int) -> BenchRow:
    until_ps = scale * 1000 * PS_PER_US * CARDS[0] // cards
    plans = [plan_of(cards, size_bytes, settings, until_ps=until_ps) for settings in (PLAIN, EVERYTHING)]
    pairs = [[_ns_per_hop(plan) for plan in plans] for _ in range(repeats)]
    everything = [pair[1] for pair in pairs]
    return BenchRow(
        name=f"everything on, {cards} cards, {format_size(size_bytes)}",
        unit="ns/packet-hop",
        median=statistics.median(everything),
        low=min(everything),
        high=max(everything),
        reference_name="plain FIFO switch",
        reference_median=statistics.median(pair[0] for pair in pairs),
        ratio=statistics.median(pair[1] / pair[0] for pair in pairs),
        target="ratio <= 1.5",
    )


def _ns_per_hop(plan: dict[str, Any]) -> float:
    """Of one whole run."""
    twin = _engine.Twin(build_plan(plan))
    began = time.perf_counter_ns()
    twin.run(_engine.NEVER_PS)
    return (time.perf_counter_ns() - began) / twin.hops
