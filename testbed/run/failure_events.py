"""What goes wrong in a cell and what follows, as a log in order of time; and for how long frames are lost. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from testbed.analysis.failures import FailureEvent
from testbed.controller.carrier import CarrierEvent, dark_spans, port_events, unusable_spans
from testbed.controller.tables import Programme, Tables, TableUpdate
from testbed.controller.verify import walk
from testbed.run.resolve import Network
from testbed.spec.fabric import FOREVER_PS
from testbed.spec.failures import Failure

_DARK = ("down", "restart")
_SILENT = ("loss", "ber")
_MOST_NAMED = 4


def failure_events(network: Network, updates: Sequence[TableUpdate]) -> tuple[FailureEvent, ...]:
    """The log of a cell whose tables change so; empty without failures."""
    if not network.failures:
        return ()
    found = [*_of_failures(network.failures), *_noticed(network), *_rules(updates)]
    return tuple(sorted(found, key=lambda event: event.time_ps))


def stated_outage_ps(network: Network, rules: Programme, *, cards_per_nic: int) -> int | None:
    """From the first failure that costs frames until all cards that ever do reach each other again, by any way.

    The tables are walked as they are at each time at which something changes. 0: no failure costs frames; None: it goes
    on. What is lost for tables that change one after another belongs to it, as do cards that have no rule yet.
    """
    costly = [one.from_ps for one in network.failures if one.kind in (*_DARK, *_SILENT)]
    if not costly:
        return 0
    fabric = _Fabric(network, rules, cards_per_nic)
    first_ps = min(costly)
    for time_ps in fabric.changes_after(first_ps):
        if fabric.is_whole(time_ps):
            return time_ps - first_ps
    return None


class _Fabric:
    """What works of a fabric, at any time."""

    def __init__(self, network: Network, rules: Programme, cards_per_nic: int) -> None:
        control = network.control
        self._network, self._rules, self._cards_per_nic = network, rules, cards_per_nic
        self._noticed = _port_events(network)
        dark = dark_spans(network.fabric, network.failures)
        self._unusable = [
            (link, from_ps, until_ps)
            for link, spans in dark.items()
            for from_ps, until_ps, _ in unusable_spans(
                spans, detection_ps=control.detection_ps, link_up_ps=control.link_up_ps
            )
        ]
        self._silent = [one for one in network.failures if one.kind in _SILENT]
        self._reached = self._walk(rules.first, frozenset())

    def changes_after(self, first_ps: int) -> list[int]:
        """Times, ascending."""
        times = {until_ps for _, _, until_ps in self._unusable} | {one.until_ps for one in self._silent}
        times |= {event.time_ps for event in self._noticed} | {
            update.time_ps for update in self._rules.updates
        }
        return sorted(time_ps for time_ps in times if first_ps < time_ps < FOREVER_PS)

    def is_whole(self, time_ps: int) -> bool:
        """Whether no frame is lost, but for those that already waited for a port that is lost."""
        if any(one.from_ps <= time_ps < one.until_ps for one in self._silent):
            return False
        down: set[int] = set()
        for event in self._noticed:
            if event.time_ps <= time_ps:
                (down.discard if event.up else down.add)(event.link)
        unusable = {link for link, from_ps, until_ps in self._unusable if from_ps <= time_ps < until_ps}
        if unusable != down:
            return False
        tables = dict(self._rules.first)
        tables |= {
            update.switch: update.tables for update in self._rules.updates if update.time_ps <= time_ps
        }
        return self._walk(tables, frozenset(down)) >= self._reached

    def _walk(self, tables: Tables, down: frozenset[int]) -> int:
        fabric = self._network.fabric
        return walk(fabric, tables, cards_per_nic=self._cards_per_nic, down=down).reached


def _of_failures(failures: Sequence[Failure]) -> Iterator[FailureEvent]:
    for one in failures:
        if one.kind == "lost":
            yield FailureEvent(time_ps=one.from_ps, kind="controller", text="lost")
            if one.until_ps < FOREVER_PS:
                yield FailureEvent(time_ps=one.until_ps, kind="controller", text="back")
            continue
        yield FailureEvent(time_ps=one.from_ps, kind="begins", text=one.text)
        if one.until_ps < FOREVER_PS:
            yield FailureEvent(time_ps=one.until_ps, kind="ends", text=one.text)


def _noticed(network: Network) -> Iterator[FailureEvent]:
    for event in _port_events(network):
        link = network.fabric.links[event.link]
        state = "up" if event.up else "down"
        yield FailureEvent(time_ps=event.time_ps, kind="noticed", text=f"{link.a}-{link.b} is {state}")


def _port_events(network: Network) -> Sequence[CarrierEvent]:
    control = network.control
    return port_events(
        network.fabric,
        network.failures,
        detection_ps=control.detection_ps,
        link_up_ps=control.link_up_ps,
    )


def _rules(updates: Sequence[TableUpdate]) -> Iterator[FailureEvent]:
    """One line for all switches at a time."""
    by_time: dict[int, list[str]] = {}
    for update in updates:
        by_time.setdefault(update.time_ps, []).append(update.switch)
    for time_ps, names in by_time.items():
        more = len(names) - _MOST_NAMED
        text = ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield FailureEvent(time_ps=time_ps, kind="rules", text=text)
