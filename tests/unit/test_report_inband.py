"""In-band telemetry in the report: the slowest hops of each cell as a table, all of them as a picture."""

from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.analysis.inband import HopTelemetry, InBand
from testbed.analysis.summary import CellSummary
from testbed.report.cell_figure import Source
from testbed.report.inband import MOST_HOPS, hop_table, slowest
from testbed.report.inband_figure import MOST_ROWS, hop_figure
from testbed.report.text import report_text
from tests.unit.samples import run_of


def hop(number: int, *, packets: int = 5_000, p99_ns: int | None = 0) -> HopTelemetry:
    """A hop that is slower the higher its number."""
    return HopTelemetry(
        node=f"l{number}",
        port=number,
        peer=f"c{number}",
        tier=number % 2,
        packets=packets,
        p50_ns=600,
        p99_ns=1_000 * number if p99_ns == 0 else p99_ns,
        max_ns=12_000,
        queue_p50_bytes=0,
        queue_p99_bytes=None if p99_ns is None else 64 * 1024,
        queue_max_bytes=128 * 1024,
    )


def telemetry(hops: int, interval: int = 1) -> InBand:
    found = sorted((hop(number) for number in range(1, hops + 1)), key=lambda one: one.tier)
    return InBand(interval=interval, packets=9, hops=tuple(found))


def cells(*intervals: int) -> list[CellSummary]:
    summary, _ = run_of(n=1_000)
    told = [
        replace(cell, inband=telemetry(6, interval))
        for cell, interval in zip(summary.cells, intervals, strict=False)
    ]
    return [*told, *summary.cells[len(told) :]]


def test_hop_table_has_the_slowest_hops_of_each_cell() -> None:
    found = cells(1)
    lines = hop_table(found).splitlines()
    rows = [line.split() for line in lines if line.startswith(found[0].id)]
    assert [row[1] for row in rows] == ["l6", "l5", "l4", "l3"]
    assert len(rows) == MOST_HOPS
    assert rows[0][6:] == ["5,000", "0.60", "6.00", "12.00", "0.0", "64.0", "128.0"]
    assert not any(found[1].id in line for line in lines)
    assert max(map(len, lines)) <= 110


def test_hop_with_few_packets_has_no_p99_and_counts_by_its_maximum() -> None:
    few, usual = hop(1, packets=30, p99_ns=None), hop(9)
    assert slowest(InBand(interval=1, packets=3, hops=(usual, few))) == [few, usual]
    cell = replace(cells(1)[0], inband=InBand(interval=1, packets=3, hops=(few,)))
    row = next(line for line in hop_table([cell]).splitlines() if "l1 port 1" in line)
    assert row.split()[-7:] == ["30", "0.60", "–", "12.00", "0.0", "–", "128.0"]


@pytest.mark.parametrize(
    ("intervals", "note"),
    [
        ((1,), "of all packets"),
        ((8, 8), "of one packet in 8;"),
        ((1, 1024), "of one packet in 1 to 1,024, by cell"),
    ],
)
def test_hop_table_says_of_how_many_packets_it_is(intervals: tuple[int, ...], note: str) -> None:
    assert note in " ".join(hop_table(cells(*intervals)).split())


def test_report_has_the_table_only_where_there_is_telemetry() -> None:
    summary, _ = run_of(n=1_000)
    assert "INT:" not in report_text(summary)
    assert "INT: cell" in report_text(replace(summary, cells=tuple(cells(4))))
    assert hop_table(summary.cells) == ""


@pytest.mark.parametrize("hops", [6, MOST_ROWS + 10])
def test_hop_figure_has_a_row_for_each_hop_up_to_a_limit(hops: int) -> None:
    cell = cells(1)[0]
    source = Source(cell=cell, experiment="sample", fabric="leaf_spine", seed=1, result_id="r1")
    figure = hop_figure(telemetry(hops, 16), source)
    latency, queue = figure.axes
    labels = [label.get_text() for label in latency.get_yticklabels()]
    assert len(labels) == min(hops, MOST_ROWS)
    assert labels[-1] == f"l{hops - 1} port {hops - 1} → c{hops - 1}"  # the higher tier comes last
    assert ("(µs)" in latency.get_xlabel(), "(KiB)" in queue.get_xlabel()) == (True, True)
    title = figure.legends[0].get_title().get_text()
    assert ("slowest" in title) == (hops > MOST_ROWS)
    assert figure.legends[0].get_texts()[-1].get_text() == "to the maximum (1 in 16 packets)"
