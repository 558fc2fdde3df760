"""Lost frames: every message arrives once and whole, and a peer that does not answer is an error that names it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.run.join import RX_DTYPE, TX_DTYPE
from testbed.validate.plans import (
    NO_ROUTE,
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
    star,
)

FORMATS = pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
PATIENT = {"rto_ps": 20_000_000, "retry_limit": 1000, "ack_latency_ps": 50_000}


def lossy(
    wire_format: str, *, senders: int = 4, message_bytes: int = 65_536, until_ps: int = 10**9, seed: int = 1
) -> Data:
    """Closed loops into one card through a buffer of a few frames."""
    load = closed(0, message_bytes, until_ps=until_ps)
    cards = [
        card(load if number else None, wire_format=wire_format, **PATIENT) for number in range(senders + 1)
    ]
    return star(cards, buffer_bytes=40_000, cell_bytes=256, alpha_log2=0, seed=seed)


def totals(twin: _engine.Twin) -> dict[str, int]:
    """Counters summed over cards and switches."""
    sums: dict[str, int] = {}
    for counters in twin.counters().values():
        for key, value in counters.items():
            *port, name = key.split(".")
            if len(port) > 1:  # the same by class
                continue
            sums[name] = sums.get(name, 0) + value
    return sums


@FORMATS
@pytest.mark.parametrize("message_bytes", [1, 4096, 4097, 65_536, 300_001])
def test_lossy_incast_delivers_every_message_once_and_whole(wire_format: str, message_bytes: int) -> None:
    twin = drained(lossy(wire_format, message_bytes=message_bytes, senders=12))
    records, sums = records_of(twin), totals(twin)
    tx, rx = np.frombuffer(twin.tx_records(), TX_DTYPE), np.frombuffer(twin.rx_records(), RX_DTYPE)
    assert len(tx) == len(rx) == len(records) > 12
    assert tx["acked"].all()
    assert (rx["bytes"] == message_bytes).all()
    assert twin.frames_in_use == 0
    assert sums["tx_packets"] == sums["rx_packets"] + sums["out_discards"]
    assert sums["tx_packets"] - sums["tx_retransmits"] == len(records) * -(-message_bytes // 4096)
    if message_bytes > 4096:
        assert sums["out_discards"] > 0
        assert sums["tx_retransmits"] == records["retransmits"].sum() >= sums["out_discards"]


def bursts(wire_format: str) -> Data:
    """Two open loops of more than 65536 messages each, that now and then find the buffer full."""
    load = poisson(0, 4096, interval_ps=400_000, until_ps=400_000 * 70_000)
    senders = [card(load, wire_format=wire_format, **PATIENT) for _ in range(2)]
    return star([card(wire_format=wire_format), *senders], buffer_bytes=9_000, cell_bytes=254)


def test_selective_repair_sends_again_what_was_lost_and_little_else() -> None:
    sums = {wire_format: totals(finished(bursts(wire_format))) for wire_format in ("thin", "rocev2")}
    waste = {key: value["tx_retransmits"] / value["out_discards"] for key, value in sums.items()}
    assert waste["thin"] < 1.1 < 2 < waste["rocev2"]
    assert sums["rocev2"]["rx_out_of_order"] > 0
    assert sums["thin"]["tx_naks"] > 0


@FORMATS
def test_lossy_acknowledgements_are_survived(wire_format: str) -> None:
    # Data in both directions over one slow link: acknowledgements queue behind data, in the same class, take a cell
    # like data, and are dropped like them.
    def load(dst: int) -> Data:
        return closed(dst, 40_000, until_ps=10**9, window=8)

    cards = [
        card(load(1), wire_format=wire_format, **PATIENT),
        card(load(0), wire_format=wire_format, **PATIENT),
    ]
    wires = [Wire(byte_time_ps=5), Wire(byte_time_ps=80), Wire(byte_time_ps=5)]
    twin = drained(chain(*cards, wires, buffer_bytes=5 * 4300, cell_bytes=4300))
    sums = totals(twin)
    assert len(records_of(twin)) > 50
    assert sums["rx_acks"] + sums["rx_naks"] < sums["tx_acks"] + sums["tx_naks"]
    assert sums["rx_duplicates"] > 0
    assert twin.frames_in_use == 0


@FORMATS
def test_go_back_n_and_selective_with_thousands_of_streams_leak_no_frame(wire_format: str) -> None:
    others = list(range(24))
    cards = [
        card(
            closed([peer for peer in others if peer != number], 9_000, until_ps=2 * 10**8, window=24),
            wire_format=wire_format,
            **PATIENT,
        )
        for number in others
    ]
    twin = drained(star(cards, buffer_bytes=100_000, cell_bytes=256, alpha_log2=-1))
    sums = totals(twin)
    assert len(records_of(twin)) > 1000
    assert sums["out_discards"] > 0
    assert twin.frames_in_use == 0


@FORMATS
def test_go_back_n_and_selective_through_sequence_wrap_of_messages(wire_format: str) -> None:
    # The 16 bits of the message number wrap, with losses all along.
    records = run(bursts(wire_format))
    assert len(records[records["src"] == 1]) > 66_000
    assert records["retransmits"].sum() > 1000


def test_packet_sequence_number_wraps_at_24_bits() -> None:
    # One stream, more than 2^24 packets of one byte: 260 messages of 65535 packets.
    load = closed(1, 65_535, until_ps=65_535 * 84 * 258, window=2)
    tiny: dict[str, Any] = {"mtu_bytes": 1, "rto_ps": 10**9}
    twin = drained(chain(card(load, **tiny), card(**tiny), [Wire(byte_time_ps=1, latency_ps=1)]))
    assert totals(twin)["rx_packets"] > 2**24
    assert totals(twin)["tx_retransmits"] == 0
    assert len(records_of(twin)) * 65_535 == totals(twin)["rx_packets"]


@FORMATS
def test_lone_lost_frame_is_sent_again_after_the_timeout(wire_format: str) -> None:
    # Three cards send one frame each at the same instant; the third finds no buffer.
    sender = card(one_message(0, 4096), wire_format=wire_format, rto_ps=10**7)
    data = star(
        [card(wire_format=wire_format), sender, sender, sender],
        buffer_bytes=4_200,
        cell_bytes=1,
        alpha_log2=16,
    )
    records = run(data)
    alone_ps = 200_000 + (4096 + (26 if wire_format == "thin" else 78) + 8) * 20
    assert records["retransmits"].tolist() == [0, 0, 1]
    assert records["first_byte_ps"].tolist() == [0, 0, 0]
    assert int(records[2]["delivered_ps"]) == 10**7 + alone_ps


@FORMATS
@pytest.mark.parametrize("limit", [0, 3])
def test_retry_limit_reached_names_the_stream_and_the_time(wire_format: str, limit: int) -> None:
    data = chain(
        card(one_message(1, 4096), wire_format=wire_format, rto_ps=10**7, retry_limit=limit),
        card(),
        [Wire(), Wire()],
    )
    data["nodes"][2]["config"]["route"] = [0, NO_ROUTE]
    twin = _engine.Twin(build_plan(data))
    gave_up_ps = 10**7 * (2 ** (limit + 1) - 1)  # the time-out doubles with each retry
    message = rf"n0 -> card 1 gave up after {limit} retries at {gave_up_ps} ps"
    with pytest.raises(_engine.StreamError, match=message):
        twin.run(10**12)


def test_credits_bound_what_is_in_flight() -> None:
    # 4 packets a round trip, whatever the wire could carry.
    load = one_message(1, 64 * 4096)
    window = card(load, window_pkts=4, ack_every_pkts=4)
    receiver = card(window_pkts=4, ack_every_pkts=4)
    records = run(chain(window, receiver, [Wire(latency_ps=10**7)]))
    round_trip_ps = 2 * 10**7 + 3 * 4142 * 20 + 4130 * 20 + (64 + 8) * 20
    assert int(records[0]["delivered_ps"]) == 15 * round_trip_ps + round_trip_ps - 10**7 - 72 * 20


# ------------------------------------------------------------------------------- what no plan may say

BAD_CARDS = {
    "mtu": {"mtu_bytes": 0},
    "large mtu": {"mtu_bytes": 16_385},
    "window": {"window_pkts": 0},
    "large window": {"window_pkts": 65},
    "depth": {"tx_depth_pkts": 0},
    "acks": {"ack_every_pkts": 0},
    "time-out": {"rto_ps": 0},
    "class": {"data_class": 8},
    "header": {"first_header_bytes": 25},
    "ack": {"ack_bytes": 63},
    "selective RoCEv2": {"wire_format": "rocev2", "reliability": "selective", "window_pkts": 64},
    "short RoCEv2": {"wire_format": "rocev2", "first_header_bytes": 26},
}
BAD_LOADS: dict[str, dict[str, Any]] = {
    "no bytes": {"message_bytes": 0},
    "too many bytes": {"message_bytes": 2**30 + 1},
    "too many packets": {"message_bytes": 4096 * 65_535 + 1},
    "nobody": {"destinations": []},
    "no interval": {"arrivals": "PERIODIC", "interval_ps": 0},
    "no gaps": {"arrivals": "POISSON", "interval_ps": 0},
    "nothing outstanding": {"arrivals": "CLOSED", "window": 0},
}
BAD_SWITCHES: dict[str, dict[str, Any]] = {
    "no cell": {"cell_bytes": 0},
    "no buffer": {"buffer_bytes": 0},
    "alpha": {"alpha_log2": 17},
    "route": {"route": [0, 7]},
    "empty group": {"groups": [[1], []]},
    "no such port": {"groups": [[1], [9]]},
    "port without link": {"groups": [[1], [0]]},
}


@pytest.mark.parametrize("name", BAD_CARDS)
def test_card_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        build_plan(chain(card(one_message(1, 64), **BAD_CARDS[name]), card(), [Wire()]))


@pytest.mark.parametrize("name", BAD_LOADS)
def test_workload_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        build_plan(chain(card(one_message(1, 64) | BAD_LOADS[name]), card(), [Wire()]))


@pytest.mark.parametrize("name", BAD_SWITCHES)
def test_switch_that_cannot_be_is_refused(name: str) -> None:
    data = chain(card(one_message(1, 64)), card(), [Wire(), Wire()])
    data["nodes"][2]["config"] |= BAD_SWITCHES[name]
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        _engine.Twin(build_plan(data))


@pytest.mark.parametrize(
    "link",
    [[0, 0, 0, 0, 20, 1], [0, 0, 9, 0, 20, 1], [0, 0, 1, 0, 0, 1], [0, 0, 1, 0, 20, 0], [0, 1, 1, 1, 20, 1]],
)
def test_link_that_cannot_be_is_refused(link: list[int]) -> None:
    data = chain(card(one_message(1, 64)), card(), [Wire()])
    with pytest.raises(ValueError, match=r"\w+ \w+ \w+"):
        _engine.Twin(build_plan({**data, "links": [link]}))


def test_two_links_on_one_port_are_refused() -> None:
    data = chain(card(one_message(1, 64)), card(), [Wire()])
    with pytest.raises(ValueError, match="two links on one port of n0"):
        _engine.Twin(build_plan({**data, "links": data["links"] * 2}))


def test_source_without_link_is_refused() -> None:
    data = chain(card(one_message(1, 64)), card(), [Wire()])
    with pytest.raises(ValueError, match="n0 posts messages but has no link"):
        _engine.Twin(build_plan({**data, "links": []}))


def test_unknown_field_of_a_plan_is_refused() -> None:
    with pytest.raises(AttributeError, match="mtu"):
        build_plan(chain(card(mtu=4096), card(), [Wire()]))
