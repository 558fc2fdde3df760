"""`./tb validate` as a test: every row of every oracle holds, and a wrong model makes rows fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.errors import MeasurementError
from testbed.validate import ORACLES, buffer, chosen, forwarding, incast
from testbed.validate.plans import chain, star
from testbed.validate.row import Row
from testbed.validate.runner import Finding, require_all, run_oracle, run_oracles

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
