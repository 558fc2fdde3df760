"""When links have no carrier, and what their ports make of it, against times worked out by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.controller.carrier import CarrierEvent, carrier_events, port_events, union, unusable_spans
from testbed.spec.fabric import FOREVER_PS, Fabric
from testbed.spec.failures import parse_failures
from topologies import build_fabric

US = 10**6


@pytest.fixture(scope="module")
def fabric() -> Fabric:
    """Cards c1 to c4, two on each leaf; links 4 to 7 are l1-s1, l1-s2, l2-s1, l2-s2."""
    found = build_fabric("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4})
    assert [(link.a, link.b) for link in found.links[4:]] == [
        ("l1", "s1"),
        ("l1", "s2"),
        ("l2", "s1"),
        ("l2", "s2"),
    ]
    return found


def in_short(events: Sequence[CarrierEvent]) -> list[tuple[int, int, bool]]:
    return [(event.time_ps // US, event.link, event.up) for event in events]


@pytest.mark.parametrize("way", ["l1<>s1", "l1>s1", "s1>l1", "l1.3<>s1"])
def test_link_down_in_any_direction_takes_the_carrier_of_the_link(fabric: Fabric, way: str) -> None:
    events = carrier_events(fabric, parse_failures([f"{way}@100us-300us:down"]))
    assert in_short(events) == [(100, 4, False), (300, 4, True)]


def test_link_down_for_good_has_no_return(fabric: Fabric) -> None:
    assert in_short(carrier_events(fabric, parse_failures(["l2<>s2@100us:down"]))) == [(100, 7, False)]


def test_flapping_link_goes_down_and_up_each_time(fabric: Fabric) -> None:
    events = carrier_events(fabric, parse_failures(["l1<>s1@100us-110us/1ms*2:down"]))
    assert in_short(events) == [(100, 4, False), (110, 4, True), (1100, 4, False), (1110, 4, True)]


def test_restart_takes_the_carrier_of_all_links_of_the_node(fabric: Fabric) -> None:
    assert in_short(carrier_events(fabric, parse_failures(["s2@1us-9us:restart"]))) == [
        (1, 5, False),
        (1, 7, False),
        (9, 5, True),
        (9, 7, True),
    ]
    assert in_short(carrier_events(fabric, parse_failures(["c3@1us-9us:restart"]))) == [
        (1, 2, False),
        (9, 2, True),
    ]


def test_link_that_two_failures_take_down_is_up_when_both_are_over(fabric: Fabric) -> None:
    texts = [
        "l1<>s1@100us-300us:down",
        "s1>l1@200us-250us:down",
        "l1@300us-400us:restart",
        "l1<>s1@500us-501us:down",
    ]
    events = [event for event in in_short(carrier_events(fabric, parse_failures(texts))) if event[1] == 4]
    assert events == [(100, 4, False), (400, 4, True), (500, 4, False), (501, 4, True)]


@pytest.mark.parametrize(
    "text",
    [
        "l1<>s1@1us-9us:loss=100%",
        "l1<>s1@1us:ber=1e-6",
        "l1<>s1@1us-9us:rate=1Gbps",
        "l1<>s1@1us-9us:delay=1us",
        "c1@5us:process",
        "controller@1us-9us:lost",
    ],
)
def test_silent_failures_leave_the_carrier(fabric: Fabric, text: str) -> None:
    assert carrier_events(fabric, parse_failures([text])) == ()


def test_parallel_links_go_down_together_or_by_port() -> None:
    fabric = build_fabric("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4, "uplink_links": 2})
    port = {index: (link.a, link.a_port, link.b) for index, link in enumerate(fabric.links)}
    both = carrier_events(fabric, parse_failures(["l1>s1@1us:down"]))
    assert [port[event.link] for event in both] == [("l1", 3, "s1"), ("l1", 4, "s1")]
    one = carrier_events(fabric, parse_failures(["l1.4>s1@1us:down"]))
    assert [port[event.link] for event in one] == [("l1", 4, "s1")]


def test_ports_know_after_detection_and_are_up_again_after_link_up(fabric: Fabric) -> None:
    failures = parse_failures(["l1<>s1@100us-300us:down"])
    events = port_events(fabric, failures, detection_ps=10 * US, link_up_ps=20 * US)
    assert in_short(events) == [(110, 4, False), (320, 4, True)]


@pytest.mark.parametrize(
    ("dark", "expected"),
    [
        ([(100, 109)], [(100, 109, False)]),  # shorter than detection
        ([(100, 110)], [(100, 130, True)]),
        ([(100, 120), (130, 131)], [(100, 151, True)]),  # the port was not up again
        ([(100, 120), (139, 160), (179, 300)], [(100, 320, True)]),
        ([(100, 120), (140, 141)], [(100, 140, True), (140, 141, False)]),  # it was, and did not notice
        ([(100, 105), (107, 112)], [(100, 105, False), (107, 112, False)]),  # each is shorter
        ([(100, FOREVER_PS)], [(100, FOREVER_PS, True)]),
    ],
)
def test_link_is_of_no_use_until_its_ports_are_up(
    dark: list[tuple[int, int]], expected: list[tuple[int, int, bool]]
) -> None:
    assert list(unusable_spans(dark, detection_ps=10, link_up_ps=20)) == expected


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=8))
def test_union_covers_exactly_what_any_span_does(spans: list[tuple[int, int]]) -> None:
    whole = [(start, start + length) for start, length in spans]
    merged = union(whole)
    covered = {at for start, end in whole for at in range(start, end)}
    assert {at for start, end in merged for at in range(start, end)} == covered
    assert sum(end - start for start, end in merged) == len(covered)
    assert all(one[1] < other[0] for one, other in itertools.pairwise(merged))
