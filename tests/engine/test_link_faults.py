"""Links that damage frames: which ones, in which direction, when; who finds out; and what link-level retry costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from testbed.validate.plans import Data, Wire, card, chain, closed, drained, finished, one_message, records_of
from tests.engine.stations import (
    CORRUPT,
    WIRE_PS,
    Station,
    data_frame,
    on_wire_ps,
    pause,
    served,
    slot_ps,
    train,
)

ONE = 1 << 64
CERTAIN = ONE - 1


def fault(direction: int, from_ps: int, until_ps: int, loss: int = CERTAIN) -> dict[str, Any]:
    return {"faults": [[direction, from_ps, until_ps, loss]]}


def damaged(sink: Station) -> list[int]:
    """Numbers of the frames that came damaged."""
    return [one.frame.psn for one in sink.data if one.frame.flags & CORRUPT]


# ----------------------------------------------------------------------------------------- which frames are damaged


@pytest.mark.parametrize(("first", "last"), [(3, 6), (0, 0), (9, 9)])
@pytest.mark.parametrize(("early_ps", "late_ps"), [(0, 1), (-100, 100)])
def test_fault_hits_the_frames_that_start_inside_its_window(
    first: int, last: int, early_ps: int, late_ps: int
) -> None:
    window = fault(0, max(0, first * slot_ps(1000) + early_ps), last * slot_ps(1000) + late_ps)
    sink = Station()
    served([Station(sends=train(0, 1, 10), wire=window), sink])
    assert damaged(sink) == list(range(first, last + 1))
    assert sink.psns == list(range(10))


def test_fault_spares_the_frame_that_starts_at_its_end_and_the_one_just_before_its_begin() -> None:
    window = fault(0, 3 * slot_ps(1000) + 1, 6 * slot_ps(1000))
    sink = Station()
    served([Station(sends=train(0, 1, 10), wire=window), sink])
    assert damaged(sink) == [4, 5]


@pytest.mark.parametrize("direction", [0, 1])
def test_fault_is_in_its_direction_alone(direction: int) -> None:
    stations = [
        Station(sends=train(0, 1, 5), wire=fault(direction, 0, 10**9)),
        Station(sends=train(1, 0, 5)),
    ]
    counters = served(stations)
    assert damaged(stations[1 - direction]) == list(range(5))
    assert damaged(stations[direction]) == []
    assert counters.get("port1.fcs_errors", 0) == (5 if direction == 0 else 0)


def test_fault_with_a_share_adds_nothing_to_a_higher_loss() -> None:
    sink = Station()
    wire = {"loss_base_2p64": CERTAIN} | fault(0, 0, 10**9, ONE // 2)
    served([Station(sends=train(0, 1, 20), wire=wire), sink])
    assert len(damaged(sink)) == 20


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
@pytest.mark.parametrize("by_byte", [False, True])
def test_loss_share_is_that_of_the_link(share: float, by_byte: bool) -> None:
    count = 20_000
    wire = (
        {"loss_per_byte_2p64": int(share * ONE) // 1000} if by_byte else {"loss_base_2p64": int(share * ONE)}
    )
    sink = Station()
    served([Station(sends=train(0, 1, count), wire=wire), sink])
    low, high = stats.binom.ppf([0.0005, 0.9995], count, share)
    assert low <= len(damaged(sink)) <= high


def test_loss_of_another_seed_is_another() -> None:
    def run(seed: int) -> list[int]:
        sink = Station()
        served([Station(sends=train(0, 1, 500), wire={"loss_base_2p64": ONE // 10}), sink], seed=seed)
        return damaged(sink)

    assert run(1) == run(1) != run(2)


def test_unknown_feature_of_a_link_is_refused() -> None:
    with pytest.raises(ValueError, match="a link has no speed"):
        served([Station(wire={"speed": 1})])


@pytest.mark.parametrize("bad", [[2, 0, 1, 1], [0, 1, 2]])
def test_fault_that_cannot_be_is_refused(bad: list[int]) -> None:
    with pytest.raises(ValueError, match="a fault is"):
        served([Station(wire={"faults": [bad]})])


# ------------------------------------------------------------------------------------------------ who finds out


def test_damaged_frame_cuts_through_and_is_dropped_where_it_is_stored() -> None:
    bad = fault(0, 0, 10**9)
    through, kept = Station(), Station()
    cut = served([Station(sends=train(0, 1, 3), wire=bad), through])
    stored = served([Station(sends=train(0, 1, 3), wire=bad), kept], cut_through=False)
    assert damaged(through) == [0, 1, 2]
    assert kept.data == []
    assert cut["port1.fcs_errors"] == stored["port1.fcs_errors"] == 3
    assert cut["port2.out_discards"] == 0


def test_damaged_frame_that_has_to_wait_is_dropped() -> None:
    blocker = Station(sends=[(0, data_frame(2, 1, 9000, psn=99))])
    sink = Station()
    counters = served([Station(sends=train(0, 1, 3, start_ps=1), wire=fault(0, 0, 10**9)), sink, blocker])
    assert sink.psns == [99]
    assert counters["port2.out_discards"] == 3


def test_damaged_frame_for_a_faster_port_is_stored_and_so_dropped() -> None:
    sink = Station(byte_ps=5)
    counters = served([Station(sends=train(0, 1, 3), wire=fault(0, 0, 10**9)), sink])
    assert sink.data == []
    assert counters["port2.out_discards"] == 3


def test_damaged_pause_frame_stops_nothing() -> None:
    receiver = Station(sends=[(0, pause({3: 0xFFFF}))], wire=fault(0, 0, 10**9))
    counters = served(
        [Station(sends=train(0, 1, 3)), receiver], lossless_classes=8, headroom_bytes=[0, 10_000, 0]
    )
    assert receiver.sent_ps == [WIRE_PS + n * slot_ps(1000) for n in range(3)]
    assert counters["port2.fcs_errors"] == 1
    assert "port2.pause_frames_rx" not in counters


def lossy_cards(options: Data, wire_format: str = "thin", **config: Any) -> Data:
    load = closed(1, 40_000, until_ps=2 * 10**8)
    nic: dict[str, Any] = {"wire_format": wire_format, "rto_ps": 10**7, "retry_limit": 1000}
    return chain(card(load, **nic), card(**nic), [Wire(options=options), Wire()], **config)


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_cards_survive_a_link_that_loses_frames_both_ways(wire_format: str) -> None:
    twin = drained(lossy_cards({"loss_base_2p64": ONE // 50}, wire_format))
    counters = twin.counters()
    records = records_of(twin)
    assert len(records) > 20
    assert records["retransmits"].sum() > 0
    assert counters["n0"]["rx_fcs_errors"] > 0
    assert counters["n1"]["rx_fcs_errors"] == counters["n2"]["port1.fcs_errors"] > 0
    assert twin.frames_in_use == 0


def test_link_that_is_down_for_a_while_delays_and_loses_nothing_for_good() -> None:
    down = {"faults": [[direction, 5 * 10**7, 8 * 10**7, CERTAIN] for direction in (0, 1)]}
    records = records_of(drained(lossy_cards(down)))
    done = np.sort(records["completed_ps"].astype(np.int64))
    assert not ((done > 5 * 10**7 + 10**6) & (done < 8 * 10**7)).any()
    assert done[-1] > 8 * 10**7


# ------------------------------------------------------------------------------------------------ link-level retry

REPLAY_PS = 33_000


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_retry_costs_wire_time_round_trip_and_its_own_latency_each_time(rounds: int) -> None:
    round_ps = slot_ps(1000) + 2 * WIRE_PS + REPLAY_PS
    window = fault(0, 0, (rounds - 1) * round_ps + 1)
    sink = Station()
    served(
        [
            Station(sends=[(0, data_frame(0, 1))], wire=window | {"llr": True, "llr_latency_ps": REPLAY_PS}),
            sink,
        ]
    )
    assert damaged(sink) == []
    assert sink.sent_ps == [WIRE_PS + rounds * round_ps]


def test_retry_holds_up_what_is_behind_and_keeps_the_order() -> None:
    wire = fault(1, WIRE_PS + slot_ps(1000), WIRE_PS + slot_ps(1000) + 1) | {
        "llr": True,
        "llr_latency_ps": REPLAY_PS,
    }
    sink = Station(wire=wire)
    counters = served([Station(sends=train(0, 1, 6)), sink])
    late_ps = slot_ps(1000) + 2 * WIRE_PS + REPLAY_PS
    first, second = WIRE_PS, WIRE_PS + slot_ps(1000) + late_ps
    assert sink.psns == list(range(6))
    assert sink.sent_ps == [first, *[second + n * slot_ps(1000) for n in range(5)]]
    assert counters["port2.llr_replays"] == 1


def test_retry_loses_nothing_at_any_loss() -> None:
    twin = drained(lossy_cards({"loss_base_2p64": ONE // 5, "llr": True}))
    assert not records_of(twin)["retransmits"].any()
    assert twin.counters()["n2"]["port1.llr_replays"] > 0
    assert not any(node.get("rx_fcs_errors") for node in twin.counters().values())


def test_retry_on_a_sound_link_costs_nothing() -> None:
    def run(options: Data) -> list[Any]:
        data = chain(card(one_message(1, 40_000)), card(), [Wire(options=options), Wire()])
        return list(records_of(finished(data)).tolist())

    assert run({"llr": True, "llr_latency_ps": 10**6}) == run({})


def test_retry_delay_of_a_message_by_hand() -> None:
    options = fault(0, 0, 1) | {"llr": True, "llr_latency_ps": REPLAY_PS}
    records = records_of(finished(chain(card(one_message(1, 974)), card(), [Wire(options=options)])))
    expected = slot_ps(1000) + 2 * WIRE_PS + REPLAY_PS + WIRE_PS + on_wire_ps(1000)
    assert records["delivered_ps"].tolist() == [expected]
