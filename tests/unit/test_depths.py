from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from testbed.analysis import depths
from testbed.analysis.depths import SAMPLE_DTYPE, Followed, SampleKind, Samples
from testbed.analysis.records import Records
from testbed.report.cell_figure import Source
from testbed.report.heatmap import heatmap_figure
from testbed.report.timeline import hot_card, lanes_of, timeline_figure, victims_of
from tests.unit.samples import records_of
from tests.unit.test_report_tail import SOURCE
from tests.unit.traces import C1, C2, C3, L1, L2, S1, plan

US = 1_000_000
Row = tuple[int, int, int, int, SampleKind, int]


def followed(*rows: Row) -> Followed:
    """From rows (time in us, entity, port, class, kind, value)."""
    samples: Samples = np.array([(us * US, *rest) for us, *rest in rows], SAMPLE_DTYPE)
    return depths.followed_in(plan(), samples)


def port(us: int, entity: int, number: int, depth_bytes: int) -> Row:
    return (us, entity, number, 0, SampleKind.PORT, depth_bytes)


BLOCKED = followed(
    port(1, L2, 1, 8_192),
    (2, L2, 3, 3, SampleKind.PAUSE_SENT, 1),
    (3, S1, 2, 3, SampleKind.PAUSE_RECEIVED, 1),
    port(3, S1, 2, 40_960),
    (4, S1, 1, 3, SampleKind.PAUSE_SENT, 1),
    (5, L1, 3, 3, SampleKind.PAUSE_RECEIVED, 1),
    (6, L2, 3, 3, SampleKind.PAUSE_SENT, 0),
    (7, S1, 2, 3, SampleKind.PAUSE_RECEIVED, 0),
    port(8, L2, 1, 0),
    port(9, S1, 2, 0),
)
"""c2 is slow: l2 stops s1, and s1 stops l1, which does not get free any more."""


def test_followed_depths_by_class_are_kept_where_several_classes_waited() -> None:
    found = followed(
        (1, L1, 1, 3, SampleKind.QUEUE, 100),
        port(1, L1, 1, 100),
        (2, L1, 1, 5, SampleKind.QUEUE, 70),
        port(2, L1, 1, 170),
        (2, L1, 2, 3, SampleKind.QUEUE, 50),
        port(2, L1, 2, 50),
        (1, L1, 0, 0, SampleKind.BUFFER, 508),
    )
    kept = found.of(SampleKind.QUEUE)
    assert [(int(s["port"]), int(s["traffic_class"])) for s in kept] == [(1, 3), (1, 5)]
    assert len(found.of(SampleKind.PORT)) == 3
    assert found.samples["time_ps"].tolist() == sorted(found.samples["time_ps"].tolist())


def test_followed_more_than_is_kept_is_cut_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "MOST_KEPT", 2)
    cut = followed(port(3, L1, 1, 1), port(1, L1, 1, 1), port(2, L1, 1, 1))
    assert cut.until_ps == 2 * US
    assert cut.cut_note == "; cut after 2 changes"
    assert followed(port(3, L1, 1, 1)).cut_note == ""


def test_followed_saved_and_read_back_is_the_same() -> None:
    columns = depths.columns_of("a", BLOCKED)
    other = depths.columns_of("b", followed(port(1, L1, 1, 5)))
    both = {name: np.concatenate([columns[name], other[name]]) for name in columns}
    assert {len(column) for column in both.values()} == {len(BLOCKED.samples) + 1}
    found = depths.followed_of(both, "a")
    assert np.array_equal(found.samples, BLOCKED.samples)
    for entity, number in ((L2, 1), (S1, 2), (S1, 1), (L1, 3), (L2, 3)):
        assert found.label(entity, number) == BLOCKED.label(entity, number)
        assert found.tiers[entity] == BLOCKED.tiers[entity]
    assert len(depths.followed_of(both, "nowhere").samples) == 0


def test_followed_nothing_gives_columns_without_rows() -> None:
    columns = depths.columns_of("a", followed())
    assert {len(column) for column in columns.values()} == {0}


def test_depth_map_bin_holds_the_largest_depth_and_what_was_there_before() -> None:
    found = depths.depth_map(
        followed(port(0, L2, 1, 10), port(100, L2, 1, 30), port(101, L2, 1, 20), port(240, L2, 1, 0))
    )
    assert found is not None
    row = found.depth_bytes[0]
    assert (row[0], row[50], row[99], row[100], row[101], row[102], row[239]) == (10, 10, 10, 30, 20, 20, 20)


def test_depth_map_has_the_ports_that_held_something_highest_tier_first() -> None:
    found = depths.depth_map(
        followed(
            port(1, L1, 2, 5), port(1, S1, 1, 5), port(1, L1, 1, 5), port(2, L2, 1, 0), port(3, L1, 1, 0)
        )
    )
    assert found is not None
    assert found.ports == ((S1, 1), (L1, 1), (L1, 2))


def test_depth_map_of_too_many_ports_keeps_the_deepest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(depths, "MOST_ROWS", 2)
    found = depths.depth_map(followed(port(1, L1, 1, 5), port(1, L1, 2, 7), port(1, S1, 1, 6)))
    assert found is not None
    assert (found.ports, found.all_ports) == (((S1, 1), (L1, 2)), 3)


@pytest.mark.parametrize("rows", [(), (port(1, L1, 1, 0),)])
def test_depth_map_where_nothing_waited_is_none(rows: tuple[Row, ...]) -> None:
    assert depths.depth_map(followed(*rows)) is None
    assert heatmap_figure(followed(*rows), SOURCE) is None


def test_intervals_of_two_classes_overlap_and_an_open_one_ends_with_the_window() -> None:
    rows = [(1, 3, 1), (2, 4, 1), (3, 3, 0), (5, 4, 0), (7, 3, 1)]
    own = followed(*((us, L1, 1, c, SampleKind.PAUSE_SENT, value) for us, c, value in rows)).samples
    assert depths.intervals(own, 9 * US) == [(US, 5 * US), (7 * US, 9 * US)]


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_yticklabels()]


def test_heatmap_rows_are_named_and_units_told() -> None:
    figure = heatmap_figure(BLOCKED, SOURCE)
    assert figure is not None
    assert labels(figure) == ["s1:2 → l2", "l2:1 → c2"]
    assert figure.axes[0].get_xlabel() == "virtual time (µs)"
    assert "KiB" in figure.axes[1].get_ylabel()
    shown = figure.axes[0].images[0].get_array()
    assert shown is not None
    assert shown.max() == 40.0


def messages() -> Records:
    records = records_of(n=4, network=np.array([1, 9, 1, 1]) * US)
    records["intended_ps"] = np.arange(4) * 2 * US
    records["dst"] = [C2, C3, C2, C1]
    for name in ("posted_ps", "first_byte_ps", "delivered_ps", "completed_ps"):
        records[name] = records["intended_ps"] + np.array([1, 9, 1, 1], np.uint64) * np.uint64(US)
    return records


def test_lanes_begin_with_the_port_all_wait_for_then_follow_the_pauses() -> None:
    lanes = lanes_of(BLOCKED, (0, 10 * US))
    assert [BLOCKED.label(lane.entity, lane.port) for lane in lanes] == [
        "l2:1 → c2",
        "s1:2 → l2",
        "l1:3 → s1",
    ]
    assert lanes[1].stopped == [(3 * US, 7 * US)]
    assert lanes[2].stopped == [(5 * US, 10 * US)]


def test_lanes_of_neighbours_that_do_not_tell_are_those_that_stopped_them() -> None:
    silent = followed(
        port(1, L2, 1, 5), (2, L1, 1, 3, SampleKind.PAUSE_SENT, 1), (4, L1, 1, 3, SampleKind.PAUSE_SENT, 0)
    )
    lanes = lanes_of(silent, (0, 10 * US))
    assert [silent.label(lane.entity, lane.port) for lane in lanes] == ["l2:1 → c2", "l1:1 → c1"]
    assert lanes[1].sent == [(2 * US, 4 * US)]


def test_lanes_are_cut_to_the_window() -> None:
    assert [lane.stopped for lane in lanes_of(BLOCKED, (4 * US, 6 * US))][1] == [(4 * US, 6 * US)]


def test_victims_do_not_go_where_all_wait_for() -> None:
    assert hot_card(BLOCKED) == C2
    assert victims_of(messages(), C2, None).tolist() == [False, True, False, True]
    assert victims_of(messages(), C2, C1).tolist() == [False, False, False, True]


def test_timeline_draws_a_lane_for_each_port_and_all_messages() -> None:
    figure = timeline_figure(BLOCKED, messages(), (0, 10 * US), SOURCE)
    *lanes, points = figure.axes
    assert [lane.get_title(loc="left") for lane in lanes][:2] == ["l2:1 → c2", "s1:2 → l2"]
    assert lanes[1].get_title(loc="right") == "stopped once, 4.00 µs in all"
    drawn: list[Any] = list(points.collections)
    assert sorted(len(of.get_offsets()) for of in drawn) == [2, 2]
    assert points.get_xlim() == (0, 10)


def test_timeline_without_queue_or_message_is_drawn() -> None:
    only = followed((1, L1, 3, 3, SampleKind.PAUSE_RECEIVED, 1))
    source: Source = SOURCE
    assert len(timeline_figure(only, messages()[:0], (0, US * 2), source).axes) == 2
