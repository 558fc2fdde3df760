"""What goes wrong in a cell and what follows, as a log in order of time; and for how long frames are lost. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TypeAlias

from testbed.analysis.failures import FailureEvent
from testbed.controller.carrier import dark_spans, unusable_spans
from testbed.controller.tables import Programme, TableUpdate
from testbed.controller.verify import walk
from testbed.run.resolve import Network
from testbed.spec.fabric import FOREVER_PS
from testbed.spec.failures import Failure

_SILENT = ("loss", "ber")
_MOST_NAMED = 4


def failure_events(network: Network, updates: Sequence[TableUpdate]) -> tuple[FailureEvent, ...]:
    """The log of a cell whose tables change so; empty without failures."""
    if not network.failures:
        return ()
    found = [*_of_failures(network.failures), *_noticed(network), *_rules(updates)]
    return tuple(sorted(found, key=lambda event: event.time_ps))


def stated_outage_ps(network: Network, rules: Programme, *, cards_per_nic: int) -> int | None:
    """How long, in all, frames between some cards are lost that are not when nothing fails; the tables are walked.

    0: no failure costs frames; None: in the end some still are. Tables that change one after another belong to it, as
    do cards that have no rule yet. Not so what waits for a port that is lost.
    """
    if not network.failures:
        return 0
    total_ps, since_ps = 0, None
    for time_ps, is_whole in _Sweep(network, rules, cards_per_nic).states():
        if since_ps is None and not is_whole:
            since_ps = time_ps
        elif since_ps is not None and is_whole:
            total_ps, since_ps = total_ps + time_ps - since_ps, None
    return None if since_ps is not None else total_ps


_Change: TypeAlias = tuple[int, bool, Callable[[], None]]
"""When, whether something begins, and what to note."""


class _Sweep:
    """A fabric through all that changes in it."""

    def __init__(self, network: Network, rules: Programme, cards_per_nic: int) -> None:
        self._network, self._rules, self._cards_per_nic = network, rules, cards_per_nic
        self._tables = dict(rules.first)
        self._unusable: set[int] = set()
        self._down: set[int] = set()
        self._silent = 0
        self._walked: dict[object, int] = {}

    def states(self) -> Iterator[tuple[int, bool]]:
        """At each time at which something changes: whether all frames arrive from then on."""
        undisturbed = self._reached()
        changes = [change for change in self._changes() if change[0] < FOREVER_PS]
        changes.sort(key=lambda change: change[:2])
        for time_ps, together in itertools.groupby(changes, key=lambda change: change[0]):
            for _, _, note in together:
                note()
            # Links that are lost without anybody knowing are taken for links in use.
            is_known = not self._silent and self._unusable == self._down
            yield time_ps, is_known and self._reached() >= undisturbed

    def _changes(self) -> Iterator[_Change]:
        control, fabric, failures = self._network.control, self._network.fabric, self._network.failures
        for link, spans in dark_spans(fabric, failures).items():
            for from_ps, until_ps, _ in unusable_spans(
                spans, detection_ps=control.detection_ps, link_up_ps=control.link_up_ps
            ):
                yield from_ps, True, partial(self._unusable.add, link)
                yield until_ps, False, partial(self._unusable.discard, link)
        for event in self._network.port_events():
            yield (
                event.time_ps,
                False,
                partial(self._down.discard if event.up else self._down.add, event.link),
            )
        for one in failures:
            if one.kind in _SILENT:
                yield one.from_ps, True, partial(self._count_silent, 1)
                yield one.until_ps, False, partial(self._count_silent, -1)
        for update in self._rules.updates:
            yield update.time_ps, False, partial(self._tables.__setitem__, update.switch, update.tables)

    def _count_silent(self, more: int) -> None:
        self._silent += more

    def _reached(self) -> int:
        """How many pairs reach each other; states that come again are walked once."""
        state = (frozenset(self._down), *(id(tables) for tables in self._tables.values()))
        if state not in self._walked:
            self._walked[state] = walk(
                self._network.fabric,
                self._tables,
                cards_per_nic=self._cards_per_nic,
                down=frozenset(self._down),
            ).reached
        return self._walked[state]


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
    for event in network.port_events():
        link = network.fabric.links[event.link]
        state = "up" if event.up else "down"
        yield FailureEvent(time_ps=event.time_ps, kind="noticed", text=f"{link.a}-{link.b} is {state}")


def _rules(updates: Sequence[TableUpdate]) -> Iterator[FailureEvent]:
    """One line for all switches at a time."""
    by_time: dict[int, list[str]] = {}
    for update in updates:
        by_time.setdefault(update.time_ps, []).append(update.switch)
    for time_ps, names in by_time.items():
        more = len(names) - _MOST_NAMED
        text = ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield FailureEvent(time_ps=time_ps, kind="rules", text=text)
