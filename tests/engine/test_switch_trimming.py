"""Trimming: a frame that finds no buffer goes on without its payload, in a better class, and is sent again at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from testbed.analysis.hops import HOP_DTYPE, Outcome
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.validate.plans import Data, card, drained, finished, one_message, records_of, star
from tests.engine.stations import Station, served, train

SLOW_PS = 2000
TRIM: dict[str, Any] = {"buffer_bytes": 3_000, "alpha_log2": 16, "trim_bytes": 100, "trim_class": 6}
"""Frame 0 is on its way, 1 and 2 wait (a third leaves no room for what is cut), and the others are cut."""


def burst(count: int = 5, **config: Any) -> tuple[Station, dict[str, int]]:
    sink = Station(byte_ps=SLOW_PS)
    sends = [*train(0, 1, 3), *train(0, 1, count - 3, psn=3, start_ps=3 * 20_400)]
    return sink, served([Station(sends=sends), sink], **TRIM | config)


def test_frame_without_room_is_cut_to_its_headers_and_overtakes() -> None:
    # 3000 bytes: frames 1 and 2 wait, frame 3 fills it up; frame 4 finds nothing, not even for 100 bytes.
    sink, counters = burst(4, buffer_bytes=2_900)
    assert sink.psns == [0, 3, 1, 2]
    cut = sink.data[1].frame
    assert (cut.opcode, cut.traffic_class) == (_engine.Opcode.TRIMMED, 6)
    assert (cut.frame_bytes, cut.payload_bytes) == (100, 74)
    assert counters["port2.c3.trimmed"] == 1
    assert counters["port2.c6.out_octets"] == 100
    assert counters["port2.out_discards"] == 0


def test_frame_that_even_cut_has_no_room_is_dropped_whole() -> None:
    sink, counters = burst(6)
    assert sorted(sink.psns) == [0, 1, 2, 3]
    assert (counters["port2.out_discards"], counters["port2.out_discard_octets"]) == (2, 2_000)
    assert "port2.c3.trimmed" not in counters


@pytest.mark.parametrize(
    ("size", "frame_bytes", "payload_bytes"), [(64, 64, 38), (200, 200, 174), (999, 999, 973)]
)
def test_cut_frame_has_the_size_that_was_asked_for(size: int, frame_bytes: int, payload_bytes: int) -> None:
    sink, _ = burst(4, trim_bytes=size, buffer_bytes=2_000 + size)
    cut = next(one.frame for one in sink.data if one.frame.opcode is _engine.Opcode.TRIMMED)
    assert (cut.frame_bytes, cut.payload_bytes) == (frame_bytes, payload_bytes)


def test_cut_roce_frame_keeps_its_headers_and_gets_the_code_point_of_its_class() -> None:
    frames = train(0, 1, 4, 998, format=_engine.WireFormat.ROCE_V2, dscp=26, flags=3, message_bytes=5000)
    sink = Station(byte_ps=SLOW_PS)
    served([Station(sends=frames), sink], **TRIM | {"trim_bytes": 64, "buffer_bytes": 2_200})
    cut = sink.data[1].frame
    assert (cut.opcode, cut.frame_bytes, cut.payload_bytes) == (_engine.Opcode.TRIMMED, 78, 0)
    assert (cut.dscp, cut.traffic_class, cut.message_bytes) == (48, 6, 5000)


def test_frames_that_are_no_data_or_already_small_are_dropped_as_ever() -> None:
    ack = train(0, 1, 4, 64, opcode=_engine.Opcode.ACK, payload_bytes=0)
    sink = Station(byte_ps=SLOW_PS)
    counters = served([Station(sends=ack), sink], **TRIM | {"buffer_bytes": 128})
    assert (len(sink.data), counters["port2.out_discards"]) == (3, 1)


def test_cut_frame_is_not_cut_twice() -> None:
    frames = train(0, 1, 4, opcode=_engine.Opcode.TRIMMED)
    sink = Station(byte_ps=SLOW_PS)
    counters = served([Station(sends=frames), sink], **TRIM | {"buffer_bytes": 2_900})
    assert counters["port2.out_discards"] == 1


def incast(wire_format: str, **config: Any) -> Data:
    """Eight cards, one message each at the same instant; the buffer holds three packets."""
    sources = [
        card(one_message(0, 3 * 4096), wire_format=wire_format, rto_ps=10**9, ack_class=6) for _ in range(8)
    ]
    receiver = card(wire_format=wire_format, ack_class=6)
    return star([receiver, *sources], **{"buffer_bytes": 16_000, "alpha_log2": 16, "trim_class": 6} | config)


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_messages_with_cut_packets_complete_long_before_the_time_out(wire_format: str) -> None:
    cut = finished(incast(wire_format, trim_bytes=128))
    plain = finished(incast(wire_format))
    counters = cut.counters()
    assert counters["n9"]["port1.c3.trimmed"] == counters["n0"]["rx_trimmed"] > 3
    assert counters["n0"]["tx_naks"] > 0
    # Go-back-N may lose a later NAK's worth to its time-out; selective repeat never waits for one.
    if wire_format == "thin":
        assert int(records_of(cut)["completed_ps"].max()) < 10**7
    assert int(records_of(plain)["completed_ps"].max()) > 10**9


def test_each_cut_packet_of_selective_repeat_is_sent_again_once() -> None:
    counters = finished(incast("thin", trim_bytes=128)).counters()
    senders = [counters[f"n{1 + n}"] for n in range(8)]
    assert counters["n9"]["port1.out_discards"] == 0
    again = sum(sender["tx_retransmits"] for sender in senders)
    assert again == counters["n9"]["port1.c3.trimmed"] + counters["n0"]["rx_duplicates"]
    assert counters["n0"]["rx_duplicates"] <= sum(sender["tx_timeouts"] for sender in senders)


def test_cut_bytes_are_accounted_for() -> None:
    twin = drained(incast("thin", trim_bytes=128))
    counters = twin.counters()["n9"]
    came = sum(counters[f"port{2 + n}.in_octets"] for n in range(8))
    assert came - counters["port1.out_octets"] == counters["port1.c3.trimmed"] * (4122 - 128)
    assert twin.frames_in_use == 0


def test_hop_of_a_cut_packet_says_so() -> None:
    twin = _engine.Twin(build_plan(incast("thin", trim_bytes=128)))
    twin.trace_packets([(1 + n, 0, psn) for n in range(8) for psn in range(3)])
    twin.run(10**12)
    hops = np.frombuffer(twin.hop_samples(), HOP_DTYPE)
    cut = hops[hops["outcome"] == Outcome.TRIMMED]
    assert len(cut) == twin.counters()["n9"]["port1.c3.trimmed"]
    assert set(cut["entity"]) == {9}


def test_frame_whose_format_cannot_say_that_it_was_cut_is_dropped() -> None:
    flits = train(0, 1, 4, 1260, format=_engine.WireFormat.UALINK, payload_bytes=1000)
    sink = Station(byte_ps=SLOW_PS)
    counters = served([Station(sends=flits), sink], **TRIM | {"trim_bytes": 64, "buffer_bytes": 2_600})
    assert counters["port2.out_discards"] > 0
    assert {one.frame.opcode for one in sink.data} == {_engine.Opcode.DATA}
