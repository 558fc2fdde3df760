from __future__ import annotations

import numpy as np
import pytest

from testbed.analysis.curves import EXACT_TAIL, latency_curve, thin_depth


def test_latency_curve_large_keeps_the_tail_exactly_and_few_points() -> None:
    values = np.random.default_rng(1).permutation(np.arange(100_000, dtype=np.uint64))
    curve = latency_curve(values)
    assert len(curve.latency_ps) <= 2_000
    assert curve.latency_ps[-EXACT_TAIL:].tolist() == list(range(100_000 - EXACT_TAIL, 100_000))
    assert curve.latency_ps[0] == 0
    # every point is true: n - value messages are at least that slow
    assert (curve.at_least == 100_000 - curve.latency_ps.astype(np.int64)).all()


@pytest.mark.parametrize("n", [0, 1, 2, EXACT_TAIL, EXACT_TAIL + 1])
def test_latency_curve_small_keeps_everything(n: int) -> None:
    curve = latency_curve(np.arange(n, dtype=np.uint64)[::-1])
    assert curve.latency_ps.tolist() == list(range(n))
    assert curve.fraction.tolist() == [(n - i) / n for i in range(n)]


def test_thin_depth_long_keeps_ends_and_every_peak_of_a_bin() -> None:
    depths = np.zeros(100_000, np.int64)
    depths[54_321] = 777
    curve = thin_depth("q", np.arange(100_000), depths)
    assert len(curve.time_ps) <= 2_000
    assert curve.depth_bytes.max() == 777
    assert (curve.time_ps[0], curve.time_ps[-1]) == (0, 99_999)
    assert (np.diff(curve.time_ps) > 0).all()


def test_thin_depth_out_of_order_is_sorted_by_time() -> None:
    curve = thin_depth("q", [30, 10, 20], [3, 1, 2])
    assert curve.depth_bytes.tolist() == [1, 2, 3]
