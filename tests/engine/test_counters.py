"""Counters of switches and NICs: frames are conserved, and looking at them changes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from testbed.analysis.counter_names import MEANINGS, meaning_of, place_of
from testbed.analysis.counter_rows import Selection, rows_of
from testbed.analysis.counter_series import CounterSampler
from testbed.analysis.records import Records, canonical_order
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.run.join import join_records
from testbed.run.twin_cell import advance
from testbed.validate.plans import Data, Wire, card, closed, drained, finished, leaf_spine, records_of, star

UNTIL_PS = 40_000_000
MESSAGE_BYTES = 1000
HEADER_BYTES = 26
ACK_BYTES = 64

FEATURES: dict[str, dict[str, Any]] = {
    "drops": {"buffer_bytes": 30_000},
    "groups": {"buffer_bytes": 60_000, "ingress_alpha_log2": -3},
    "pauses": {
        "lossless_classes": 1 << 3,
        "headroom_bytes": [200_000] * 8,
        "buffer_bytes": 100_000,
        "pause_quanta": 1000,
    },
    "trimming": {"buffer_bytes": 30_000, "trim_bytes": 128, "trim_class": 6},
    "marks": {"ecn": [[3_000, 30_000, 500_000]] * 8},
}


def fan_in(feature: str, message_bytes: int = 8_000) -> Data:
    """Five cards to one, over two leaves and a spine."""
    config = {"rto_ps": 3 * 10**7, "retry_limit": 1000, "ack_latency_ps": 50_000}
    senders = [card(closed(0, message_bytes, until_ps=UNTIL_PS, window=16), **config) for _ in range(5)]
    return leaf_spine([card(**config), *senders], leaves=2, spines=1, **FEATURES[feature])


def summed(of_node: Mapping[str, int]) -> Counter[str]:
    """Over the ports of a node."""
    sums: Counter[str] = Counter()
    for key, value in of_node.items():
        place, name = place_of(key)
        if place.traffic_class is None:
            sums[name] += value
    return sums


@pytest.mark.parametrize("feature", FEATURES)
def test_frames_into_a_switch_are_those_out_of_it_and_those_dropped(feature: str) -> None:
    counters = drained(fan_in(feature)).counters()
    switches = [summed(of_node) for of_node in counters.values() if "no_route_discards" in of_node]
    assert len(switches) == 3
    for sums in switches:
        gone = sums["out_discards"] + sums["no_route_discards"]
        assert 0 < sums["in_unicast_packets"] == sums["out_unicast_packets"] + gone
        if feature != "trimming":
            assert sums["in_octets"] - 64 * sums["pause_frames_rx"] == (
                sums["out_octets"] - 64 * sums["pause_frames_tx"] + sums["out_discard_octets"]
            )
    total = sum(switches, Counter())
    fired = {"drops": "out_discards", "pauses": "pause_frames_tx", "groups": "out_discards"}
    if feature in fired:
        assert total[fired[feature]] > 0


@pytest.mark.parametrize("feature", FEATURES)
def test_what_one_end_of_a_link_sent_the_other_received(feature: str) -> None:
    data = fan_in(feature)
    counters, names = drained(data).counters(), [node["name"] for node in data["nodes"]]

    def ends(node: int, port: int) -> tuple[tuple[int, int], tuple[int, int]]:
        of_node, place = counters[names[node]], f"port{port}."
        if "tx_frames" in of_node:
            return (of_node["tx_frames"], of_node["tx_octets"]), (of_node["rx_frames"], of_node["rx_octets"])
        return (
            (of_node[f"{place}out_frames"], of_node[f"{place}out_octets"]),
            (of_node[f"{place}in_frames"], of_node[f"{place}in_octets"]),
        )

    for a, a_port, b, b_port, *_ in data["links"]:
        (a_sent, a_received), (b_sent, b_received) = ends(a, a_port), ends(b, b_port)
        assert (a_sent, b_sent) == (b_received, a_received)
        assert a_sent[0] > 0


def test_octets_are_those_of_the_records() -> None:
    cards = [card(), *(card(closed(0, MESSAGE_BYTES, until_ps=UNTIL_PS)) for _ in range(2))]
    twin = drained(star(cards))
    records, counters = records_of(twin), twin.counters()
    data_octets = len(records) * (MESSAGE_BYTES + HEADER_BYTES)
    assert counters["n0"]["rx_octets"] == counters["n3"]["port1.out_octets"] == data_octets
    assert counters["n3"]["port1.c3.out_octets"] + counters["n3"].get("port1.c7.out_octets", 0) == data_octets
    assert counters["n0"]["tx_octets"] == counters["n0"]["tx_acks"] * ACK_BYTES
    assert counters["n3"]["port1.in_unicast_packets"] == counters["n0"]["tx_acks"]


def test_control_and_damaged_frames_are_no_unicast_packets() -> None:
    lossy = Wire(options={"loss_base_2p64": 2**64 // 50})
    config = {"rto_ps": 3 * 10**7, "retry_limit": 1000}
    cards = [card(**config), card(closed(0, 4000, until_ps=UNTIL_PS), **config)]
    hub = drained(star(cards, wires=[Wire(), lossy])).counters()["n2"]
    assert hub["port2.fcs_errors"] > 0
    assert hub["port2.in_frames"] == hub["port2.in_unicast_packets"] + hub["port2.fcs_errors"]
    pausing = drained(fan_in("pauses")).counters()["n6"]
    assert pausing["port2.pause_frames_tx"] > 0
    assert (
        pausing["port2.out_frames"] == pausing["port2.out_unicast_packets"] + pausing["port2.pause_frames_tx"]
    )


def test_a_priority_group_s_discards_are_among_those_of_the_ports_they_were_for() -> None:
    counters = drained(fan_in("groups")).counters()
    rows = rows_of({"cell": counters}, Selection())
    refused = sum(row.value for row in rows if row.meaning.name == "pg_discards")
    dropped = sum(
        row.value for row in rows if row.meaning.name == "out_discards" and row.place.traffic_class is None
    )
    assert 0 < refused <= dropped
    queues = drained(fan_in("drops")).counters()
    assert not any(key.endswith("pg_discards") for of_node in queues.values() for key in of_node)


def test_marked_packets_are_counted_by_switch_and_receiver() -> None:
    counters = drained(fan_in("marks")).counters()
    rows = rows_of({"cell": counters}, Selection())
    marked = sum(row.value for row in rows if row.meaning.name == "ecn_marked")
    assert 0 < counters["n0"]["rx_ecn_marked"] <= marked


@pytest.mark.parametrize("feature", FEATURES)
def test_every_counter_has_a_meaning(feature: str) -> None:
    for of_node in finished(fan_in(feature)).counters().values():
        for key in of_node:
            assert meaning_of(key) in MEANINGS, key


def joined(twin: _engine.Twin) -> Records:
    """All messages of both halves."""
    return canonical_order(join_records([twin.tx_records()], [twin.rx_records()]))


@pytest.mark.parametrize("feature", ["drops", "pauses"])
@pytest.mark.parametrize("interval_ps", [200_000, 77_777])
def test_samples_are_exact_and_change_nothing(feature: str, interval_ps: int) -> None:
    data = fan_in(feature)
    plain, sampled = _engine.Twin(build_plan(data)), _engine.Twin(build_plan(data))
    sampler = CounterSampler(interval_ps, UNTIL_PS)
    advance(plain, cell_id="x", measure_until_ps=UNTIL_PS, tell=lambda *_: None)
    advance(sampled, cell_id="x", measure_until_ps=UNTIL_PS, tell=lambda *_: None, sampler=sampler)
    until_end, sampled_end = (joined(twin) for twin in (plain, sampled))
    assert len(until_end) > 100
    assert np.array_equal(until_end, sampled_end)
    table = sampler.table()
    assert set(np.diff(table.time_ps)) == {table.interval_ps}
    assert table.interval_ps in (interval_ps, 2 * interval_ps)
    assert UNTIL_PS // interval_ps <= len(table.time_ps) <= 2 * UNTIL_PS // interval_ps + 1
    other = _engine.Twin(build_plan(data))
    for column in (1, len(table.time_ps) // 2, len(table.time_ps) - 1):
        other.run(int(table.time_ps[column]))
        now = other.counters()
        for (node, key), value in zip(table.counters, table.values[:, column], strict=True):
            assert now[node].get(key, 0) == value, (node, key)
