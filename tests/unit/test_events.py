from __future__ import annotations

import re

import pytest

from testbed.analysis.events import EVENTS, events_of

COUNTERS = {
    "c1": {"tx_retransmits": 9},
    "l1": {
        "port1.out_discards": 3,
        "port1.c3.out_discards": 3,  # the same frames, by class
        "port12.c0.out_discards": 1,
        "port12.out_discards": 1,
        "port2.c3.ecn_marked": 5,
        "port2.c3.pfc_tx": 2,
        "port2.c3.pfc_rx": 7,
        "port2.c3.pause_tx_ps": 800,
        "port2.c3.pause_rx_ps": 900,
        "port2.out_discard_octets": 4_000,
        "no_route_discards": 0,
    },
    "s1": {"port1.c3.pfc_tx": 1, "port1.c3.pause_tx_ps": 50, "port1.c2.trimmed": 0, "no_route_discards": 2},
}


def test_events_are_summed_over_ports_and_nodes_each_once() -> None:
    assert events_of(COUNTERS) == {"discards": 6, "ecn_marked": 5, "pause_frames": 3, "pause_ps": 850}


def test_events_of_a_cell_in_which_nothing_happened_are_none() -> None:
    assert events_of({"l1": {"port1.out_discards": 0, "port1.in_frames": 10}}) == {}


@pytest.mark.parametrize("name", sorted({name for of_node in COUNTERS.values() for name in of_node}))
def test_counter_is_at_most_one_event(name: str) -> None:
    assert sum(re.fullmatch(pattern, name) is not None for pattern in EVENTS.values()) <= 1
