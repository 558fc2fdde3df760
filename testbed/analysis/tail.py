"""Where a tail comes from: the parts of the slowest messages' latency beside those of the median's. Pure.

The slowest messages are a share of all by rank. A percentile is represented by the messages inside its 95 % interval,
as in testbed/analysis/breakdown.py, thinned evenly by rank to at most `MOST_BESIDE`. The excess of a part is its mean
over the slowest messages less its mean over those at the median; the excesses of all parts add up to the difference of
the mean latencies (each is rounded to a picosecond).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from testbed.analysis.breakdown import share_ppm
from testbed.analysis.explain import Explanation, Kind, Part
from testbed.analysis.hops import Flow, Network
from testbed.analysis.percentiles import percentiles
from testbed.analysis.records import Records, latencies_ps
from testbed.analysis.summary import CellSummary
from testbed.errors import SpecError
from testbed.units import PPM_PER_WHOLE

BESIDE_PPM = (500_000, 990_000, 999_000)
"""The percentiles that the slowest messages are shown beside."""
MOST_BESIDE = 500
MOST_PACKETS = 2_000_000
"""How many packets are traced at most; each takes some 60 bytes per hop."""

Chosen = npt.NDArray[np.intp]
"""Places of records."""


def slowest_name(slowest_ppm: int) -> str:
    """`slowest 0.1 %`."""
    return f"slowest {slowest_ppm / (PPM_PER_WHOLE // 100):g} %"


def choose(records: Records, slowest_ppm: int, packets_each: int) -> dict[str, Chosen]:
    """The messages to explain, by group: those at each percentile that can be stated, and the slowest ones last."""
    latency = latencies_ps(records)
    count = len(records) * slowest_ppm // PPM_PER_WHOLE
    if not 1 <= count <= len(records) // 2:
        raise SpecError(
            f"{slowest_ppm / (PPM_PER_WHOLE // 100):g} % of {len(records):,} messages are {count:,}",
            remedy="name a share that is at least one message and at most half of them",
        )
    found = percentiles(latency, BESIDE_PPM)
    if found[0].value_ps is None:
        raise SpecError(
            f"{len(records):,} messages have no median that could be stated",
            remedy="run the experiment with more records",
        )
    by_rank = np.argsort(latency, kind="stable")
    ordered = latency[by_rank]
    groups: dict[str, Chosen] = {}
    for one in found:
        if one.value_ps is not None:
            low = 0 if one.low_ps is None else int(np.searchsorted(ordered, one.low_ps, side="left"))
            high = len(ordered)
            if one.high_ps is not None:
                high = int(np.searchsorted(ordered, one.high_ps, side="right"))
            groups[one.name] = by_rank[_evenly(low, high)]
    groups[slowest_name(slowest_ppm)] = by_rank[len(ordered) - count :][::-1]
    _check_size(groups, packets_each)
    return groups


def _evenly(low: int, high: int) -> npt.NDArray[np.int64]:
    """At most `MOST_BESIDE` of the ranks low <= rank < high."""
    count = min(high - low, MOST_BESIDE)
    return low + (2 * np.arange(count, dtype=np.int64) + 1) * (high - low) // (2 * count)


def _check_size(groups: Mapping[str, Chosen], packets_each: int) -> None:
    packets = sum(len(group) for group in groups.values()) * packets_each
    if packets > MOST_PACKETS:
        raise SpecError(
            f"{packets:,} packets would be traced, at most {MOST_PACKETS:,} can be",
            remedy="name a smaller share with --slowest",
        )


# ------------------------------------------------------------------------------------------------- what came of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some messages explained together."""

    name: str
    messages: int
    sums_ps: Mapping[Part, int]
    """Over all messages; together the sum of their latencies."""

    def mean_ps(self, part: Part) -> int:
        """Per message, rounded."""
        return _rounded(self.sums_ps.get(part, 0), self.messages)

    def mean_of_ps(self, chosen: Callable[[Part], bool]) -> int:
        """Of several parts together, per message, rounded."""
        return _rounded(sum(ps for part, ps in self.sums_ps.items() if chosen(part)), self.messages)

    @property
    def latency_ps(self) -> int:
        """Mean."""
        return self.mean_of_ps(lambda _: True)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartExcess:
    """One part, or several together, in the slowest messages and at the median."""

    part: Part
    """Without its place, where it stands for all places."""
    tail_ps: int
    median_ps: int
    excess_ps: int
    share_ppm: int
    """Of the whole excess."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceShare:
    """One egress port and class at which the slowest messages lost time."""

    part: Part
    mean_ps: int
    """Over all of the slowest messages."""
    share_ppm: int
    """Of what they lost in this way anywhere."""
    cases: int
    """Messages that lost time there."""
    behind: Flow | None
    """The flow that most often had the most bytes ahead; None: a frame on its way out."""
    behind_cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Resends:
    """Messages whose completing packet was sent more than once."""

    messages: int = 0
    timed_out: int = 0
    dropped: int = 0
    trimmed: int = 0
    refused: int = 0
    held: int = 0
    """Messages, these or others, that were posted behind such a message of their flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """Where the tail of one cell comes from."""

    cell: str
    messages: int
    """Of the cell."""
    slowest_ppm: int
    threshold_ps: int
    """The least latency of the slowest messages."""
    groups: tuple[Group, ...]
    """The percentiles, then the slowest messages."""
    excess_ps: int
    excess: tuple[PartExcess, ...]
    """By kind, largest first."""
    places: Mapping[Kind, tuple[PlaceShare, ...]]
    """Queues, pauses, retransmissions and replays by place, largest first."""
    resends: Resends

    @property
    def slowest(self) -> Group:
        """The slowest messages."""
        return self.groups[-1]

    @property
    def median(self) -> Group:
        """The messages at the median."""
        return self.groups[0]

    def excess_of(self, kind: Kind) -> PartExcess:
        """One kind."""
        return next(one for one in self.excess if one.part.kind is kind)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedTail:
    """The tail of a cell, and each of its messages."""

    summary: CellSummary
    network: Network
    tail: Tail
    slowest: tuple[Explanation, ...]
    """The slowest first."""


PLACED = (Kind.QUEUE, Kind.PAUSE, Kind.RETRANSMISSION, Kind.REPLAY)
"""The kinds that have a place."""


def tail_of(cell: str, messages: int, slowest_ppm: int, groups: Mapping[str, Sequence[Explanation]]) -> Tail:
    """From the explained messages of each group; the first group is the median, the last the slowest."""
    made = tuple(_group(name, found) for name, found in groups.items())
    slow = list(groups.values())[-1]
    kinds = [_excess(made[-1], made[0], kind) for kind in Kind]
    return Tail(
        cell=cell,
        messages=messages,
        slowest_ppm=slowest_ppm,
        threshold_ps=min(one.message.latency_ps for one in slow),
        groups=made,
        excess_ps=_difference(_total(made[-1]), made[-1].messages, _total(made[0]), made[0].messages),
        excess=tuple(sorted(kinds, key=lambda one: -one.excess_ps)),
        places={kind: _places(slow, kind) for kind in PLACED},
        resends=_resends(slow),
    )


def _group(name: str, found: Sequence[Explanation]) -> Group:
    sums: defaultdict[Part, int] = defaultdict(int)
    for one in found:
        for part, ps in one.parts.items():
            sums[part] += ps
    return Group(name=name, messages=len(found), sums_ps=dict(sums))


def _total(group: Group) -> int:
    return sum(group.sums_ps.values())


def _excess(slow: Group, median: Group, kind: Kind) -> PartExcess:
    of_slow, of_median = (
        sum(ps for part, ps in group.sums_ps.items() if part.kind is kind) for group in (slow, median)
    )
    whole = _total(slow) * median.messages - _total(median) * slow.messages
    return PartExcess(
        part=Part(kind),
        tail_ps=_rounded(of_slow, slow.messages),
        median_ps=_rounded(of_median, median.messages),
        excess_ps=_difference(of_slow, slow.messages, of_median, median.messages),
        share_ppm=share_ppm(of_slow * median.messages - of_median * slow.messages, whole),
    )


def _places(slow: Sequence[Explanation], kind: Kind) -> tuple[PlaceShare, ...]:
    """Every place of one kind."""
    sums: Counter[Part] = Counter()
    cases: Counter[Part] = Counter()
    for one in slow:
        here = {part: ps for part, ps in one.parts.items() if part.kind is kind}
        sums.update(here)
        cases.update(here.keys())
    behind = _behind(slow)
    whole = sum(sums.values())
    return tuple(
        PlaceShare(
            part=part,
            mean_ps=_rounded(ps, len(slow)),
            share_ppm=share_ppm(ps, whole),
            cases=cases[part],
            behind=_most(behind[part])[0],
            behind_cases=_most(behind[part])[1],
        )
        for part, ps in sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    )


def _behind(slow: Sequence[Explanation]) -> defaultdict[Part, Counter[Flow | None]]:
    """Behind which flows the messages waited, by place."""
    found: defaultdict[Part, Counter[Flow | None]] = defaultdict(Counter)
    for one in slow:
        # A message may wait twice at its own card: with its first packet, and with the completing one.
        for part, behind in {wait.part: wait.behind for wait in one.waits}.items():
            found[part][behind] += 1
    return found


def _most(flows: Counter[Flow | None]) -> tuple[Flow | None, int]:
    """The most frequent flow and how often it was; the lowest of several."""
    if not flows:
        return None, 0
    return min(flows.items(), key=lambda item: (-item[1], item[0] or (-1, -1)))


def _resends(slow: Sequence[Explanation]) -> Resends:
    found = [one.resend for one in slow if one.resend is not None]
    how = Counter(one.how for one in found)
    return Resends(
        messages=len(found),
        timed_out=sum(one.timed_out for one in found),
        held=sum(one.message.held for one in slow),
        **{name: how[name] for name in how},
    )


def _rounded(total: int, count: int) -> int:
    return (2 * total + count) // (2 * count)


def _difference(a: int, n: int, b: int, m: int) -> int:
    """a / n - b / m, rounded."""
    return _rounded(a * m - b * n, n * m)
