"""The experiments that come with the testbed: each can run as it is, and what it runs gives numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nic_emulator import NICS
from nic_emulator.setup import configured
from testbed.analysis.summary import CellSummary
from testbed.engine.plan import build_plan
from testbed.links.latency import link_latency_ps
from testbed.report.nic import one_way_ps
from testbed.run.cell_run import cell_runs
from testbed.run.execute import execute
from testbed.run.loader import EXPERIMENTS_DIR, experiment_names, load_experiment
from testbed.run.progress import NullProgress
from testbed.run.resolve import resolve
from testbed.spec.experiment import Experiment
from testbed.units import PS_PER_US

MOST_LINES = 60
RUN = ("nic_shootout", "host_stall", "batching", "cards_per_nic", "loss_recovery", "ecn_threshold_sweep")
NICS_OF_ALL = ("transparent", "rdma", "kernel", "uec", "sue", "ualink")


def small(name: str, records: int) -> Experiment:
    """A short run: the least size and the largest but one, few records."""
    found = load_experiment(name)
    sizes = tuple(dict.fromkeys((found.sizes_bytes[0], found.sizes_bytes[len(found.sizes_bytes) // 2])))
    scenarios = tuple(replace(scenario, records=0) for scenario in found.scenarios)
    return replace(found, records=records, sizes_bytes=sizes, scenarios=scenarios)


def cells_of(name: str, tmp_path: Path, records: int = 300) -> tuple[CellSummary, ...]:
    return execute(small(name, records), engine="twin", out=tmp_path, progress=NullProgress()).summary.cells


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    # Figures, and processes that start, take longer than the run.
    monkeypatch.setattr("testbed.run.assemble.write_figures", lambda *_: [])
    monkeypatch.setattr("testbed.run.assemble.write_cell_figures", lambda *_: [])
    monkeypatch.setattr("testbed.run.workers.worker_count", lambda _: 1)


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_resolves_and_each_cell_makes_a_plan(name: str) -> None:
    experiment = load_experiment(name)
    resolved = resolve(experiment)
    assert resolved.cells
    for run in cell_runs(replace(resolved, cells=resolved.cells[::7]), emulated=False):
        build_plan(run.plan(1, PS_PER_US))


@pytest.mark.parametrize("name", experiment_names())
def test_every_experiment_is_short_and_says_what_it_asks(name: str) -> None:
    text = (EXPERIMENTS_DIR / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert text.startswith('"""')
    assert load_experiment(name).question.endswith("?")
    assert load_experiment(name).emulated_records <= 110_000, "real frames are a small part"


@pytest.mark.parametrize("name", RUN)
def test_experiment_in_small_gives_a_latency_in_every_cell(name: str, tmp_path: Path) -> None:
    cells = cells_of(name, tmp_path)
    assert len(cells) == len(resolve(small(name, 300)).cells)
    for cell in cells:
        assert (cell.n >= 30) or cell.destination is not None, cell.id
        assert cell.percentiles["p50"].value_ps, cell.id
        assert 0 < (cell.min_ps or 0) <= (cell.max_ps or 0), cell.id


def test_nic_shootout_gives_each_nic_the_same_messages(tmp_path: Path) -> None:
    experiment = load_experiment("nic_shootout")
    assert experiment.nics == NICS_OF_ALL == NICS.names()
    assert len(experiment.scenarios) == 3
    assert (min(experiment.sizes_bytes), max(experiment.sizes_bytes)) == (64, 1 << 20)
    cells = cells_of("nic_shootout", tmp_path)
    offered: dict[tuple[str, int], set[int | None]] = {}
    for cell in cells:
        offered.setdefault((cell.scenario, cell.size_bytes), set()).add(cell.offered_bps)
    assert all(len(found) == 1 for found in offered.values())


def test_host_stall_shows_what_stalls_cost_and_that_agents_cost_nothing(tmp_path: Path) -> None:
    cells = {(c.scenario, c.variant): c for c in cells_of("host_stall", tmp_path, records=8_000)}
    agents = ("undisturbed", "agents-stopped", "agents-starved", "agents-killed")
    assert len({cells["load", name].records_digest for name in agents}) == 1
    tails = [cells["load", f"stalls-{scale}"].percentiles["p99"].value_ps or 0 for scale in ("x1", "x100")]
    assert tails[1] > 3 * tails[0]
    assert {cell.nic for (_, name), cell in cells.items() if name in agents} == {"transparent"}


def test_cards_per_nic_shared_ports_are_slower_and_bridges_faster(tmp_path: Path) -> None:
    cells = {(c.scenario, c.variant): c for c in cells_of("cards_per_nic", tmp_path, records=4_000)}
    tails = [cells["load-20", f"{n}-per-nic"].percentiles["p99"].value_ps or 0 for n in (1, 2, 4)]
    assert tails == sorted(set(tails))
    near = [cells["pairs", n].mean_ps or 0 for n in ("4-per-nic", "4-without-bridge", "1-per-nic")]
    assert near == sorted(set(near))


def test_batching_carries_more_small_messages_and_delays_lone_ones(tmp_path: Path) -> None:
    cells = {(c.scenario, c.variant): c for c in cells_of("batching", tmp_path, 4_000) if c.size_bytes == 64}
    lone = [cells["idle", name].max_ps or 0 for name in ("off", "4k-0ns", "4k-500ns")]
    assert (lone[1] - lone[0], lone[2] - lone[0]) == (0, 500_000)
    assert (cells["flood", "4k-0ns"].goodput_bps or 0) > 5 * (cells["flood", "off"].goodput_bps or 0)


def test_reach_what_the_fabric_takes_is_the_same_under_both_readings(tmp_path: Path) -> None:
    experiment = load_experiment("reach_of_two_microseconds")
    few = tuple(variant for variant in experiment.variants if variant.row == "tomahawk5")
    found = execute(
        replace(experiment, variants=few, records=100),
        engine="twin",
        out=tmp_path,
        progress=NullProgress(),
    )
    fabric = {
        cell.variant: (cell.percentiles["p50"].value_ps or 0) - (cell.nics_ps or 0)
        for cell in found.summary.cells
    }
    for depth in (1, 3, 5):
        assert fabric[f"tomahawk5-{depth}-b2b"] == fabric[f"tomahawk5-{depth}-1sw"]
    assert sorted(fabric.values()) == [
        fabric[f"tomahawk5-{d}-{r}"] for d in (1, 3, 5) for r in ("b2b", "1sw")
    ]
    assert "left of 2.00 µs" in found.text
    assert any("tomahawk5 of 1 keep within it" in answer for answer in found.summary.answers)


@pytest.mark.parametrize(("reading", "beside_ps"), [("back_to_back", 0), ("one_switch", 600_000)])
def test_reading_of_transparent_adds_up_to_the_public_time(reading: str, beside_ps: int) -> None:
    cable_ps = link_latency_ps("dac", 3_000, 400 * 10**9)
    cables = 2 if beside_ps else 1
    nics_ps = one_way_ps(configured(NICS.get("transparent"), {"reading": reading}))
    assert nics_ps + cables * cable_ps + beside_ps == pytest.approx(2 * PS_PER_US, rel=0.011)
