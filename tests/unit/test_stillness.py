from __future__ import annotations

import math

from testbed.run.stillness import STOPPED_S, Stillness, patience_s

STEP_S = 0.01


def seen_after(stillness: Stillness, *, looks: int, from_s: float = 0.0, what: int = 1) -> float:
    return max(stillness.seen_s((what,), from_s + look * STEP_S) for look in range(looks))


def test_stillness_adds_up_while_nothing_changes() -> None:
    assert abs(seen_after(Stillness(), looks=401) - 4.0) < 0.001


def test_stillness_begins_again_with_each_change() -> None:
    stillness = Stillness()
    seen_after(stillness, looks=200)
    assert stillness.seen_s((2,), 2.0) == 0.0
    assert abs(stillness.seen_s((2,), 2.0 + STEP_S) - STEP_S) < 0.001


def test_stillness_of_a_machine_that_stood_as_a_whole_is_not_the_clocks() -> None:
    stillness = Stillness()
    seen_after(stillness, looks=10)
    assert stillness.seen_s((1,), 3600.0) < 0.2 < STOPPED_S
    assert stillness.seen_s((1,), 7200.0) < 0.3


def test_patience_is_short_with_the_stopped_long_with_sleepers_endless_with_the_busy() -> None:
    assert patience_s("T") == patience_s("t") == STOPPED_S
    assert STOPPED_S < patience_s("S") == patience_s("D") < math.inf
    assert patience_s("R") == math.inf
