"""NSCC's window in each of its four cases, against the equations of htsim's uec.cpp in floating point."""

from __future__ import annotations

import pytest

from testbed.engine import _engine
from tests.engine.congestion_sets import NSCC, US

MTU = 4096
BASE_US, TARGET_US = 12.0, 9.0
BDP = 600_000  # 400 Gb/s x 12 us
MOST = 900_000
SCALE_A = BDP / 150_000  # of the reference network: 100 Gb/s x 12 us
SCALE_B = TARGET_US / 12
ALPHA = 4 * MTU * SCALE_A * SCALE_B / TARGET_US  # bytes/us
FAIR = 5 * MTU * SCALE_A
ETA = 0.15 * MTU * SCALE_A


class Sender:
    """A part with a window of 400,000 bytes that has just been adjusted, at 100 us."""

    def __init__(self, **changes: int) -> None:
        self.part = _engine.CongestionPart("nscc", NSCC | changes, byte_time_ps=20, mtu_bytes=MTU)
        assert self.part.window_bytes() == MOST
        self.part.sent(0, 400_000)
        self.part.lost(_engine.Loss.TIMEOUT, 0, 500_000)
        assert self.part.window_bytes() == 400_000
        self.now_us = 100.0
        self.ack(1, 2)
        self.start = self.window

    @property
    def window(self) -> int:
        return self.part.window_bytes()

    def ack(self, count: int, delay_us: float, *, marked: bool = False, after_us: float = 0.0) -> None:
        self.now_us += after_us
        rtt_ps = round((BASE_US + delay_us) * US)
        self.part.acknowledged(round(self.now_us * US), count, count * marked, rtt_ps, 400_000)

    def adjust(self) -> None:
        """Lets the base round trip pass, with an acknowledgement that asks for nothing."""
        self.ack(0, 2, after_us=12.5)


def test_unmarked_below_target_grows_in_proportion_to_what_is_left() -> None:
    for delay_us in (2.0, 5.0, 8.0):
        sender = Sender()
        for _ in range(5):
            sender.ack(MTU, delay_us, after_us=0.1)
        assert sender.window == sender.start  # collected
        sender.adjust()
        grown = 5 * MTU * ALPHA * (TARGET_US - delay_us) / sender.start
        assert sender.window - sender.start == pytest.approx(grown + ETA, abs=3)


def test_unmarked_at_or_above_target_grows_by_the_fair_increase() -> None:
    for delay_us in (9.0, 20.0):
        sender = Sender()
        for _ in range(5):
            sender.ack(MTU, delay_us, after_us=0.1)
        sender.adjust()
        assert sender.window - sender.start == pytest.approx(5 * MTU * FAIR / sender.start + ETA, abs=3)


def test_marked_below_target_changes_nothing() -> None:
    sender = Sender()
    for _ in range(5):
        sender.ack(MTU, 8.9, marked=True, after_us=0.1)
    sender.adjust()
    assert sender.window - sender.start == pytest.approx(ETA, abs=3)


def test_marked_above_target_shrinks_by_the_average_once_in_a_base_round_trip() -> None:
    sender = Sender()
    average, cuts = 2 * 0.0125, []
    for _ in range(100):
        before = sender.window
        sender.ack(64, 30, marked=True, after_us=0.2)
        average += 0.0125 * (30 - average)
        if sender.window < before:
            cuts.append(sender.now_us)
            expected = max(1 - 0.8 * (average - TARGET_US) / average, 0.5)
            assert sender.window == pytest.approx(before * expected, rel=1e-3)
            assert average > TARGET_US
    assert len(cuts) == 2  # the average is above the target after 29; 20 us in all
    assert cuts[1] - cuts[0] > BASE_US


def test_one_decrease_takes_half_the_window_at_most() -> None:
    sender = Sender(delay_gain_ppm=1_000_000, max_decrease_permille=500)
    sender.ack(64, 35.9, marked=True, after_us=0.2)
    assert sender.window == pytest.approx(sender.start * max(1 - 0.8 * 26.9 / 35.9, 0.5), abs=2)
    limited = Sender(delay_gain_ppm=1_000_000, max_decrease_permille=300)
    limited.ack(64, 35.9, marked=True, after_us=0.2)
    assert limited.window == pytest.approx(limited.start * 0.7, abs=2)


def test_unmarked_delay_above_target_enters_the_average_as_a_quarter_base_round_trip() -> None:
    sender = Sender(delay_gain_ppm=1_000_000)
    sender.ack(64, 20, after_us=0.2)
    before = sender.window
    sender.part.acknowledged(
        round(sender.now_us * US), 64, 64, 0, 400_000
    )  # no round trip known: 3 us is assumed
    sender.adjust()
    assert sender.window >= before  # taken for the 20 us it would have been a decrease


def test_fast_increase_comes_after_a_window_without_delay() -> None:
    sender = Sender()
    fast = 0.25 * SCALE_A * MTU
    arrived = before = 0
    while sender.window - before != fast:
        before = sender.window
        sender.ack(MTU, 0.5, after_us=0.01)
        arrived += MTU
    assert before < arrived <= before + 2 * MTU
    before = sender.window
    sender.ack(MTU, 0.5, after_us=0.01)
    assert sender.window - before == fast
    sender.ack(MTU, 1.5, after_us=0.01)
    after = sender.window
    sender.ack(MTU, 0.5, after_us=0.01)
    assert sender.window - after < fast


def test_quick_adapt_takes_what_arrived_in_the_period() -> None:
    sender = Sender()
    sender.adjust()
    sender.ack(10_000, 2, after_us=30)  # closes a period; the next has begun
    sender.ack(20_000, 2, after_us=1)
    sender.ack(0, 40, marked=True, after_us=25)  # 40 us > 4 targets
    assert sender.window == 20_000


def test_quick_adapt_leaves_a_sender_alone_that_gets_its_share() -> None:
    sender = Sender()
    sender.ack(0, 2, after_us=30)
    sender.ack(MOST // 8, 2, after_us=1)  # not below max window / 2^3
    before = sender.window
    sender.ack(0, 40, marked=True, after_us=25)
    assert sender.window >= before


@pytest.mark.parametrize("how", [_engine.Loss.TRIMMED, _engine.Loss.MISSING])
def test_trimmed_packets_take_their_bytes_and_then_quick_adapt(how: _engine.Loss) -> None:
    sender = Sender()
    sender.ack(0, 2, after_us=30)
    start = sender.window
    for count in range(1, 4):
        sender.part.lost(how, round(sender.now_us * US), MTU)
        assert sender.window == start - count * MTU
    sender.ack(30_000, 2, after_us=1)
    sender.part.lost(how, round((sender.now_us + 25) * US), MTU)
    assert sender.window == 30_000
    # What is in flight (400,000 bytes less one packet) was sent before: its marks say nothing new.
    sender.now_us += 26
    sender.ack(100_000, 30, marked=True)
    assert sender.window == 30_000


def test_window_stays_between_a_packet_and_its_most() -> None:
    sender = Sender()
    for _ in range(2000):
        sender.ack(MTU, 0, after_us=0.1)
    assert sender.window == MOST
    sender.part.lost(_engine.Loss.TIMEOUT, round(sender.now_us * US), 10 * MOST)
    assert sender.window == MTU


def test_shorter_round_trip_lowers_base_and_most() -> None:
    sender = Sender()
    for _ in range(2000):
        sender.ack(MTU, -6, after_us=0.1)  # 6 us
    assert sender.window == MOST // 2
