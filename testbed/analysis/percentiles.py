"""Percentiles from all records, with intervals that assume no distribution. Pure.

Definition. Let x(1) <= ... <= x(n) be the n latencies in order. The percentile of the quantile q is x(r)
with the nearest rank r = ceil(q * n): the smallest latency that at least the share q of the messages does
not exceed. It is always a latency that a message had, in whole picoseconds; nothing is interpolated.
`samples_beyond` is n - r. With fewer than 10 samples beyond it a percentile is not stated (None).

Interval. Were messages independent, the number of them below the true quantile would have the binomial
distribution B(n, q), whatever the latencies' own distribution, and x(l) and x(u), with l the 2.5 % quantile of
B(n, q) and u one more than its 97.5 % quantile, would enclose the true quantile with a probability of at least
95 %. But messages that share a queue or a stall of their host are slow together. So the latencies are taken in
canonical order, that of their intended times, and cut into 50 consecutive batches of equal count. The design
effect D is the variance, over the batches, of the number of messages slower than x(r), divided by the variance
that independent messages would have; at least 1. The sample is worth n / D independent messages: l and u come
from B(n / D, q), and are scaled by D to ranks of the sample. A bound that lies outside the sample is None.

What this cannot see: dependence over more than about n / 50 messages, and a slow state so rare that the sample
has met it only a few times. The spread over several seeds (`across_seeds`) assumes neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.records import Picoseconds
from testbed.units import PPM_PER_WHOLE

QUANTILES_PPM = (500_000, 900_000, 990_000, 999_000, 999_900)
"""p50, p90, p99, p99.9, p99.99: whole parts per million, so that they are exact."""
MIN_SAMPLES_BEYOND = 10
CONFIDENCE = 0.95
BATCHES = 50
"""Few enough that a batch outlasts a stall, many enough that their variance is known to a fifth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """One percentile of one sample and its 95 % interval."""

    quantile_ppm: int
    value_ps: int | None
    """None with fewer than 10 samples beyond it."""
    low_ps: int | None
    high_ps: int | None
    samples_beyond: int
    design_effect: float | None
    """How many messages are worth one independent message at this percentile; None where it is not stated."""

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
    whole, rest = divmod(quantile_ppm, PPM_PER_WHOLE // 100)
    return f"p{whole}" + (f".{rest:04d}".rstrip("0") if rest else "")


def nearest_rank(n: int, quantile_ppm: int) -> int:
    """ceil(q * n), counted from 1."""
    return max(1, -(-quantile_ppm * n // PPM_PER_WHOLE))


def interval_ranks(n: int, quantile_ppm: int, design_effect: float = 1.0) -> tuple[int, int]:
    """The ranks (l, u) that enclose the true quantile with at least 95 %; l may be 0 and u more than n."""
    from scipy import stats  # takes a second to import

    worth = max(1, int(n / design_effect))
    tail = (1 - CONFIDENCE) / 2
    low, high = stats.binom.ppf([tail, 1 - tail], worth, quantile_ppm / PPM_PER_WHOLE)
    return int(low) * n // worth, -(-(int(high) + 1) * n // worth)


def design_effect(slower: npt.NDArray[np.bool_]) -> float:
    """By how much batches of messages in order of time vary more than independent messages would; at least 1."""
    n, beyond = len(slower), int(np.count_nonzero(slower))
    if n < BATCHES or beyond in (0, n):
        return 1.0
    edges = np.arange(BATCHES, dtype=np.int64) * n // BATCHES
    counts = np.add.reduceat(slower, edges, dtype=np.int64)
    independent = beyond * (n - beyond) / (n * BATCHES)
    return max(1.0, round(float(np.var(counts, ddof=1)) / independent, 3))


def percentiles(
    latencies_ps: Picoseconds, quantiles_ppm: Sequence[int] = QUANTILES_PPM
) -> tuple[Percentile, ...]:
    """The percentiles of a sample in canonical order (of intended times), by the definition above."""
    ordered_ps = np.sort(latencies_ps)
    return tuple(_percentile(latencies_ps, ordered_ps, quantile_ppm) for quantile_ppm in quantiles_ppm)


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


def _percentile(latencies_ps: Picoseconds, ordered_ps: Picoseconds, quantile_ppm: int) -> Percentile:
    n = len(ordered_ps)
    rank = nearest_rank(n, quantile_ppm)
    beyond = max(0, n - rank)
    if beyond < MIN_SAMPLES_BEYOND:
        return Percentile(
            quantile_ppm=quantile_ppm,
            value_ps=None,
            low_ps=None,
            high_ps=None,
            samples_beyond=beyond,
            design_effect=None,
        )
    value = ordered_ps[rank - 1]
    effect = design_effect(latencies_ps > value)
    low, high = interval_ranks(n, quantile_ppm, effect)
    return Percentile(
        quantile_ppm=quantile_ppm,
        value_ps=int(value),
        low_ps=int(ordered_ps[low - 1]) if low >= 1 else None,
        high_ps=int(ordered_ps[high - 1]) if high <= n else None,
        samples_beyond=beyond,
        design_effect=effect,
    )
