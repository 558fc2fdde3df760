"""What it costs a message that one of its packets is lost: latency added to those that were sent again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from testbed.analysis.percentiles import nearest_rank
from testbed.analysis.records import Picoseconds, Records, latencies_ps


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The messages of a cell with a packet that was sent again, against the others.

    Times are latencies less the median latency of the messages that were not hit, in ps; below zero where a packet
    was sent again though nothing was lost and the message was fast. They are of nearest rank, however few messages
    there are.
    """

    messages: int
    """Hit."""
    median_ps: int | None
    """None where every message was hit: there is nothing to compare with."""
    p99_ps: int | None
    max_ps: int | None


def recovery_of(records: Records) -> Recovery | None:
    """The recovery of one cell's messages, which are alike but for their losses; None where none was hit.

    A get counts as hit if its request was sent again; its sender does not know of responses that were.
    """
    hit = records["retransmits"] > 0
    messages = int(np.count_nonzero(hit))
    if not messages:
        return None
    latency = latencies_ps(records)
    usual, late = np.sort(latency[~hit]), np.sort(latency[hit])
    if not len(usual):
        return Recovery(messages=messages, median_ps=None, p99_ps=None, max_ps=None)
    base = _at(usual, 500_000)
    return Recovery(
        messages=messages,
        median_ps=_at(late, 500_000) - base,
        p99_ps=_at(late, 990_000) - base,
        max_ps=int(late[-1]) - base,
    )


def _at(ordered: Picoseconds, quantile_ppm: int) -> int:
    return int(ordered[nearest_rank(len(ordered), quantile_ppm) - 1])
