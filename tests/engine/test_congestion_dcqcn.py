"""DCQCN's rate against its published equations, in floating point and one microsecond at a time."""

from __future__ import annotations

import random

import pytest

from testbed.engine import _engine
from tests.engine.congestion_sets import DCQCN_PAPER, DCQCN_VENDOR, US

BYTE_TIME_PS = 200
LINE_BPS = 40_000_000_000
G = 1 / 256


def make(parameters: dict[str, int], byte_time_ps: int = BYTE_TIME_PS) -> _engine.CongestionPart:
    return _engine.CongestionPart("dcqcn", parameters, byte_time_ps=byte_time_ps)


def rate_bps(part: _engine.CongestionPart, now_us: int) -> float:
    ps = part.ps_per_kib(now_us * US)
    return 1024 * 8e12 / ps if ps else LINE_BPS


class Reference:
    """The state machine of figure 7 of the paper (or, with a decrease interval, of ns-3's rdma-hw.cc)."""

    def __init__(self, p: dict[str, int]) -> None:
        self.p, self.now_us, self.limited = p, 0, False
        self.alpha, self.rate, self.target = 1.0, float(LINE_BPS), float(LINE_BPS)
        self.timer_stage = self.byte_stage = 0
        self.bytes = 0
        self.alpha_us = self.decrease_us = self.increase_us = 10**12
        self.alpha_flag = self.cut_flag = False

    def advance(self, to_us: int) -> None:
        while self.now_us < to_us:
            self.now_us += 1
            if self.now_us == self.alpha_us:
                self.alpha_us += self.p["alpha_timer_ps"] // US
                self.alpha = (1 - G) * self.alpha + (G if self.alpha_flag else 0)
                self.alpha_flag = False
            if self.now_us == self.increase_us:
                self.increase_us += self.p["increase_timer_ps"] // US
                self.increase()
                self.timer_stage += 1
            if self.now_us == self.decrease_us:
                self.decrease_us += self.p["decrease_interval_ps"] // US
                if self.cut_flag:
                    self.cut()
                self.cut_flag = False

    def cut(self) -> None:
        if self.p["clamp_target"] or self.timer_stage:
            self.target = self.rate
        self.rate = max(self.rate * (1 - self.alpha / 2), self.p["min_rate_bps"])
        self.timer_stage = self.byte_stage = self.bytes = 0
        self.increase_us = self.now_us + self.p["increase_timer_ps"] // US

    def increase(self) -> None:
        stages = (self.timer_stage, self.byte_stage if self.p["byte_counter_bytes"] else self.timer_stage)
        if max(stages) >= self.p["fast_recovery_stages"]:
            hyper = min(stages) > self.p["fast_recovery_stages"]
            self.target += self.p["hyper_increase_bps" if hyper else "additive_increase_bps"]
        self.target = min(self.target, LINE_BPS)
        self.rate = (self.rate + self.target) / 2

    def notified(self) -> None:
        first, self.limited = not self.limited, True
        if self.p["decrease_interval_ps"]:
            self.cut_flag, self.alpha_flag = True, not first
            if first:
                self.alpha_us = self.now_us + self.p["alpha_timer_ps"] // US
                self.decrease_us = self.now_us + self.p["decrease_interval_ps"] // US
        else:
            self.cut()
            self.alpha = (1 - G) * self.alpha + G
            self.alpha_us = self.now_us + self.p["alpha_timer_ps"] // US

    def sent(self, count: int) -> None:
        if not self.limited or not self.p["byte_counter_bytes"]:
            return
        self.bytes += count
        while self.bytes >= self.p["byte_counter_bytes"]:
            self.bytes -= self.p["byte_counter_bytes"]
            self.increase()
            self.byte_stage += 1


SETS = {
    "paper": DCQCN_PAPER,
    "paper with small byte counter": DCQCN_PAPER | {"byte_counter_bytes": 150_000},
    "paper without byte counter": DCQCN_PAPER | {"byte_counter_bytes": 0},
    "vendor": DCQCN_VENDOR,
    "vendor with clamp": DCQCN_VENDOR | {"clamp_target": 1},
    "vendor with byte counter": DCQCN_VENDOR | {"byte_counter_bytes": 32_767, "fast_recovery_stages": 3},
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SETS)
def test_rate_after_any_history_is_that_of_the_published_state_machine(name: str, seed: int) -> None:
    draw = random.Random(f"{name}{seed}")
    part, reference = make(SETS[name]), Reference(SETS[name])
    now_us, lowest = 0, 1.0
    for _ in range(400):
        now_us += draw.choice((0, 1, 3, 4, 5, 10, 50, 55, 56, 300 if draw.random() < 0.5 else 2000))
        reference.advance(now_us)
        what = draw.random()
        if what < 0.4:
            part.notified(now_us * US)
            reference.notified()
        elif what < 0.8:
            count = draw.choice((64, 4096, 100_000, 1_000_000))
            part.sent(now_us * US, count)
            reference.sent(count)
        assert rate_bps(part, now_us) == pytest.approx(reference.rate, rel=1e-5)
        lowest = min(lowest, reference.rate / LINE_BPS)
    assert lowest < 0.9


@pytest.mark.parametrize("parameters", [DCQCN_PAPER, DCQCN_VENDOR], ids=["paper", "vendor"])
def test_rate_asked_for_late_is_that_asked_for_often(parameters: dict[str, int]) -> None:
    often, late = make(parameters), make(parameters)
    for part in (often, late):
        for at_us in (10, 70, 75, 90):
            part.notified(at_us * US)
    for at_us in range(90, 700, 7):
        often.ps_per_kib(at_us * US)
    assert often.ps_per_kib(700 * US) == late.ps_per_kib(700 * US) != 0
    assert often.ps_per_kib(1_000_000_000 * US) == late.ps_per_kib(1_000_000_000 * US) == 0


def test_stream_without_cnp_is_not_limited() -> None:
    part = make(DCQCN_PAPER)
    part.sent(0, 10**9)
    assert part.ps_per_kib(10**12) == 0
    assert part.window_bytes() == _engine.NO_WINDOW


def test_cnps_in_succession_halve_the_rate_each_time() -> None:
    part = make(DCQCN_PAPER)  # alpha stays 1: (1 - g) + g
    for count in range(1, 8):
        part.notified(count * 50 * US)
        assert rate_bps(part, count * 50) == pytest.approx(LINE_BPS / 2**count, rel=1e-5)


def test_alpha_after_n_quiet_timers_decides_the_next_cut() -> None:
    for quiet in (1, 10, 100, 1000):
        part = make(DCQCN_PAPER)
        part.notified(0)
        at_us = 55 * quiet + 1
        before = rate_bps(part, at_us)
        part.notified(at_us * US)
        alpha = (1 - G) ** quiet
        assert rate_bps(part, at_us) == pytest.approx(before * (1 - alpha / 2), rel=1e-5)


def test_recovery_halves_the_distance_five_times_then_adds() -> None:
    part = make(DCQCN_PAPER)
    part.notified(0)
    part.notified(0)  # target line/2, rate line/4
    rate, target = LINE_BPS / 4, LINE_BPS / 2
    for expiry in range(1, 12):
        if expiry > 5:
            target += 40e6
        rate = (rate + target) / 2
        assert rate_bps(part, 55 * expiry) == pytest.approx(rate, rel=1e-5)
        assert rate_bps(part, 55 * expiry + 54) == pytest.approx(rate, rel=1e-5)


def test_hyper_increase_needs_both_stages_beyond_five() -> None:
    part = make(DCQCN_PAPER)
    part.notified(0)
    part.notified(0)
    for at_us in range(55, 55 * 8, 55):  # 7 expiries of each
        part.sent(at_us * US, 10_000_000)
    rate, target = LINE_BPS / 4, LINE_BPS / 2
    for event in range(14):
        timer, of_bytes = (event + 1) // 2, event // 2  # before the event: the timer expires first
        if min(timer, of_bytes) > 5:
            target += 400e6
        elif max(timer, of_bytes) >= 5:
            target += 40e6
        rate = (rate + target) / 2
    assert rate_bps(part, 55 * 7) == pytest.approx(rate, rel=1e-5)


def test_rate_never_falls_below_the_least() -> None:
    part = make(DCQCN_PAPER)
    for at_us in range(40):
        part.notified(at_us * US)
    assert rate_bps(part, 40) == pytest.approx(10_000_000)


def test_vendor_rule_cuts_once_in_an_interval_however_many_cnps_come() -> None:
    one, many = make(DCQCN_VENDOR, 20), make(DCQCN_VENDOR, 20)
    one.notified(0)
    for at_ns in range(0, 900, 100):
        many.notified(at_ns * 1000)
    assert one.ps_per_kib(3 * US) == many.ps_per_kib(3 * US) == 0
    # alpha: 4 timers by then; the CNPs after the first keep it up once.
    assert one.ps_per_kib(4 * US) == pytest.approx(20_480 / (1 - (1 - G) ** 4 / 2), rel=1e-3)
    assert many.ps_per_kib(4 * US) == pytest.approx(20_480 / (1 - (1 - G) ** 3 / 2), rel=1e-3)


def test_vendor_rule_without_clamp_keeps_the_target_of_a_second_cut() -> None:
    kept, clamped = make(DCQCN_VENDOR), make(DCQCN_VENDOR | {"clamp_target": 1})
    for part in (kept, clamped):
        part.notified(0)
        part.notified(5 * US)
    assert kept.ps_per_kib(9 * US) == clamped.ps_per_kib(9 * US)
    low = rate_bps(kept, 9)
    first = LINE_BPS * (1 - (1 - G) ** 4 / 2)
    assert rate_bps(kept, 308) == pytest.approx((low + LINE_BPS) / 2, rel=1e-5)
    assert rate_bps(clamped, 308) == pytest.approx((low + first) / 2, rel=1e-5)
