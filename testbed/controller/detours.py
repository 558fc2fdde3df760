"""Ways around a lost link that switches take by themselves, before any controller knows. Pure.

A switch with several ways to a destination uses the others. One with a single way (a *critical* switch: a spine towards
a leaf) deflects: it sends the frame by another port to a switch that would not have got it from there, so that this
one can tell a deflected frame by the port it came in by. It has a rule for that port: on by its own ways, but for those
that lead to the critical switch; or, where it has none, further away. Frames are never sent back out of the port they
came in by, so a critical switch has a second detour for frames from where its first one leads to.

Any one link between switches can fail so; whether a fabric has the ways for it is seen by walking the tables
(`verify.py`). If a switch fails, with all of its links, frames to what only it led to may go in circles until the
controller's rules are in (micro-loops of link-protecting alternates [RFC 5286, 1.1]). No rule that sees only the port
and the destination can avoid both: a frame that comes by some port must be deflected if that link alone is lost, and
so it is deflected again wherever else the way is lost, too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from testbed.controller.paths import Cable, Graph, Ways


@dataclass(frozen=True, slots=True)
class Detours:
    """For one home."""

    fallback: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """Critical switch: the port of its detour; and that for frames that come in by this port, if any do."""
    deflected: dict[tuple[str, int], tuple[int, ...]] = field(default_factory=dict)
    """Switch and port that deflected frames come in by: where they go on to."""


def detours(graph: Graph, ways: Ways) -> Detours:
    """Detours around the only link of each critical switch, those that need the longest first."""
    return _Search(graph, ways).result()


class _Search:
    """The detours to one home."""

    def __init__(self, graph: Graph, ways: Ways) -> None:
        self.ways = ways
        self.cables = {name: graph.by_port(name) for name in ways.hops}
        number = {name: index for index, name in enumerate(ways.hops)}
        self.bit = {name: 1 << index for name, index in number.items()}
        self.reach: dict[str, int] = {}
        """The switches that frames of a switch may pass on its ways, as bits; itself, too."""
        for name in ways.hops:  # in the order of their distance
            mask = self.bit[name]
            for port in ways.ports[name]:
                mask |= self.reach[self.cables[name][port].far]
            self.reach[name] = mask
        self.deflected: dict[tuple[str, int], tuple[int, ...]] = {}

    def result(self) -> Detours:
        """Both detours of each critical switch."""
        critical = [name for name, ports in self.ways.ports.items() if len(ports) == 1]
        lengths = {name: len(self._way_around(name, None) or ()) for name in critical}
        fallback: dict[str, tuple[int, int | None]] = {}
        for name in sorted(critical, key=lambda one: -lengths[one]):
            first = self._settle(name, None)
            if first is None:
                continue
            far = self.cables[name][first]
            comes_from_there = far.far_port in self.ways.ports[far.far]
            fallback[name] = (first, self._settle(name, first) if comes_from_there else None)
        return Detours(fallback, self.deflected)

    def _settle(self, critical: str, came_by: int | None) -> int | None:
        """Find a detour and keep its rules; the port it begins with."""
        found = self._way_around(critical, came_by)
        if found is None:
            return None
        for cable, onward in zip(found, [*((next_.port,) for next_ in found[1:]), None], strict=True):
            state = (cable.far, cable.far_port)
            self.deflected.setdefault(state, onward or self._exits(critical, *state))
        return found[0].port

    def _way_around(self, critical: str, came_by: int | None) -> list[Cable] | None:
        """The shortest chain of cables, none of them on a way, to a switch with a way that avoids `critical`."""
        (way,) = self.ways.ports[critical]
        start = [cable for port, cable in self._off_ways(critical) if port != came_by]
        start.sort(
            key=lambda cable: (cable.port < way, cable.port)
        )  # detours of several homes by several ports
        before: dict[Cable, Cable | None] = dict.fromkeys(start)
        seen = {(cable.far, cable.far_port) for cable in before}
        queue = deque(before)
        while queue:
            cable = queue.popleft()
            if cable.far == critical:
                continue
            if self._is_safe(critical, cable):
                return _chain(before, cable)
            for onward in self._onward(cable):
                if (onward.far, onward.far_port) not in seen:
                    seen.add((onward.far, onward.far_port))
                    before[onward] = cable
                    queue.append(onward)
        return None

    def _is_safe(self, critical: str, cable: Cable) -> bool:
        """Whether frames that arrive by a cable go on by ways that avoid `critical`."""
        settled = self.deflected.get((cable.far, cable.far_port))
        exits = self._exits(critical, cable.far, cable.far_port)
        return bool(exits) if settled is None else set(settled) <= set(exits)

    def _exits(self, critical: str, switch: str, in_port: int) -> tuple[int, ...]:
        """The ways of a switch that avoid another, and the port that frames came in by."""
        return tuple(
            port
            for port in self.ways.ports[switch]
            if port != in_port and not self.reach[self.cables[switch][port].far] & self.bit[critical]
        )

    def _onward(self, cable: Cable) -> Iterator[Cable]:
        """The cables that a deflected frame may take next: the one that is settled, or any that is on no way."""
        settled = self.deflected.get((cable.far, cable.far_port))
        for port, onward in self._off_ways(cable.far):
            if port != cable.far_port and (settled is None or settled == (port,)):
                yield onward

    def _off_ways(self, switch: str) -> Iterator[tuple[int, Cable]]:
        """The cables of a switch by which it sends nothing to the home otherwise."""
        for port, cable in self.cables[switch].items():
            if port not in self.ways.ports[switch]:
                yield port, cable


def _chain(before: Mapping[Cable, Cable | None], last: Cable) -> list[Cable]:
    """The cables up to one, from the first."""
    found = [last]
    while (previous := before[found[-1]]) is not None:
        found.append(previous)
    return found[::-1]
