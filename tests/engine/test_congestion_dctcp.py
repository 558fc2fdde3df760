"""DCTCP's window against RFC 8257, written with sequence numbers and in floating point."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from testbed.engine import _engine
from tests.engine.congestion_sets import DCTCP, US

MSS = 4096
G = 1 / 16
RTT_PS = 10 * US


class Reference:
    """RFC 8257 section 3.3, with the growth of RFC 5681 and the once-in-a-window rule of RFC 3168."""

    def __init__(self) -> None:
        self.cwnd, self.ssthresh, self.alpha = 10.0 * MSS, float("inf"), 1.0
        self.snd_una = self.snd_nxt = self.window_end = self.recover = 0
        self.acked = self.marked = 0

    def ack(self, count: int, marked: bool) -> None:
        flight = self.snd_nxt - self.snd_una
        self.snd_una += count
        self.acked += count
        self.marked += count * marked
        if self.snd_una > self.window_end:
            self.alpha = self.alpha * (1 - G) + G * self.marked / self.acked
            self.window_end = self.snd_nxt
            self.acked = self.marked = 0
        if self.snd_una <= self.recover:
            return
        if marked:
            self.cwnd = self.ssthresh = max(self.cwnd * (1 - self.alpha / 2), 2 * MSS)
            self.recover = self.snd_nxt
        elif flight + MSS > self.cwnd:
            slow = self.cwnd < self.ssthresh
            self.cwnd = min(self.cwnd + count, self.ssthresh) if slow else self.cwnd + MSS * count / self.cwnd
            self.cwnd = min(self.cwnd, DCTCP["max_window_bytes"])


class Sender:
    """Fills the window of a part, packet by packet, and tells a reference the same."""

    def __init__(self, parameters: dict[str, int] = DCTCP, reference: Reference | None = None) -> None:
        self.part = _engine.CongestionPart("dctcp", parameters, mtu_bytes=MSS)
        self.reference = reference or Reference()
        self.now_ps = self.in_flight = 0
        self.fill()

    def fill(self) -> None:
        while self.in_flight + MSS <= self.part.window_bytes():
            self.part.sent(self.now_ps, MSS)
            self.in_flight += MSS
            self.reference.snd_nxt += MSS

    def ack(self, marked: bool = False) -> None:
        self.now_ps += US // 10
        self.in_flight -= MSS
        self.reference.ack(MSS, marked)
        self.part.acknowledged(self.now_ps, MSS, MSS * marked, RTT_PS, self.in_flight)
        self.fill()

    @property
    def window(self) -> int:
        return self.part.window_bytes()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("marks", [0.002, 0.05, 0.5])
def test_window_after_any_marks_is_that_of_the_rfc(marks: float, seed: int) -> None:
    draw, sender = random.Random(seed), Sender()
    for _ in range(3000):
        sender.ack(draw.random() < marks)
        assert sender.window == pytest.approx(sender.reference.cwnd, rel=1e-3)


def test_slow_start_doubles_each_round_trip() -> None:
    sender = Sender()
    for doubling in range(1, 6):
        for _ in range(sender.in_flight // MSS):
            sender.ack()
        assert sender.window == 10 * MSS * 2**doubling


def test_alpha_of_a_fraction_marked_for_long_is_that_fraction() -> None:
    # One packet in four is marked; then the reduction of a window of data is by alpha / 2 = 1/8.
    sender = Sender(DCTCP | {"max_window_bytes": 64 * MSS})
    cuts = []
    for count in range(20_000):
        before = sender.window
        sender.ack(count % 4 == 0)
        if sender.window < before:
            cuts.append(1 - sender.window / before)
    assert len(cuts) > 100
    assert sum(cuts[-20:]) / 20 == pytest.approx(0.25 / 2, rel=0.1)


def test_sawtooth_of_one_sender_has_the_amplitude_of_the_paper() -> None:
    # A mark on what is sent while the window is above W*: D = (W* + 1) alpha / 2, alpha = sqrt(2 / W*) (SIGCOMM 2010).
    star = 100
    sender = Sender(reference=Reference())
    queue: list[bool] = [False] * (sender.in_flight // MSS)
    windows = []
    for count in range(60_000):
        sender.ack(queue.pop(0))
        queue += [len(queue) + extra >= star for extra in range(sender.in_flight // MSS - len(queue))]
        if count > 30_000:
            windows.append(sender.window / MSS)
    amplitude = (star + 1) * (2 / star) ** 0.5 / 2
    assert max(windows) == pytest.approx(star + 1, abs=1.5)
    assert max(windows) - min(windows) == pytest.approx(amplitude, rel=0.2)


def test_loss_halves_once_in_a_window_of_data() -> None:
    sender = Sender()
    for _ in range(70):
        sender.ack()
    before, packets = sender.window, sender.in_flight // MSS
    for _ in range(3):
        sender.part.lost(_engine.Loss.MISSING, sender.now_ps, MSS)
    assert sender.window == before // 2
    sender.in_flight -= 3 * MSS
    for _ in range(packets - 3):
        sender.ack(marked=True)
    assert sender.window == before // 2  # nothing sent since has arrived
    sender.ack()
    sender.part.lost(_engine.Loss.TRIMMED, sender.now_ps, MSS)
    assert sender.window < before // 2 * 0.6


def test_timeout_starts_again_from_one_packet_to_half_the_window() -> None:
    sender = Sender()
    for _ in range(70):
        sender.ack()
    before = sender.window
    for _ in range(2):
        sender.part.lost(_engine.Loss.TIMEOUT, sender.now_ps, MSS)
        assert sender.window == MSS
    sender.in_flight = 0
    grown = []
    for _ in range(80):
        sender.ack() if sender.in_flight else sender.fill()
        grown.append(sender.window)
    assert max(b - a for a, b in pairwise(grown)) == MSS  # slow start
    assert before // 2 <= grown[-1] <= before // 2 + 2 * MSS


def test_window_that_is_not_filled_does_not_grow() -> None:
    part = _engine.CongestionPart("dctcp", DCTCP, mtu_bytes=MSS)
    for at in range(100):
        part.sent(at * RTT_PS, MSS)
        part.acknowledged((at + 1) * RTT_PS, MSS, 0, RTT_PS, 0)
    assert part.window_bytes() == 10 * MSS


@pytest.mark.parametrize("packets", [1, 2])
def test_marks_without_end_leave_the_least_window(packets: int) -> None:
    sender = Sender(DCTCP | {"min_window_pkts": packets})
    for _ in range(500):
        sender.ack(marked=True)
    assert packets * MSS <= sender.window < (packets + 1.1) * MSS
