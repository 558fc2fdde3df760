"""What a failure did to messages: which it hit, for how long, and what that cost. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from testbed.analysis.records import Records, latencies_ps

EventKind: TypeAlias = Literal["begins", "ends", "noticed", "rules", "controller"]
"""A failure begins, and ends; switches notice that a port is down or up; new rules are in effect; the controller is
lost, or is back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureEvent:
    """One line of the log of a cell with failures."""

    time_ps: int
    kind: EventKind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """The messages of a cell that had to be sent again, from its first failure on."""

    hit: int
    slowest_ps: int
    """The longest latency among them; 0 where there are none."""
    stated_ps: int | None
    """How long, in all, some cards do not reach others: until a failure is over, until switches that notice it have
    another way, or until the rules for one are in effect. 0: no failure costs frames; None: it goes on."""


def outage_of(records: Records, events: Sequence[FailureEvent], stated_ps: int | None) -> Outage | None:
    """What the failures of a cell did to its messages; None without failures."""
    begins = [event.time_ps for event in events if event.kind == "begins"]
    if not begins:
        return None
    hit = records[(records["retransmits"] > 0) & (records["completed_ps"] >= min(begins))]
    slowest_ps = int(latencies_ps(hit).max()) if len(hit) else 0
    return Outage(hit=len(hit), slowest_ps=slowest_ps, stated_ps=stated_ps)
