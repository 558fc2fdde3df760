"""Few points that draw like all of them: latency distributions and queue depths. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.records import Picoseconds

EXACT_TAIL = 500
"""This many of the slowest messages are all kept."""
_LOG_POINTS = 700
_LINEAR_POINTS = 500
_DEPTH_BINS = 500


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LatencyCurve:
    """Points of a distribution: `at_least[i]` of the `n` messages took at least `latency_ps[i]`."""

    n: int
    latency_ps: Picoseconds
    """Ascending."""
    at_least: npt.NDArray[np.int64]
    """Descending; the last is 1."""

    @property
    def fraction(self) -> npt.NDArray[np.float64]:
        """The share of messages at least this slow."""
        return np.asarray(self.at_least / max(self.n, 1), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthCurve:
    """A queue's depth over time: each value holds until the next."""

    label: str
    time_ps: npt.NDArray[np.int64]
    depth_bytes: npt.NDArray[np.int64]


def latency_curve(latencies_ps: Picoseconds) -> LatencyCurve:
    """At most about 1,700 points: the 500 slowest messages exactly, the others thinned by rank."""
    ordered = np.sort(latencies_ps)
    n = len(ordered)
    at_least = _kept_counts(n)
    return LatencyCurve(n=n, latency_ps=ordered[n - at_least], at_least=at_least)


def thin_depth(label: str, time_ps: npt.ArrayLike, depth_bytes: npt.ArrayLike) -> DepthCurve:
    """At most about 2,000 points: first, lowest, highest and last of each of 500 bins."""
    times, depths = np.asarray(time_ps, dtype=np.int64), np.asarray(depth_bytes, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    times, depths = times[order], depths[order]
    if len(times) > 4 * _DEPTH_BINS:
        edges = np.linspace(0, len(times), _DEPTH_BINS + 1).astype(np.int64)
        kept = [
            index
            for start, stop in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
            for index in (
                start,
                start + int(np.argmin(depths[start:stop])),
                start + int(np.argmax(depths[start:stop])),
                stop - 1,
            )
        ]
        chosen = np.unique(kept)
        times, depths = times[chosen], depths[chosen]
    return DepthCurve(label=label, time_ps=times, depth_bytes=depths)


def _kept_counts(n: int) -> npt.NDArray[np.int64]:
    """Which counts of messages at least as slow to keep, descending from n to 1."""
    if n <= EXACT_TAIL:
        return np.arange(n, 0, -1, dtype=np.int64)
    counts = np.concatenate(
        [
            np.arange(1, EXACT_TAIL + 1),
            np.geomspace(EXACT_TAIL, n, _LOG_POINTS),
            np.linspace(EXACT_TAIL, n, _LINEAR_POINTS),
        ]
    )
    return np.unique(np.rint(counts).astype(np.int64))[::-1]
