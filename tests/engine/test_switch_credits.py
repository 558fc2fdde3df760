"""Credit-based flow control: nothing is dropped, a sender stops in time, and goes at the rate of its credits."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from testbed.engine import _engine
from testbed.validate.plans import (
    Data,
    Wire,
    card,
    chain,
    closed,
    drained,
    leaf_spine,
    one_message,
    records_of,
    run,
)
from tests.engine.stations import (
    BYTE_PS,
    CONTROL_BYTES,
    WIRE_PS,
    Station,
    control_frame,
    data_frame,
    served,
    slot_ps,
    train,
    words_of,
)

C = 3
GENERATION_PS = 5_000
CREDIT: dict[str, Any] = {
    "credit_bytes": 16_384,
    "cell_bytes": 256,
    "buffer_bytes": 10**6,
    "pfc_generation_ps": GENERATION_PS,
}
CELLS = 4
"""Of a frame of 1000 bytes."""
CBFC = {"cbfc": True}


def test_credits_come_back_as_a_running_count_each_eighth() -> None:
    # 64 cells of credit: a frame goes out each time 8 cells, two frames, are free.
    sender = Station(sends=train(0, 1, 20), wire=CBFC)
    counters = served([sender, Station()], **CREDIT)
    fresh = [one for one in sender.control if one.sent_ps < 10**7]
    assert [words_of(one.frame) for one in fresh] == [{C: 8 * n} for n in range(1, 11)]
    assert {one.frame.opcode for one in fresh} == {_engine.Opcode.CREDIT}
    expected = [WIRE_PS + (2 * n + 1) * slot_ps(1000) + GENERATION_PS for n in range(10)]
    assert [one.sent_ps for one in fresh] == expected
    assert counters["port1.credit_frames_tx"] == len(sender.control)


def test_credits_are_told_again_after_10_us_and_after_twice_that_each_time() -> None:
    sender = Station(sends=train(0, 1, 20), wire=CBFC)
    served([sender, Station()], **CREDIT)
    told = sender.control[9:]
    assert {words_of(one.frame)[C] for one in told} == {80}
    gaps = [later.sent_ps - earlier.sent_ps for earlier, later in itertools.pairwise(told)]
    assert len(gaps) > 3
    assert gaps == [10**7 * 2**n for n in range(len(gaps))]


def test_credits_that_were_lost_do_not_stop_a_sender_for_good() -> None:
    # Nothing comes back to the sender for 100 us: its credits are used up, and the next repetition sets it free.
    back = CBFC | {"faults": [[1, 0, 10**8, (1 << 64) - 1]]}
    sender = card(one_message(1, 60 * 4_096), data_class=C, rto_ps=10**9)
    data = chain(sender, card(), [Wire(), Wire()], **CREDIT)
    data["links"][0] = [*data["links"][0], back]
    (record,) = run(data)
    assert 10**8 < record["delivered_ps"] < 2.1 * 10**8
    assert record["retransmits"] == 0


def test_credits_are_not_given_on_links_without_them() -> None:
    sender = Station(sends=train(0, 1, 20))
    served([sender, Station()], **CREDIT)
    assert sender.control == []


def test_credits_of_dropped_frames_come_back_too() -> None:
    bad = CBFC | {"faults": [[0, 0, 10**9, (1 << 64) - 1]]}
    sender = Station(sends=train(0, 1, 8), wire=bad)
    served([sender, Station()], **CREDIT | {"cut_through": False})
    assert words_of(sender.control[-1].frame) == {C: 8 * CELLS}


def chained(byte_ps: int, latency_ps: int, credit_bytes: int, *, until_ps: int = 2 * 10**8) -> Data:
    """A card, two switches, a card; credits on the link between the switches."""
    load = closed(1, 974, until_ps=until_ps, window=1000)
    nic: dict[str, Any] = {
        "reliability": "go_back_n",
        "window_pkts": 50_000,
        "ack_every_pkts": 1000,
        "rto_ps": 10**12,
    }
    wires = [
        Wire(byte_time_ps=byte_ps),
        Wire(byte_time_ps=byte_ps, latency_ps=latency_ps, options=CBFC),
        Wire(byte_time_ps=byte_ps),
    ]
    config = CREDIT | {"credit_bytes": credit_bytes, "buffer_bytes": 10**8}
    return chain(card(load, **nic), card(**nic), wires, **config)


@pytest.mark.parametrize("credit_bytes", [16_384, 65_536])
@pytest.mark.parametrize("latency_ps", [100_000, 2_000_000])
def test_throughput_is_the_lesser_of_rate_and_credits_per_round_trip(
    credit_bytes: int, latency_ps: int
) -> None:
    twin = drained(chained(BYTE_PS, latency_ps, credit_bytes))
    records = records_of(twin)
    counters = twin.counters()
    credit_frames = credit_bytes // 1024  # of 4 cells
    eighth = credit_frames // 8
    # A frame's cells are told with the last of its eighth; then the answer travels back.
    round_ps = 2 * latency_ps + GENERATION_PS + CONTROL_BYTES * BYTE_PS + (eighth - 1) * slot_ps(1000)
    per_round = min(credit_frames / round_ps, 1 / slot_ps(1000))
    done = sorted(int(t) for t in records["delivered_ps"])
    middle = done[len(done) // 4 : len(done) * 3 // 4]
    rate = (len(middle) - 1) / (middle[-1] - middle[0])
    assert rate == pytest.approx(per_round, rel=0.02)
    assert not any(v for node in counters.values() for k, v in node.items() if k.endswith("out_discards"))
    assert not records["retransmits"].any()


def test_sender_sends_all_its_credit_at_once_and_the_rest_as_it_comes_back() -> None:
    # 16 frames of 4 cells; the first two are back after a round trip, and so on.
    data = chained(BYTE_PS, 2_000_000, 16_384, until_ps=1)
    done = sorted(int(t) for t in records_of(drained(data))["delivered_ps"])
    gaps = [b - a for a, b in itertools.pairwise(done)]
    round_ps = 4_000_000 + GENERATION_PS + CONTROL_BYTES * BYTE_PS + slot_ps(1000)
    assert gaps[:15] == [slot_ps(1000)] * 15
    assert [done[n + 16] - done[n] for n in range(0, 64, 2)] == [round_ps] * 32


def test_receiver_never_holds_more_of_a_class_than_it_granted() -> None:
    data = chained(BYTE_PS, 1_000_000, 32_768)
    data["links"][2][4] = 400
    twin = drained(data)
    assert twin.counters()["n3"]["port1.c3.pg_watermark_bytes"] <= 32_768
    assert not records_of(twin)["retransmits"].any()


def test_fabric_on_credits_with_incast_drops_nothing_and_drains() -> None:
    cards = [card(), *[card(closed(0, 20_000, until_ps=2 * 10**7)) for _ in range(8)]]
    data = leaf_spine(
        cards, leaves=2, spines=2, edge=[Wire(options=CBFC)] * 9, core=[Wire(options=CBFC)] * 4, **CREDIT
    )
    twin = drained(data)
    counters = twin.counters()
    assert len(records_of(twin)) > 40
    assert not records_of(twin)["retransmits"].any()
    assert (
        sum(v for node in counters.values() for k, v in node.items() if k.endswith("credit_frames_tx")) > 50
    )
    assert twin.frames_in_use == 0


def test_credit_frame_to_a_switch_that_needs_none_changes_nothing() -> None:
    sink = Station(sends=[(0, control_frame(_engine.Opcode.CREDIT, {C: 100}))])
    served([Station(sends=[(0, data_frame(0, 1))]), sink], **CREDIT)
    assert sink.sent_ps == [WIRE_PS]
