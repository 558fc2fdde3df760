"""The tables walked as frames would: does every pair reach each other, by every way of equal cost, never in a circle?

What the switches hold is looked up as the model does (`asic.py`), and the fabric is asked only what is at the far end of
a port, which links are lost, and for the distances that ways of equal cost are measured by. Walks are by destination:
cards on one switch that all others treat alike are walked once. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from testbed.controller.asic import CPU_ROUTE, DROP_ROUTE, Lookup, Result
from testbed.controller.paths import Graph, whole_weights
from testbed.controller.rules import card_mac
from testbed.controller.tables import Tables
from testbed.spec.fabric import Fabric

MAX_NAMED = 5
"""So many of each kind of fault are named."""

_State: TypeAlias = tuple[str, int]
"""A switch, and the port that a frame came in by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """What was found."""

    pairs: int
    """Ordered pairs of endpoints that have a carrier."""
    reached: int
    """Those whose frames arrive, whichever way switches choose."""
    paths: int
    """Paths that frames may take, over all pairs of switches with endpoints."""
    shortest_paths: int
    """Paths of least hops that there are between these."""
    unreached: tuple[str, ...]
    """Why frames of some pairs do not arrive."""
    loops: tuple[str, ...]
    """Circles that frames would go in."""
    unused: tuple[str, ...]
    """Ports on a shortest path that nothing takes."""
    uneven: tuple[str, ...]
    """Groups whose weights are not in proportion to the capacity behind their ports, or equal."""

    @property
    def is_whole(self) -> bool:
        """All pairs reach each other, without a circle."""
        return self.reached == self.pairs and not self.loops


def walk(
    fabric: Fabric,
    tables: Tables,
    *,
    cards_per_nic: int = 1,
    down: frozenset[int] = frozenset(),
    weighted: bool = False,
) -> Walk:
    """Walk from every endpoint to every other's first card.

    Args:
        fabric: The fabric.
        tables: Of all its switches.
        cards_per_nic: How many cards each endpoint has.
        down: Indices of links that have lost their carrier, as the switches know: buckets that watch them are skipped.
        weighted: Whether weights are to be in proportion to capacities; else equal.
    """
    return _Walker(fabric, tables, cards_per_nic, down, weighted).result()


class _Walker:
    def __init__(
        self, fabric: Fabric, tables: Tables, cards_per_nic: int, down: frozenset[int], weighted: bool
    ) -> None:
        self.fabric, self.cards_per_nic, self.weighted = fabric, cards_per_nic, weighted
        self.lookups = {name: Lookup(tables[name]) for name in tables}
        self.graph = Graph(fabric, down)
        self.cables = {name: self.graph.by_port(name) for name in self.graph.cables}
        self.card_at = {
            (home, port): place for home, attached in self.graph.attached.items() for place, port in attached
        }
        self.found: dict[str, list[str]] = {name: [] for name in ("unreached", "loops", "unused", "uneven")}

    def result(self) -> Walk:
        """All destinations, those alike once."""
        ends = sum(len(attached) for attached in self.graph.attached.values())
        reached = paths = shortest = 0
        for home, attached in self.graph.attached.items():
            alike: dict[tuple[object, ...], list[int]] = {}
            for place, _ in attached:
                alike.setdefault(self._treatment(place), []).append(place)
            for places in alike.values():
                one = _ToCard(self, home, places[0])
                reached += one.reached() * len(places)
                one.check()
                paths += one.paths() * len(places)
                shortest += one.shortest_paths() * len(places)
        found = {name: tuple(dict.fromkeys(texts)) for name, texts in self.found.items()}
        return Walk(pairs=ends * (ends - 1), reached=reached, paths=paths, shortest_paths=shortest, **found)

    def rules_for(self, place: int) -> dict[str, dict[int | None, Result]]:
        """What each switch does with frames to an endpoint's first card."""
        mac = card_mac(place * self.cards_per_nic)
        return {name: lookup.results(mac) for name, lookup in self.lookups.items()}

    def _treatment(self, place: int) -> tuple[object, ...]:
        """The same for endpoints that no switch tells from each other but by the port of their own."""
        return tuple(
            (in_port, "own" if self._is_own(name, result, place) else result)
            for name, results in self.rules_for(place).items()
            for in_port, result in results.items()
        )

    def _is_own(self, name: str, result: Result, place: int) -> bool:
        return (
            not isinstance(result, int)
            and len(result[0]) == 1
            and self.card_at.get((name, result[0][0])) == place
        )

    def note(self, kind: str, text: str) -> None:
        """Keep the first few."""
        if len(self.found[kind]) < MAX_NAMED:
            self.found[kind].append(text)


class _ToCard:
    """The walk to one card."""

    def __init__(self, walker: _Walker, home: str, place: int) -> None:
        self.walker, self.home, self.place = walker, home, place
        self.rules = walker.rules_for(place)
        self.starts = [
            (name, port)
            for name, attached in walker.graph.attached.items()
            for source, port in attached
            if source != place
        ]
        self.ways: dict[_State, tuple[int, ...]] = {}
        """The ports that frames may leave by; none where they end without having arrived."""
        self.faulty: set[_State] = set()
        """Where frames may not arrive, whatever becomes of others."""
        self.order: list[_State] = []
        """Every state behind those that it leads to, circles apart."""
        self._explore()
        self.paths_from: dict[_State, int] = {}
        self.capacity: dict[_State, Fraction] = {}
        for state in self.order:
            self.paths_from[state] = sum(self._paths_by(state, port) for port in self.ways[state])

    def reached(self) -> int:
        """How many endpoints' frames arrive."""
        return sum(state not in self.faulty for state in self.starts)

    def paths(self) -> int:
        """Ways that frames may take from all endpoints."""
        return sum(self.paths_from[state] for state in self.starts if state not in self.faulty)

    def shortest_paths(self) -> int:
        """Those of least hops that the fabric has."""
        ways = self.walker.graph.ways_to(self.home)
        number: dict[str, int] = {}
        for name, ports in ways.ports.items():  # nearest first
            cables = self.walker.cables[name]
            number[name] = sum(number[cables[port].far] for port in ports) if ports else 1
        return sum(number.get(name, 0) for name, _ in self.starts)

    def check(self) -> None:
        """Note ports that are not used, and weights that are not as they should be."""
        taken: dict[str, set[int]] = {}
        for (name, _), ports in self.ways.items():
            taken.setdefault(name, set()).update(ports)
        shortest = self.walker.graph.ways_to(self.home).ports
        for name, used in taken.items():
            for port in shortest.get(name, ()):
                if port not in used:
                    self.walker.note("unused", f"{name}: no frame to {self._card()} takes port {port}")
        for state in self.order:
            if state not in self.faulty:
                self._check_weights(state)

    def _explore(self) -> None:
        """Depth first, without recursion; a state that is met again on its own path closes a circle."""
        open_, done = set[_State](), set[_State]()
        for start in self.starts:
            stack: list[tuple[_State, bool]] = [(start, False)]
            while stack:
                state, is_left = stack.pop()
                if is_left:
                    open_.remove(state)
                    done.add(state)
                    self.order.append(state)
                    nexts = [self._next(state, port) for port in self.ways[state]]
                    if any(one in self.faulty for one in nexts):
                        self.faulty.add(state)
                elif state in open_:
                    self._note_circle(state, stack)
                elif state not in done:
                    open_.add(state)
                    stack.append((state, True))
                    self.ways[state] = self._ports(state)
                    stack += [(one, False) for port in self.ways[state] if (one := self._next(state, port))]

    def _note_circle(self, state: _State, stack: Sequence[tuple[_State, bool]]) -> None:
        """All of it is faulty."""
        path = [one for one, is_left in stack if is_left]
        circle = path[path.index(state) :]
        self.faulty.update(circle)
        names = " > ".join([name for name, _ in circle] + [state[0]])
        self.walker.note("loops", f"frames to {self._card()} go in a circle: {names}")

    def _ports(self, state: _State) -> tuple[int, ...]:
        """The ports that a frame may leave by now; notes why it may end here."""
        name, in_port = state
        results = self.rules[name]
        result = results.get(in_port, results[None])
        if isinstance(result, int):
            self._fault(state, {DROP_ROUTE: "a rule drops them", CPU_ROUTE: "there is no rule"}[result])
            return ()
        ports, _, watched = result
        if watched:
            ports = tuple(port for port in ports if self._is_up(name, port))[: 1 if watched == 2 else None]
            if not ports:
                self._fault(state, "no port of the group is up")
        for port in ports:
            if port == in_port:
                self._fault(state, f"they would go back out of port {port}")
            elif not self._is_up(name, port):
                self._fault(state, f"port {port} is down")
            elif self.walker.card_at.get((name, port), self.place) != self.place:
                self._fault(state, f"port {port} leads to another card")
        return tuple(port for port in ports if port != in_port)

    def _fault(self, state: _State, why: str) -> None:
        self.faulty.add(state)
        name, in_port = state
        self.walker.note(
            "unreached", f"frames to {self._card()} that come to {name} by port {in_port}: {why}"
        )

    def _is_up(self, name: str, port: int) -> bool:
        return port in self.walker.cables[name] or (name, port) in self.walker.card_at

    def _next(self, state: _State, port: int) -> _State | None:
        """Where a port leads to; None: to a card, or nowhere."""
        cable = self.walker.cables[state[0]].get(port)
        return (cable.far, cable.far_port) if cable else None

    def _paths_by(self, state: _State, port: int) -> int:
        """Through one port."""
        following = self._next(state, port)
        return 1 if following is None else self.paths_from.get(following, 0)

    def _check_weights(self, state: _State) -> None:
        """Against the capacity behind each port, found by walking the same tables."""
        name, in_port = state
        ports = self.ways[state]
        behind = {port: self._capacity_by(state, port) for port in ports}
        self.capacity[state] = sum(behind.values(), Fraction())
        result = self.rules[name].get(in_port, self.rules[name][None])
        if len(ports) < 2 or isinstance(result, int):
            return
        weights = {port: weight for port, weight in zip(*result[:2], strict=True) if port in ports}
        wanted = whole_weights(behind) if self.walker.weighted else dict.fromkeys(ports, 1)
        if whole_weights({port: Fraction(weight) for port, weight in weights.items()}) != wanted:
            text = ":".join(str(weights[port]) for port in ports)
            better = ":".join(str(wanted[port]) for port in ports)
            self.walker.note(
                "uneven",
                f"{name}: ports {', '.join(map(str, ports))} to {self._card()} have {text}, not {better}",
            )

    def _capacity_by(self, state: _State, port: int) -> Fraction:
        """What gets through a port: its rate, and no more than its share of what the switch behind it passes on."""
        cables = self.walker.cables[state[0]]
        if port not in cables:
            return Fraction(1)  # to the card itself: the last choice is made
        cable = cables[port]
        if cable.far == self.home:
            return Fraction(cable.rate_bps)
        alike = sum(cables[one].rate_bps for one in self.ways[state] if cables[one].far == cable.far)
        passed = self.capacity[(cable.far, cable.far_port)]
        return min(Fraction(cable.rate_bps), Fraction(cable.rate_bps, alike) * passed)

    def _card(self) -> str:
        return self.walker.fabric.endpoints[self.place].name
