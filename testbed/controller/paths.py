"""The shortest ways between switches, by number of hops, over the links that have a carrier. Pure.

Two endpoints on the same switch differ only at that switch, so one breadth-first search per switch with endpoints (a
*home*) serves all of them: a fabric of 1,000 endpoints on 32 leaves needs 32 searches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm

from testbed.spec.fabric import Fabric

MAX_WEIGHTS = 1_024
"""The weights of a group add up to no more; beyond it they are rounded."""
_ROUNDED_WEIGHT = 64


@dataclass(frozen=True, slots=True)
class Cable:
    """A link between two switches, from one of its ends."""

    port: int
    far: str
    far_port: int
    rate_bps: int


@dataclass(frozen=True, slots=True)
class Ways:
    """How every switch that can get there goes to one home."""

    home: str
    hops: Mapping[str, int]
    ports: Mapping[str, tuple[int, ...]]
    """Of equal cost, ascending; none at the home itself."""


class Graph:
    """The switches with their cables that have a carrier, and what is attached to them."""

    def __init__(self, fabric: Fabric, down: frozenset[int] = frozenset()) -> None:
        """`down`: indices of links without carrier."""
        self.cables: dict[str, tuple[Cable, ...]] = {}
        self.attached: dict[str, tuple[tuple[int, int], ...]] = {}
        """Home to the places of its endpoints in the fabric, each with its port."""
        dead = {id(fabric.links[index]) for index in down}
        place = {endpoint.name: index for index, endpoint in enumerate(fabric.endpoints)}
        for switch in fabric.switches:
            links = [link for link in fabric.links_of(switch.name) if id(link) not in dead]
            ends = [(link, link.other(switch.name)) for link in links]
            self.cables[switch.name] = tuple(
                Cable(link.port_at(switch.name), far, link.port_at(far), link.rate_bps)
                for link, far in ends
                if far not in place
            )
            here = [(place[far], link.port_at(switch.name)) for link, far in ends if far in place]
            if here:
                self.attached[switch.name] = tuple(sorted(here))

    def ways_to(self, home: str) -> Ways:
        """One search, from the home outwards."""
        hops = {home: 0}
        queue = deque([home])
        while queue:
            name = queue.popleft()
            for cable in self.cables[name]:
                if cable.far not in hops:
                    hops[cable.far] = hops[name] + 1
                    queue.append(cable.far)
        ports = {
            name: tuple(cable.port for cable in self.cables[name] if hops.get(cable.far) == distance - 1)
            for name, distance in hops.items()
        }
        return Ways(home, hops, ports)

    def by_port(self, switch: str) -> dict[int, Cable]:
        """The cables of a switch."""
        return {cable.port: cable for cable in self.cables[switch]}

    def capacities(self, ways: Ways) -> dict[str, dict[int, Fraction]]:
        """For each switch and port of its ways, what can get through it to the home [bit/s].

        A port passes on no more than its share of what the switch behind it can (WCMP: Zhou et al., EuroSys 2014).
        """
        found: dict[str, dict[int, Fraction]] = {}
        for name in sorted(ways.hops, key=lambda one: ways.hops[one]):
            own = [cable for cable in self.cables[name] if cable.port in ways.ports[name]]
            to_far: dict[str, int] = {}
            for cable in own:
                to_far[cable.far] = to_far.get(cable.far, 0) + cable.rate_bps
            found[name] = {}
            for cable in own:
                behind = Fraction(cable.rate_bps)
                if cable.far != ways.home:
                    share = Fraction(cable.rate_bps, to_far[cable.far])
                    behind = min(behind, share * sum(found[cable.far].values()))
                found[name][cable.port] = behind
        return found


def whole_weights(shares: Mapping[int, Fraction]) -> dict[int, int]:
    """The smallest whole numbers in proportion to shares; rounded where they would add up to too much."""
    common = lcm(*(share.denominator for share in shares.values()))
    numbers = {port: int(share * common) for port, share in shares.items()}
    divisor = gcd(*numbers.values())
    numbers = {port: number // divisor for port, number in numbers.items()}
    if sum(numbers.values()) <= MAX_WEIGHTS:
        return numbers
    most = max(numbers.values())
    return {port: max(1, round(number * _ROUNDED_WEIGHT / most)) for port, number in numbers.items()}
