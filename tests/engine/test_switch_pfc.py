"""Priority-based flow control to the picosecond: when a pause leaves, when it acts, when it ends, what it must hold.

All stations send 1000-byte frames; cells have one byte, so that sums can be done by hand.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from testbed.analysis.depths import SAMPLE_DTYPE, SampleKind
from testbed.engine import _engine
from testbed.validate.plans import Data, Wire, card, chain, closed, drained, leaf_spine, records_of
from tests.engine.stations import (
    BYTE_PS,
    CONTROL_BYTES,
    QUANTUM_BYTES,
    SWITCH,
    WIRE_PS,
    Station,
    bench,
    on_wire_ps,
    pause,
    served,
    slot_ps,
    train,
    words_of,
)

C = 3
SLOW_PS = 2000
"""A byte on the way out: nothing leaves while a burst comes in."""
PIPELINE_PS = 30_000
GENERATION_PS = 7_000
QUANTUM_PS = QUANTUM_BYTES * BYTE_PS
CONTROL_PS = CONTROL_BYTES * BYTE_PS
LOSSLESS: dict[str, Any] = {
    "pipeline_latency_ps": PIPELINE_PS,
    "pfc_generation_ps": GENERATION_PS,
    "lossless_classes": 1 << C,
    "buffer_bytes": 10_000,
    "headroom_bytes": [0, 10_000, 0],
}
"""A group of the only class in use takes n frames while 1000 n <= 10 000 - 1000 (n - 1): five; a sixth is beyond."""
FIRST_BEYOND = 6
"""Frame 0 is on its way out, 1 to 5 wait within the threshold."""


def arrival_ps(number: int) -> int:
    """When the first bit of a frame of a burst is through the pipeline."""
    return number * slot_ps(1000) + WIRE_PS + PIPELINE_PS


def departure_ps(number: int, byte_ps: int = SLOW_PS) -> int:
    """When a frame of a burst leaves by the slow port."""
    return arrival_ps(0) + number * slot_ps(1000, byte_ps)


def burst(count: int, **config: Any) -> tuple[Station, Station, dict[str, int]]:
    """Station 0 sends a burst to station 1, whose link is slow."""
    sender, receiver = Station(sends=train(0, 1, count)), Station(byte_ps=SLOW_PS)
    counters = served([sender, receiver], **LOSSLESS | config)
    return sender, receiver, counters


# ------------------------------------------------------------------------------------------------ telling to stop


def test_pause_leaves_when_the_first_frame_beyond_the_threshold_comes() -> None:
    sender, receiver, counters = burst(7)
    stop = sender.control[0]
    assert words_of(stop.frame) == {C: 0xFFFF}
    assert stop.frame.opcode is _engine.Opcode.PAUSE
    assert stop.sent_ps == arrival_ps(FIRST_BEYOND) + GENERATION_PS
    assert receiver.psns == list(range(7))
    assert counters["port1.c3.pg_watermark_bytes"] == 5_000
    assert counters["port1.c3.headroom_watermark_bytes"] == 1_000
    assert counters["port1.c3.pfc_tx"] == counters["port1.pause_frames_tx"] == 2


def test_pause_does_not_leave_for_what_the_threshold_takes() -> None:
    sender, _, counters = burst(FIRST_BEYOND)
    assert sender.control == []
    assert counters["port1.c3.pg_watermark_bytes"] == 5_000
    assert "port1.c3.headroom_watermark_bytes" not in counters


@pytest.mark.parametrize(("alpha_log2", "within"), [(-3, 1), (-1, 3), (0, 5), (1, 7), (4, 10)])
def test_threshold_of_a_lossless_group_is_alpha_of_what_is_free(alpha_log2: int, within: int) -> None:
    # n frames fit while 1000 n <= 2^alpha (10 000 - 1000 (n - 1)).
    sender, _, counters = burst(within + 2, lossless_alpha_log2=alpha_log2)
    assert sender.control[0].sent_ps == arrival_ps(within + 1) + GENERATION_PS
    assert counters["port1.c3.pg_watermark_bytes"] == within * 1000


def test_reserve_of_a_group_comes_on_top_of_its_threshold() -> None:
    # Beyond a reserve of 2000 bytes n frames take 1000 n - 2000 shared: <= 10 000 - (1000 (n - 1) - 2000) for n <= 7.
    sender, _, _ = burst(9, pg_reserved_bytes=2_000)
    assert sender.control[0].sent_ps == arrival_ps(8) + GENERATION_PS


@pytest.mark.parametrize(
    ("offset", "departed"), [(0, 1), (1, 2), (2_000, 2), (2_001, 3), (4_000, 3), (10_000, 6), (50_000, 6)]
)
def test_resume_leaves_once_the_group_is_its_offset_below_the_threshold(offset: int, departed: int) -> None:
    # 6000 bytes wait, 1000 of them in headroom, which goes first. After n departures 6000 - 1000 n are left against
    # a threshold of 10 000 - (6000 - 1000 n); a group that is empty may always go on.
    sender, _, counters = burst(7, xon_offset_bytes=offset)
    stop, resume = sender.control
    assert words_of(resume.frame) == {C: 0}
    assert resume.sent_ps == departure_ps(departed) + GENERATION_PS
    stopped_ps = departure_ps(departed) - arrival_ps(FIRST_BEYOND)
    assert counters["port1.c3.pause_tx_ps"] == stopped_ps
    assert resume.sent_ps - stop.sent_ps == stopped_ps


def test_pause_is_repeated_each_half_of_its_quanta_until_the_resume() -> None:
    sender, _, _ = burst(7, pause_quanta=101, xon_offset_bytes=2_001)
    first_ps = arrival_ps(FIRST_BEYOND) + GENERATION_PS
    resume_ps = departure_ps(3) + GENERATION_PS
    expected = [*range(first_ps, resume_ps, 50 * QUANTUM_PS), resume_ps]
    assert [one.sent_ps for one in sender.control] == expected
    assert [words_of(one.frame)[C] for one in sender.control] == [101] * (len(expected) - 1) + [0]
    assert len(expected) > 20


def test_pause_waits_for_the_frame_on_its_wire_and_goes_before_all_that_wait() -> None:
    # Station 1 sends 3000-byte frames back to station 0: one is on the wire when the pause is due, one comes then.
    sender = Station(sends=train(0, 2, 7))
    back = Station(sends=train(1, 0, 4, 3000, traffic_class=5, start_ps=1_000))
    served([sender, back, Station(byte_ps=SLOW_PS)], **LOSSLESS)
    due_ps = arrival_ps(FIRST_BEYOND) + GENERATION_PS
    comes_ps = [1_000 + WIRE_PS + PIPELINE_PS + n * slot_ps(3000) for n in range(4)]
    assert comes_ps[2] < due_ps < comes_ps[3]
    assert sender.control[0].sent_ps == comes_ps[3]
    assert sender.sent_ps[:4] == [
        *comes_ps[:3],
        comes_ps[3] + on_wire_ps(3000),
    ]  # it waits, so it is whole first


def test_stop_that_is_over_before_it_could_be_told_is_not_told() -> None:
    # The pause takes longer to make than the group is stopped.
    sender, receiver, counters = burst(7, pfc_generation_ps=10**9)
    assert sender.control == []
    assert receiver.psns == list(range(7))
    assert counters["port1.c3.pause_tx_ps"] > 0


def test_two_classes_share_a_pause_frame() -> None:
    # Each of two classes is beyond its threshold before the first pause can leave: 1000 n <= free for both together.
    spaced = {"gap_ps": 2 * slot_ps(1000)}
    sends = train(0, 1, 8, **spaced) + train(
        0, 1, 8, **spaced, start_ps=slot_ps(1000), traffic_class=4, psn=100
    )
    sender, receiver = Station(sends=sends), Station(byte_ps=SLOW_PS)
    served([sender, receiver], **LOSSLESS | {"lossless_classes": 3 << C, "pfc_generation_ps": 400_000})
    assert words_of(sender.control[0].frame) == {3: 0xFFFF, 4: 0xFFFF}
    assert sorted(receiver.psns) == [*range(8), *range(100, 108)]


def test_lossy_class_beside_a_lossless_one_is_never_paused() -> None:
    sender = Station(sends=train(0, 1, 30, traffic_class=2))
    counters = served([sender, Station(byte_ps=SLOW_PS)], **LOSSLESS)
    assert sender.control == []
    assert counters["port2.c2.out_discards"] > 0


# ------------------------------------------------------------------------------------------------ being told to stop


@pytest.mark.parametrize("reaction_ps", [0, 1, 12_345, 500_000])
@pytest.mark.parametrize("quanta", [1, 40, 1000])
def test_pause_stops_the_class_after_the_reaction_and_runs_out_after_its_quanta(
    reaction_ps: int, quanta: int
) -> None:
    count, at_ps = 120, 200_003
    receiver = Station(sends=[(at_ps, pause({C: quanta}))])
    counters = served(
        [Station(sends=train(0, 1, count)), receiver],
        **LOSSLESS | {"pause_reaction_ps": reaction_ps, "buffer_bytes": 10**6},
    )
    stopped_ps = at_ps + WIRE_PS + CONTROL_PS + reaction_ps
    free_ps = stopped_ps + quanta * QUANTUM_PS
    before = [arrival_ps(n) for n in range(count) if arrival_ps(n) < stopped_ps]
    first = max(arrival_ps(len(before)), free_ps, before[-1] + slot_ps(1000))
    if first > arrival_ps(len(before)):  # it had to wait, so it is whole before it leaves
        first = max(first, arrival_ps(len(before)) + on_wire_ps(1000))
    assert receiver.psns == list(range(count))
    assert receiver.sent_ps[: len(before)] == before
    assert receiver.sent_ps[len(before)] == first
    assert counters["port2.pause_frames_rx"] == counters["port2.c3.pfc_rx"] == 1
    assert counters["port2.c3.pause_rx_ps"] == quanta * QUANTUM_PS


def test_pause_repeated_in_time_goes_on_and_resume_ends_it_at_once() -> None:
    every_ps, quanta = 50_000, 40  # 51 200 ps each
    times = [200_000 + n * every_ps for n in range(10)]
    sends = [(at, pause({C: quanta})) for at in times]
    resume_ps = times[-1] + 20_000
    receiver = Station(sends=[*sends, (resume_ps, pause({C: 0}))])
    served([Station(sends=train(0, 1, 50)), receiver], **LOSSLESS | {"buffer_bytes": 10**6})
    stopped, free = (at + WIRE_PS + CONTROL_PS for at in (times[0], resume_ps))
    held = [at for at in receiver.sent_ps if stopped <= at]
    assert held[0] == free
    assert [b - a for a, b in itertools.pairwise(held)][:20] == [slot_ps(1000)] * 20


def test_pause_that_lapses_between_two_frames_lets_the_class_go_between() -> None:
    receiver = Station(sends=[(200_000, pause({C: 10})), (260_000, pause({C: 10}))])
    counters = served([Station(sends=train(0, 1, 50)), receiver], **LOSSLESS | {"buffer_bytes": 10**6})
    first, second = (at + WIRE_PS + CONTROL_PS for at in (200_000, 260_000))
    gaps = ((first, first + 10 * QUANTUM_PS), (second, second + 10 * QUANTUM_PS))
    assert not any(begin <= at < end for at in receiver.sent_ps for begin, end in gaps)
    assert any(gaps[0][1] <= at < second for at in receiver.sent_ps)
    assert counters["port2.c3.pause_rx_ps"] == 20 * QUANTUM_PS


def test_pause_of_a_class_leaves_the_others_alone() -> None:
    receiver = Station(sends=[(0, pause({C: 0xFFFF, 6: 0xFFFF}))])
    low = Station(sends=train(0, 2, 5, start_ps=500_000, traffic_class=2))
    same = Station(sends=train(1, 2, 5, start_ps=500_000, traffic_class=C, psn=100))
    served([low, same, receiver], until_ps=5 * 10**6, **LOSSLESS | {"buffer_bytes": 10**6})
    assert receiver.psns == list(range(5))


def test_frame_under_way_when_its_class_is_stopped_is_finished() -> None:
    arrived_ps = 10**6 + WIRE_PS + PIPELINE_PS
    at_ps = arrived_ps + 100 - WIRE_PS - CONTROL_PS  # in effect 100 ps after the first bit is out
    receiver = Station(sends=[(at_ps, pause({C: 0xFFFF}))])
    served(
        [Station(sends=train(0, 1, 2, 9000, start_ps=10**6)), receiver],
        until_ps=10**7,
        **LOSSLESS | {"buffer_bytes": 10**6},
    )
    assert receiver.sent_ps == [arrived_ps]


@pytest.mark.parametrize("reaction_ps", [0, 333_333])
def test_card_stops_after_its_reaction_and_goes_on_after_the_quanta(reaction_ps: int) -> None:
    # A card that always has something to send, at a switch that pauses it once, by way of a station's frames.
    sender = card(
        closed(1, 974, until_ps=3 * 10**7, window=64), window_pkts=64, pause_reaction_ps=reaction_ps
    )
    data = chain(
        sender,
        card(),
        [Wire(), Wire(byte_time_ps=80)],
        **LOSSLESS | {"headroom_bytes": [0, 10**6, 0], "pause_quanta": 0xFFFF},
    )
    twin = drained(data)
    counters = twin.counters()
    hub, nic = counters["n2"], counters["n0"]
    assert nic["rx_pause_frames"] == hub["port1.pause_frames_tx"] > 10
    assert hub["port1.c3.pause_tx_ps"] == nic["pause_rx_ps"]
    # From the decision until the card has stopped: what comes is at most all that fits in that time, and a frame.
    response_ps = GENERATION_PS + slot_ps(64) + CONTROL_PS + 2 * WIRE_PS + reaction_ps + PIPELINE_PS
    assert 0 < hub["port1.c3.headroom_watermark_bytes"] <= 1000 * (response_ps // slot_ps(1000) + 2)
    assert "port2.out_discards" in hub
    assert hub["port2.out_discards"] == 0


def test_pauses_are_followed_as_samples_at_both_ends() -> None:
    sender, receiver = (
        Station(sends=train(0, 1, 7)),
        Station(byte_ps=SLOW_PS, sends=[(0, pause({C: 1})), (10**6, pause({C: 0}))]),
    )
    twin = bench([sender, receiver], **LOSSLESS)
    twin.trace_queues(10**12, 1000)
    twin.run(10**13)
    samples = np.frombuffer(twin.queue_samples(), SAMPLE_DTYPE)
    sent = samples[samples["kind"] == SampleKind.PAUSE_SENT]
    assert sent[["time_ps", "entity", "port", "traffic_class", "value"]].tolist() == [
        (int(sent["time_ps"][0]), SWITCH, 1, C, 1),
        (int(sent["time_ps"][1]), SWITCH, 1, C, 0),
    ]
    got = samples[samples["kind"] == SampleKind.PAUSE_RECEIVED]
    stopped_ps = WIRE_PS + CONTROL_BYTES * SLOW_PS
    assert got[["time_ps", "port", "value"]].tolist()[0] == (stopped_ps, 2, 1)


# ------------------------------------------------------------------------------------------------ losing nothing


def test_headroom_that_holds_what_comes_loses_nothing_and_a_byte_less_names_what_lacks() -> None:
    # Frames 6 to 9 come beyond the threshold, and the sender does not listen.
    _, receiver, counters = burst(10, headroom_bytes=[0, 4_000, 0])
    assert receiver.psns == list(range(10))
    assert counters["headroom_pool_watermark_bytes"] == 4_000
    message = (
        r"hub dropped a frame of lossless class 3 that came by port 1 for port 2 at "
        rf"{arrival_ps(9)} ps: its headroom of 3999 bytes lacks 1 bytes for it"
    )
    with pytest.raises(_engine.LosslessDropError, match=message):
        burst(10, headroom_bytes=[0, 3_999, 0])


def test_headroom_too_small_without_the_assertion_is_a_counted_drop() -> None:
    _, receiver, counters = burst(12, headroom_bytes=[0, 3_999, 0], assert_lossless=False)
    assert receiver.psns == list(range(9))
    assert (counters["port2.out_discards"], counters["port2.c3.out_discard_octets"]) == (3, 3_000)


def test_headroom_pool_is_shared_by_the_ports() -> None:
    # Two senders, 5 frames each: 1000 bytes of the 10 000 are beyond after three frames of each; the pool holds three.
    def run(pool: int) -> dict[str, int]:
        senders = [Station(sends=train(n, 2, 6, psn=100 * n)) for n in range(2)]
        return served(
            [*senders, Station(byte_ps=SLOW_PS)],
            **LOSSLESS | {"headroom_bytes": [0, 3_000, 3_000, 0], "headroom_pool_bytes": pool},
        )

    used = run(6_000)["headroom_pool_watermark_bytes"]
    assert used > 3_000
    assert run(used)["port3.out_discards"] == 0
    with pytest.raises(_engine.LosslessDropError, match="lossless class 3"):
        run(used - 1)


def test_release_gives_headroom_back_first() -> None:
    # The group stays beyond its threshold until its headroom is empty, and takes more headroom meanwhile.
    late = train(0, 1, 1, start_ps=departure_ps(1) - WIRE_PS - PIPELINE_PS + 1, psn=50)
    sender, receiver = Station(sends=[*train(0, 1, 8), *late]), Station(byte_ps=SLOW_PS)
    counters = served([sender, receiver], **LOSSLESS)
    # 2000 of headroom, one frame left: 1000; the late frame makes it 2000 again.
    assert counters["port1.c3.headroom_watermark_bytes"] == 2_000
    assert sender.control[-1].sent_ps == departure_ps(3) + GENERATION_PS


def incast(senders: int, headroom: int, **config: Any) -> Data:
    """Cards at two leaves behind one spine, all to the first."""
    cards = [
        card(),
        *[card(closed(0, 20_000, until_ps=2 * 10**7), pause_reaction_ps=50_000) for _ in range(senders)],
    ]
    return leaf_spine(
        cards,
        leaves=2,
        spines=1,
        **LOSSLESS | {"buffer_bytes": 40_000, "headroom_bytes": [headroom] * 20} | config,
    )


@pytest.mark.parametrize("cut", [True, False], ids=["cut_through", "stored"])
def test_lossless_incast_through_three_switches_loses_nothing(cut: bool) -> None:
    twin = drained(incast(9, 60_000, cut_through=cut))
    counters = twin.counters()
    switches = [node for node in counters.values() if "no_route_discards" in node]
    assert len(records_of(twin)) > 40
    assert sum(node["tx_retransmits"] for node in counters.values() if "tx_retransmits" in node) == 0
    for node in switches:
        assert not any(value for name, value in node.items() if name.endswith("out_discards"))
    told = [sum(v for k, v in node.items() if k.endswith("pause_frames_tx")) for node in switches]
    heard = [sum(v for k, v in node.items() if k.endswith("pause_frames_rx")) for node in switches]
    assert sum(told) > sum(heard) > 0
    assert twin.frames_in_use == 0


def test_lossless_incast_with_too_little_headroom_names_switch_port_class_and_bytes() -> None:
    with pytest.raises(
        _engine.LosslessDropError,
        match=r"n1\d dropped a frame of lossless class 3 that came by port \d for port \d .* 5000 bytes lacks \d+",
    ):
        drained(incast(9, 5_000))
