"""Marking: which frame exactly, judged when it comes or when it leaves, and that the mark reaches the records."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.engine import _engine
from testbed.validate.plans import Data, card, finished, one_message, records_of, star
from tests.engine.stations import MARKED, Station, data_frame, served, train

SLOW_PS = 2000
FRAMES = 11
"""Frame 0 cuts through; of the others, frame n finds n - 1 waiting when it comes and leaves 10 - n behind it."""


def marked(count: int = FRAMES, *, traffic_class: int = 3, **config: Any) -> list[int]:
    """Frames of a burst that were marked."""
    sink = Station(byte_ps=SLOW_PS)
    counters = served([Station(sends=train(0, 1, count, traffic_class=traffic_class)), sink], **config)
    found = [one.frame.psn for one in sink.data if one.frame.flags & MARKED]
    assert counters.get(f"port2.c{traffic_class}.ecn_marked", 0) == len(found)
    return found


def curve(kmin: int, kmax: int, ppm: int = 0, *, c: int = 3) -> list[list[int]]:
    return [[kmin, kmax, ppm] if number == c else [0, 0, 0] for number in range(8)]


@pytest.mark.parametrize("waiting", [0, 1, 4, 9, 10])
def test_step_on_leaving_marks_the_frames_with_more_than_k_waiting(waiting: int) -> None:
    # Frame n is the first of 11 - n waiting when it leaves, itself among them.
    k = max(1, 1000 * waiting)
    expected = [n for n in range(1, FRAMES) if (FRAMES - n) * 1000 > k]
    assert marked(ecn=curve(k, k, 10**6)) == expected


@pytest.mark.parametrize("waiting", [0, 1, 4, 9, 10])
def test_step_on_coming_marks_the_frames_that_find_more_than_k(waiting: int) -> None:
    k = max(1, 1000 * waiting)
    expected = [n for n in range(1, FRAMES) if (n - 1) * 1000 > k]
    assert marked(ecn=curve(k, k, 10**6), ecn_at_enqueue=True) == expected


def test_curve_never_marks_up_to_kmin_and_always_beyond_kmax() -> None:
    assert marked(ecn=curve(3_000, 7_000, 0)) == [1, 2, 3]
    assert marked(ecn=curve(3_000, 7_000, 0), ecn_at_enqueue=True) == [9, 10]


def test_curve_in_between_marks_some_and_the_same_ones_each_time() -> None:
    first = marked(200, ecn=curve(0, 200_000, 500_000))
    assert 20 < len(first) < 80
    assert first == marked(200, ecn=curve(0, 200_000, 500_000))
    assert first != marked(200, ecn=curve(0, 200_000, 500_000), seed=2)


def test_class_without_a_curve_is_not_marked() -> None:
    assert marked(ecn=curve(1, 1, 10**6, c=4)) == []
    assert marked(traffic_class=4, ecn=curve(1, 1, 10**6, c=4)) == list(range(1, FRAMES))


def test_depth_is_that_of_the_class_alone() -> None:
    other = Station(sends=train(2, 1, 10, traffic_class=5, psn=100))
    sink = Station(byte_ps=SLOW_PS)
    served([Station(sends=train(0, 1, 3)), sink, other], ecn=curve(2_500, 2_500, 10**6))
    assert [one.frame.psn for one in sink.data if one.frame.flags & MARKED] == []


def test_mark_once_made_is_not_taken_away() -> None:
    sink = Station()
    served([Station(sends=[(0, data_frame(0, 1, flags=3 | MARKED))]), sink], ecn=curve(1, 1, 10**6))
    assert sink.data[0].frame.flags & MARKED


def incast(wire_format: str, ecn: list[list[int]]) -> Data:
    sources = [card(one_message(0, 4 * 4096), wire_format=wire_format) for _ in range(5)]
    return star([card(wire_format=wire_format), *sources], ecn=ecn)


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_marks_reach_the_records_of_their_messages(wire_format: str) -> None:
    twin = finished(incast(wire_format, curve(1, 1, 10**6)))
    records, counters = records_of(twin), twin.counters()["n6"]
    assert (
        int(records["marks"].sum()) == counters["port1.c3.ecn_marked"] == 19
    )  # all but the one that cut through
    assert not records_of(finished(incast(wire_format, curve(10**9, 10**9, 10**6))))["marks"].any()


def test_marks_do_not_change_the_times() -> None:
    names = ["posted_ps", "first_byte_ps", "delivered_ps", "completed_ps", "retransmits"]
    on, off = (records_of(finished(incast("thin", ecn))) for ecn in (curve(1, 1, 10**6), []))
    assert on[names].tolist() == off[names].tolist()


def test_mark_on_real_bytes_is_congestion_experienced() -> None:
    frame = data_frame(0, 1, 1000, format=_engine.WireFormat.ROCE_V2, flags=MARKED, dscp=26)
    frame.payload_bytes = 936
    assert _engine.encode(frame)[15] == 26 << 2 | 3
