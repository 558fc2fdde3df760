"""`./tb validate` as a test: every row of every oracle holds, and a wrong model makes rows fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from testbed.controller.rules import switch_tables
from testbed.controller.tables import SwitchTables
from testbed.controller.timing import RuleOptions
from testbed.errors import MeasurementError
from testbed.run.plan import cell_plan
from testbed.spec.fabric import Fabric
from testbed.validate import ORACLES, buffer, chosen, control_plane, forwarding, incast, probes
from testbed.validate.plans import chain, star
from testbed.validate.row import Row
from testbed.validate.runner import Finding, require_all, run_oracle, run_oracles
from topologies import TOPOLOGIES

NAMES = ORACLES.names()


@pytest.mark.parametrize("name", NAMES)
def test_oracle_quick_every_row_holds(name: str) -> None:
    finding = run_oracle(name, True)
    assert finding.rows
    require_all([finding])
    assert {row.oracle for row in finding.rows} == {name}
    assert len({row.case for row in finding.rows}) == len(finding.rows)
    assert all(row.source for row in finding.rows)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_oracle_in_full_every_row_holds(name: str) -> None:
    finding = run_oracle(name, False)
    require_all([finding])
    if name == "buffer-share":
        cases = {row.case.rpartition(",")[0] for row in finding.rows}
        alphas = ("0.125", "0.5", "1", "2", "8")
        assert cases == {f"alpha {alpha}, {queues} queues" for alpha in alphas for queues in range(1, 65)}


def with_changed(build: Callable[..., Any], **changes: Callable[[Any], Any]) -> Callable[..., Any]:
    """A builder of plans that gives the switches another configuration than it is asked for."""

    def changed(*arguments: Any, **config: Any) -> Any:
        return build(*arguments, **config | {name: change(config[name]) for name, change in changes.items()})

    return changed


def failures(rows: list[Row]) -> int:
    return sum(row.verdict == "fails" for row in rows)


def test_threshold_twice_as_high_is_found_by_each_buffer_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "star", with_changed(star, alpha_log2=lambda alpha: alpha + 1))
    rows = buffer.steady_share(True)
    assert failures(rows) > len(rows) * 9 // 10  # 64 queues hardly tell an alpha of 8 from one of 16
    rows = buffer.first_drop(True)
    assert failures(rows) > len(rows) // 2


def test_buffer_one_byte_too_small_is_found_by_the_release_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffer, "star", with_changed(star, buffer_bytes=lambda size: size - 1))
    assert failures(buffer.release_order(True)) > 0


def test_pipeline_one_picosecond_slower_is_found_on_every_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwarding, "chain", with_changed(chain, pipeline_latency_ps=lambda ps: ps + 1))
    rows = forwarding.switched_paths(True)
    assert failures(rows) == len(rows)


def test_pipeline_one_picosecond_slower_is_found_in_each_incast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incast, "star", with_changed(star, pipeline_latency_ps=lambda ps: ps + 1))
    rows = incast.completion(True)
    assert failures(rows) == len(rows) // 2  # the completion times; the peaks are the same


@pytest.mark.parametrize(
    ("what", "place", "run", "wrong"),
    [
        ("updates", "time_ps", control_plane.outages, 2 * len(control_plane.CONTROLLER_CASES)),
        ("port_states", 0, control_plane.failovers, 2 * len(control_plane.FAILOVER_CASES)),
    ],
)
def test_reaction_one_packet_later_is_found_in_each_outage(
    what: str,
    place: str | int,
    run: Callable[[bool], list[Row]],
    wrong: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the last packet that is lost, and by how many are."""

    def late(*arguments: Any, **more: Any) -> Any:
        data = cell_plan(*arguments, **more)
        for node in data["nodes"]:
            for change in node["config"].get(what, []):
                change[place] += 100_000
        return data

    monkeypatch.setattr(probes, "cell_plan", late)
    assert failures(run(True)) == wrong


def test_fabric_that_lacks_a_rule_is_found_by_the_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(fabric: Fabric, options: RuleOptions) -> dict[str, SwitchTables]:
        tables = switch_tables(fabric, options)
        name, of = next(iter(tables.items()))
        flow = next(flow for flow in of.flows if flow.match.eth_dst)
        return {**tables, name: replace(of, flows=tuple(one for one in of.flows if one != flow))}

    monkeypatch.setattr(control_plane, "switch_tables", lacking)
    rows = control_plane.tables_walk(True)
    assert failures([row for row in rows if row.case.endswith("each other")]) == len(TOPOLOGIES.names())


def test_oracles_in_processes_of_their_own_come_in_order_and_are_reported() -> None:
    heard: list[Finding] = []
    found = run_oracles(chosen(["forwarding"]), quick=True, report=heard.append)
    assert [finding.oracle for finding in found] == ["cut-through", "unloaded", "fec"]
    assert {finding.oracle for finding in heard} == {"cut-through", "unloaded", "fec"}
    require_all(found)


def test_rows_that_fail_are_named_in_the_error() -> None:
    row = Row(oracle="fec", case="at 9G", expected=1.0, measured=2.5, unit="ns", source="a book")
    with pytest.raises(MeasurementError, match=r"1 rows:\n  fec: at 9G: 2.5, expected 1"):
        require_all([Finding(oracle="fec", rows=(row,), wall_s=0.0)])
