"""`report/failure_figure.py`: what is in the picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from testbed.analysis.failures import EventKind, FailureEvent
from testbed.analysis.records import Records
from testbed.report.cell_figure import Source
from testbed.report.failure_figure import failure_figure, window_of
from tests.unit.samples import LOAD, cell_of, records_of

US = 10**6
DOWN: list[tuple[int, EventKind, str]] = [
    (100, "begins", "l1<>s1@100us-200us:down"),
    (110, "noticed", "l1-s1 is down"),
    (150, "rules", "l1"),
    (200, "ends", "l1<>s1@100us-200us:down"),
]


def events_of(rows: Sequence[tuple[float, EventKind, str]]) -> list[FailureEvent]:
    return [FailureEvent(time_ps=round(us * US), kind=kind, text=text) for us, kind, text in rows]


def drawn(records: Records, rows: Sequence[tuple[float, EventKind, str]]) -> Figure:
    cell = cell_of(LOAD, 4096, "rdma", records, variant="v")
    source = Source(cell=cell, experiment="x", fabric="star", seed=7, result_id="id")
    return failure_figure(records, events_of(rows), source)


def hit_records(n: int = 1000) -> Records:
    """One a microsecond; those of 100 to 110 us are sent again and take 50 us longer."""
    records = records_of(n=n)
    records["retransmits"][100:110] = 1
    records["completed_ps"][100:110] += np.uint64(50 * US)
    return records


def lines_at(axis: Axes, style: Literal[":", "--", "-.", "-"]) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axis.get_lines() if line.get_linestyle() == style]  # type: ignore[index, arg-type]


def shaded(axis: Axes) -> list[tuple[float, float]]:
    boxes = [patch.get_extents().transformed(axis.transData.inverted()) for patch in axis.patches]
    return [(round(box.x0, 3), round(box.x1, 3)) for box in boxes if box.width < 1e4 and box.height > 0]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_failures_are_shaded_and_what_follows_is_a_line_in_both_panels() -> None:
    figure = drawn(hit_records(), DOWN)
    latency, rate = figure.axes
    for axis in (latency, rate):
        assert lines_at(axis, ":") == [110]
        assert lines_at(axis, "--") == [150]
        assert (100, 200) in shaded(axis)
    assert legend(figure) == [
        "failure: l1<>s1@100us-200us:down",
        "switches notice",
        "new rules in effect",
        "messages",
        "sent again",
    ]
    assert "load, 4 KiB, rdma, v" in figure.legends[0].get_title().get_text()


def test_messages_stand_at_their_intended_time_with_their_latency() -> None:
    figure = drawn(hit_records(), DOWN)
    usual, hit = (np.asarray(points.get_offsets()) for points in figure.axes[0].collections)
    assert hit[:, 0].tolist() == list(range(100, 110))
    assert hit[:, 1] == pytest.approx(50.00065)
    assert usual[:, 1] == pytest.approx(0.00065)
    assert len(usual) == 190  # from 50 us to 250 us, less those that were hit


def test_axes_state_their_units() -> None:
    latency, rate = drawn(hit_records(), DOWN).axes
    assert latency.get_ylabel() == "latency (µs)"
    assert rate.get_ylabel() == "arriving (Gb/s)"
    assert rate.get_xlabel().startswith("virtual time (µs)")
    long = drawn(records_of(n=20_000), [(1_000, "begins", "x"), (11_000, "ends", "x")])
    assert long.axes[1].get_xlabel().startswith("virtual time (ms)")


def test_rate_adds_up_to_what_arrived() -> None:
    figure = drawn(records_of(n=1000), DOWN)
    (stairs,) = [patch for patch in figure.axes[1].patches if hasattr(patch, "get_data")]
    data = stairs.get_data()
    gbits = float((np.diff(data.edges) * data.values).sum())  # Gb/s times µs: kb
    messages = np.count_nonzero(
        (np.arange(1000) + 0.00065 >= data.edges[0]) & (np.arange(1000) + 0.00065 <= data.edges[-1])
    )
    assert gbits == pytest.approx(messages * 4096 * 8 / 1000)


def test_many_lines_are_thin_and_several_failures_are_counted() -> None:
    rows: list[tuple[float, EventKind, str]] = []
    for flap in range(20):
        text = f"flap {flap % 2}"
        at = 100 + 20 * flap
        rows += [(at, "begins", text), (at + 2, "noticed", "down"), (at + 5, "ends", text)]
    figure = drawn(records_of(n=1000), rows)
    widths = {line.get_linewidth() for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"}
    assert len(lines_at(figure.axes[0], ":")) == 20
    assert max(widths) < 1
    assert len(shaded(figure.axes[0])) == 20
    assert legend(figure)[0] == "failure: 2 of them"


def test_moment_is_a_line_in_a_window_of_its_own() -> None:
    rows: list[tuple[float, EventKind, str]] = [
        (100, "begins", "c3@100us:process"),
        (100.000001, "ends", "c3@100us:process"),
    ]
    assert window_of(records_of(n=1000), events_of(rows)) == (50 * US, 250 * US)
    figure = drawn(records_of(n=1000), rows)
    assert shaded(figure.axes[0]) == []
    assert lines_at(figure.axes[0], "-") == [100]
    assert len(figure.axes[0].collections[0].get_offsets()) == 200  # type: ignore[arg-type]


def test_failure_that_does_not_end_is_shaded_to_the_edge() -> None:
    figure = drawn(records_of(n=1000), [(100, "begins", "x"), (300, "noticed", "y")])
    assert (100, 400) in shaded(figure.axes[0])


def test_window_lasts_until_those_that_were_hit_are_through() -> None:
    records = hit_records()
    records["completed_ps"][109] += np.uint64(541 * US)
    first, last = window_of(records, events_of(DOWN))
    assert first == 0
    assert last == 999 * US
    assert int(records["completed_ps"][109]) == 700_000_650


def test_controller_is_a_line_of_its_own() -> None:
    figure = drawn(records_of(n=1000), [(100, "controller", "lost"), (200, "controller", "back")])
    assert lines_at(figure.axes[0], "-.") == [100, 200]
    assert shaded(figure.axes[0]) == []
    assert legend(figure)[0] == "controller lost, back"


def test_cell_without_records_in_the_window_has_a_figure() -> None:
    figure = drawn(records_of(n=10), [(100, "begins", "x"), (200, "ends", "x")])
    assert (100, 200) in shaded(figure.axes[0])
