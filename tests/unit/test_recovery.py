"""What a lost packet costs its message, from made-up records; and how the report says it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from testbed.analysis.records import Records
from testbed.analysis.recovery import Recovery, recovery_of
from testbed.report.text import event_table, recovery_table
from testbed.run.join import RX_DTYPE, TX_DTYPE, count_lost
from testbed.spec.codec import from_dict, to_dict
from tests.unit.samples import records_of, run_of


def hit(records: Records, places: list[int], late_ps: list[int]) -> Records:
    """The same with messages that were sent again and came later."""
    records["retransmits"][places] = 1
    for name in ("delivered_ps", "completed_ps"):
        records[name][places] += np.array(late_ps, np.uint64)
    return records


def test_recovery_is_latency_beyond_the_median_of_the_others() -> None:
    records = hit(records_of(n=1000), [3, 500, 900], [1_000, 5_000, 100_000])
    assert recovery_of(records) == Recovery(messages=3, median_ps=5_000, p99_ps=100_000, max_ps=100_000)


def test_recovery_without_retransmits_is_none() -> None:
    assert recovery_of(records_of(n=10)) is None


def test_recovery_of_messages_that_were_all_hit_has_nothing_to_compare_with() -> None:
    found = recovery_of(hit(records_of(n=2), [0, 1], [1, 2]))
    assert found == Recovery(messages=2, median_ps=None, p99_ps=None, max_ps=None)


def test_recovery_of_a_message_sent_again_for_nothing_may_be_below_zero() -> None:
    network = np.full(100, 50_000)
    network[7] = 20_000
    found = recovery_of(hit(records_of(n=100, network=network), [7], [0]))
    assert found is not None
    assert found.max_ps == -30_000


def test_recovery_table_has_a_row_for_each_cell_that_was_hit() -> None:
    cells = run_of()[0].cells
    assert recovery_table(cells) == ""
    one = Recovery(messages=1234, median_ps=2_500_000, p99_ps=104_000_000, max_ps=None)
    lines = recovery_table([*cells[:3], replace(cells[3], recovery=one)]).splitlines()
    assert len(lines) == 4  # header, rule, row, note
    for text in ("1,234", "2.50 µs", "104.00 µs", "–"):
        assert text in lines[2]


def test_lost_messages_are_counted_of_all() -> None:
    cell = replace(run_of()[0].cells[0], lost=17)
    assert f"17 of {cell.n + 17:,}" in event_table([cell])
    assert "lost of the measured messages only" in event_table([cell])
    assert from_dict(type(cell), to_dict(cell)) == cell


def test_count_lost_is_of_one_destination_and_up_to_a_time() -> None:
    tx, rx = np.zeros(10, TX_DTYPE), np.zeros(6, RX_DTYPE)
    tx["src"], tx["dst"], tx["msn"] = 1, [2, 3] * 5, np.arange(10)
    tx["intended_ps"] = np.arange(10) * 100
    for name in ("src", "dst", "msn"):
        rx[name] = tx[name][:6]
    parts = [tx.tobytes()], [rx.tobytes()]
    assert count_lost(*parts, until_ps=10_000) == 4
    assert count_lost(*parts, until_ps=10_000, dst=2) == 2
    assert count_lost(*parts, until_ps=700) == 2
