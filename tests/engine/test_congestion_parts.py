"""What all congestion-control parts have in common: names, parameters, and that the same history gives the same."""

from __future__ import annotations

import random

import pytest

from testbed.engine import _engine
from tests.engine.congestion_sets import SETS, US


def test_names_are_those_of_the_files() -> None:
    assert _engine.congestion_names() == sorted(SETS)


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="no part is called 'vegas'"):
        _engine.CongestionPart("vegas", {})


@pytest.mark.parametrize("name", SETS)
def test_each_missing_parameter_is_named(name: str) -> None:
    for missing in SETS[name]:
        rest = {key: value for key, value in SETS[name].items() if key != missing}
        with pytest.raises(ValueError, match=f"{name} needs {missing}"):
            _engine.CongestionPart(name, rest)


@pytest.mark.parametrize("name", SETS)
def test_unknown_parameter_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} has no zeal"):
        _engine.CongestionPart(name, SETS[name] | {"zeal": 11})


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("wrong", [-1, 1 << 62])
def test_each_parameter_out_of_range_is_named(name: str, wrong: int) -> None:
    for key in SETS[name]:
        with pytest.raises(ValueError, match=f"{name}: {key} is"):
            _engine.CongestionPart(name, SETS[name] | {key: wrong})


@pytest.mark.parametrize("name", ["cubic", "dctcp"])
def test_largest_window_below_the_initial_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="max_window_bytes has room"):
        _engine.CongestionPart(name, SETS[name] | {"max_window_bytes": 4096})


def test_impossible_link_is_refused() -> None:
    for byte_time_ps, mtu_bytes in ((0, 4096), (20, 0), (20, 20_000)):
        with pytest.raises(ValueError, match="byte_time_ps is at least 1"):
            _engine.CongestionPart("dctcp", SETS["dctcp"], byte_time_ps=byte_time_ps, mtu_bytes=mtu_bytes)


def test_clock_that_runs_back_is_refused() -> None:
    part = _engine.CongestionPart("dcqcn", SETS["dcqcn"])
    part.notified(10 * US)
    with pytest.raises(ValueError, match="must not go back"):
        part.ps_per_kib(9 * US)


def history(name: str, seed: int) -> list[tuple[int, int]]:
    """Window and rate after each of 3,000 random events, of any size."""
    draw, part = random.Random(seed), _engine.CongestionPart(name, SETS[name])
    now_ps, in_flight, seen = 0, 0, []
    for _ in range(3000):
        now_ps += draw.choice((0, 1, 999, US, 77 * US, 10**12, 10**15) if draw.random() < 0.1 else (1000, US))
        what, count = draw.random(), draw.choice((0, 1, 64, 4096, 1 << 20, 1 << 30))
        if what < 0.4:
            part.sent(now_ps, count)
            in_flight += count
        elif what < 0.8:
            count = min(count, in_flight)
            in_flight -= count
            rtt_ps = draw.choice((0, 5 * US, 15 * US, 40 * US, 10**12))
            part.acknowledged(now_ps, count, draw.choice((0, 0, count)), rtt_ps, in_flight)
        elif what < 0.9:
            part.notified(now_ps)
        else:
            count = min(count, 4096)
            part.lost(draw.choice(list(_engine.Loss)), now_ps, count)
            in_flight -= min(in_flight, count)
        seen.append((part.window_bytes(), part.ps_per_kib(now_ps)))
    return seen


@pytest.mark.parametrize("name", SETS)
def test_same_history_gives_the_same_and_a_stream_can_always_send(name: str) -> None:
    for seed in range(5):
        first = history(name, seed)
        assert first == history(name, seed)
        least = 65_536 if name == "fixed_window" else 4096
        assert all(window >= least and pace <= 8_192_000_000 for window, pace in first)
        if name != "fixed_window":
            assert len(set(first)) > 10
