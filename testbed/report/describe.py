"""A fabric in words and numbers. Pure; no picture, no output."""

from __future__ import annotations

import re
import textwrap
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from testbed.links.latency import link_latency_ps
from testbed.spec.fabric import Fabric, FecChoice, Link
from testbed.units import format_length, format_rate, format_time

ENDPOINT_TIER = -1
"""Where endpoints stand in an order of tiers: below the leaves."""
_MOST_ALTERNATIVES = 3
"""So many are told one by one."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class LinkClass:
    """Links that are alike."""

    lower_tier: int
    upper_tier: int
    rate_bps: int
    medium: str
    length_mm: int
    lanes: int = 0
    fec: FecChoice = "auto"

    @property
    def latency_ps(self) -> int:
        """One way, serialisation apart."""
        return link_latency_ps(self.medium, self.length_mm, self.rate_bps, lanes=self.lanes, fec=self.fec)


def tiers_of(fabric: Fabric) -> dict[str, int]:
    """The tier of every node; endpoints are below the leaves."""
    tiers = {endpoint.name: ENDPOINT_TIER for endpoint in fabric.endpoints}
    return tiers | {switch.name: switch.tier for switch in fabric.switches}


def link_class(link: Link, tiers: dict[str, int]) -> LinkClass:
    """What a link has in common with others."""
    lower, upper = sorted((tiers[link.a], tiers[link.b]))
    return LinkClass(
        lower_tier=lower,
        upper_tier=upper,
        rate_bps=link.rate_bps,
        medium=link.medium,
        length_mm=link.length_mm,
        lanes=link.lanes,
        fec=link.fec,
    )


def link_classes(fabric: Fabric) -> dict[LinkClass, int]:
    """How many links there are of each class, from the cards upward."""
    tiers = tiers_of(fabric)
    counts = Counter(link_class(link, tiers) for link in fabric.links)
    return dict(sorted(counts.items()))


def oversubscription(fabric: Fabric) -> dict[int, Fraction]:
    """By tier: what its worst switch takes in from below, over what it has upward or sideways."""
    tiers = tiers_of(fabric)
    worst: dict[int, Fraction] = {}
    for switch in fabric.switches:
        below = sum(
            link.rate_bps for link in fabric.links_of(switch.name) if _is_down(link, switch.name, tiers)
        )
        total = sum(link.rate_bps for link in fabric.links_of(switch.name))
        if below and total > below:
            ratio = Fraction(below, total - below)
            worst[switch.tier] = max(worst.get(switch.tier, ratio), ratio)
    return dict(sorted(worst.items()))


def _is_down(link: Link, name: str, tiers: dict[str, int]) -> bool:
    """Whether the link leads to a lower tier."""
    return tiers[link.other(name)] < tiers[name]


def diameter_hops(fabric: Fabric) -> int:
    """Links on the longest of the shortest paths between two endpoints.

    Endpoints on one switch are equally far from all others, so one search per switch is enough.
    """
    endpoints = frozenset(endpoint.name for endpoint in fabric.endpoints)
    sample = {near: name for name in sorted(endpoints) for near in fabric.neighbours(name)}
    return max((_farthest(fabric, name, endpoints) for name in sample.values()), default=0)


def _farthest(fabric: Fabric, start: str, targets: frozenset[str]) -> int:
    """Links from one node to the farthest of the targets."""
    hops = {start: 0}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        for neighbour in fabric.neighbours(name):
            if neighbour not in hops:
                hops[neighbour] = hops[name] + 1
                queue.append(neighbour)
    return max(hops[name] for name in targets)


def tier_name(tier: int, highest: int) -> str:
    """What the switches of a tier are usually called."""
    if tier == ENDPOINT_TIER:
        return "NIC"
    if tier == 0:
        return "leaf" if highest else "switch"
    if tier < highest:
        return "aggregation"
    return "spine" if highest == 1 else "core"


def networks_line(networks: Sequence[tuple[Fabric, str, int]]) -> str:
    """Fabrics with switch and cards a NIC in one line: `leaf_spine 2 x 4, 16 cards, 400 Gb/s, tomahawk5, 3 m DAC`.

    The counts are those of the switches of each tier, the highest first; a single switch needs none. Rate and
    cable are those of the cards' own links. What is not the same in all fabrics is told for each, or counted.
    """
    parts = zip(*(_line_parts(*network) for network in networks), strict=True)
    return ", ".join(
        _alternatives(list(dict.fromkeys(values)), what)
        for values, what in zip(parts, ("fabrics", "sizes", "rates", "switches", "cables"), strict=True)
    )


def _alternatives(texts: Sequence[str], what: str) -> str:
    return " or ".join(texts) if len(texts) <= _MOST_ALTERNATIVES else f"{len(texts)} {what}"


def _line_parts(fabric: Fabric, switch: str, cards_per_nic: int) -> list[str]:
    """Counts, cards, rate, switch, cable."""
    counts = sorted(Counter(one.tier for one in fabric.switches).items(), reverse=True)
    tiers = " x ".join(f"{number:,}" for _, number in counts)
    if len(counts) == 1:
        tiers = "" if tiers == "1" else f"{tiers} switches"
    nics = len(fabric.endpoints)
    cards = f"{nics * cards_per_nic:,} cards" + (f" behind {nics:,} NICs" if cards_per_nic > 1 else "")
    links = [link for endpoint in fabric.endpoints for link in fabric.links_of(endpoint.name)]
    rate = _span({link.rate_bps for link in links}, format_rate).replace("bps", "b/s")
    media = "/".join(dict.fromkeys(link.medium.upper() for link in links))
    lengths = _span({link.length_mm for link in links}, format_length)
    return [f"{fabric.topology} {tiers}".rstrip(), cards, rate, switch, f"{lengths} {media}"]


def _span(values: set[int], formatted: Callable[[int], str]) -> str:
    """`400 Gbps`, or `100 Gbps to 400 Gbps` where not all are equal."""
    ends = dict.fromkeys((min(values), max(values)))
    return " to ".join(re.sub(r"(?<=\d)(?=[a-zA-Z])", " ", formatted(value)) for value in ends)


def describe_fabric(fabric: Fabric, *, width: int = 160) -> str:
    """Counts, tiers, link classes, oversubscription and diameter, as text; long rows are wrapped."""
    highest = max((switch.tier for switch in fabric.switches), default=0)
    rows = [
        ("topology", fabric.topology),
        ("parameters", ", ".join(f"{name}={value}" for name, value in fabric.parameters.items()) or "none"),
        ("cards", _cards_text(fabric)),
        *_tier_rows(fabric, highest),
        ("links", f"{len(fabric.links):,}"),
        *_ratio_rows(fabric, highest),
        ("diameter", f"{diameter_hops(fabric)} links from card to card"),
    ]
    column = max(len(label) for label, _ in rows) + 2
    lines = [_wrapped(f"{label:<{column}}", text, width) for label, text in rows]
    return "\n".join([*lines, "", *_link_table(fabric, highest)])


def _wrapped(label: str, text: str, width: int) -> str:
    """A text beside its label, no line wider than `width`."""
    return textwrap.fill(text, width, initial_indent=label, subsequent_indent=" " * len(label))


def _cards_text(fabric: Fabric) -> str:
    """How many cards, NICs and servers."""
    servers = len({endpoint.server for endpoint in fabric.endpoints})
    return f"{fabric.cards():,} behind {len(fabric.endpoints):,} NICs in {servers:,} servers"


def _tier_rows(fabric: Fabric, highest: int) -> list[tuple[str, str]]:
    """Each tier with its switches."""
    tiers: dict[int, list[str]] = {}
    for switch in fabric.switches:
        tiers.setdefault(switch.tier, []).append(switch.name)
    return [
        (f"tier {tier}", f"{len(names):,} x {tier_name(tier, highest)}: {_shortened(names)}")
        for tier, names in sorted(tiers.items())
    ]


def _ratio_rows(fabric: Fabric, highest: int) -> list[tuple[str, str]]:
    """Oversubscription of each tier that has one."""
    ratios = oversubscription(fabric)
    if not ratios:
        return [("oversubscribed", "no: one switch")]
    texts = [f"{tier_name(tier, highest)} {float(ratio):.4g} : 1" for tier, ratio in ratios.items()]
    verdict = "yes" if max(ratios.values()) > 1 else "no"
    return [("oversubscribed", f"{verdict}: {', '.join(texts)}")]


def _link_table(fabric: Fabric, highest: int) -> list[str]:
    """One row per class of links."""
    rows = [("links", "from", "to", "rate", "medium", "length", "latency")]
    for kind, number in link_classes(fabric).items():
        ends = (tier_name(kind.lower_tier, highest), tier_name(kind.upper_tier, highest))
        size = (format_rate(kind.rate_bps), kind.medium, format_length(kind.length_mm))
        rows.append((f"{number:,}", *ends, *size, format_time(kind.latency_ps)))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(_cell(row, i, widths[i]) for i in range(len(row))).rstrip() for row in rows]


def _cell(row: Sequence[str], column: int, width: int) -> str:
    """Numbers to the right, words to the left."""
    return row[column].rjust(width) if column in (0, 3, 5, 6) else row[column].ljust(width)


def _shortened(names: list[str]) -> str:
    """All names, or the ends of a long list."""
    return " ".join(names) if len(names) <= 12 else f"{names[0]} {names[1]} ... {names[-1]}"
