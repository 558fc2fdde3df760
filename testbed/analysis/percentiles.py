"""Percentiles from all records, with intervals that assume no distribution. Pure.

Definition. Let x(1) <= ... <= x(n) be the n latencies in order. The percentile of the quantile q is x(r)
with the nearest rank r = ceil(q * n): the smallest latency that at least the share q of the messages does
not exceed. It is always a latency that a message had, in whole picoseconds; nothing is interpolated.
`samples_beyond` is n - r. With fewer than 10 samples beyond it a percentile is not stated (None).

Interval. The number of messages below the true quantile has the binomial distribution B(n, q), whatever the
latencies' own distribution. So x(l) and x(u), with l the 2.5 % quantile of B(n, q) and u one more than its
97.5 % quantile, enclose the true quantile with a probability of at least 95 %. A bound that would lie
outside the sample is None. Like every interval from one run this takes messages as independent; messages
that share a queue are not quite, so the spread over several seeds (`across_seeds`) is the safer statement
and can be wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from testbed.analysis.records import Picoseconds

PPM = 1_000_000
"""Quantiles are whole parts per million, so that they are exact."""
QUANTILES_PPM = (500_000, 900_000, 990_000, 999_000, 999_900)
"""p50, p90, p99, p99.9, p99.99."""
MIN_SAMPLES_BEYOND = 10
CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """One percentile of one sample and its 95 % interval."""

    quantile_ppm: int
    value_ps: int | None
    """None with fewer than 10 samples beyond it."""
    low_ps: int | None
    high_ps: int | None
    samples_beyond: int

    @property
    def name(self) -> str:
        """`p99.9`."""
        return percentile_name(self.quantile_ppm)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedSpread:
    """One percentile over several seeds: the mean of the runs' values and its 95 % t-interval.

    Each run's percentile is one independent observation; the interval is about their expectation. This is no
    percentile of the pooled messages.
    """

    runs: int
    mean_ps: int
    low_ps: int | None
    """None with fewer than two runs."""
    high_ps: int | None


def percentile_name(quantile_ppm: int) -> str:
    """`p99.9` for 999000."""
    whole, rest = divmod(quantile_ppm, PPM // 100)
    return f"p{whole}" + (f".{rest:04d}".rstrip("0") if rest else "")


def nearest_rank(n: int, quantile_ppm: int) -> int:
    """ceil(q * n), counted from 1."""
    return max(1, -(-quantile_ppm * n // PPM))


def interval_ranks(n: int, quantile_ppm: int) -> tuple[int, int]:
    """The ranks (l, u) that enclose the true quantile with at least 95 %; l may be 0 and u may be n + 1."""
    from scipy import stats  # takes a second to import

    tail = (1 - CONFIDENCE) / 2
    low, high = stats.binom.ppf([tail, 1 - tail], n, quantile_ppm / PPM)
    return int(low), int(high) + 1


def percentiles(
    latencies_ps: Picoseconds, quantiles_ppm: Sequence[int] = QUANTILES_PPM
) -> tuple[Percentile, ...]:
    """The percentiles of a sample, in any order, by the definition above."""
    return percentiles_of_sorted(np.sort(latencies_ps), quantiles_ppm)


def percentiles_of_sorted(
    ordered_ps: Picoseconds, quantiles_ppm: Sequence[int] = QUANTILES_PPM
) -> tuple[Percentile, ...]:
    """The percentiles of a sample that is already sorted."""
    return tuple(_percentile(ordered_ps, quantile_ppm) for quantile_ppm in quantiles_ppm)


def across_seeds(values_ps: Sequence[int]) -> SeedSpread:
    """Mean and 95 % t-interval of one percentile over the runs of several seeds."""
    if not values_ps:
        raise ValueError("no runs to combine")
    runs, mean = len(values_ps), float(np.mean(values_ps))
    if runs == 1:
        return SeedSpread(runs=1, mean_ps=values_ps[0], low_ps=None, high_ps=None)
    from scipy import stats

    error = float(np.std(values_ps, ddof=1)) / runs**0.5
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, runs - 1)) * error
    return SeedSpread(
        runs=runs, mean_ps=round(mean), low_ps=max(0, round(mean - half)), high_ps=round(mean + half)
    )


def _percentile(ordered_ps: Picoseconds, quantile_ppm: int) -> Percentile:
    n = len(ordered_ps)
    rank = nearest_rank(n, quantile_ppm)
    beyond = max(0, n - rank)
    if beyond < MIN_SAMPLES_BEYOND:
        return Percentile(
            quantile_ppm=quantile_ppm, value_ps=None, low_ps=None, high_ps=None, samples_beyond=beyond
        )
    low, high = interval_ranks(n, quantile_ppm)
    return Percentile(
        quantile_ppm=quantile_ppm,
        value_ps=int(ordered_ps[rank - 1]),
        low_ps=int(ordered_ps[low - 1]) if low >= 1 else None,
        high_ps=int(ordered_ps[high - 1]) if high <= n else None,
        samples_beyond=beyond,
    )
