"""What a NIC does about what is lost, late or refused, and in which order messages complete."""

from __future__ import annotations

import numpy as np
import pytest

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
    poisson,
    records_of,
    run,
    stage,
)
from tests.engine.two_cards import (
    ACK,
    AT,
    BYTE_PS,
    NOTIFY,
    POST,
    READ,
    RECEIVE,
    WIRE,
    latency_ps,
    on_wire_ps,
    pair,
)

PARAMETERS = {
    "dctcp": {"g_log2": 4, "initial_window_pkts": 10, "min_window_pkts": 2, "max_window_bytes": 1 << 22},
    "cubic": {
        "beta_permille": 700,
        "c_permille": 400,
        "initial_window_pkts": 10,
        "max_window_bytes": 1 << 22,
        "fast_convergence": 1,
    },
}


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


@pytest.mark.parametrize(
    "narrow",
    [
        {"window_pkts": 3},
        {"congestion": "fixed_window", "congestion_parameters": {"window_bytes": 3 * 4096}},
        {"congestion": "fixed_window", "congestion_parameters": {"window_bytes": 100}},
    ],
    ids=["packets", "bytes", "less than a packet"],
)
def test_window_below_the_interval_of_acknowledgements_waits_for_no_time_out(narrow: Data) -> None:
    config: Data = narrow | {"ack_every_pkts": 16}
    twin = finished(chain(card(LONG, **config), card(**config), [WIRE]))
    assert twin.counters()["n0"]["tx_timeouts"] == twin.counters()["n0"]["tx_retransmits"] == 0
    assert len(records_of(twin)) == 1


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


@pytest.mark.parametrize("part", ["dctcp", "cubic"])
def test_message_behind_an_outage_waits_for_one_time_out_and_no_second(part: str) -> None:
    config = {
        "congestion": part,
        "congestion_parameters": PARAMETERS[part],
        "ack_every_pkts": 2,
        "rto_ps": 100_000_000,
        "ack_latency_ps": ACK,
    }
    wire = first_lost(50_000_000)
    twin = finished(chain(card(one_message(1, 8 * 4096), **config), card(**config), [wire]))
    assert twin.counters()["n0"]["tx_timeouts"] == 1
    assert latency_ps(records_of(twin)) < 110_000_000
