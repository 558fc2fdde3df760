"""Which class sends next: strict priority, deficit round robin, shapers, frame by frame; and a frame's class."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.engine import _engine
from tests.engine.stations import (
    WIRE_PS,
    Sending,
    Station,
    data_frame,
    on_wire_ps,
    served,
    slot_ps,
)

Frames = list[tuple[int, int]]
"""Class and bytes of each frame."""


def by_class(values: dict[int, int]) -> list[int]:
    return [values.get(c, 0) for c in range(8)]


def behind_a_blocker(frames: Frames, *, blocker: int = 16_000, **config: Any) -> list[int]:
    """The order in which frames leave that all came while one in class 7 was on its way; they are numbered from 0."""
    sends: list[Sending] = []
    start_ps = 100
    for number, (c, size) in enumerate(frames):
        sends.append((start_ps, data_frame(1, 2, size, traffic_class=c, psn=number)))
        start_ps += slot_ps(size)
    assert start_ps < slot_ps(blocker), "all came before the first is through"
    first = Station(sends=[(0, data_frame(0, 2, blocker, traffic_class=7, psn=999))])
    sink = Station()
    served([first, Station(sends=sends), sink], **config)
    assert sink.psns[0] == 999
    gaps = [b - a for a, b in zip(sink.sent_ps, sink.sent_ps[1:], strict=False)]
    if "shaper_ps_per_kib" not in config:
        assert gaps == [slot_ps(one.frame.frame_bytes) for one in sink.data[:-1]], "the port never rests"
    return sink.psns[1:]


def test_strict_priority_higher_class_first_and_order_within() -> None:
    frames = [(1, 500), (5, 500), (1, 500), (3, 500), (5, 500)]
    assert behind_a_blocker(frames) == [1, 4, 3, 0, 2]


def test_dwrr_equal_quanta_take_turns_from_class_zero() -> None:
    frames = [(0, 1000)] * 3 + [(1, 1000)] * 3 + [(2, 1000)] * 3
    quanta: dict[str, Any] = {"dwrr_quantum_bytes": by_class(dict.fromkeys((0, 1, 2), 1000))}
    assert behind_a_blocker(frames, **quanta) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


def test_dwrr_quantum_of_two_frames_sends_two_in_a_row() -> None:
    frames = [(0, 1000)] * 4 + [(1, 1000)] * 4
    quanta: dict[str, Any] = {"dwrr_quantum_bytes": by_class({0: 2000, 1: 1000})}
    assert behind_a_blocker(frames, **quanta) == [0, 1, 4, 2, 3, 5, 6, 7]


def test_dwrr_what_is_left_of_a_quantum_is_kept() -> None:
    # Quantum 1500 for 1000-byte frames: 1, then 2, then 1, then 2 of class 0 for each one of class 1.
    frames = [(0, 1000)] * 6 + [(1, 1000)] * 4
    quanta: dict[str, Any] = {"dwrr_quantum_bytes": by_class({0: 1500, 1: 1000})}
    assert behind_a_blocker(frames, **quanta) == [0, 6, 1, 2, 7, 3, 8, 4, 5, 9]


def test_dwrr_quantum_below_a_frame_saves_up() -> None:
    # Class 1 needs four rounds for one frame.
    frames = [(0, 500)] * 6 + [(1, 2000)] * 2
    quanta: dict[str, Any] = {"dwrr_quantum_bytes": by_class({0: 500, 1: 500})}
    assert behind_a_blocker(frames, **quanta) == [0, 1, 2, 3, 6, 4, 5, 7]


def test_dwrr_class_that_runs_dry_loses_what_is_left() -> None:
    # Class 0 sends 1000 of 3000 and is empty; when it comes again it begins with one quantum, not with two.
    quanta: dict[str, Any] = {"dwrr_quantum_bytes": by_class({0: 3000, 1: 1000})}
    early = [(100, data_frame(1, 2, 1000, traffic_class=0, psn=0))]
    early += [
        (100 + (n + 1) * slot_ps(1000), data_frame(1, 2, 1000, traffic_class=1, psn=10 + n)) for n in range(9)
    ]
    late_ps = slot_ps(16_000) + slot_ps(1000)  # comes while class 1 is at work
    late = [
        (late_ps + n * slot_ps(1000) // 4, data_frame(3, 2, 1000, traffic_class=0, psn=20 + n))
        for n in range(6)
    ]
    fast = Station(sends=late, byte_ps=5)
    first, sink = Station(sends=[(0, data_frame(0, 2, 16_000, traffic_class=7, psn=999))]), Station()
    served([first, Station(sends=early), sink, fast], **quanta)
    order = sink.psns[1:]
    runs = "".join("a" if psn < 10 else "b" if psn < 20 else "c" for psn in order)
    assert runs.startswith("ab")
    assert "cccc" not in runs
    assert "ccc" in runs


def test_strict_class_goes_before_every_dwrr_class_whatever_its_number() -> None:
    frames = [(6, 1000), (6, 1000), (0, 1000), (5, 1000), (0, 1000)]
    quanta: dict[str, Any] = {"dwrr_quantum_bytes": by_class({5: 1000, 6: 1000, 7: 1000})}
    order = behind_a_blocker(frames, **quanta)
    assert (order[:2], sorted(order[2:]), order.index(0) < order.index(1)) == ([2, 4], [0, 1, 3], True)


# ----------------------------------------------------------------------------------------------------- shapers


@pytest.mark.parametrize("frame_bytes", [64, 1000, 1024, 4122])
@pytest.mark.parametrize("per_kib_ps", [81_920, 102_401])
def test_shaper_spaces_frames_by_their_time_at_its_rate(frame_bytes: int, per_kib_ps: int) -> None:
    count = 40
    sends = [(n * slot_ps(frame_bytes), data_frame(0, 1, frame_bytes, psn=n)) for n in range(count)]
    sink = Station()
    served(
        [Station(sends=sends), sink],
        shaper_ps_per_kib=by_class({3: per_kib_ps}),
        shaper_burst_bytes=by_class({3: 1}),
    )
    begin = WIRE_PS
    waits = [n * frame_bytes * per_kib_ps // 1024 for n in range(count)]
    burst_ps = per_kib_ps // 1024
    assert sink.sent_ps[0] == begin
    for number, (sent, wait) in enumerate(zip(sink.sent_ps[2:], waits[2:], strict=True), start=2):
        assert begin + wait - burst_ps - 1 <= sent <= begin + wait, number


def test_shaper_lets_a_burst_through_at_line_rate() -> None:
    # 10 ns a byte against 20 ps, 5000 bytes of burst: frame n goes once n * 1000 bytes are at most a burst ahead.
    sends = [(n * slot_ps(1000), data_frame(0, 1, psn=n)) for n in range(12)]
    sink = Station()
    per_byte_ps = 200
    served(
        [Station(sends=sends), sink],
        shaper_ps_per_kib=by_class({3: 1024 * per_byte_ps}),
        shaper_burst_bytes=by_class({3: 5000}),
    )
    arrivals = [WIRE_PS + n * slot_ps(1000) for n in range(12)]
    assert sink.sent_ps[:6] == arrivals[:6]
    assert sink.sent_ps[6:] == [WIRE_PS + (1000 * n - 5000) * per_byte_ps for n in range(6, 12)]


def test_shaped_class_that_waits_lets_lower_ones_through() -> None:
    sends = [
        (0, data_frame(0, 1, traffic_class=5, psn=0)),
        (slot_ps(1000), data_frame(0, 1, traffic_class=5, psn=1)),
    ]
    low = [(n * slot_ps(1000), data_frame(2, 1, traffic_class=1, psn=10 + n)) for n in range(6)]
    sink = Station()
    served(
        [Station(sends=sends), sink, Station(sends=low)],
        shaper_ps_per_kib=by_class({5: 1024 * 80}),
        shaper_burst_bytes=by_class({5: 1}),
    )
    assert sink.psns.index(1) == 4
    shaped = [one.sent_ps for one in sink.data if one.frame.traffic_class == 5]
    assert shaped[1] >= WIRE_PS + 80_000 - 80


# ----------------------------------------------------------------------------------------------- classification


def classes_of(sends: list[Sending], **config: Any) -> dict[int, int]:
    """Frames that left in each class."""
    counters = served([Station(sends=sends), Station()], **config)
    return {c: counters[f"port2.c{c}.out_frames"] for c in range(8) if f"port2.c{c}.out_frames" in counters}


def roce(number: int, dscp: int) -> Sending:
    frame = data_frame(0, 1, 1000, psn=number, format=_engine.WireFormat.ROCE_V2, dscp=dscp)
    frame.message_bytes = frame.payload_bytes
    return number * slot_ps(1000), frame


def test_class_of_thin_frames_is_their_priority() -> None:
    sends = [(c * slot_ps(1000), data_frame(0, 1, traffic_class=c)) for c in range(8)]
    assert classes_of(sends) == dict.fromkeys(range(8), 1)
    swapped = {"class_of_pcp": [7, 7, 5, 4, 3, 2, 1, 0]}
    assert classes_of(sends, **swapped) == {7: 2, 5: 1, 4: 1, 3: 1, 2: 1, 1: 1, 0: 1}


def test_class_of_roce_frames_is_their_code_point_over_eight() -> None:
    assert classes_of([roce(dscp, dscp) for dscp in range(64)]) == dict.fromkeys(range(8), 8)


def test_class_of_roce_frames_follows_the_map_and_not_the_priority() -> None:
    table = [0] * 64
    table[26], table[48] = 3, 6
    sends = [roce(0, 26), roce(1, 48), roce(2, 27)]
    assert classes_of(sends, class_of_dscp=table, class_of_pcp=[1] * 8) == {3: 1, 6: 1, 0: 1}


def test_class_decides_what_overtakes() -> None:
    table: dict[str, Any] = {"class_of_pcp": [7, 0, 0, 0, 0, 0, 0, 7]}
    assert behind_a_blocker([(1, 500), (6, 500), (0, 500)], **table) == [2, 0, 1]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_of_pcp": [0] * 7}, "a list by class has 8 items"),
        ({"class_of_pcp": [8] * 8}, "a class is 0 to 7"),
        ({"class_of_dscp": [0] * 63}, "64 items"),
        ({"class_of_dscp": [8] * 64}, "a class is 0 to 7"),
        ({"dwrr_quantum_bytes": [1]}, "a list by class has 8 items"),
        ({"shaper_ps_per_kib": [1] * 8}, "each shaper has a burst"),
        ({"trim_class": 8}, "a class is 0 to 7"),
        ({"trim_bytes": 63}, "at least 64 bytes"),
        ({"lossless_classes": 256}, "8 classes"),
        ({"lossless_classes": 8, "pause_quanta": 1}, "at least two quanta"),
        ({"ecn": [[2, 1, 0]] * 8}, "kmin is at most kmax"),
        ({"ecn": [[1, 2, 1_000_001]] * 8}, "pmax is at most 1"),
        ({"flowlet_entries": 3}, "power of two"),
        ({"credit_bytes": 16_383}, "at least 16384"),
        ({"lossless_alpha_log2": 17}, "alpha_log2"),
        ({"load_quantum_bytes": 0}, "at least one byte"),
    ],
)
def test_switch_that_cannot_be_says_why(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        served([Station(), Station()], **config)


def test_frame_stored_for_a_faster_port_leaves_when_it_is_whole() -> None:
    sink = Station(byte_ps=5)
    served([Station(sends=[(0, data_frame(0, 1))]), sink], pipeline_latency_ps=7_000)
    assert sink.sent_ps == [WIRE_PS + 7_000 + on_wire_ps(1000)]
