"""The control plane: what tables reach, how many entries a failure changes, and which packets an outage loses.

A link fails at t. Both its switches know at t + d; a controller's n entries are in a switch at t + d + c + n i. What a
switch looks up until then goes to the failed link; what it looks up later does not. In a leaf-spine with m cards a
leaf, the leaf of the link changes one group, and every other switch the rules of m cards and one group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.controller.reaction import programme
from testbed.controller.rules import switch_tables
from testbed.controller.timing import RuleOptions, configured
from testbed.controller.verify import Walk, walk
from testbed.spec.fabric import Fabric
from testbed.spec.failures import parse_failures
from testbed.validate.probes import FIRST_PS, US, Probed
from testbed.validate.row import Oracle, Row
from topologies import TOPOLOGIES, build_fabric

DOWN = "l1<>s1@100us-200us:down"
_TIMES = "t + d + c + n i"


def tables_walk(quick: bool) -> list[Row]:
    """Tables of every topology walked; of those with a closed form, how many paths there are."""
    rows = [row for name in TOPOLOGIES.names() for row in _walk_rows(name)]
    for spines, leaves, cards in ((2, 4, 16),) if quick else ((2, 4, 16), (4, 8, 64), (3, 5, 30)):
        parameters = {"spines": spines, "leaves": leaves, "cards": cards}
        near = cards // leaves
        paths = cards * ((near - 1) + (cards - near) * spines)
        rows.append(_paths_row("leaf_spine", parameters, f"{spines} x {leaves}", paths))
    for k in (4,) if quick else (4, 6, 8):
        half, cards = k // 2, k**3 // 4
        paths = cards * ((half - 1) + half * (half - 1) * half + (cards - half**2) * half**2)
        rows.append(_paths_row("fat_tree", {"k": k}, f"k = {k}", paths))
    return rows


def _walk(fabric: Fabric, options: RuleOptions, down: frozenset[int] = frozenset()) -> Walk:
    return walk(fabric, switch_tables(fabric, options), down=down, weighted=options.weights)


def _walk_rows(name: str) -> list[Row]:
    """Plain tables, and those with failover after each link between switches alone is lost."""
    fabric = build_fabric(name, {})
    cards = len(fabric.endpoints)
    found = _walk(fabric, RuleOptions(weights=True))
    faults = len(found.unreached) + len(found.loops) + len(found.unused) + len(found.uneven)
    source = "every card reaches every other, by all shortest paths, without a circle"
    switches = {switch.name for switch in fabric.switches}
    cables = [index for index, link in enumerate(fabric.links) if {link.a, link.b} <= switches]
    rows = [
        _row(
            "tables-walk",
            f"{name}, pairs that reach each other",
            cards * (cards - 1),
            found.reached,
            "pairs",
            source,
        ),
        _row("tables-walk", f"{name}, faults", 0, faults, "faults", source),
    ]
    if name != "dumbbell" and cables:  # its one cable between switches is the only way
        least = min(_walk(fabric, RuleOptions(failover=True), frozenset([link])).reached for link in cables)
        case = f"{name}, failover, pairs after the loss of the worst of {len(cables)} links"
        rows.append(
            _row("tables-walk", case, cards * (cards - 1), least, "pairs", "another way for each link")
        )
    return rows


def _paths_row(topology: str, parameters: dict[str, Any], case: str, expected: int) -> Row:
    paths = _walk(build_fabric(topology, parameters), RuleOptions()).paths
    source = "paths of least hops, counted by leaf and pod"
    return _row("tables-walk", f"{topology} {case}, paths", expected, paths, "paths", source)


def capacities(quick: bool) -> list[Row]:
    """k parallel cables from a leaf to each of two spines, one of which is lost: weights of the other leaves."""
    return [_weights_row(cables) for cables in ((2, 4) if quick else (2, 4, 8, 16))]


def _weights_row(cables: int) -> Row:
    fabric = build_fabric("leaf_spine", {"uplink_links": cables})
    lost = next(place for place, link in enumerate(fabric.links) if {link.a, link.b} == {"l1", "s1"})
    tables = switch_tables(fabric, RuleOptions(weights=True), down=frozenset([lost]))["l2"]
    groups = {len({bucket.weight for bucket in group.buckets}): group for group in tables.groups}
    uneven = groups[2]
    s1 = {link.port_at("l2") for link in fabric.links_of("l2") if link.other("l2") == "s1"}
    weight = sum(bucket.weight for bucket in uneven.buckets if bucket.port in s1)
    return _row(
        "capacity-weights",
        f"{cables} cables to each of two spines, one lost: share of the spine that lost it",
        100 * (cables - 1) / (2 * cables - 1),
        100 * weight / sum(bucket.weight for bucket in uneven.buckets),
        "%",
        "in proportion to capacity: (k - 1) / (2 k - 1) (WCMP, Zhou 2014)",
        tolerance=1e-9,
    )


def updates(quick: bool) -> list[Row]:
    """When each switch has its new rules."""
    shapes = ((2, 4, 16), (2, 3, 6)) if quick else ((2, 4, 16), (2, 3, 6), (4, 8, 64), (3, 5, 30))
    return [row for shape in shapes for row in _update_rows(*shape)]


def _update_rows(spines: int, leaves: int, cards: int) -> list[Row]:
    fabric = build_fabric("leaf_spine", {"spines": spines, "leaves": leaves, "cards": cards})
    setup = configured({"detection": "3us", "control_latency": "40us", "rule_install": "7us"})
    found = programme(fabric, setup, parse_failures(["l1<>s1@100us:down"]), cards_per_nic=1).updates
    at_ps = {update.switch: update.time_ps for update in found}
    entries = {"l1": 1, "l2": cards // leaves + 1, "s1": cards // leaves + 1}
    return [
        _row(
            "rule-updates",
            f"{spines} x {leaves}, {cards} cards, {switch}",
            FIRST_PS + (3 + 40 + 7 * count) * US,
            at_ps.get(switch, 0),
            "ps",
            f"{_TIMES}; n = 1 in the link's leaf, cards of a leaf + 1 elsewhere",
        )
        for switch, count in entries.items()
    ]


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something that fails at 100 us, and until when packets that are looked up go there."""

    name: str
    failures: tuple[str, ...] = (DOWN,)
    lost_us: int
    """From `FIRST_PS` on."""
    control: dict[str, str] = field(default_factory=dict)
    source: str = _TIMES
    to_leaf: bool = False
    """A stream to the link's leaf, which meets the link behind the spine; else one from there."""


_FAILOVER = {"failover": "on"}
_LATE = "controller@90us-150us:lost"
CONTROLLER_CASES = (
    Case(name="from the leaf, n = 1", lost_us=10 + 30 + 2),
    Case(name="to the leaf, n = 3", lost_us=10 + 30 + 3 * 2, to_leaf=True),
    Case(name="detection 25 us", lost_us=25 + 30 + 2, control={"detection": "25us"}),
    Case(name="control latency 1 us", lost_us=10 + 1 + 2, control={"control_latency": "1us"}),
    Case(
        name="11 us an entry, n = 3", lost_us=10 + 30 + 3 * 11, control={"rule_install": "11us"}, to_leaf=True
    ),
    Case(name="a failure that does not end", failures=("l1<>s1@100us:down",), lost_us=10 + 30 + 2),
    Case(name="one way", failures=("l1>s1@100us-200us:down",), lost_us=10 + 30 + 2),
    Case(
        name="controller back at 150 us",
        failures=(DOWN, _LATE),
        lost_us=50 + 30 + 2,
        source="back + c + n i",
    ),
)
FAILOVER_CASES = (
    Case(name="from the leaf", lost_us=10, control=_FAILOVER, source="t + d"),
    Case(name="to the leaf", lost_us=10, control=_FAILOVER, source="t + d", to_leaf=True),
    Case(name="detection 1 us", lost_us=1, control={**_FAILOVER, "detection": "1us"}, source="t + d"),
    Case(
        name="controller lost for good",
        failures=(DOWN, "controller@50us:lost"),
        lost_us=10,
        control=_FAILOVER,
        source="t + d",
    ),
)
UNHELPED_CASES = (
    Case(
        name="nobody reacts",
        failures=(DOWN, "controller@50us:lost"),
        lost_us=100 + 7,
        source="until it ends, and link up",
    ),
    Case(
        name="flap below detection", failures=("l1<>s1@100us-109us:down",), lost_us=9, source="until it ends"
    ),
    Case(
        name="silent, one way",
        failures=("l1>s1@100us-150us:loss=100%",),
        lost_us=50,
        control=_FAILOVER,
        source="until it ends",
    ),
    Case(
        name="bit errors, 8 b p > 1",
        failures=("l1<>s1@100us-150us:ber=1e-2",),
        lost_us=50,
        control=_FAILOVER,
        source="until it ends",
    ),
)


def outages(quick: bool) -> list[Row]:
    """Without failover, until the controller's rules are in effect."""
    return [row for case in CONTROLLER_CASES for row in _outage_rows("outage-controller", case, quick)]


def failovers(quick: bool) -> list[Row]:
    """With it, until the switch notices."""
    return [row for case in FAILOVER_CASES for row in _outage_rows("outage-failover", case, quick)]


def unhelped(quick: bool) -> list[Row]:
    """What nobody notices, or nobody reacts to."""
    return [row for case in UNHELPED_CASES for row in _outage_rows("outage-unhelped", case, quick)]


def _outage_rows(oracle: str, case: Case, quick: bool) -> list[Row]:
    """Packets on a multiple of the interval for the first one that is lost; a picosecond ahead for the last."""
    interval_ps = 100_000 if quick else 10_000
    sharp, early = (_probed(case, early_ps, interval_ps) for early_ps in (0, 1))
    end_ps = FIRST_PS + case.lost_us * US
    return [
        _row(oracle, f"{case.name}: {what}", expected, measured, unit, case.source)
        for what, expected, measured, unit in (
            ("first lost", FIRST_PS, _at(sharp, 0), "ps"),
            ("last lost", end_ps - 1, _at(early, -1), "ps"),
            ("lost", case.lost_us * US // interval_ps, len(early.lost_ps), "packets"),
        )
    ]


def _probed(case: Case, early_ps: int, interval_ps: int) -> Probed:
    return Probed(
        failures=case.failures,
        control=case.control,
        src="c3" if case.to_leaf else "c1",
        dst="c2" if case.to_leaf else "c7",
        at_spine=case.to_leaf,
        early_ps=early_ps,
        interval_ps=interval_ps,
    )


def _at(probed: Probed, place: int) -> int:
    """One of the packets that are lost; 0 if none is."""
    return int(probed.lost_ps[place]) if len(probed.lost_ps) else 0


def _row(
    oracle: str, case: str, expected: float, measured: float, unit: str, source: str, *, tolerance: float = 0
) -> Row:
    return Row(
        oracle=oracle,
        case=case,
        expected=expected,
        measured=measured,
        unit=unit,
        tolerance=tolerance,
        source=source,
    )


_EXACT = "none: integers"
_SUBJECT = "control"


def _oracle(name: str, description: str, run: Callable[[bool], list[Row]], tolerance: str = _EXACT) -> Oracle:
    return Oracle(name=name, subject=_SUBJECT, description=description, tolerance=tolerance, run=run)


ORACLES: Sequence[Oracle] = (
    _oracle("tables-walk", "tables of every topology: all pairs, all shortest paths, no circle", tables_walk),
    _oracle(
        "capacity-weights", "weights after the loss of one of several cables", capacities, "none: ratios"
    ),
    _oracle("rule-updates", "when each switch has its new rules", updates),
    _oracle("outage-controller", "a link fails: packets lost until the controller's rules are in", outages),
    _oracle("outage-failover", "likewise with fast failover, until the switch notices", failovers),
    _oracle("outage-unhelped", "failures that nobody notices or reacts to", unhelped),
)
