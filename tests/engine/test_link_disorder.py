"""Links that hold frames up and send them twice: how many, when they arrive, and that cards survive it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from testbed.engine import _engine
from testbed.validate.plans import Data, Wire, card, chain, closed, drained, finished, one_message, records_of
from tests.engine.stations import (
    CORRUPT,
    FRAME_FIELDS,
    WIRE_PS,
    Station,
    bench,
    data_frame,
    on_wire_ps,
    pause,
    served,
    slot_ps,
    train,
)

ONE = 1 << 64
CERTAIN = ONE - 1
LATE_PS = 2_000_000
WIRE_OF_FIRST = 2
"""The direction from the first station to the switch; link 0 is the pacemaker's."""
PURPOSE_REORDER = 0x3001
"""As in testbed/engine/group.hpp."""


def held_up(share_2p64: int, delay_ps: int = LATE_PS) -> Data:
    return {"reorder_2p64": share_2p64, "reorder_delay_ps": delay_ps}


def twice(share_2p64: int) -> Data:
    return {"duplicate_2p64": share_2p64}


def likely(count: int, share: float) -> tuple[float, float]:
    """All but one in a thousand counts of events with this share lie between."""
    low, high = stats.binom.ppf([0.0005, 0.9995], count, share)
    return float(low), float(high)


def due_ps(psn: int) -> int:
    """When frame `psn` of a train of 1000-byte frames leaves the switch, if nothing holds it up."""
    return WIRE_PS + psn * slot_ps(1000)


# ---------------------------------------------------------------------------------------------------- held up


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
def test_held_up_share_is_that_of_the_link_and_each_is_late_by_the_delay(share: float) -> None:
    count = 20_000
    sink = Station(wire=held_up(int(share * ONE)))
    counters = served([Station(sends=train(0, 1, count)), sink])
    late = Counter(one.sent_ps - due_ps(one.frame.psn) for one in sink.data)
    low, high = likely(count, share)
    assert set(late) == {0, LATE_PS}
    assert low <= late[LATE_PS] <= high
    assert counters["port2.reordered"] == late[LATE_PS]
    assert sorted(sink.psns) == list(range(count))


def test_held_up_frame_is_overtaken_by_what_arrives_before_it_and_by_no_other() -> None:
    slots = 3
    sink = Station(wire=held_up(ONE // 10, slots * slot_ps(1000)))
    served([Station(sends=train(0, 1, 500)), sink])
    late = {one.frame.psn for one in sink.data if one.sent_ps != due_ps(one.frame.psn)}
    assert 10 < len(late) < 200
    # One that comes together with an earlier one, which was held up, comes behind it.
    expected = sorted(range(500), key=lambda psn: (psn + slots * (psn in late), psn))
    assert sink.psns == expected != list(range(500))


def test_held_up_all_alike_keep_order_and_spacing() -> None:
    sink = Station(wire=held_up(CERTAIN))
    served([Station(sends=train(0, 1, 50)), sink])
    assert sink.psns == list(range(50))
    assert sink.sent_ps == [due_ps(psn) + LATE_PS for psn in range(50)]


def test_held_up_frames_leave_the_wire_free_for_the_next() -> None:
    wire = held_up(CERTAIN)
    sink, plain = Station(wire=wire), Station()
    served([Station(sends=train(0, 1, 50), wire=wire), sink])
    served([Station(sends=train(0, 1, 50)), plain])
    assert sink.sent_ps == [sent_ps + 2 * LATE_PS for sent_ps in plain.sent_ps]


def test_reordering_changes_no_loss() -> None:
    def lost(wire: Data) -> set[int]:
        sink = Station(wire=wire | {"loss_base_2p64": ONE // 10})
        served([Station(sends=train(0, 1, 2_000)), sink])
        return {one.frame.psn for one in sink.data if one.frame.flags & CORRUPT}

    assert lost({}) == lost(held_up(ONE // 3)) != set()


@given(
    sizes=st.lists(st.integers(64, 9_000), min_size=1, max_size=60),
    share=st.floats(0.01, 0.9),
    delay_ps=st.integers(1, 4_000_000),
    seed=st.integers(0, 100),
)
def test_arrivals_of_a_port_are_in_order_of_time(
    sizes: list[int], share: float, delay_ps: int, seed: int
) -> None:
    starts = [sum(map(slot_ps, sizes[:number])) for number in range(len(sizes))]
    sends = [(start, data_frame(0, 1, sizes[n], psn=n)) for n, start in enumerate(starts)]
    sink = Station(wire=held_up(int(share * ONE), delay_ps) | twice(ONE // 8))
    served([Station(sends=sends), sink], seed=seed)
    times = [one.last_bit_ps for one in sink.data]
    assert times == sorted(times)
    assert set(sink.psns) == set(range(len(sizes)))


@pytest.mark.parametrize("delay_ps", [50_001, 170_003, 1_000_007])
def test_frame_for_a_faster_port_leaves_in_its_turn_though_another_overlaps_it(delay_ps: int) -> None:
    """Such frames are stored until they are whole, and a short one may be so before a long one that was held up."""
    seed, byte_ps = 3, 5
    sizes = [9_000, 64, 100, 1_500] * 20
    starts = [sum(map(slot_ps, sizes[:number])) for number in range(len(sizes))]
    sends = [
        (start, data_frame(0, 2 if sizes[n] <= 100 else 1, sizes[n], psn=n)) for n, start in enumerate(starts)
    ]
    sink = Station(byte_ps=byte_ps)
    stations = [Station(sends=sends, wire=held_up(ONE // 3, delay_ps)), Station(byte_ps=byte_ps), sink]
    served([*stations, Station(sends=train(3, 2, 600, psn=1_000))], seed=seed)

    draws = [_engine.random_at(seed, WIRE_OF_FIRST, PURPOSE_REORDER, n) for n in range(len(sizes))]
    arrivals = [start + delay_ps * (draw < ONE // 3) for start, draw in zip(starts, draws, strict=True)]
    whole = [(arrivals[n] + on_wire_ps(size), size, n) for n, size in enumerate(sizes) if size <= 100]
    whole += [(n * slot_ps(1000) + on_wire_ps(1000), 1_000, 1_000 + n) for n in range(600)]
    free_ps, expected = 0, []
    for whole_ps, size, psn in sorted(whole):
        start_ps = max(free_ps, whole_ps + WIRE_PS)
        free_ps = start_ps + (size + 20) * byte_ps
        expected.append((psn, start_ps))
    assert list(zip(sink.psns, sink.sent_ps, strict=True)) == expected


# ---------------------------------------------------------------------------------------------------- sent twice


@pytest.mark.parametrize("share", [0.001, 0.02, 0.5])
def test_duplicated_share_is_that_of_the_link(share: float) -> None:
    count = 20_000
    sink = Station(wire=twice(int(share * ONE)))
    counters = served([Station(sends=train(0, 1, count)), sink])
    times = Counter(sink.psns)
    doubled = sum(number == 2 for number in times.values())
    low, high = likely(count, share)
    assert set(times) == set(range(count))
    assert set(times.values()) == {1, 2}
    assert low <= doubled <= high
    assert counters["port2.duplicated"] == doubled
    assert sink.psns == sorted(sink.psns)


def test_copy_takes_the_wire_right_behind_the_original_and_what_is_next_waits() -> None:
    sink = Station(wire=twice(CERTAIN))
    twin = bench([Station(sends=train(0, 1, 5)), sink])
    twin.run(10**9)
    assert sink.psns == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert sink.sent_ps == [due_ps(number) for number in range(10)]
    assert twin.hops == 5 + 10
    assert twin.counters()["hub"]["port2.out_frames"] == 5


def test_copy_is_equal_in_every_field() -> None:
    sink = Station(wire=twice(CERTAIN))
    served([Station(sends=[(0, data_frame(0, 1, 777, psn=5, msn=6, index=7))]), sink])
    original, copy = (one.frame for one in sink.data)
    assert all(getattr(original, name) == getattr(copy, name) for name in FRAME_FIELDS if name != "cookie")


def test_copy_may_be_held_up_or_damaged_without_the_original() -> None:
    wire = twice(CERTAIN) | held_up(ONE // 2) | {"loss_base_2p64": ONE // 2}
    sink = Station(wire=wire)
    served([Station(sends=train(0, 1, 200)), sink])
    assert Counter(sink.psns) == dict.fromkeys(range(200), 2)
    pairs = {psn: [one for one in sink.data if one.frame.psn == psn] for psn in range(200)}
    apart = {abs(a.last_bit_ps - b.last_bit_ps) for a, b in pairs.values()}
    assert apart == {slot_ps(1000), LATE_PS - slot_ps(1000), LATE_PS + slot_ps(1000)}
    assert {sum(bool(one.frame.flags & CORRUPT) for one in pair) for pair in pairs.values()} == {0, 1, 2}


def test_copy_of_a_damaged_frame_that_cuts_through_is_damaged() -> None:
    sink = Station(wire=twice(CERTAIN))
    apart = train(0, 1, 3, gap_ps=2 * slot_ps(1000))
    served([Station(sends=apart, wire={"loss_base_2p64": CERTAIN}), sink])
    assert [bool(one.frame.flags & CORRUPT) for one in sink.data] == [True] * 6


def test_copy_follows_a_replayed_original() -> None:
    replay_ps = 33_000
    window = {"faults": [[1, WIRE_PS, WIRE_PS + 1, CERTAIN]], "llr": True, "llr_latency_ps": replay_ps}
    sink = Station(wire=twice(CERTAIN) | window)
    served([Station(sends=[(0, data_frame(0, 1))]), sink])
    first_ps = WIRE_PS + slot_ps(1000) + 2 * WIRE_PS + replay_ps
    assert sink.sent_ps == [first_ps, first_ps + slot_ps(1000)]


def test_mac_control_is_neither_held_up_nor_sent_twice() -> None:
    def leaving(wire: Data) -> tuple[list[int], dict[str, int]]:
        stop = Station(sends=[(0, pause({3: 200}))], wire=wire)
        counters = served(
            [Station(sends=train(0, 1, 3)), stop], lossless_classes=8, headroom_bytes=[0, 10_000, 0]
        )
        return stop.sent_ps, counters

    plain_ps, _ = leaving({})
    late_ps, counters = leaving(held_up(CERTAIN))
    assert late_ps == [sent_ps + LATE_PS for sent_ps in plain_ps]
    assert counters["port2.pause_frames_rx"] == 1
    assert leaving(twice(CERTAIN))[1]["port2.pause_frames_rx"] == 1


def test_duplicating_link_with_credits_is_refused() -> None:
    with pytest.raises(ValueError, match="credits count every frame once"):
        served([Station(wire=twice(1) | {"cbfc": True})])


# ---------------------------------------------------------------------------------------------------- flapping


@given(
    windows=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9)), min_size=1, max_size=30),
    wanted=st.randoms(),
)
def test_faults_in_any_order_and_overlapping_hit_the_frames_inside(
    windows: list[tuple[int, int]], wanted: Any
) -> None:
    slot = slot_ps(1000)
    faults = [
        [1, WIRE_PS + first * slot, WIRE_PS + (first + count) * slot, CERTAIN] for first, count in windows
    ]
    wanted.shuffle(faults)
    sink = Station(wire={"faults": faults})
    served([Station(sends=train(0, 1, 220)), sink])
    down = {psn for first, count in windows for psn in range(first, first + count)}
    assert {one.frame.psn for one in sink.data if one.frame.flags & CORRUPT} == down


# ---------------------------------------------------------------------------------------------------- cards

DISORDER: Data = held_up(ONE // 20) | twice(ONE // 20)
FLAP: Data = {
    "faults": [[way, at, at + 10**6, CERTAIN] for at in range(10**7, 10**8, 10**7) for way in (0, 1)]
}


def cards(options: Data, wire_format: str = "thin", **nic: Any) -> Data:
    load = closed(1, 40_000, until_ps=2 * 10**8)
    config: dict[str, Any] = {"wire_format": wire_format, "rto_ps": 10**7, "retry_limit": 1000} | nic
    return chain(card(load, **config), card(**config), [Wire(options=options), Wire()])


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
@pytest.mark.parametrize(
    "options",
    [DISORDER, DISORDER | FLAP | {"loss_base_2p64": ONE // 100}, DISORDER | {"llr": True} | FLAP],
    ids=["disorder", "and loss", "and retry"],
)
def test_cards_deliver_every_message_once_over_links_in_disorder(options: Data, wire_format: str) -> None:
    twin = drained(cards(options, wire_format))
    counters = twin.counters()
    assert len(records_of(twin)) > 20
    assert counters["n1"]["rx_duplicates"] > 0
    assert counters["n1"]["rx_out_of_order"] > 0
    assert twin.frames_in_use == 0


def test_reorder_window_saves_the_resends_that_held_up_packets_cause() -> None:
    def resent(window: int) -> int:
        options = held_up(ONE // 50, 200_000)
        return int(records_of(drained(cards(options, reorder_window_pkts=window)))["retransmits"].sum())

    assert resent(32) == 0 < resent(0)


def test_records_of_shares_of_zero_are_those_of_a_sound_link() -> None:
    def run(options: Data) -> bytes:
        return records_of(drained(cards(options))).tobytes()

    assert run(held_up(0) | twice(0)) == run({}) != run(DISORDER)


def test_records_over_links_in_disorder_do_not_depend_on_slices() -> None:
    data = cards(DISORDER | FLAP)
    whole, sliced = finished(data), finished(data, slice_ps=77_777)
    assert records_of(whole).tobytes() == records_of(sliced).tobytes()


def test_held_up_message_by_hand() -> None:
    records = records_of(finished(chain(card(one_message(1, 974)), card(), [Wire(options=held_up(CERTAIN))])))
    assert records["delivered_ps"].tolist() == [LATE_PS + WIRE_PS + on_wire_ps(1000)]
