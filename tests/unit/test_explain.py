from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.analysis.explain import Explanation, Kind, Message, Part, explain, messages_of
from testbed.analysis.hops import Hop
from testbed.errors import MeasurementError
from tests.unit.traces import (
    C1,
    C2,
    C3,
    INGRESS_PS,
    L1,
    L2,
    LATENCY_PS,
    PIPELINE_PS,
    RECEIVE_PS,
    RTO_PS,
    S1,
    SEND_PS,
    WHOLE_PS,
    WIRE_PS,
    by_packet,
    journey,
    last_bit_ps,
    message,
    network,
    packets,
    record,
)

START_PS = 5_000_000


def explained(one: Message, *journeys: list[Hop], **changes: Any) -> Explanation:
    found = explain(one, by_packet(*journeys), network(**changes), packets(**changes))
    assert sum(found.parts.values()) == one.latency_ps
    return found


def test_explain_idle_message_is_nothing_but_fixed_times() -> None:
    way = journey(START_PS)
    found = explained(message(way, way), way)
    assert found.parts == {
        Part(Kind.SOURCE_SOFTWARE): 600_000,
        Part(Kind.SOURCE_NIC): SEND_PS,
        Part(Kind.SOURCE_QUEUE): 100_000,
        Part(Kind.WIRE): 4 * LATENCY_PS,
        Part(Kind.PIPELINE): 3 * PIPELINE_PS,
        Part(Kind.SERIALISATION): WHOLE_PS,
        Part(Kind.RECEIVER_NIC): INGRESS_PS + RECEIVE_PS,
        Part(Kind.NOTIFICATION): 50_000,
    }
    assert found.waits == ()
    assert found.resend is None
    assert list(found.path) == way


def test_explain_store_and_forward_counts_a_frame_at_each_switch() -> None:
    way = journey(START_PS, extra_ps=WHOLE_PS)
    found = explained(message(way, way), way, cut_through=False)
    assert found.parts[Part(Kind.SERIALISATION)] == 4 * WHOLE_PS
    assert found.parts[Part(Kind.PIPELINE)] == 3 * PIPELINE_PS


def test_explain_waits_name_their_port_and_who_was_ahead() -> None:
    way = journey(START_PS, waits_ps=(7_000, 0, 30_000, 90_000), paused_ps=(0, 0, 10_000, 0), ahead=(C3, C2))
    found = explained(message(way, way), way)
    assert found.parts[Part(Kind.QUEUE, C1, 0, 3)] == 7_000
    assert found.parts[Part(Kind.QUEUE, S1, 2, 3)] == 20_000
    assert found.parts[Part(Kind.PAUSE, S1, 2, 3)] == 10_000
    assert found.parts[Part(Kind.QUEUE, L2, 1, 3)] == 90_000
    assert Part(Kind.QUEUE, L1, 3, 3) not in found.parts
    assert [(wait.part.node, wait.ps, wait.behind) for wait in found.waits] == [
        (C1, 7_000, (C3, C2)),
        (S1, 20_000, (C3, C2)),
        (L2, 90_000, (C3, C2)),
    ]


def test_explain_wait_behind_a_frame_on_its_way_out_names_no_flow() -> None:
    way = journey(START_PS, waits_ps=(0, 4_000, 0, 0))
    assert [wait.behind for wait in explained(message(way, way), way).waits] == [None]


def test_explain_message_of_several_packets_is_completed_by_the_one_that_comes_last() -> None:
    ways = [
        journey(START_PS),
        journey(START_PS + 10, psn=1, waits_ps=(WIRE_PS + 700, 0, 0, 500_000), ahead=(C3, C2)),
        journey(START_PS + 20, psn=2, waits_ps=(2 * WIRE_PS + 700, 0, 0, 0)),
    ]
    one = message(ways[0], ways[1], size_bytes=3 * 4096)
    found = explained(one, *ways)
    assert list(found.path) == ways[1]
    assert found.parts[Part(Kind.QUEUE, L2, 1, 3)] == 500_000
    assert found.parts[Part(Kind.MESSAGE)] == WIRE_PS
    assert found.parts[Part(Kind.QUEUE, C1, 0, 3)] == 710


def test_explain_packet_that_is_late_at_the_port_waited_for_its_turn() -> None:
    ways = [journey(START_PS), journey(START_PS + 900_000, psn=1, waits_ps=(50_000, 0, 0, 0))]
    found = explained(message(ways[0], ways[1], size_bytes=8192), *ways)
    assert found.parts[Part(Kind.MESSAGE)] == WIRE_PS
    assert found.parts[Part(Kind.QUEUE, C1, 0, 3)] == 50_000
    assert found.parts[Part(Kind.SOURCE_QUEUE)] == 100_000 + 900_000 - WIRE_PS


@pytest.mark.parametrize(("gap_ps", "timed_out"), [(RTO_PS, True), (9_000_000, False)])
def test_explain_packet_dropped_and_sent_again_names_the_place(gap_ps: int, timed_out: bool) -> None:
    lost = journey(START_PS, lost_at=2, waits_ps=(0, 0, 5_000, 0))
    again = journey(START_PS + gap_ps)
    found = explained(message(lost, again), lost, again)
    resend = found.resend
    assert resend is not None
    assert resend.part == Part(Kind.RETRANSMISSION, S1, 2, 3)
    assert (resend.ps, resend.times, resend.how, resend.timed_out) == (gap_ps, 1, "dropped", timed_out)
    assert found.parts[resend.part] == gap_ps


def test_explain_packet_trimmed_did_not_arrive() -> None:
    trimmed = [*journey(START_PS, lost_at=2, outcome=3), *journey(START_PS)[3:]]
    again = journey(START_PS + 9_000_000)
    resend = explained(message(trimmed, again), trimmed, again).resend
    assert resend is not None
    assert resend.how == "trimmed"


def test_explain_selective_receiver_takes_the_first_copy_that_arrives() -> None:
    first, needless = journey(START_PS, waits_ps=(0, 0, 0, 9_000)), journey(START_PS + 1_500_000)
    found = explained(message(first, first, receive_ps=4_000_000), first, needless)
    assert list(found.path) == first
    assert found.resend is None


def test_explain_go_back_n_receiver_takes_the_latest_copy_that_fits() -> None:
    refused, taken = journey(START_PS), journey(START_PS + 6_000_000)
    too_late = journey(START_PS + 6_400_000)
    found = explained(message(refused, taken), refused, taken, too_late, go_back_n=True)
    assert list(found.path) == taken
    assert found.resend is not None
    assert found.resend.how == "refused"
    assert found.resend.part == Part(Kind.RETRANSMISSION)


def test_explain_copy_lost_on_the_last_wire_is_passed_over() -> None:
    lost, taken = journey(START_PS), journey(START_PS + 6_000_000)
    found = explained(message(lost, taken), lost, taken, last={"loss_base_2p64": 1})
    assert list(found.path) == taken


def test_explain_link_retry_is_told_apart_from_the_pipeline() -> None:
    changed = network()
    wire = changed.wires[L1, 3]
    wires = {**changed.wires, (L1, 3): wire._replace(retries=True)}
    way = journey(START_PS)
    later = way[:2] + [
        hop._replace(arrived_ps=hop.arrived_ps + 777, started_ps=hop.started_ps + 777) for hop in way[2:]
    ]
    one = message(later, later)
    found = explain(one, by_packet(later), replace(changed, wires=wires), packets())
    assert found.parts[Part(Kind.REPLAY, L1, 3, 3)] == 777
    assert sum(found.parts.values()) == one.latency_ps


def test_explain_numbers_that_come_again_after_2_to_the_24_packets_are_told_apart() -> None:
    way, later = journey(START_PS), journey(START_PS + 10**12)
    assert list(explained(message(way, way), way, later).path) == way


def test_explain_delivery_before_the_last_bit_is_an_error() -> None:
    way = journey(START_PS)
    one = message(way, way, receive_ps=-INGRESS_PS - RECEIVE_PS - 1)
    with pytest.raises(MeasurementError, match="without its packet 0"):
        explain(one, by_packet(way), network(), packets())


def test_explain_message_without_trace_is_an_error() -> None:
    way = journey(START_PS)
    with pytest.raises(MeasurementError, match="packets without a trace"):
        explain(message(way, way, size_bytes=8192), by_packet(way), network(), packets())


@given(
    waits_ps=st.tuples(*[st.integers(0, 10**7)] * 4),
    second_ps=st.tuples(*[st.integers(0, 10**7)] * 4),
    gap_ps=st.integers(0, 10**6),
    shares=st.tuples(*[st.integers(0, 100)] * 4),
    ahead=st.sampled_from([None, (C1, C2), (C3, C2)]),
)
def test_explain_any_two_packets_parts_add_up_to_the_latency(
    waits_ps: tuple[int, ...],
    second_ps: tuple[int, ...],
    gap_ps: int,
    shares: tuple[int, ...],
    ahead: tuple[int, int] | None,
) -> None:
    paused_ps = tuple(wait * share // 100 for wait, share in zip(second_ps, shares, strict=True))
    first = journey(START_PS, waits_ps=waits_ps)
    second = journey(
        max(START_PS, first[0].started_ps - gap_ps),
        psn=1,
        waits_ps=(second_ps[0] + gap_ps + 1, *second_ps[1:]),
        paused_ps=paused_ps,
        ahead=ahead,
    )
    last = max(first, second, key=last_bit_ps)
    found = explained(message(first, last, size_bytes=8192), first, second)
    assert list(found.path) == last
    assert all(ps > 0 for ps in found.parts.values())


def test_messages_of_number_each_stream_from_its_first_record() -> None:
    way = journey(START_PS)
    one = message(way, way)
    records = np.concatenate([record(one, seq) for seq in (4, 9, 2, 7)])
    records["dst"] = [C2, C3, C2, C2]
    found = messages_of(records, np.array([3, 0, 1]))
    assert [(m.dst, m.msn) for m in found] == [(C2, 2), (C2, 1), (C3, 0)]
    assert found[1].latency_ps == one.latency_ps
    assert packets().psns(message(way, way, size_bytes=3 * 4096, msn=(1 << 24) // 3 + 1)) == [2, 3, 4]


def test_messages_of_tell_who_was_posted_behind_a_message_sent_again() -> None:
    way = journey(START_PS)
    one = message(way, way)
    records = np.concatenate([record(one, seq) for seq in range(4)])
    records["posted_ps"] = [10, 20, 90, 30]
    records["delivered_ps"] = [80, 85, 99, 99]
    records["retransmits"] = [2, 0, 0, 0]
    records["dst"] = [C2, C2, C2, C3]
    assert [m.held for m in messages_of(records, np.arange(4))] == [False, True, False, False]
