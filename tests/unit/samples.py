"""Made-up records and summaries for the tests of analysis, report and store."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from testbed.analysis.answers import answers
from testbed.analysis.records import RECORD_DTYPE, Records, canonical_order, digest
from testbed.analysis.summary import CellSummary, ClockStatement, RunSummary, summarise_cell
from testbed.spec.experiment import Cell, Experiment, Scenario
from testbed.spec.sourced import Assumption

IDLE = Scenario(name="idle", kind="idle")
LOAD = Scenario(name="load", kind="poisson", load_permille=600)
GOOD = Experiment(
    name="good",
    question="Does it work?",
    topology="leaf_spine",
    topology_parameters={"cards": 16},
    switch="tomahawk5",
    nics=("transparent", "rdma"),
    sizes_bytes=(4096, 65536),
    scenarios=(IDLE, LOAD),
    records=1000,
    emulated_records=100,
)


def records_of(
    *,
    software: np.ndarray | int = 100,
    nic: np.ndarray | int = 200,
    network: np.ndarray | int = 300,
    notification: np.ndarray | int = 50,
    n: int = 1000,
) -> Records:
    """n records, one per microsecond, with the given components in picoseconds."""
    records: Records = np.zeros(n, RECORD_DTYPE)
    records["src"] = np.arange(n) % 4
    records["dst"] = (np.arange(n) + 1) % 4
    records["seq"] = np.arange(n) // 4
    records["message_bytes"] = 4096
    records["intended_ps"] = np.arange(n, dtype=np.uint64) * 1_000_000
    records["posted_ps"] = records["intended_ps"] + np.uint64(software)
    records["first_byte_ps"] = records["posted_ps"] + np.uint64(nic)
    records["delivered_ps"] = records["first_byte_ps"] + np.uint64(network)
    records["completed_ps"] = records["delivered_ps"] + np.uint64(notification)
    return records


def random_records(n: int, seed: int, *, host: bool = False, slow: int = 1) -> Records:
    """n records with a tail; `host` adds a software latency."""
    rng = np.random.default_rng(seed)
    software = rng.lognormal(13.2, 0.5, n) if host else np.full(n, 20_000)
    network = 1_500_000 * slow + rng.exponential(300_000, n)
    return canonical_order(
        records_of(n=n, software=software.astype(np.uint64), nic=400_000, network=network.astype(np.uint64))
    )


def cell_of(
    scenario: Scenario, size_bytes: int, nic: str, records: Records, *, variant: str = ""
) -> CellSummary:
    return summarise_cell(Cell(scenario=scenario, size_bytes=size_bytes, nic=nic, variant=variant), records)


def run_of(
    n: int = 20_000, seed: int = 1, variants: Mapping[str, str] | None = None
) -> tuple[RunSummary, dict[str, Records]]:
    """A small run: two scenarios, one size, two NICs, or one NIC and variants; with its records by cell."""
    cells = [
        Cell(scenario=s, size_bytes=4096, nic=nic, variant=variant)
        for s in (IDLE, LOAD)
        for nic in (("transparent", "rdma") if variants is None else ("transparent",))
        for variant in variants or ("",)
    ]
    records = {
        cell.id: random_records(n, seed + index, host=cell.nic == "rdma") for index, cell in enumerate(cells)
    }
    summaries = tuple(summarise_cell(cell, records[cell.id]) for cell in cells)
    summary = RunSummary(
        experiment="sample",
        question="Which is faster?",
        seed=seed,
        fabric="leaf_spine 2 x 4",
        clock=ClockStatement(
            engine="emulation", clock="virtual", emulated_records=100, twin_records=4 * n, equal=True
        ),
        cells=summaries,
        records_digest=digest(records.items()),
        assumptions=(Assumption("nics.transparent.pipeline", 150_000, "ps", "assumed", "not public"),),
        answers=answers(summaries),
        variants=variants or {},
        places={name: (name, "") for name in variants or {}},
    )
    return summary, records
