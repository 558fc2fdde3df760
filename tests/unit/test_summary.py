from __future__ import annotations

import json

import numpy as np
import pytest

from testbed.analysis.percentiles import across_seeds
from testbed.analysis.summary import RunSummary, condition, largest_assumptions, summarise_repeats
from testbed.spec.codec import from_dict, to_dict
from testbed.spec.experiment import Scenario
from testbed.spec.sourced import Assumption
from tests.unit.samples import IDLE, LOAD, cell_of, random_records, records_of, run_of


def test_run_summary_through_json_is_the_same() -> None:
    summary, _ = run_of(n=2_000)
    text = json.dumps(to_dict(summary), allow_nan=False)
    assert from_dict(RunSummary, json.loads(text)) == summary
    assert json.loads(text)["schema_version"] == 1


def test_run_summary_dict_has_the_documented_keys() -> None:
    summary, _ = run_of(n=20_000)
    cell = to_dict(summary)["cells"][0]
    assert cell["id"] == "idle-4KiB-transparent"
    assert set(cell["percentiles"]) == {"p50", "p90", "p99", "p99.9", "p99.99"}
    assert {"value_ps", "low_ps", "high_ps"} <= set(cell["percentiles"]["p99.9"])
    assert cell["percentiles"]["p99.99"]["value_ps"] is None


def test_summarise_cell_counts_and_extremes_are_those_of_the_records() -> None:
    records = records_of(n=1000, network=np.arange(1000))
    records["retransmits"][[3, 4]] = [2, 5]
    records["marks"][[7, 8, 9]] = 9
    cell = cell_of(IDLE, 4096, "rdma", records)
    assert (cell.n, cell.min_ps, cell.max_ps) == (1000, 350, 1349)
    assert cell.mean_ps == 850  # 849.5 rounded half up
    assert (cell.retransmits, cell.marked_messages) == (7, 3)


def test_summarise_cell_of_a_victim_is_of_the_victim_s_messages_alone() -> None:
    records = records_of(n=1000, network=np.where(np.arange(1000) % 4 == 0, 7_000, 300))
    victim = Scenario(name="v", kind="victim", fan_in=2)
    cell = cell_of(victim, 4096, "rdma", records)  # every fourth message goes to endpoint 1, and is slow
    assert (cell.n, cell.destination, cell.min_ps, cell.max_ps) == (250, 1, 7_350, 7_350)


def test_summarise_cell_without_records_states_nothing() -> None:
    cell = cell_of(IDLE, 4096, "rdma", records_of(n=0))
    assert (cell.n, cell.min_ps, cell.mean_ps, cell.max_ps, cell.components) == (0, None, None, None, None)


def test_summarise_cell_components_add_up_to_the_mean_latency() -> None:
    cell = cell_of(IDLE, 4096, "rdma", random_records(20_000, 1, host=True))
    assert cell.components is not None
    assert cell.components.total_ps == pytest.approx(cell.mean_ps, abs=3)
    assert cell.components_window is not None
    assert cell.components_window.quantile_ppm == 999_000
    low, high = cell.percentiles["p99.9"].low_ps, cell.percentiles["p99.9"].high_ps
    assert low is not None
    assert high is not None
    assert low <= cell.components_window.mean.total_ps <= high


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        (Scenario(name="x", kind="idle"), "unloaded"),
        (Scenario(name="x", kind="poisson", load_permille=600), "under 60 % load"),
        (Scenario(name="x", kind="poisson", load_permille=625), "under 62.5 % load"),
        (Scenario(name="x", kind="incast", load_permille=500, fan_in=8), "under 8→1 incast"),
        (Scenario(name="x", kind="permutation"), "in a permutation at full rate"),
        (Scenario(name="x", kind="victim", fan_in=4), "beside 4→1 incast at full rate"),
        (Scenario(name="x", kind="victim", load_permille=300, fan_in=4), "beside 4→1 incast at 30 % load"),
        (Scenario(name="x", kind="pingpong"), "in a ping-pong"),
    ],
)
def test_condition_of_each_kind(scenario: Scenario, words: str) -> None:
    assert condition(scenario) == words


def test_largest_assumptions_are_the_longest_times_that_add_to_a_latency() -> None:
    many = tuple(
        Assumption(path, value, unit, "assumed", "x")
        for path, value, unit in [
            ("a", 5, "ps"),
            ("nic.retransmission_timeout", 10**9, "ps"),
            ("nic.stage.stall_interval, nic.other.stall_interval", 10**10, "ps"),
            ("buffer", 10**9, "bytes"),
            ("b", 70, "ps"),
            ("table", (1, 40, 9_000), "ps"),
        ]
    )
    assert [found.path for found in largest_assumptions(many, 2)] == ["table", "b"]
    assert [found.path for found in largest_assumptions(many[3:4])] == ["buffer"]


def test_summarise_repeats_is_the_spread_over_the_runs() -> None:
    runs = [run_of(n=2_000, seed=seed)[0] for seed in (1, 11, 21)]
    found = summarise_repeats(runs)
    medians = [run.cells[1].percentiles["p50"].value_ps or 0 for run in runs]
    assert found.seeds == (1, 11, 21)
    assert [cell.id for cell in found.cells] == [cell.id for cell in runs[0].cells]
    assert found.cells[1].percentiles["p50"] == across_seeds(medians)
    assert found.cells[1].percentiles["p99.9"] is None


def test_goodput_is_of_the_messages_between_both_ends_of_the_run() -> None:
    steady = records_of(n=1000)  # 4096 bytes a microsecond
    assert cell_of(LOAD, 4096, "a", steady).goodput_bps == 4096 * 8 * 10**6
    late = records_of(n=10_000, network=300 + 1_000_000 * np.arange(10_000))  # takes longer and longer
    cell = cell_of(LOAD, 4096, "a", late)
    assert (cell.offered_bps, cell.goodput_bps) == (4096 * 8 * 10**6, 4096 * 4 * 10**6)
    assert cell.saturated
    assert not cell_of(LOAD, 4096, "a", late[:9_000]).saturated  # too short to tell
    assert not cell_of(LOAD, 4096, "a", steady).saturated
    assert cell_of(LOAD, 4096, "a", records_of(n=99)).goodput_bps is None


def test_digest_of_a_cell_is_of_its_records_and_not_of_its_name() -> None:
    one, other = (cell_of(LOAD, 4096, nic, records_of(n=100)) for nic in ("a", "b"))
    assert one.records_digest == other.records_digest
    assert one.records_digest != cell_of(LOAD, 4096, "a", records_of(n=100, nic=201)).records_digest
