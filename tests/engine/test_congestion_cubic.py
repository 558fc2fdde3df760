"""CUBIC's window against RFC 9438 in floating point, in seconds and segments as there."""

from __future__ import annotations

import random

import pytest

from testbed.engine import _engine
from tests.engine.congestion_sets import CUBIC, MS, US, S

MSS = 4096
BETA, C = 0.7, 0.4
REACHED_BY_BYTES = CUBIC | {"initial_window_pkts": 200}


class Reference:
    """Sections 4.2 to 4.8; windows in segments, times in seconds."""

    def __init__(self, packets: int) -> None:
        self.cwnd, self.ssthresh = float(packets), float("inf")
        self.w_max = self.prior = self.w_est = self.k = 0.0
        self.epoch: float | None = None
        self.srtt = 0.0

    def cubic(self, t: float) -> float:
        return C * (t - self.k) ** 3 + self.w_max

    def ack(self, now: float, rtt: float) -> None:
        self.srtt = rtt if self.srtt == 0 else self.srtt * 7 / 8 + rtt / 8
        if self.cwnd < self.ssthresh:
            self.cwnd = min(self.cwnd + 1, self.ssthresh)
            return
        if self.epoch is None:
            self.epoch, self.w_est = now, self.cwnd
            self.k = ((self.w_max - self.cwnd) / C) ** (1 / 3)
        t = now - self.epoch
        alpha = 1 if self.w_est >= self.prior else 3 * (1 - BETA) / (1 + BETA)
        self.w_est += alpha / self.cwnd
        if self.cubic(t) < self.w_est:
            self.cwnd = max(self.cwnd, self.w_est)
        else:
            target = min(max(self.cubic(t + self.srtt), self.cwnd), 1.5 * self.cwnd)
            self.cwnd += (target - self.cwnd) / self.cwnd
        self.cwnd = min(self.cwnd, CUBIC["max_window_bytes"] / MSS)

    def reduce(self, least: int) -> None:
        self.w_max = self.cwnd * (1 + BETA) / 2 if self.cwnd < self.w_max else self.cwnd
        self.prior = self.cwnd
        self.cwnd = max(self.cwnd * BETA, least)
        self.ssthresh = max(self.cwnd, 2)
        self.epoch = None


class Sender:
    """A full window at every time: each packet's acknowledgement comes a window-th of a round trip after the last."""

    def __init__(self, parameters: dict[str, int], rtt_ps: int) -> None:
        self.part = _engine.CongestionPart("cubic", parameters, mtu_bytes=MSS)
        self.reference = Reference(parameters["initial_window_pkts"])
        self.rtt_ps, self.now_ps = rtt_ps, 0
        self.part.sent(0, self.part.window_bytes())

    @property
    def segments(self) -> float:
        return self.part.window_bytes() / MSS

    def ack(self, *, marked: bool = False, packets_out: int | None = None) -> None:
        window = self.part.window_bytes()
        self.now_ps += self.rtt_ps * MSS // window
        out = (window // MSS if packets_out is None else packets_out) * MSS
        self.part.acknowledged(self.now_ps, MSS, MSS * marked, self.rtt_ps, out - MSS)
        self.part.sent(self.now_ps, MSS)

    def both(self) -> None:
        self.ack()
        self.reference.ack(self.now_ps / S, self.rtt_ps / S)

    def lose(self) -> None:
        self.part.lost(_engine.Loss.MISSING, self.now_ps, MSS)
        self.reference.reduce(2)
        window = self.part.window_bytes()
        while self.part.window_bytes() == window:  # until the recovery is over, and its first growth
            self.ack()
        self.reference.ack(self.now_ps / S, self.rtt_ps / S)


@pytest.mark.parametrize("rtt_ps", [100 * MS, 20 * MS, 10 * US])
@pytest.mark.parametrize("seed", range(3))
def test_window_after_any_losses_is_that_of_the_rfc(seed: int, rtt_ps: int) -> None:
    draw, sender = random.Random(seed), Sender(REACHED_BY_BYTES, rtt_ps)
    for _ in range(6):
        sender.lose()
        for _ in range(draw.randrange(2000, 12_000)):
            sender.both()
        assert sender.segments == pytest.approx(sender.reference.cwnd, rel=2e-3)


def test_window_follows_the_cubic_from_the_cut_to_w_max_and_beyond() -> None:
    sender = Sender(REACHED_BY_BYTES, 100 * MS)
    sender.lose()
    start_ps, cut = sender.now_ps, sender.segments
    k_s = ((200 - 140) / C) ** (1 / 3)
    assert cut == pytest.approx(140, rel=0.01)
    at_s = []
    for share in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5):
        while sender.now_ps - start_ps < share * k_s * S:
            sender.ack()
        t_s = (sender.now_ps - start_ps) / S
        # The window is led to where the cubic will be a round trip later, and gets there within that round trip.
        assert C * (t_s - k_s) ** 3 + 200 - 1 <= sender.segments <= C * (t_s + 0.1 - k_s) ** 3 + 200 + 1
        at_s.append(sender.segments)
    assert at_s == sorted(at_s)
    assert at_s[3] == pytest.approx(200, abs=1)


def test_microsecond_round_trips_grow_as_reno_does() -> None:
    sender = Sender(REACHED_BY_BYTES, 10 * US)
    sender.lose()
    alpha = 3 * (1 - BETA) / (1 + BETA)
    before, trips = sender.segments, 40
    end_ps = sender.now_ps + trips * sender.rtt_ps
    while sender.now_ps < end_ps:
        sender.ack()
    assert sender.segments - before == pytest.approx(alpha * trips, rel=0.05)
    while sender.segments < 200:
        sender.ack()
    before, end_ps = sender.segments, sender.now_ps + trips * sender.rtt_ps
    while sender.now_ps < end_ps:
        sender.ack()
    assert sender.segments - before == pytest.approx(trips, rel=0.05)


def test_mark_and_loss_cut_once_in_a_window_of_data() -> None:
    sender = Sender(REACHED_BY_BYTES, 10 * US)
    sender.ack(marked=True)
    assert sender.segments == pytest.approx(200 * BETA, abs=0.01)
    for _ in range(199):  # the packets that were out
        sender.ack(marked=True, packets_out=140)
        sender.part.lost(_engine.Loss.TRIMMED, sender.now_ps, 0)
    assert sender.segments == pytest.approx(200 * BETA, abs=0.01)
    sender.ack(marked=True, packets_out=140)
    assert sender.segments == pytest.approx(200 * BETA * BETA, abs=0.01)


def test_fast_convergence_lowers_w_max_of_a_second_cut() -> None:
    regained = {}
    for fast in (0, 1):
        sender = Sender(REACHED_BY_BYTES | {"fast_convergence": fast}, 100 * MS)
        sender.lose()
        sender.lose()
        start_ps, w_max = sender.now_ps, 140 * (1 + BETA) / 2 if fast else 140
        k_s = ((w_max - 98) / C) ** (1 / 3)
        while sender.now_ps - start_ps < k_s * S:
            sender.ack()
        assert sender.segments == pytest.approx(w_max, abs=1.5)
        regained[fast] = k_s
    assert regained[1] < regained[0]


def test_timeout_restarts_from_one_packet_with_a_flat_cubic() -> None:
    sender = Sender(REACHED_BY_BYTES, 100 * MS)
    for _ in range(2):
        sender.part.lost(_engine.Loss.TIMEOUT, sender.now_ps, MSS)
        assert sender.segments == 1
    while sender.segments < 140:
        before = sender.segments
        sender.ack()
        assert sender.segments == pytest.approx(min(before + 1, 140), abs=0.01)
    # K = 0, W_max = window: C t^3 above the start.
    start_ps = sender.now_ps
    while sender.now_ps - start_ps < 4 * S:
        sender.ack()
    assert sender.segments == pytest.approx(140 + C * 4**3, rel=0.02)


def test_least_window_is_two_packets_after_losses_and_one_after_marks() -> None:
    for marks, least in ((False, 2), (True, 1)):
        sender = Sender(CUBIC, 10 * US)
        for _ in range(500):
            sender.ack(marked=marks)
            if not marks:
                sender.part.lost(_engine.Loss.MISSING, sender.now_ps, 0)
        assert least <= sender.segments < least * 1.5


def test_window_that_is_not_filled_stands_still_and_so_does_its_time() -> None:
    idle, busy = Sender(REACHED_BY_BYTES, 100 * MS), Sender(REACHED_BY_BYTES, 100 * MS)
    for sender in (idle, busy):
        sender.lose()
        for _ in range(1000):
            sender.ack()
    before = idle.segments
    for _ in range(50):
        idle.now_ps += 100 * MS
        idle.ack(packets_out=1)
    assert idle.segments == before
    for sender in (idle, busy):
        for _ in range(2000):
            sender.ack()
    assert idle.segments == busy.segments
