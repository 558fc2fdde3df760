from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from testbed.analysis.percentiles import (
    QUANTILES_PPM,
    across_seeds,
    interval_ranks,
    nearest_rank,
    percentile_name,
    percentiles,
)


@pytest.mark.parametrize(
    ("ppm", "name"),
    [(500_000, "p50"), (900_000, "p90"), (999_000, "p99.9"), (999_900, "p99.99"), (5, "p0.0005")],
)
def test_percentile_name_of_ppm(ppm: int, name: str) -> None:
    assert percentile_name(ppm) == name


@given(st.integers(1, 10**7), st.sampled_from(QUANTILES_PPM))
def test_nearest_rank_is_the_exact_ceiling(n: int, ppm: int) -> None:
    assert nearest_rank(n, ppm) == math.ceil(Fraction(ppm, 10**6) * n)


def test_percentiles_of_one_to_a_million_are_their_ranks() -> None:
    values = np.random.default_rng(1).permutation(np.arange(1, 10**6 + 1, dtype=np.uint64))
    found = percentiles(values)
    assert [p.value_ps for p in found] == [500_000, 900_000, 990_000, 999_000, 999_900]
    assert [p.samples_beyond for p in found] == [500_000, 100_000, 10_000, 1_000, 100]


def test_percentiles_large_picoseconds_stay_exact() -> None:
    big = 2**60 + 1  # no float64 holds this
    found = percentiles(np.full(100, big, np.uint64), (500_000,))[0]
    assert (found.value_ps, found.low_ps, found.high_ps) == (big, big, big)


@pytest.mark.parametrize(("n", "stated"), [(10_999, True), (10_000, True), (9_999, False), (1_000, False)])
def test_percentile_ten_samples_beyond_is_the_limit(n: int, stated: bool) -> None:
    found = percentiles(np.arange(n, dtype=np.uint64), (999_000,))[0]
    assert (found.value_ps is not None) is stated
    assert (found.samples_beyond >= 10) is stated


def test_percentiles_without_samples_are_none() -> None:
    found = percentiles(np.array([], np.uint64))
    assert all(p.value_ps is None and p.samples_beyond == 0 for p in found)


def test_interval_ranks_median_of_ten_is_the_sign_test() -> None:
    # The classical table: x(2)..x(9) covers the median of 10 with 97.9 %, x(3)..x(8) only with 89.1 %.
    assert interval_ranks(10, 500_000) == (2, 9)


@pytest.mark.parametrize(("n", "ppm"), [(100, 500_000), (1_000, 990_000), (10**6, 999_900), (37, 900_000)])
def test_interval_ranks_cover_and_no_narrower_tail_does(n: int, ppm: int) -> None:
    low, high = interval_ranks(n, ppm)
    below = stats.binom(n, ppm / 1e6)
    assert below.cdf(low - 1) <= 0.025 < below.cdf(low)
    assert below.sf(high - 1) <= 0.025 < below.sf(high - 2)


def test_interval_ranks_tail_of_a_million_agree_with_poisson() -> None:
    low, high = interval_ranks(10**6, 999_900)
    beyond = stats.poisson(100)
    assert 10**6 - low == pytest.approx(beyond.ppf(0.975), abs=1)
    assert 10**6 - high == pytest.approx(beyond.ppf(0.025) - 1, abs=1)


@pytest.mark.parametrize(("n", "ppm"), [(200, 500_000), (2_000, 990_000)])
def test_interval_simulated_covers_the_true_quantile(n: int, ppm: int) -> None:
    rng = np.random.default_rng(20261123)
    truth = -math.log(1 - ppm / 1e6) * 1e6
    runs, covered = 2_000, 0
    for _ in range(runs):
        found = percentiles(rng.exponential(1e6, n).astype(np.uint64), (ppm,))[0]
        assert found.low_ps is not None
        assert found.high_ps is not None
        covered += found.low_ps <= truth <= found.high_ps
    # at least 95 %, at most what discreteness adds; three standard errors of slack
    assert 0.95 - 0.015 <= covered / runs <= 0.99


def test_interval_outside_the_sample_is_none() -> None:
    found = percentiles(np.arange(12, dtype=np.uint64), (80_000,))[0]
    assert found.value_ps == 0
    assert found.low_ps is None
    assert found.high_ps is not None


def test_across_seeds_is_the_t_interval() -> None:
    found = across_seeds([10_000, 12_000, 14_000])
    half = 4.302653 * 2_000 / math.sqrt(3)  # t(0.975, 2) from the tables
    assert (found.runs, found.mean_ps) == (3, 12_000)
    assert found.low_ps == pytest.approx(12_000 - half, abs=1)
    assert found.high_ps == pytest.approx(12_000 + half, abs=1)


def test_across_seeds_one_run_has_no_interval() -> None:
    found = across_seeds([7])
    assert (found.mean_ps, found.low_ps, found.high_ps) == (7, None, None)
