from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, signal, stats

from testbed.analysis.percentiles import (
    QUANTILES_PPM,
    across_seeds,
    design_effect,
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


def coverage(samples: Iterable[np.ndarray], truth: float, ppm: int) -> tuple[float, float]:
    """How often the interval holds the true quantile, and how often one for independent messages would."""
    runs = held = plain = 0
    for sample in samples:
        found = percentiles((sample * 1e6).astype(np.uint64), (ppm,))[0]
        assert found.low_ps is not None
        high = math.inf if found.high_ps is None else found.high_ps
        held += found.low_ps <= truth * 1e6 <= high
        low_rank, high_rank = interval_ranks(len(sample), ppm)
        ordered = np.sort(sample)
        plain += ordered[low_rank - 1] <= truth <= ordered[high_rank - 1]
        runs += 1
    return held / runs, plain / runs


@pytest.mark.parametrize(("n", "ppm"), [(200, 500_000), (2_000, 990_000), (20_000, 999_000)])
def test_interval_of_independent_messages_covers_the_true_quantile(n: int, ppm: int) -> None:
    rng = np.random.default_rng(20261123)
    held, _ = coverage((rng.exponential(1, n) for _ in range(300)), -math.log(1 - ppm / 1e6), ppm)
    # 95 %, and what the estimated design effect adds, since it is never below 1
    assert 0.93 <= held <= 0.995


def stalled(rng: np.random.Generator, n: int, *, between: int, lasting: int, slower: int) -> np.ndarray:
    """Exponential latencies; in stalls of geometric length, all of them are `slower` times longer."""
    spans = np.column_stack(
        [rng.geometric(1 / between, n // between * 2), rng.geometric(1 / lasting, n // between * 2)]
    )
    slow = np.repeat(np.tile([1, slower], len(spans)), spans.ravel())
    start = int(rng.integers(0, len(slow) - n))
    return rng.exponential(slow[start : start + n])


@pytest.mark.parametrize(("ppm", "plain_at_most"), [(900_000, 0.5), (990_000, 0.6), (999_000, 0.9)])
def test_interval_of_messages_in_stalls_covers_where_the_plain_one_fails(
    ppm: int, plain_at_most: float
) -> None:
    rng = np.random.default_rng(20261123)
    between, lasting, slower = 500, 50, 20
    share = lasting / (lasting + between)

    def beyond(latency: float) -> float:
        return share * math.exp(-latency / slower) + (1 - share) * math.exp(-latency)

    truth = optimize.brentq(lambda latency: beyond(latency) - (1 - ppm / 1e6), 0, 500)
    samples = (stalled(rng, 50_000, between=between, lasting=lasting, slower=slower) for _ in range(80))
    held, plain = coverage(samples, truth, ppm)
    assert held >= 0.90
    assert plain <= plain_at_most


def test_interval_of_messages_that_follow_each_other_covers_the_median() -> None:
    rng = np.random.default_rng(20261123)
    correlation = 0.95  # of each message with the one before it

    def sample() -> np.ndarray:
        steps = rng.standard_normal(21_000) * math.sqrt(1 - correlation**2)
        return np.exp(signal.lfilter([1], [1, -correlation], steps)[1_000:])

    held, plain = coverage((sample() for _ in range(100)), 1.0, 500_000)
    assert held >= 0.90
    assert plain < 0.50


def test_design_effect_of_messages_slow_together_is_the_ratio_of_variances() -> None:
    slower = np.repeat([True, False], [1_000, 9_000])  # 5 batches of 200, 45 of none
    assert design_effect(slower) == pytest.approx(
        (5 * 180**2 + 45 * 20**2) / 49 / (200 * 0.1 * 0.9), abs=0.001
    )


@pytest.mark.parametrize(
    "slower", [np.tile([False] * 9 + [True], 1_000), np.ones(100, np.bool_), np.ones(10, np.bool_)]
)
def test_design_effect_more_even_than_chance_or_unknown_is_one(slower: np.ndarray) -> None:
    assert design_effect(slower) == 1.0


def test_design_effect_order_matters_and_percentile_does_not() -> None:
    values = np.arange(10_000, dtype=np.uint64)
    mixed = np.random.default_rng(3).permutation(values)
    sorted_in_time, at_random = (percentiles(of, (900_000,))[0] for of in (values, mixed))
    assert sorted_in_time.value_ps == at_random.value_ps
    assert (sorted_in_time.design_effect or 0) > 50 > 2 > (at_random.design_effect or 9)


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
