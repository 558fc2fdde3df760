"""Links that are slow for a while, and bit errors for a while: when each frame arrives, to the picosecond."""

from __future__ import annotations

from typing import Any

import pytest
from scipy import stats

from testbed.validate.measure import slot_ps
from testbed.validate.plans import Data, Wire, card, chain, closed, drained, finished, one_message, records_of
from tests.engine.stations import (
    BYTE_PS,
    CONTROL_BYTES,
    CORRUPT,
    QUANTUM_BYTES,
    WIRE_PS,
    Station,
    data_frame,
    on_wire_ps,
    pause,
    served,
    train,
)

ONE = 1 << 64
SLOW_BYTE_PS = 100
EXTRA_PS = 30_000
ALWAYS_PS = 10**12


def slow(direction: int, from_ps: int, until_ps: int, byte_ps: int, extra_ps: int = 0) -> dict[str, Any]:
    return {"slow": [[direction, from_ps, until_ps, byte_ps, extra_ps]]}


def last_bits(sink: Station) -> list[int]:
    """When the last bit of each data frame came."""
    return [one.last_bit_ps for one in sink.data]


def came(frame_bytes: int, first_bit_ps: int, byte_ps: int) -> int:
    """Last bit of a frame whose first bit comes at `first_bit_ps`."""
    return first_bit_ps + on_wire_ps(frame_bytes, byte_ps)


# ------------------------------------------------------------------------------------------------- one wire, by hand


def alone(wire: dict[str, Any]) -> int:
    """Two cards and a wire: when the last bit of a frame of 1000 bytes comes that starts at 0."""
    data = chain(card(one_message(1, 1000 - 26)), card(), [Wire(options=wire)])
    return int(records_of(finished(data))["delivered_ps"][0])


@pytest.mark.parametrize(
    ("byte_ps", "extra_ps"), [(BYTE_PS, EXTRA_PS), (SLOW_BYTE_PS, 0), (SLOW_BYTE_PS, EXTRA_PS)]
)
def test_frame_in_a_slow_window_arrives_with_its_last_bit_at_the_slower_pace(
    byte_ps: int, extra_ps: int
) -> None:
    assert alone(slow(0, 0, 1, byte_ps, extra_ps)) == came(1000, WIRE_PS + extra_ps, byte_ps)


@pytest.mark.parametrize("window", [(0, 1, ALWAYS_PS), (0, 0, 0), (1, 0, ALWAYS_PS)])
def test_slow_window_spares_what_starts_outside_and_the_other_direction(window: tuple[int, int, int]) -> None:
    assert alone(slow(*window, SLOW_BYTE_PS, EXTRA_PS)) == came(1000, WIRE_PS, BYTE_PS)


def test_frame_that_starts_without_carrier_is_nowhere_and_keeps_its_port_busy() -> None:
    """Of six frames in a row those that start in the window never arrive; the others come as on a sound wire."""
    dark = {"dark": [[1, WIRE_PS + slot_ps(1000), WIRE_PS + 3 * slot_ps(1000)]]}
    sink = Station(byte_ps=BYTE_PS, wire=dark)
    served([Station(sends=train(0, 1, 6)), sink])
    starts = [WIRE_PS + n * slot_ps(1000) for n in (0, 3, 4, 5)]
    assert last_bits(sink) == [came(1000, start + WIRE_PS, BYTE_PS) for start in starts]


def test_of_two_slow_windows_the_slower_and_the_longer_count() -> None:
    both = {"slow": [[0, 0, 10, SLOW_BYTE_PS, 7], [0, 0, 5, BYTE_PS, EXTRA_PS]]}
    assert alone(both) == came(1000, WIRE_PS + EXTRA_PS, SLOW_BYTE_PS)


def test_slow_window_keeps_the_port_busy_longer() -> None:
    """Ten frames wait at a switch for the way out: those that start in the window take five times the time."""
    sink = Station(byte_ps=BYTE_PS, wire=slow(1, 0, WIRE_PS + 3 * slot_ps(1000, SLOW_BYTE_PS), SLOW_BYTE_PS))
    served([Station(sends=train(0, 1, 6)), sink])
    starts = [WIRE_PS + n * slot_ps(1000, SLOW_BYTE_PS) for n in range(4)]
    expected = [came(1000, start + WIRE_PS, SLOW_BYTE_PS) for start in starts[:3]]
    expected += [came(1000, starts[3] + n * slot_ps(1000) + WIRE_PS, BYTE_PS) for n in range(3)]
    assert last_bits(sink) == expected


def test_nothing_overtakes_what_is_late_and_the_wire_is_even_again_after_a_gap() -> None:
    """The first frame is late by more than the two behind it are apart: they follow it without a gap."""
    gap_ps = slot_ps(1000)
    wire = slow(1, 0, WIRE_PS + 1, BYTE_PS, 10 * gap_ps)
    sink = Station(wire=wire)
    sends = [(n * gap_ps, data_frame(0, 1, psn=n)) for n in (0, 1, 2)]
    sends += [(20 * gap_ps, data_frame(0, 1, psn=3))]
    served([Station(sends=sends), sink])
    first = WIRE_PS + WIRE_PS + 10 * gap_ps
    expected = [first, first + gap_ps, first + 2 * gap_ps, 2 * WIRE_PS + 20 * gap_ps]
    assert last_bits(sink) == [came(1000, bit, BYTE_PS) for bit in expected]
    assert sink.psns == [0, 1, 2, 3]


def test_small_frame_behind_a_late_one_waits_for_its_last_bit_and_gap() -> None:
    wire = slow(1, 0, WIRE_PS + 1, SLOW_BYTE_PS, EXTRA_PS)
    sink = Station(wire=wire)
    sends = [(0, data_frame(0, 1, 9000, psn=0)), (slot_ps(9000), data_frame(0, 1, 64, psn=1))]
    served([Station(sends=sends), sink])
    first = 2 * WIRE_PS + EXTRA_PS
    second = first + slot_ps(9000, SLOW_BYTE_PS)
    assert last_bits(sink) == [came(9000, first, SLOW_BYTE_PS), came(64, second, BYTE_PS)]


# ---------------------------------------------------------------------------------------------------- in a switch


@pytest.mark.parametrize("cut_through", [True, False])
def test_frame_from_a_slow_wire_is_stored_before_it_goes_on(cut_through: bool) -> None:
    """Its way out is faster: it would run dry."""
    sink = Station()
    sender = Station(sends=[(0, data_frame(0, 1))], wire=slow(0, 0, 1, SLOW_BYTE_PS, EXTRA_PS))
    served([sender, sink], cut_through=cut_through)
    assert sink.sent_ps == [came(1000, WIRE_PS + EXTRA_PS, SLOW_BYTE_PS)]


def test_frame_from_a_longer_wire_of_the_same_rate_cuts_through() -> None:
    sink = Station()
    served([Station(sends=[(0, data_frame(0, 1))], wire=slow(0, 0, 1, BYTE_PS, EXTRA_PS)), sink])
    assert sink.sent_ps == [WIRE_PS + EXTRA_PS]


def test_frame_to_a_slow_wire_cuts_through() -> None:
    sink = Station(byte_ps=BYTE_PS, wire=slow(1, 0, ALWAYS_PS, SLOW_BYTE_PS))
    served([Station(sends=[(0, data_frame(0, 1))]), sink])
    assert last_bits(sink) == [came(1000, 2 * WIRE_PS, SLOW_BYTE_PS)]


def test_pause_counts_its_quanta_at_the_pace_at_which_it_came() -> None:
    quanta = 1000
    sender = Station(sends=train(0, 1, 3, start_ps=10 * on_wire_ps(64, SLOW_BYTE_PS)))
    receiver = Station(sends=[(0, pause({3: quanta}))], wire=slow(0, 0, 1, SLOW_BYTE_PS))
    served([sender, receiver])
    takes_effect_ps = WIRE_PS + CONTROL_BYTES * SLOW_BYTE_PS
    free_ps = takes_effect_ps + quanta * QUANTUM_BYTES * SLOW_BYTE_PS
    assert receiver.sent_ps == [free_ps + n * slot_ps(1000) for n in range(3)]


def test_retry_in_a_slow_window_goes_the_slow_and_longer_way() -> None:
    replay_ps = 33_000
    wire = slow(0, 0, 1, SLOW_BYTE_PS, EXTRA_PS) | {
        "faults": [[0, 0, 1, ONE - 1]],
        "llr": True,
        "llr_latency_ps": replay_ps,
    }
    again_ps = slot_ps(1000, SLOW_BYTE_PS) + 2 * WIRE_PS + EXTRA_PS + replay_ps
    assert alone(wire) == came(1000, again_ps + WIRE_PS, BYTE_PS)


def test_traffic_that_never_meets_a_slow_wire_is_unchanged() -> None:
    def run(wire: dict[str, Any]) -> list[int]:
        sinks = [Station(wire=wire), Station()]
        sends = [train(2, 0, 50), train(3, 1, 50)]
        served([*sinks, *(Station(sends=each) for each in sends)])
        return last_bits(sinks[1])

    assert run(slow(1, 0, ALWAYS_PS, SLOW_BYTE_PS, EXTRA_PS)) == run({})


@pytest.mark.parametrize("wire_format", ["thin", "rocev2"])
def test_cards_survive_a_link_that_changes_its_pace(wire_format: str) -> None:
    rows = [
        [way, at, at + 7 * 10**6, BYTE_PS * (1 + at // 10**7), 300_000]
        for at in range(0, 10**8, 10**7)
        for way in (0, 1)
    ]
    load = closed(1, 40_000, until_ps=2 * 10**8)
    nic: dict[str, Any] = {"wire_format": wire_format, "rto_ps": 10**8}
    twin = drained(chain(card(load, **nic), card(**nic), [Wire(options={"slow": rows}), Wire()]))
    records = records_of(twin)
    assert len(records) > 100
    assert not records["retransmits"].any(), "nothing is lost or overtaken"
    assert twin.frames_in_use == 0


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ([0, 0, 1, BYTE_PS - 1, 0], "never faster"),
        ([1, 0, 1, BYTE_PS, 10**12 + 1], "1 s longer"),
        ([2, 0, 1, BYTE_PS, 0], "a slow time is"),
        ([0, 0, 1, BYTE_PS], "a slow time is"),
        ([0, 0, 1, 1 << 32, 0], "a slow time is"),
    ],
)
def test_slow_window_that_cannot_be_is_refused(row: list[int], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        served([Station(wire={"slow": [row]})])


# ----------------------------------------------------------------------------------------- bit errors for a while


def bit_errors(from_ps: int, until_ps: int, base: float, per_byte: float) -> Data:
    return {"faults": [[0, from_ps, until_ps, int(base * ONE), int(per_byte * ONE)]]}


@pytest.mark.parametrize("frame_bytes", [100, 1000, 9000])
@pytest.mark.parametrize("base", [0.0, 0.01])
def test_bit_errors_of_a_window_damage_the_share_that_the_length_says(frame_bytes: int, base: float) -> None:
    """One in 50,000 bytes, for the middle half of 20,000 frames."""
    count, per_byte = 20_000, 2e-5
    window = (count // 4 * slot_ps(frame_bytes), 3 * count // 4 * slot_ps(frame_bytes))
    sink = Station()
    served([Station(sends=train(0, 1, count, frame_bytes), wire=bit_errors(*window, base, per_byte)), sink])
    damaged = [one.frame.psn for one in sink.data if one.frame.flags & CORRUPT]
    low, high = stats.binom.ppf([0.0005, 0.9995], count // 2, base + per_byte * frame_bytes)
    assert low <= len(damaged) <= high
    assert count // 4 <= min(damaged)
    assert max(damaged) < 3 * count // 4


def test_fault_of_four_numbers_is_one_without_bit_errors() -> None:
    def run(*more: int) -> list[int]:
        wire = {"faults": [[0, 0, 10**8, ONE // 10, *more]]}
        sink = Station()
        served([Station(sends=train(0, 1, 500), wire=wire), sink])
        return [one.frame.psn for one in sink.data if one.frame.flags & CORRUPT]

    assert run() == run(0)
    assert len(run()) < len(run(ONE // 10_000))
