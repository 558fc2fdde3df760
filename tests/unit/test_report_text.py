from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from testbed.analysis.summary import CellSummary, ClockStatement, summarise_repeats
from testbed.report.layout import choose_scale
from testbed.report.text import cell_table, clock_text, event_table, repeat_table, report_text
from tests.unit.samples import IDLE, cell_of, random_records, records_of, run_of

REAL = "virtual, on real frames: 1,000 records"


def test_report_text_has_every_part_of_the_form() -> None:
    summary, _ = run_of()
    text = report_text(summary, result="results/sample/x")
    assert text.startswith("sample       leaf_spine 2 x 4; seed 1\n")
    assert "every one equal to the twin's" in text
    assert "\nanswer       unloaded, the p99.9" in text
    assert "1 assumed or estimated value (./tb assumptions results/sample/x)" in text
    assert "nics.transparent.pipeline = 150 ns" in " ".join(text.split())
    assert summary.records_digest in text
    assert "\x1b" not in text


def test_report_text_prose_is_wrapped_beside_its_label() -> None:
    summary, _ = run_of()
    prose = [line for line in report_text(summary).splitlines() if "──" not in line and "20,000" not in line]
    assert max(len(line) for line in prose if "p99.99" not in line) <= 110


def test_cell_table_values_intervals_and_counts_are_the_summary_s() -> None:
    cell = cell_of(IDLE, 4096, "rdma", random_records(200_000, 1, host=True))
    row = cell_table([cell]).splitlines()[-1]
    tail = cell.percentiles["p99.9"]
    assert tail.value_ps and tail.low_ps and tail.high_ps  # noqa: PT018 - narrows types
    interval = f"{tail.value_ps / 1e6:.2f} µs [{tail.low_ps / 1e6:.2f}, {tail.high_ps / 1e6:.2f}]"
    assert interval in re.sub(r"\[ +", "[", row)
    assert row.endswith("200,000")
    assert "4 KiB" in row


def test_cell_table_with_variants_shows_them_and_what_varies() -> None:
    summary, _ = run_of(n=200, variants={"dac": "medium=dac", "dr": "medium=dr"})
    header, _, *rows, note = cell_table(summary.cells).splitlines()
    assert header.split()[:2] == ["scenario", "variant"]
    assert [row.split()[:2] for row in rows] == [
        ["idle", "dac"],
        ["idle", "dr"],
        ["load", "dac"],
        ["load", "dr"],
    ]
    assert note == "(4 KiB, transparent)"
    bare = cell_table(summary.cells[:1], width=60).splitlines()
    assert bare[0].split()[0] == "variant"
    assert bare[-1].endswith("; idle, 4 KiB, transparent)")


def test_report_text_tells_failures_and_control_settings() -> None:
    summary = replace(
        run_of(n=200)[0], failures=("l1<>s1@5us:down",) * 2, control={"controller": "x.py", "failover": "on"}
    )
    text = report_text(summary)
    assert "\nfailures     l1<>s1@5us:down, l1<>s1@5us:down\n" in text
    assert "\ncontrol      controller=x.py, failover=on\n" in text
    many = report_text(replace(summary, failures=("a@1us:restart",) * 20))
    assert " and 4 more" in " ".join(many.split())
    assert "failures " not in report_text(run_of(n=200)[0])


def test_report_text_tells_what_the_variants_set() -> None:
    summary, _ = run_of(n=200, variants={"none": "", "ideal": "ideal", "dr": "medium=dr, length=100m"})
    text = report_text(summary)
    assert "\nvariants     none: as it stands; dr: medium=dr, length=100m\n" in text
    assert "variants" not in report_text(run_of(n=200)[0])


def test_report_text_events_stand_below_the_table_where_there_are_any() -> None:
    summary, _ = run_of(n=200)
    assert "drops" not in report_text(summary)

    events = {"discards": 1_234, "pause_frames": 7, "pause_ps": 56_700_000}
    cells = (*summary.cells[:3], replace(summary.cells[3], events=events, retransmits=12))
    lines = report_text(replace(summary, cells=cells)).splitlines()
    header = next(index for index, line in enumerate(lines) if "drops   retransmits" in line)
    assert lines[header].split() == [
        *("scenario", "size", "NIC", "drops", "retransmits", "PFC", "frames", "paused", "for")
    ]
    assert lines[header + 2].split() == ["load", "4", "KiB", "rdma", "1,234", "12", "7", "56.7", "µs"]
    assert lines[header + 3] == (
        "(counts of the whole cell; retransmits of the measured messages only; a pause counts for each class of a "
        "port that is stopped)"
    )


def test_event_table_event_that_a_cell_has_not_is_a_dash() -> None:
    cells = [
        replace(cell_of(IDLE, 4096, "rdma", records_of(n=100), variant=name), events=events)
        for name, events in (("a", {"ecn_marked": 3}), ("b", {"discards": 5}), ("c", {}))
    ]
    *_, first, second, note = event_table(cells).splitlines()
    assert [row.split() for row in (first, second)] == [["a", "–", "3"], ["b", "5", "–"]]
    assert note == "(counts of the whole cell)"


def test_cell_table_columns_are_aligned() -> None:
    _, records = run_of()
    cells = [cell_of(IDLE, 4096, nic, r) for nic, r in records.items()]
    cells.append(cell_of(IDLE, 65_536, "slow", random_records(20_000, 9, slow=100)))
    header, _, *rows = cell_table(cells).splitlines()
    assert len({len(line) for line in [header, *rows]}) == 1
    assert len({row.index("[") for row in rows}) == 1
    assert len({row.index("]") for row in rows}) == 1


def test_cell_table_missing_percentile_is_a_dash_and_no_number() -> None:
    row = cell_table([cell_of(IDLE, 4096, "rdma", random_records(500, 1))]).splitlines()[-1]
    assert row.count("–") == 3  # p99 has 5 beyond it, p99.9 none
    assert row.count("µs") == 3


def test_cell_table_narrow_leaves_out_step_by_step_and_says_where_it_is() -> None:
    cells = [cell_of(IDLE, 4096, nic, random_records(200_000, 1)) for nic in ("transparent", "rdma")]
    full = cell_table(cells, width=500)
    assert (full.count("["), "report.txt" in full) == (4, False)
    both, one, none, least = (cell_table(cells, width=width) for width in (115, 97, 80, 70))
    assert [text.count("[") for text in (both, one, none, least)] == [4, 2, 0, 0]
    assert "µs" in full.splitlines()[2]
    assert "µs" not in both.splitlines()[2]
    assert both.endswith("(times in µs; n = 200,000 each)\n")
    assert one.endswith("(times in µs; n = 200,000 each; all 95 % intervals: report.txt)\n")
    assert none.endswith("(times in µs; n = 200,000 each; 95 % intervals: report.txt)\n")
    assert "p90" in none.splitlines()[0]
    assert "p90" not in least.splitlines()[0]
    for text, width in ((both, 115), (one, 97), (none, 80), (least, 70)):
        assert max(len(line) for line in text.splitlines()) <= width


def test_cell_table_narrow_with_different_counts_keeps_the_counts() -> None:
    cells = [cell_of(IDLE, 4096, "rdma", random_records(n, 1)) for n in (10_000, 20_000)]
    rows = cell_table(cells, width=80).splitlines()[2:4]
    assert [row.split()[-1] for row in rows] == ["10,000", "20,000"]


def test_cell_table_colour_only_when_asked() -> None:
    cell = cell_of(IDLE, 4096, "rdma", records_of(n=100))
    assert "\x1b[" in cell_table([cell], colour=True)
    assert "\x1b[" not in cell_table([cell])


def test_cell_table_text_that_looks_like_markup_is_shown() -> None:
    assert "[bold]x" in cell_table([cell_of(IDLE, 4096, "[bold]x", records_of(n=100))])


@pytest.mark.parametrize(
    ("values", "unit", "shown"),
    [
        ([350_000, 1_900_000], "ns", "350"),
        ([40_000, 90_000], "ns", "40.0"),
        ([1_770_000, 57_000_000], "µs", "1.77"),
        ([12_340_000, 57_000_000], "µs", "12.3"),
        ([20_000_000_000, 30_000_000_000], "ms", "20.0"),
        ([], "ns", "1,000"),
    ],
)
def test_choose_scale_fits_the_values(values: list[int], unit: str, shown: str) -> None:
    scale = choose_scale(values)
    assert scale.unit == unit
    assert scale.number(min(values, default=1_000_000)) == shown


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, f"{REAL}, every one equal to the twin's; 4,000 more from the twin"),
        ({"twin_records": 1_000}, f"{REAL}, every one equal to the twin's"),
        ({"equal": None}, f"{REAL}, not compared with the twin"),
        ({"equal": False, "difference": "record 3"}, f"{REAL}, NOT equal to the twin's: record 3"),
        ({"emulated_records": 0, "equal": None}, "twin: 5,000 records, no frames on wires"),
        (
            {"foreign_frames": 3},
            "virtual, on real frames: 1,000 records, every one equal to the twin's; 4,000 more from the twin;"
            " 3 foreign frames left alone",
        ),
    ],
)  # fmt: skip
def test_clock_text_says_how_exact(change: dict[str, object], expected: str) -> None:
    clock = ClockStatement(
        engine="emulation", clock="virtual", emulated_records=1_000, twin_records=5_000, equal=True
    )
    assert clock_text(replace(clock, **change)) == expected


def test_repeat_table_shows_mean_and_interval_over_seeds() -> None:
    runs = [run_of(n=2_000, seed=seed)[0] for seed in (1, 11, 21)]
    text = repeat_table(runs, summarise_repeats(runs))
    values = [run.cells[1].percentiles["p50"].value_ps for run in runs]
    assert f"{sum(v or 0 for v in values) / 3e6:.2f} µs [" in text.splitlines()[3]
    assert "seeds 1, 11, 21" in text
    assert "–" in text  # p99.9 of 2,000 messages


def test_repeat_table_narrow_shows_fewer_percentiles() -> None:
    runs = [run_of(n=20_000, seed=seed)[0] for seed in (1, 11)]
    text = repeat_table(runs, summarise_repeats(runs), width=80)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "p99.9" in text


def six_nics(**last: Any) -> tuple[CellSummary, ...]:
    """One scenario of six NICs, the last of them with other rates."""
    summary, _ = run_of(n=20_000)
    names = ("transparent", "rdma", "kernel", "uec", "sue", "ualink")
    return tuple(replace(summary.cells[2], nic=nic, **(last if nic == "ualink" else {})) for nic in names)


def test_many_nics_stand_beside_each_other_and_fit_a_narrow_terminal() -> None:
    summary = replace(run_of(n=20_000)[0], cells=six_nics(offered_bps=100, goodput_bps=50))
    narrow = report_text(summary, width=80)
    assert max(len(line) for line in narrow.splitlines()) <= 80
    header = next(line for line in narrow.splitlines() if line.startswith("p99.9:"))
    assert header.split()[-6:] == ["transparent", "rdma", "kernel", "uec", "sue", "ualink"]
    row = narrow.splitlines()[narrow.splitlines().index(header) + 2]
    assert row.endswith("*")
    assert "more is offered than arrives" in narrow
    assert "p99.99" not in narrow
    assert "p99.99" in report_text(summary)


def test_budget_table_has_what_is_left_by_row_and_column() -> None:
    summary, _ = run_of(n=20_000, variants={"a": "x", "b": "y"})
    cells = tuple(replace(cell, nics_ps=1_000_000) for cell in summary.cells[:2])
    places = {"a": ("tomahawk5", "near, 1 switch"), "b": ("tomahawk5", "far, 3 switches")}
    text = report_text(replace(summary, cells=cells, budget_ps=3_000_000, places=places), width=100)
    lines = text.splitlines()
    left = next(index for index, line in enumerate(lines) if line.startswith("left of 3.00 µs"))
    medians = [(cell.percentiles["p50"].value_ps or 0) / 1e6 for cell in cells]
    assert lines[left + 2].split() == ["tomahawk5", *(f"{3 - median:+.2f}" for median in medians)]
