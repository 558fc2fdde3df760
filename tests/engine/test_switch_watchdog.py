"""PFC watchdog: a queue that stands stopped too long is emptied, and whole again once it was free for a while."""

from __future__ import annotations

from typing import Any

from tests.engine.stations import (
    BYTE_PS,
    CONTROL_BYTES,
    QUANTUM_BYTES,
    WIRE_PS,
    Sending,
    Station,
    data_frame,
    pause,
    served,
    train,
)

C = 3
QUANTA = 100
PAUSE_PS = QUANTA * QUANTUM_BYTES * BYTE_PS  # 128 us in ps: 128 000
EVERY_PS = 60_000
DETECTION_PS = 500_000
RESTORATION_PS = 300_000
DOG: dict[str, Any] = {
    "lossless_classes": 1 << C,
    "buffer_bytes": 10**6,
    "headroom_bytes": [10**6] * 4,
    "watchdog_detection_ps": DETECTION_PS,
    "watchdog_restoration_ps": RESTORATION_PS,
    "pause_quanta": QUANTA,
}
EFFECT_PS = WIRE_PS + CONTROL_BYTES * BYTE_PS


def storm(count: int, *, resume: bool = False) -> list[Sending]:
    """Pauses that keep the class stopped, and a resume behind them if asked for."""
    sends = [(number * EVERY_PS, pause({C: QUANTA})) for number in range(count)]
    return [*sends, (count * EVERY_PS, pause({C: 0}))] if resume else sends


def first_beyond(limit_ps: int) -> int:
    """The first pause that comes so long after the first one, as its number."""
    return -(-limit_ps // EVERY_PS)


def test_watchdog_off_a_stopped_queue_keeps_its_frames() -> None:
    receiver = Station(sends=storm(30))
    counters = served(
        [Station(sends=train(0, 1, 5, start_ps=100_000)), receiver], **DOG | {"watchdog_detection_ps": 0}
    )
    assert receiver.psns == list(range(5))
    assert counters["port2.out_discards"] == 0
    assert receiver.sent_ps[0] == 29 * EVERY_PS + EFFECT_PS + PAUSE_PS


def test_watchdog_stop_shorter_than_detection_drops_nothing() -> None:
    receiver = Station(sends=storm(first_beyond(DETECTION_PS), resume=True))
    counters = served([Station(sends=train(0, 1, 5, start_ps=100_000)), receiver], **DOG)
    assert receiver.psns == list(range(5))
    assert "port2.c3.watchdog_storms" not in counters


def test_watchdog_storm_empties_the_queue_and_drops_what_comes() -> None:
    # Five frames wait when the storm is seen, three come during it.
    late = train(0, 1, 3, start_ps=DETECTION_PS + 200_000, psn=10)
    receiver = Station(sends=storm(20))
    counters = served([Station(sends=[*train(0, 1, 5, start_ps=100_000), *late]), receiver], **DOG)
    assert receiver.psns == []
    assert counters["port2.c3.watchdog_storms"] == 1
    assert counters["port2.c3.watchdog_discards"] == counters["port2.out_discards"] == 8
    assert counters["port1.c3.pg_watermark_bytes"] == 5 * 1000


def test_watchdog_empty_queue_is_no_storm() -> None:
    receiver = Station(sends=storm(20))
    counters = served([Station(), receiver], **DOG)
    assert "port2.c3.watchdog_storms" not in counters


def restored(at_ps: int, *, resume: bool) -> list[int]:
    """What arrives of a frame that comes at `at_ps` behind a storm, while one of 9000 bytes keeps the port busy."""
    busy = [(at_ps - WIRE_PS - 100, data_frame(2, 1, 9000, traffic_class=6, psn=99))]
    sender = Station(sends=[*train(0, 1, 2, start_ps=100_000), (at_ps - WIRE_PS, data_frame(0, 1, psn=7))])
    receiver = Station(sends=storm(15, resume=resume))
    served([sender, receiver, Station(sends=busy)], **DOG)
    return [psn for psn in receiver.psns if psn != 99]


LAST_PS = 14 * EVERY_PS + EFFECT_PS
"""The last pause takes effect."""


def test_watchdog_queue_is_whole_again_when_it_was_free_for_the_restoration_time() -> None:
    free_ps = LAST_PS + PAUSE_PS
    assert restored(free_ps + RESTORATION_PS - 1, resume=False) == []
    assert restored(free_ps + RESTORATION_PS, resume=False) == [7]


def test_watchdog_resume_starts_the_restoration_time() -> None:
    free_ps = 15 * EVERY_PS + EFFECT_PS
    assert restored(free_ps + RESTORATION_PS - 1, resume=True) == []
    assert restored(free_ps + RESTORATION_PS, resume=True) == [7]


def test_watchdog_frame_that_could_cut_through_is_dropped_in_the_restoration_time_too() -> None:
    at_ps = LAST_PS + PAUSE_PS + RESTORATION_PS // 2
    sender = Station(sends=[*train(0, 1, 2, start_ps=100_000), (at_ps - WIRE_PS, data_frame(0, 1, psn=7))])
    receiver = Station(sends=storm(15))
    counters = served([sender, receiver], **DOG)
    assert receiver.psns == []
    assert counters["port2.c3.watchdog_discards"] == 3


def test_watchdog_other_classes_go_on() -> None:
    other = Station(sends=train(2, 1, 30, start_ps=400_000, traffic_class=5, psn=100))
    receiver = Station(sends=storm(20))
    served([Station(sends=train(0, 1, 5, start_ps=100_000)), receiver, other], **DOG)
    assert receiver.psns == list(range(100, 130))


def test_watchdog_queue_emptied_lets_its_neighbour_go_on() -> None:
    # The group behind port 1 is beyond its threshold when the queue is emptied: its resume follows at once.
    sender = Station(sends=train(0, 1, 8, start_ps=100_000))
    counters = served(
        [sender, Station(sends=storm(20))], **DOG | {"buffer_bytes": 10_000, "pause_quanta": 0xFFFF}
    )
    seen_ps = first_beyond(DETECTION_PS) * EVERY_PS + EFFECT_PS
    assert [one.frame.ack_bits >> 48 for one in sender.control] == [0xFFFF, 0]
    assert sender.control[-1].sent_ps == seen_ps
    assert counters["port2.c3.watchdog_discards"] == 8
