"""What a NIC can do beside putting a message: gets, signals, shared packets, several cards, probes, pacing, order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.analysis.records import Records
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import MeasurementError
from testbed.run.join import RX_DTYPE, TX_DTYPE, join_records
from testbed.validate.plans import (
    FOREVER_PS,
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

WIRE = Wire(latency_ps=100_000)
BYTE_PS = 20
PREAMBLE = 8
POST, READ, RECEIVE, NOTIFY, ACK = 50_000, 300_000, 200_000, 25_000, 40_000
AT = {
    "post": [stage(POST)],
    "send": [stage(READ)],
    "receive": [stage(RECEIVE)],
    "notify": [stage(NOTIFY)],
}


def on_wire_ps(frame_bytes: int) -> int:
    return (max(64, frame_bytes) + PREAMBLE) * BYTE_PS + WIRE.latency_ps


def nic(workload: Data | None = None, **config: Any) -> Data:
    return card(workload, at=AT, **({"ack_latency_ps": ACK} | config))


def pair(workload: Data, *, sends: Data | None = None, takes: Data | None = None, seed: int = 1) -> Data:
    """Card 0 sends to card 1 over one wire."""
    return chain(nic(workload, **(sends or {})), nic(**(takes or sends or {})), [WIRE], seed=seed)


def latency_ps(records: Records) -> int:
    assert len(records) == 1
    return int(records["completed_ps"][0] - records["intended_ps"][0])


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


# ------------------------------------------------------------------------------- reliability, order, congestion


def first_lost(until_ps: int) -> Wire:
    """A wire on which all is lost that leaves card 0 before a time."""
    return Wire(options={"faults": [[0, 0, until_ps, 2**64 - 1]]})


def test_tail_loss_probe_repairs_a_lost_last_packet_long_before_the_time_out() -> None:
    departs_ps = POST + READ
    common = {"rto_ps": 100_000_000, "ack_latency_ps": ACK}
    load = one_message(1, 100)
    wire = first_lost(departs_ps + 1)
    slow = run(chain(card(load, at=AT, **common), card(at=AT, **common), [wire]))
    probing = common | {"tlp_ps": 5_000_000}
    twin = finished(chain(card(load, at=AT, **probing), card(at=AT, **probing), [wire]))
    fast = records_of(twin)
    unhurt = departs_ps + on_wire_ps(126) + RECEIVE + NOTIFY
    assert latency_ps(slow) == unhurt + 100_000_000
    assert latency_ps(fast) == unhurt + 5_000_000
    assert twin.counters()["n0"]["tx_probes"] == 1
    assert twin.counters()["n0"]["tx_timeouts"] == 0


def silences(*starts_ps: int) -> Wire:
    """A wire on which all is lost that leaves card 0 in some times, each longer than what is in flight."""
    return Wire(options={"faults": [[0, at, at + 2_000_000, 2**64 - 1] for at in starts_ps]})


LONG = one_message(1, 400 * 4096)
NARROW: Data = {"window_pkts": 4, "ack_every_pkts": 1}


def test_each_of_several_losses_has_a_probe_of_its_own() -> None:
    """The first probe puts the time-out off; what is lost after it must not wait for that."""
    config: Data = NARROW | {"rto_ps": 100_000_000, "tlp_ps": 5_000_000}
    wire = silences(8_000_000, 21_000_000, 34_000_000)
    alone_ps = latency_ps(run(chain(card(LONG, **config), card(**config), [WIRE])))
    twin = finished(chain(card(LONG, **config), card(**config), [wire]))
    assert twin.counters()["n0"]["tx_probes"] == 3
    assert twin.counters()["n0"]["tx_timeouts"] == 0
    assert latency_ps(records_of(twin)) < alone_ps + 3 * 7_000_000


def test_time_out_behind_one_that_had_doubled_is_short_again() -> None:
    rto_ps = 10_000_000
    config: Data = NARROW | {"rto_ps": rto_ps, "retry_limit": 20, "nacks": False}
    back_ps = (1 + 2 + 4 + 8 + 16) * rto_ps
    wire = silences(*range(0, 20 * rto_ps, 2_000_000), back_ps + 15_000_000)
    alone_ps = latency_ps(run(chain(card(LONG, **config), card(**config), [WIRE])))
    twin = finished(chain(card(LONG, **config), card(**config), [wire]))
    assert twin.counters()["n0"]["tx_timeouts"] == 6
    assert latency_ps(records_of(twin)) < back_ps + alone_ps + 2 * rto_ps


def test_probe_sends_the_hole_that_the_reorder_window_still_waits_for() -> None:
    config: Data = {"rto_ps": 100_000_000, "tlp_ps": 5_000_000, "reorder_window_pkts": 32}
    sixth_ps = 5 * 4142 * BYTE_PS
    wire = Wire(options={"faults": [[0, sixth_ps - 100, sixth_ps + 100, 2**64 - 1]]})
    load = one_message(1, 16 * 4096)
    alone_ps = latency_ps(run(chain(card(load, **config), card(**config), [WIRE])))
    twin = finished(chain(card(load, **config), card(**config), [wire]))
    counters = twin.counters()["n0"]
    assert (counters["tx_probes"], counters["tx_retransmits"], counters["tx_timeouts"]) == (1, 1, 0)
    assert latency_ps(records_of(twin)) < alone_ps + 6_000_000


def test_send_without_a_receive_is_told_so_and_comes_again() -> None:
    at = {**AT, "notify": [stage(10_000_000)]}  # slow software: the receive is posted again 10 us later
    config: Data = {
        "wire_format": "rocev2",
        "receive_depth": 2,
        "rnr_timer_ps": 4_000_000,
        "rnr_retry_limit": 7,
        "rto_ps": 10**9,
    }
    load = one_message(1, 5000) | {"op": "SEND", "batch": 5}
    twin = finished(chain(card(load, at=at, **config), card(at=at, **config), [WIRE]))
    records, counters = records_of(twin), twin.counters()
    assert len(records) == 5
    assert counters["n1"]["tx_not_ready"] == counters["n0"]["rx_not_ready"] > 2
    assert counters["n0"]["tx_timeouts"] == 0
    plenty = config | {"receive_depth": 5}
    twin = finished(chain(card(load, at=at, **plenty), card(at=at, **plenty), [WIRE]))
    assert twin.counters()["n1"]["tx_not_ready"] == 0


def test_send_that_never_finds_a_receive_gives_up_by_name() -> None:
    at = {**AT, "notify": [stage(10**10)]}
    config: Data = {
        "wire_format": "rocev2",
        "receive_depth": 1,
        "rnr_timer_ps": 4_000_000,
        "rnr_retry_limit": 3,
    }
    load = one_message(1, 100) | {"op": "SEND", "batch": 2}
    twin = _engine.Twin(build_plan(chain(card(load, at=at, **config), card(at=at, **config), [WIRE])))
    with pytest.raises(_engine.StreamError, match="n0 -> card 1 found no receive posted, 3 retries"):
        twin.run(FOREVER_PS)


@pytest.mark.parametrize("ordered", [False, True])
def test_messages_complete_in_order_only_where_that_is_asked_for(ordered: bool) -> None:
    load = poisson(1, 3000, interval_ps=200_000, until_ps=4 * 10**8)
    config = {"ordered": ordered, "rto_ps": 20_000_000, "retry_limit": 100}
    wire = Wire(options={"loss_base_2p64": 2**64 // 100})
    records = run(chain(card(load, at=AT, **config), card(at=AT, **config), [wire]))
    in_order = np.sort(records, order="seq")["completed_ps"]
    backwards = (in_order[1:] < in_order[:-1]).any()
    assert records["retransmits"].any()
    assert backwards != ordered


def test_unreliable_stream_loses_what_the_wire_loses_and_sends_nothing_again() -> None:
    load = poisson(1, 3000, interval_ps=200_000, until_ps=4 * 10**8)
    config = {"reliability": "unreliable", "rto_ps": 20_000_000}
    wire = Wire(options={"loss_base_2p64": 2**64 // 20})
    twin = finished(chain(card(load, at=AT, **config), card(at=AT, **config), [wire]))
    sent, counters = len(twin.tx_records()) // TX_DTYPE.itemsize, twin.counters()
    records = join_records([twin.tx_records()], [twin.rx_records()], lossy=True)
    assert 0.03 < 1 - len(records) / sent < 0.07
    assert counters["n0"]["tx_retransmits"] == counters["n1"]["tx_acks"] == 0
    assert counters["n0"]["tx_messages"] - counters["n1"]["rx_messages"] >= counters["n1"]["rx_fcs_errors"]
    with pytest.raises(MeasurementError, match="was never delivered"):
        records_of(twin)


def test_window_of_congestion_control_bounds_what_is_in_flight() -> None:
    window = 3 * 4096
    config = {
        "congestion": "fixed_window",
        "congestion_parameters": {"window_bytes": window},
        "ack_every_pkts": 1,
        "ack_latency_ps": ACK,
    }
    load = closed(1, 4096, until_ps=10**9, window=64)
    records = records_of(drained(chain(card(load, at=AT, **config), card(at=AT, **config), [WIRE])))
    round_trip_ps = READ + on_wire_ps(4122) + ACK + on_wire_ps(64)
    duration_ps = int(records["completed_ps"].max())
    assert len(records) * 4096 / duration_ps == pytest.approx(window / round_trip_ps, rel=0.02)


def test_unknown_parts_and_parameters_are_refused() -> None:
    for config, words in (
        ({"reliability": "hopeful"}, "no part is called 'hopeful'"),
        ({"congestion": "none"}, "no part is called 'none'"),
        ({"congestion": "fixed_window"}, "fixed_window needs window_bytes"),
        ({"congestion": "fixed_window", "congestion_parameters": {"window_bytes": 1, "x": 1}}, "has no x"),
        ({"paths": 4}, "only a format with UDP ports"),
        ({"cards": 5}, "1 to 4 cards"),
        ({"tlp_ps": 10**9}, "probe comes before"),
        ({"receive_depth": 1}, "go-back-N only"),
    ):
        with pytest.raises(ValueError, match=words):
            build_plan(pair(one_message(1, 64), sends=config))


def test_acknowledgements_that_overtake_each_other_take_nothing_back() -> None:
    """A window in bytes counts each packet once, or a stream with a small one stands still for ever."""
    config: Data = {
        "congestion": "fixed_window",
        "congestion_parameters": {"window_bytes": 12 * 4096},
        "ack_every_pkts": 1,
        "rto_ps": 20_000_000,
        "tlp_ps": 4_000_000,
        "retry_limit": 7,
    }
    wire = Wire(
        options={
            "loss_base_2p64": 2**64 // 20,
            "reorder_2p64": 2**64 // 10,
            "reorder_delay_ps": 3_000_000,
        }
    )
    load = closed(1, 100_000, until_ps=2 * 10**10, window=8)
    twin = drained(chain(card(load, **config), card(**config), [wire]))
    assert len(records_of(twin)) > 1000
    assert twin.frames_in_use == 0


def test_tiny_messages_that_share_packets_are_told_apart_across_the_wrap_of_their_number() -> None:
    """A lost packet is passed by more messages than half of what 16 bits number, if each of them had its share."""
    config: Data = {"batch_bytes": 4096, "batch_header_bytes": 4, "rto_ps": 20_000_000}
    load = one_message(1, 1) | {"batch": 200_000}
    wire = Wire(options={"loss_base_2p64": 2**64 // 20})
    twin = finished(chain(card(load, **config), card(**config), [wire]))
    assert len(records_of(twin)) == 200_000
    assert twin.counters()["n0"]["tx_retransmits"] > 0


UNRELIABLE: Data = {"reliability": "unreliable", "rto_ps": 20_000_000}


@pytest.mark.parametrize("message_bytes", [64, 9_000])
def test_unreliable_stream_goes_on_after_an_outage_longer_than_its_message_numbers(
    message_bytes: int,
) -> None:
    interval_ps = 4_000 if message_bytes == 64 else 250_000
    outage = (1000 * interval_ps, 91_000 * interval_ps)
    load = one_message(1, message_bytes) | {
        "interval_ps": interval_ps,
        "measure_until_ps": 100_000 * interval_ps,
    }
    wire = Wire(options={"faults": [[0, *outage, 2**64 - 1]]})
    twin = finished(chain(card(load, **UNRELIABLE), card(**UNRELIABLE), [wire]))
    records = join_records([twin.tx_records()], [twin.rx_records()], lossy=True)
    inside = (records["intended_ps"] > outage[0] + 10**6) & (records["intended_ps"] < outage[1] - 10**6)
    assert not inside.any()
    assert len(records) == pytest.approx(10_000, abs=3)
    numbers = np.frombuffer(twin.rx_records(), RX_DTYPE)["msn"]
    assert len(np.unique(numbers)) == len(numbers)
    assert np.count_nonzero(numbers < 100_000) == len(records)


def test_unreliable_stream_takes_what_was_held_up_and_no_copy_of_it() -> None:
    load = poisson(1, 64, interval_ps=2_000, until_ps=2 * 10**8)
    late = {"reorder_2p64": 2**64 // 50, "reorder_delay_ps": 2_000_000, "duplicate_2p64": 2**64 // 50}
    twin = finished(chain(card(load, **UNRELIABLE), card(**UNRELIABLE), [Wire(options=late)]))
    counters = twin.counters()["n1"]
    assert len(records_of(twin)) > 90_000
    assert counters["rx_duplicates"] > 1000
    assert counters["rx_out_of_order"] > 1000


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
