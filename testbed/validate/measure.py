"""What the oracles share: intervals, queue theory's helpers, and reading queues from a twin's counters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.units import WIRE_OVERHEAD_BYTES
from testbed.validate.plans import Data

Times = npt.NDArray[np.int64]
THIN_HEADER_BYTES = 26
"""Ethernet to FCS around a payload in the thin format."""
CONFIDENCE = 0.999
"""Of every statistical tolerance. Seeds are fixed, so a row that holds holds always."""
BATCHES = 30


def slot_ps(frame_bytes: int, byte_time_ps: int = 20) -> int:
    """How long a frame keeps a wire busy, preamble and gap included."""
    return (frame_bytes + WIRE_OVERHEAD_BYTES) * byte_time_ps


def mean_half_width(values: npt.NDArray[Any]) -> float:
    """Half of the confidence interval of the mean of a correlated series, by batch means."""
    batches = values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, BATCHES - 1)
    return float(quantile * batches.std(ddof=1) / math.sqrt(BATCHES))


def independent_half_width(deviation: float, count: int) -> float:
    """Half of the confidence interval of a mean of independent draws of this standard deviation."""
    return float(stats.norm.ppf((1 + CONFIDENCE) / 2) * deviation / math.sqrt(count))


def share_half_width(probability: float, count: int, comparisons: int = 1) -> float:
    """Half of the interval that holds the share of `count` draws, in all of `comparisons` at once (Bonferroni)."""
    tail = (1 - CONFIDENCE) / 2 / comparisons
    low, high = stats.binom.ppf([tail, 1 - tail], count, probability)
    return float(max(count * probability - low, high - count * probability) / count)


def twin_of(data: Data) -> _engine.Twin:
    """The twin of a plan, at time zero."""
    return _engine.Twin(build_plan(data))


def hub_counters(twin: _engine.Twin, data: Data) -> dict[str, int]:
    """The counters of the last node of a plan: the hub of a star."""
    return twin.counters()[data["nodes"][-1]["name"]]


def depths_bytes(counters: dict[str, int], pairs: Sequence[tuple[int, int]]) -> Times:
    """What waits for each egress that one ingress alone feeds: in less out less dropped."""
    return np.array(
        [
            counters[f"port{ingress}.in_octets"]
            - counters[f"port{egress}.out_octets"]
            - counters[f"port{egress}.out_discard_octets"]
            for ingress, egress in pairs
        ],
        dtype=np.int64,
    )
