"""What the controller does about links that fail and return, and when each switch has its new rules. Pure.

The ports of a link go down or up (`carrier.port_events`), and the controller hears of it at once; all that changes at
one time it hears together. From then on, after `control_latency`, the entries that differ go into each switch, one
after another; with the last one all take effect together. A switch that is still at the entries of an earlier reaction
begins with the next ones when it is done, so updates come in order, and each has everything of those before. A
controller that is lost hears nothing; once it is back it looks at all ports and reacts to what it finds.

A switch that restarts loses its buffer and not its tables: they are installed again before its ports come up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from testbed.controller.carrier import port_events, union
from testbed.controller.rules import switch_tables
from testbed.controller.tables import Programme, SwitchTables, Tables, TableUpdate
from testbed.controller.timing import ControlSetup
from testbed.spec.fabric import FOREVER_PS, Fabric
from testbed.spec.failures import Failure


def programme(
    fabric: Fabric, setup: ControlSetup, failures: Sequence[Failure], *, cards_per_nic: int
) -> Programme:
    """What a controller makes of a fabric that fails so; updates by time and then in the order of the switches."""
    return _programme(fabric, setup, tuple(failures), cards_per_nic)


@lru_cache(
    maxsize=16
)  # a cell asks several times: for its plan, for its log, and to compare real switches with
def _programme(
    fabric: Fabric, setup: ControlSetup, failures: tuple[Failure, ...], cards_per_nic: int
) -> Programme:
    first = switch_tables(fabric, setup.rules, cards_per_nic=cards_per_nic)
    installation = Installation(setup, first)
    returns_ps = {one.until_ps for one in failures if one.kind == "lost"}
    known: frozenset[int] = frozenset()
    for heard_ps, down in heard(fabric, setup, failures):
        wanted = switch_tables(fabric, setup.rules, cards_per_nic=cards_per_nic, down=down)
        back = (
            frozenset() if heard_ps in returns_ps else known - down
        )  # it does not know what was before it came
        installation.react(wanted, heard_ps, urgent=switches_at(fabric, back))
        known = down
    return Programme(first=first, updates=installation.in_order())


class Installation:
    """When tables that a controller sends one after another take effect in their switches."""

    def __init__(self, setup: ControlSetup, first: Tables) -> None:
        self._setup = setup
        self._held = first
        self._busy_until_ps = dict.fromkeys(first, 0)
        self._found: list[TableUpdate] = []

    def react(
        self, wanted: Tables, heard_ps: int, *, urgent: frozenset[str] = frozenset()
    ) -> list[TableUpdate]:
        """What the controller, which has heard of something at a time, changes in each switch.

        Those that are `urgent` come first; the controller sends the others theirs once it has heard that these are
        done.
        """
        found = self._install({name: wanted[name] for name in wanted if name in urgent}, heard_ps)
        done_ps = max((update.time_ps for update in found), default=heard_ps)
        found += self._install({name: wanted[name] for name in wanted if name not in urgent}, done_ps)
        self._held = wanted
        self._found += found
        return found

    def _install(self, wanted: Tables, from_ps: int) -> list[TableUpdate]:
        found = []
        for name, tables in wanted.items():
            changes = changed_entries(self._held[name], tables)
            if changes:
                begins_ps = max(from_ps + self._setup.control_latency_ps, self._busy_until_ps[name])
                self._busy_until_ps[name] = begins_ps + changes * self._setup.rule_install_ps
                found.append(TableUpdate(time_ps=self._busy_until_ps[name], switch=name, tables=tables))
        return found

    def in_order(self) -> tuple[TableUpdate, ...]:
        """All so far, by time and then in the order of the fabric's switches."""
        order = {name: index for index, name in enumerate(self._busy_until_ps)}
        return tuple(sorted(self._found, key=lambda update: (update.time_ps, order[update.switch])))


def heard(
    fabric: Fabric, setup: ControlSetup, failures: Sequence[Failure]
) -> Iterator[tuple[int, frozenset[int]]]:
    """When the controller hears of something, and the links that are down then; ascending."""
    events = port_events(fabric, failures, detection_ps=setup.detection_ps, link_up_ps=setup.link_up_ps)
    away = union((one.from_ps, one.until_ps) for one in failures if one.kind == "lost")
    times = {_back_ps(event.time_ps, away) for event in events}
    for time_ps in sorted(times - {FOREVER_PS}):
        down: set[int] = set()
        for event in events:
            if event.time_ps <= time_ps:
                (down.discard if event.up else down.add)(event.link)
        yield time_ps, frozenset(down)


def switches_at(fabric: Fabric, links: Iterable[int]) -> frozenset[str]:
    """The switches at both ends of links that are back: before others send by such a link, these must know of it.

    A link to a card is no way to anywhere else.
    """
    switches = {switch.name for switch in fabric.switches}
    ends = [{fabric.links[index].a, fabric.links[index].b} for index in links]
    return frozenset(end for pair in ends if pair <= switches for end in pair)


def changed_entries(before: SwitchTables, after: SwitchTables) -> int:
    """How many flow and group entries are added, changed or removed."""
    if before is after:
        return 0
    flows = [{(f.table, f.priority, f.match): f for f in tables.flows} for tables in (before, after)]
    groups = [{group.number: group for group in tables.groups} for tables in (before, after)]
    return _differing(*flows) + _differing(*groups)


def _differing(before: Mapping[Any, object], after: Mapping[Any, object]) -> int:
    """How many keys have something else, or something only before or after."""
    return sum(before.get(key) != after.get(key) for key in before.keys() | after.keys())


def _back_ps(time_ps: int, away: Sequence[tuple[int, int]]) -> int:
    """A time, or when the controller is back if it is lost then."""
    return next((until_ps for from_ps, until_ps in away if from_ps <= time_ps < until_ps), time_ps)
