"""What the controller does about links that fail and return, and when each switch has its new rules. Pure.

The ports of a link go down or up (`carrier.port_events`), and the controller hears of it at once; all that changes at
one time it hears together. From then on, after `control_latency`, the entries that differ go into each switch, one
after another; with the last one all take effect together. A switch that is still at the entries of an earlier reaction
begins with the next ones when it is done, so updates come in order, and each has everything of those before. A
controller that is lost hears nothing; once it is back it looks at all ports and reacts to what it finds.

A switch that restarts loses its buffer and not its tables: they are installed again before its ports come up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from testbed.controller.carrier import port_events, union
from testbed.controller.rules import switch_tables
from testbed.controller.tables import SwitchTables, TableUpdate
from testbed.controller.timing import ControlSetup
from testbed.spec.fabric import FOREVER_PS, Fabric
from testbed.spec.failures import Failure


def reactions(
    fabric: Fabric, setup: ControlSetup, failures: Sequence[Failure], *, cards_per_nic: int
) -> tuple[TableUpdate, ...]:
    """Every update of every switch, by time and then in the order of the fabric's switches."""
    held = switch_tables(fabric, setup.rules, cards_per_nic=cards_per_nic)
    busy_until_ps = dict.fromkeys(held, 0)
    found: list[TableUpdate] = []
    for heard_ps, down in heard(fabric, setup, failures):
        wanted = switch_tables(fabric, setup.rules, cards_per_nic=cards_per_nic, down=down)
        for name, tables in wanted.items():
            changes = changed_entries(held[name], tables)
            if changes:
                from_ps = max(heard_ps + setup.control_latency_ps, busy_until_ps[name])
                busy_until_ps[name] = from_ps + changes * setup.rule_install_ps
                found.append(TableUpdate(time_ps=busy_until_ps[name], switch=name, tables=tables))
        held = wanted
    order = {name: index for index, name in enumerate(held)}
    return tuple(sorted(found, key=lambda update: (update.time_ps, order[update.switch])))


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


def changed_entries(before: SwitchTables, after: SwitchTables) -> int:
    """How many flow and group entries are added, changed or removed."""
    if before is after:
        return 0
    flows = [{(f.table, f.priority, f.match): f for f in tables.flows} for tables in (before, after)]
    groups = [{group.number: group for group in tables.groups} for tables in (before, after)]
    return sum(
        one.get(key) != other.get(key) for one, other in (flows, groups) for key in one.keys() | other.keys()
    )


def _back_ps(time_ps: int, away: Sequence[tuple[int, int]]) -> int:
    """A time, or when the controller is back if it is lost then."""
    return next((until_ps for from_ps, until_ps in away if from_ps <= time_ps < until_ps), time_ps)
