"""What packets with in-band telemetry tell of each hop, as a table of the slowest hops of each cell."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from testbed.analysis.inband import HopTelemetry, InBand
from testbed.analysis.summary import CellSummary
from testbed.report.layout import MISSING, PROSE_CHARS, Scale, empty_table, printed
from testbed.units import BYTES_PER_KIB, PS_PER_NS, PS_PER_US

MOST_HOPS = 4
"""Of a cell, in the table."""
_MICROSECONDS = Scale(PS_PER_US, "µs", 2)


def hop_table(cells: Sequence[CellSummary], *, colour: bool = False) -> str:
    """The slowest hops of each cell; empty where no packet carried telemetry."""
    found = [(cell, cell.inband) for cell in cells if cell.inband is not None]
    if not found:
        return ""
    table = empty_table(
        ("INT: cell", "hop"),
        ("packets", "latency p50", "p99", "max", "queue p50", "p99", "max"),
    )
    for cell, inband in found:
        for hop in slowest(inband)[:MOST_HOPS]:
            table.add_row(
                cell.id,
                hop.name,
                f"{hop.packets:,}",
                *(_time(ns) for ns in (hop.p50_ns, hop.p99_ns, hop.max_ns)),
                *(_size(one) for one in (hop.queue_p50_bytes, hop.queue_p99_bytes, hop.queue_max_bytes)),
            )
    intervals = sorted({inband.interval for _, inband in found})
    note = (
        f"(latency in µs, first bit in to first bit out; queue in KiB; {_kept(intervals)}; "
        "all hops: telemetry/CELL-hops.parquet, figures/hops-CELL)"
    )
    return printed(table, colour) + textwrap.fill(note, PROSE_CHARS) + "\n"


def _kept(intervals: Sequence[int]) -> str:
    """Of how many packets the numbers of all cells are."""
    if intervals[-1] == 1:
        return "of all packets"
    if len(intervals) == 1:
        return f"of one packet in {intervals[0]:,}"
    return f"of one packet in {intervals[0]:,} to {intervals[-1]:,}, by cell"


def slowest(inband: InBand) -> list[HopTelemetry]:
    """By p99, or by the maximum where there are too few packets for it."""
    return sorted(inband.hops, key=lambda hop: (-(hop.p99_ns or hop.max_ns), -hop.max_ns, hop.name))


def _time(ns: int | None) -> str:
    return MISSING if ns is None else _MICROSECONDS.number(ns * PS_PER_NS)


def _size(size_bytes: int | None) -> str:
    return MISSING if size_bytes is None else f"{size_bytes / BYTES_PER_KIB:,.1f}"
