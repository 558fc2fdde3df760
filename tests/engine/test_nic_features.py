"""What a NIC can do beside putting a message: gets, signals, shared packets, several cards, collectives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.run.join import TX_DTYPE
from testbed.validate.plans import (
    Data,
    Wire,
    card,
    chain,
    closed,
    drained,
    finished,
    one_message,
    plan,
    poisson,
    records_of,
    run,
    stage,
    star,
)
from tests.engine.two_cards import (
    AT,
    BYTE_PS,
    NOTIFY,
    POST,
    READ,
    RECEIVE,
    WIRE,
    latency_ps,
    nic,
    on_wire_ps,
    pair,
)


@pytest.mark.parametrize("message_bytes", [1, 1000, 4096])
def test_get_idle_takes_the_request_one_way_and_the_data_back(message_bytes: int) -> None:
    load = one_message(1, message_bytes) | {"op": "GET_REQUEST"}
    there = POST + READ + on_wire_ps(26 + 4)
    back = READ + on_wire_ps(26 + message_bytes) + RECEIVE + NOTIFY
    records = run(pair(load))
    assert latency_ps(records) == there + back
    assert (records["src"][0], records["dst"][0], records["message_bytes"][0]) == (0, 1, message_bytes)


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_gets_of_many_packets_through_loss_are_each_answered_once(wire_format: str) -> None:
    load = closed(1, 50_000, until_ps=2 * 10**9) | {"op": "GET_REQUEST"}
    config = {"wire_format": wire_format, "rto_ps": 20_000_000, "retry_limit": 1000}
    wire = Wire(options={"loss_base_2p64": 2**64 // 200})
    twin = drained(chain(card(load, **config), card(**config), [wire]))
    records = records_of(twin)
    assert len(records) > 500
    assert twin.counters()["n1"]["tx_retransmits"] > 0
    assert twin.frames_in_use == 0


def test_put_with_signal_takes_one_signal_longer_than_a_put() -> None:
    stages = {**AT, "signal": [stage(33_000)]}
    took = {
        op: latency_ps(run(chain(card(one_message(1, 100) | {"op": op}, at=stages), card(at=stages), [WIRE])))
        for op in ("PUT", "PUT_SIGNAL")
    }
    assert took["PUT_SIGNAL"] - took["PUT"] == 33_000


# --------------------------------------------------------------------------------------------- shared packets

SHARE = {"batch_bytes": 1024, "batch_header_bytes": 4}


def at_rest(data: Data) -> _engine.Twin:
    """Long after the measured messages, and before the one that ends the run."""
    twin = _engine.Twin(build_plan(data))
    twin.run(10**11)
    return twin


def posted_together(count: int, message_bytes: int = 64) -> Data:
    return one_message(1, message_bytes) | {"batch": count}


def test_batch_posted_at_once_waits_for_nothing_and_shares_packets() -> None:
    twin = at_rest(pair(posted_together(17), sends=SHARE | {"batch_delay_ps": 5_000_000}))
    records, counters = records_of(twin), twin.counters()["n0"]
    assert len(records) == 17
    # 16 messages of 64 B fill a packet and leave at once; the 17th waits as long as it may, and travels alone.
    full = POST + READ + on_wire_ps(26 + 16 * 68) + RECEIVE + NOTIFY
    alone = POST + 5_000_000 + READ + on_wire_ps(26 + 64) + RECEIVE + NOTIFY
    took = np.sort(records["completed_ps"] - records["intended_ps"])
    assert took[:16].tolist() == [full] * 16
    assert took[16] == alone
    assert (counters["tx_packets"], counters["tx_shared_packets"]) == (2, 1)


def test_batching_never_delays_a_message_by_more_than_its_bound() -> None:
    bound_ps = 700_000
    load = poisson(1, 64, interval_ps=400_000, until_ps=4 * 10**8)
    alone = latency_ps(run(pair(one_message(1, 64), sends=SHARE)))
    twin = finished(pair(load, sends=SHARE | {"batch_delay_ps": bound_ps}))
    records = records_of(twin)
    late = records["completed_ps"] - records["intended_ps"]
    longest_frame_ps = (26 + 1024 + 16 * 4) * BYTE_PS
    assert len(records) > 900
    assert late.min() >= alone
    assert late.max() <= alone + bound_ps + longest_frame_ps
    assert twin.counters()["n0"]["tx_packets"] < 0.6 * len(records)


def test_batching_without_delay_shares_only_what_has_to_wait() -> None:
    slow = {"tx_depth_pkts": 1}
    idle = at_rest(pair(posted_together(1), sends=SHARE | slow))
    busy = at_rest(pair(posted_together(64), sends=SHARE | slow))
    assert idle.counters()["n0"]["tx_shared_packets"] == 0
    assert latency_ps(records_of(idle)) == POST + READ + on_wire_ps(26 + 64) + RECEIVE + NOTIFY
    assert busy.counters()["n0"]["tx_packets"] == 1 + 4  # the first alone, then 16, 16, 16 and 15
    assert len(records_of(busy)) == 64


def test_shared_packets_through_loss_deliver_every_message_once() -> None:
    load = closed(1, 100, until_ps=10**9, window=64)
    config = SHARE | {"rto_ps": 20_000_000, "retry_limit": 1000, "tx_depth_pkts": 2}
    wire = Wire(options={"loss_base_2p64": 2**64 // 50})
    for reliability in ("selective", "go_back_n"):
        own = config | {"reliability": reliability}
        twin = drained(chain(card(load, **own), card(**own), [wire]))
        records = records_of(twin)
        tx = np.frombuffer(twin.tx_records(), TX_DTYPE)
        assert tx["acked"].all()
        assert len(records) > 3000
        assert twin.counters()["n0"]["tx_shared_packets"] > 20
        assert records["retransmits"].sum() > 10


# ----------------------------------------------------------------------------------------------- several cards


def server(workloads: list[Data], at: dict[str, list[Data]] | None = None, **config: Any) -> Data:
    """A NIC with a card for each workload."""
    node = card(None, at=at if at is not None else AT, cards=len(workloads), **config)
    node["workloads"] = workloads
    del node["workload"]
    return node


def two_servers(first: list[Data], second: list[Data] | None = None, **more: Any) -> Data:
    others: list[Data] = second or [{} for _ in first]
    return plan([server(first, **more), server(others, **more)], [(0, 0, 1, 0, WIRE)])


def test_message_between_servers_takes_as_long_for_each_card() -> None:
    own = {**AT, "send": [stage(200_000, per_card=True), stage(100_000)]}
    for sender in range(4):
        for receiver in range(4, 8):
            loads: list[Data] = [{} for _ in range(4)]
            loads[sender] = one_message(receiver, 1000)
            records = run(two_servers(loads, at=own))
            assert latency_ps(records) == POST + READ + on_wire_ps(1026) + RECEIVE + NOTIFY
            assert (records["src"][0], records["dst"][0]) == (sender, receiver)


def test_neighbours_use_the_bridge_and_the_others_the_local_path() -> None:
    at = {**AT, "bridge": [stage(115_000, per_kib_ps=2_000)], "local": [stage(500_000, per_kib_ps=18_000)]}
    took = {}
    for receiver in (1, 2, 3):
        loads: list[Data] = [one_message(receiver, 2048), {}, {}, {}]
        twin = finished(two_servers(loads, at=at))
        took[receiver] = latency_ps(records_of(twin))
        assert twin.counters()["n0"]["tx_packets"] == 0
    assert took[1] == POST + 115_000 + 2 * 2_000 + NOTIFY
    assert took[2] == took[3] == POST + 500_000 + 2 * 18_000 + NOTIFY


def test_closed_loop_between_neighbours_ends_when_its_messages_are_measured() -> None:
    load = {
        "arrivals": "CLOSED",
        "destinations": [1],
        "message_bytes": 64,
        "window": 2,
        "measure_until_ps": 10**7,
    }
    records = run(two_servers([load, {}], at={**AT, "local": [stage(500_000)]}))
    assert len(records) == 2 * -(-(10**7) // (POST + 500_000))


def test_cards_share_a_stage_of_the_nic_and_not_their_own() -> None:
    per_kib_ps = 50_000

    def finish_ps(cards: int, *, per_card: bool) -> int:
        slow = stage(per_kib_ps=per_kib_ps, per_card=per_card)
        loads = [one_message(cards + number, 64 * 4096) for number in range(cards)]
        records = run(two_servers(loads, at={"send": [slow]}, tx_depth_pkts=64))
        return int(records["completed_ps"].max())

    # A stage of 50 ns/KiB is slower than the wire, which takes 20.5 ns/KiB and headers.
    assert finish_ps(1, per_card=False) == 64 * 4 * per_kib_ps + on_wire_ps(4096 + 26)
    assert finish_ps(2, per_card=False) == pytest.approx(2 * finish_ps(1, per_card=False), rel=0.01)
    assert finish_ps(2, per_card=True) == pytest.approx(finish_ps(1, per_card=True), rel=0.01)
    wire_bound_ps = 4 * 64 * (4096 + 46) * BYTE_PS
    assert finish_ps(4, per_card=True) == pytest.approx(wire_bound_ps, rel=0.02)


def test_dma_engines_serve_as_many_items_at_once_as_there_are() -> None:
    def finish_ps(servers: int) -> int:
        slow = stage(occupancy_ps=1_000_000, servers=servers)
        data = chain(card(one_message(1, 12 * 4096), at={"send": [slow]}), card(), [WIRE])
        return int(run(data)["completed_ps"].max())

    last_bit_ps = on_wire_ps(4096 + 26)
    assert [finish_ps(servers) - last_bit_ps for servers in (1, 2, 3, 4)] == [
        12_000_000,
        6_000_000 + 4142 * BYTE_PS,  # of two that are read at once the second waits for the wire
        4_000_000 + 2 * 4142 * BYTE_PS,
        3_000_000 + 3 * 4142 * BYTE_PS,
    ]


@pytest.mark.parametrize("arrivals", ["PERIODIC", "POISSON", "CLOSED"])
def test_all_cards_to_all_others_deliver_every_message_once(arrivals: str) -> None:
    at = {**AT, "bridge": [stage(115_000)], "local": [stage(500_000)]}
    loads = [
        {
            "arrivals": arrivals,
            "others_of": 8,
            "message_bytes": 10_000,
            "interval_ps": 2_000_000,
            "measure_until_ps": 4 * 10**8,
            "window": 3,
        }
        for _ in range(4)
    ]
    twin = (
        drained(two_servers(loads, loads, at=at))
        if arrivals == "CLOSED"
        else finished(two_servers(loads, loads, at=at))
    )
    records = records_of(twin)
    assert set(records["src"].tolist()) == set(records["dst"].tolist()) == set(range(8))
    assert (records["src"] != records["dst"]).all()
    assert len(records) > 1000


# ------------------------------------------------------------------------------------------------- collectives


def barrier(cards: int, *, interval_ps: int, until_ps: int) -> Data:
    """A dissemination barrier: in round r every card tells the one 2^r further on."""
    steps = [1 << r for r in range((cards - 1).bit_length())]
    loads = [
        {
            "arrivals": "ROUNDS",
            "destinations": [(own + step) % cards for step in steps]
            + [(own - step) % cards for step in steps],
            "op": "PUT_SIGNAL",
            "message_bytes": 8,
            "interval_ps": interval_ps,
            "measure_until_ps": until_ps,
        }
        for own in range(cards)
    ]
    return star([nic(load) for load in loads], wires=[WIRE] * cards)


@pytest.mark.parametrize(("cards", "rounds"), [(2, 1), (3, 2), (4, 2), (8, 3), (13, 4)])
def test_barrier_takes_a_one_way_latency_for_each_round(cards: int, rounds: int) -> None:
    records = run(barrier(cards, interval_ps=10**8, until_ps=1))
    one_way_ps = POST + READ + on_wire_ps(64) + WIRE.latency_ps + RECEIVE + NOTIFY
    first = records[records["intended_ps"] == 0]
    assert len(first) == cards
    assert (first["completed_ps"] == one_way_ps).all()
    whole = run(barrier(cards, interval_ps=10**8, until_ps=rounds * one_way_ps))
    assert len(whole) == cards * rounds
    assert int(whole["completed_ps"].max()) == rounds * one_way_ps


def test_barriers_that_come_too_fast_wait_for_the_one_before() -> None:
    one_way_ps = POST + READ + on_wire_ps(64) + WIRE.latency_ps + RECEIVE + NOTIFY
    records = np.sort(run(barrier(8, interval_ps=one_way_ps, until_ps=30 * one_way_ps)), order="seq")
    begins = records[records["seq"] % 3 == 0]
    late = (begins["completed_ps"] - begins["intended_ps"]).astype(np.int64)
    instance = (begins["seq"] // 3).astype(np.int64)
    assert instance.max() > 5
    assert (late == one_way_ps + instance * (3 - 1) * one_way_ps).all()


def test_ring_takes_a_one_way_latency_for_each_of_its_steps() -> None:
    cards, steps = 5, 2 * (5 - 1)
    loads = [
        {
            "arrivals": "ROUNDS",
            "destinations": [(own + 1) % cards] * steps + [(own - 1) % cards] * steps,
            "message_bytes": 1000,
            "interval_ps": 10**9,
            "measure_until_ps": 5 * 10**8,
        }
        for own in range(cards)
    ]
    records = run(star([nic(load) for load in loads], wires=[WIRE] * cards))
    one_way_ps = POST + READ + on_wire_ps(1026) + WIRE.latency_ps + RECEIVE + NOTIFY
    assert len(records) == cards * steps
    assert int(records["completed_ps"].max()) == steps * one_way_ps


@pytest.mark.parametrize(("size_bytes", "together"), [(64, 8), (1024, 4), (4096, 1)])
def test_packets_between_scheduler_and_wire_are_bounded_in_number_and_in_bytes(
    size_bytes: int, together: int
) -> None:
    config = {"tx_depth_pkts": 8, "tx_depth_bytes": 4096, "window_pkts": 64}
    load = {
        "arrivals": "PERIODIC",
        "destinations": [1],
        "message_bytes": size_bytes,
        "interval_ps": 10**9,
        "measure_until_ps": 10**9,
        "batch": 24,
    }
    records = run(pair(load, sends=config))
    first = np.sort(records["first_byte_ps"])
    assert len(first) == 24
    assert np.count_nonzero(first - first[0] < READ) == together  # the next wait until these are on the wire
