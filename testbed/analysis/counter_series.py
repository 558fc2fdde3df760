"""Counters at regular virtual times: how they are collected in the twin, and the rates they come to.

What is read changes nothing, and the times at which the twin stops for it do not, either (tests/engine).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.counter_meaning import Meaning, Place
from testbed.analysis.counter_names import meaning_of
from testbed.units import PS_PER_S

SAMPLES = 200
"""So many samples of the measured time of a cell, unless the experiment sets an interval."""
MOST_SAMPLES = 100_000
"""More than these are refused."""
_MOST_VALUES = 4_000_000
_LEAST_SAMPLES = 20
_BITS_PER_OCTET = 8

NodeCounters = Mapping[str, Mapping[str, int]]
Ints = npt.NDArray[np.int64]


class CounterSampler:
    """Keeps the sampled counters of all nodes at multiples of an interval.

    Where twice as many samples as were asked for, or more than four million values, would be kept, the interval
    doubles: so that a cell that takes longer than it was measured for has its samples, and not without bound.
    """

    def __init__(self, interval_ps: int, measure_until_ps: int) -> None:
        self.step_ps = interval_ps
        self._stride = 1
        self._most = 2 * max(_LEAST_SAMPLES, measure_until_ps // interval_ps)
        self._places: dict[tuple[str, str], int] = {}
        self._rows: dict[int, Ints] = {0: np.zeros(0, np.int64)}

    @property
    def interval_ps(self) -> int:
        """Between two samples that are kept."""
        return self.step_ps * self._stride

    def take(self, first: int, until: int, read: Callable[[], NodeCounters]) -> None:
        """What `read` gives holds at each step from `first` up to, but not including, `until`."""
        while (until - 1) // self._stride >= self._limit():
            self._stride *= 2
            self._rows = {step: row for step, row in self._rows.items() if step % self._stride == 0}
        steps = range(-(-first // self._stride) * self._stride, until, self._stride)
        if steps:
            self._rows.update(dict.fromkeys(steps, self._row(read())))

    def _limit(self) -> int:
        return max(_LEAST_SAMPLES, min(self._most, _MOST_VALUES // max(1, len(self._places))))

    def _row(self, counters: NodeCounters) -> Ints:
        found: dict[int, int] = {}
        for node, of_node in counters.items():
            for key, value in of_node.items():
                if value and meaning_of(key).sampled:
                    found[self._places.setdefault((node, key), len(self._places))] = value
        row = np.zeros(len(self._places), np.int64)
        row[list(found)] = list(found.values())
        return row

    def table(self) -> SeriesTable:
        """All samples; counters that were never above zero are left out."""
        steps = sorted(self._rows)
        values = np.zeros((len(self._places), len(steps)), np.int64)
        for column, step in enumerate(steps):
            row = self._rows[step]
            values[: len(row), column] = row
        return SeriesTable(
            interval_ps=self.interval_ps,
            time_ps=np.array(steps, np.int64) * self.step_ps,
            counters=tuple(self._places),
            values=values,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesTable:
    """The samples of a cell."""

    interval_ps: int
    time_ps: Ints
    counters: tuple[tuple[str, str], ...]
    """Node, and name as in counters.json."""
    values: Ints
    """A row for each of these, a column for each time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One counter of one place over time."""

    node: str
    place: Place
    meaning: Meaning
    time_ps: Ints
    value: Ints

    @property
    def unit(self) -> str:
        """Of `per_interval`."""
        if self.meaning.gauge:
            return self.meaning.unit
        return "bit/s" if self.meaning.unit == "octets" else f"{self.meaning.unit}/s"

    def per_interval(self) -> npt.NDArray[np.float64]:
        """For each interval between two samples: the rate, or of a gauge its level at the interval's end."""
        if self.meaning.gauge:
            return self.value[1:].astype(np.float64)
        scale = _BITS_PER_OCTET if self.meaning.unit == "octets" else 1
        rate: npt.NDArray[np.float64] = np.diff(self.value) * float(scale * PS_PER_S) / np.diff(self.time_ps)
        return rate
