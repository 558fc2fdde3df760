"""The fabric as plain data: endpoints, switches, links; no process, no namespace, no behaviour.

A `Fabric` that exists is sound in structure: named, connected, one link per port, byte times whole.
Whether its media reach that far is for `testbed.links`, which knows them; this module imports no such table.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from testbed.errors import Problems, SpecError
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.units import PPM_PER_WHOLE, PS_PER_S, RATIO_UNIT, byte_time_ps, format_time

MAX_NAME_CHARS = 9
"""An interface is called NAME-ethN, and Linux takes 15 characters (IFNAMSIZ - 1)."""
MAX_INTERFACE_CHARS = 15
MAX_TIER = 9
MAX_CARDS = 64
MAX_LANES = 8
"""QSFP-DD and OSFP have eight lanes each way."""
MAX_REORDER_DELAY_PS = PS_PER_S
"""What is held up for longer is lost."""
FOREVER_PS = 2**63 - 1
"""The end of a fault that does not end."""

FecChoice: TypeAlias = Literal["auto", "kp4", "kr4", "ll", "none"]
"""A code by its name; `auto`: the one that the lanes usually have."""

_NAME = re.compile(r"[a-z][a-z0-9]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One NIC and the cards behind it."""

    name: str
    """c1, c2, ..."""
    server: str
    """The chassis it sits in; only drawings and workloads use it."""
    cards: int = 1
    """How many accelerator cards share this NIC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """One switch."""

    name: str
    """l1, s1, ..."""
    tier: int
    """0 is the tier that endpoints attach to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFault:
    """Frames lost in one direction of a link for some time; the other direction is not touched."""

    toward: str
    """The node at the end that does not receive them."""
    from_ps: int
    until_ps: int
    """Frames that start at `from_ps` or later, and before `until_ps`."""
    loss_ppm: int
    """How many of them are lost: 1 to 1,000,000, which is all."""

    def __post_init__(self) -> None:
        if not 0 <= self.from_ps < self.until_ps <= FOREVER_PS:
            raise SpecError(
                f"a fault from {format_time(self.from_ps)} until {format_time(self.until_ps)} is at no time",
                remedy="let it end after it begins",
            )
        if not 1 <= self.loss_ppm <= PPM_PER_WHOLE:
            raise SpecError(
                f"a fault that loses {self.loss_ppm:,} of a million frames",
                remedy="let it lose from 1 (1ppm) to 1,000,000 (100%)",
            )


def interface_name(node: str, port: int) -> str:
    """What the interface of a port is called, as in Mininet and Open vSwitch."""
    return f"{node}-eth{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """One full-duplex cable."""

    a: str
    a_port: int
    """Port of node `a`: 0 on an endpoint, from 1 on a switch."""
    b: str
    b_port: int
    rate_bps: int
    """Each way."""
    medium: str
    """Name of a medium profile, e.g. `dac`."""
    length_mm: int
    lanes: int = 0
    """Lanes each way; 0: as many as the rate usually has."""
    fec: FecChoice = "auto"
    ber_e18: int | None = None
    """Bit error ratio before FEC, in 1e-18; None: the medium's."""
    faults: tuple[LinkFault, ...] = ()
    reorder_e18: int = 0
    """How many frames are held up on their way, in 1e-18; the frames behind them pass."""
    reorder_delay_ps: int | None = None
    """By how much these arrive later; None: an assumed time (`testbed.links.features.REORDER_DELAY`)."""
    duplicate_e18: int = 0
    """How many frames are sent twice, in 1e-18."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "faults", tuple(self.faults))

    def other(self, name: str) -> str:
        """The node at the far end from `name`."""
        return self.b if name == self.a else self.a

    def port_at(self, name: str) -> int:
        """The port of node `name` that this link is in."""
        return self.a_port if name == self.a else self.b_port

    def interface_at(self, name: str) -> str:
        """The name of the network interface at that end."""
        return interface_name(name, self.port_at(name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fabric:
    """Endpoints, switches and the links between them; checked when it is made."""

    topology: str
    """Which builder made it."""
    parameters: Mapping[str, ParameterValue] = field(default_factory=Parameters)
    """What the builder was given, defaults included."""
    endpoints: tuple[Endpoint, ...]
    switches: tuple[Switch, ...]
    links: tuple[Link, ...]
    _links_by_node: dict[str, tuple[Link, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", Parameters(self.parameters))
        for name in ("endpoints", "switches", "links"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "_links_by_node", _index(self.links))
        problems = Problems()
        _check_nodes(self, problems)
        _check_links(self, problems)
        if not problems:
            _check_connected(self, problems)
        problems.raise_if_any()

    def node_names(self) -> tuple[str, ...]:
        """Endpoints, then switches: a node's place in this order is its entity id."""
        return tuple(e.name for e in self.endpoints) + tuple(s.name for s in self.switches)

    def links_of(self, name: str) -> tuple[Link, ...]:
        """The links of a node, by its port."""
        return self._links_by_node.get(name, ())

    @property
    def reorders(self) -> bool:
        """Whether any link holds frames up, so that later ones overtake them."""
        return any(link.reorder_e18 for link in self.links)

    def neighbours(self, name: str) -> tuple[str, ...]:
        """The nodes at the far ends of a node's links, by its port; one appears once per link to it."""
        return tuple(link.other(name) for link in self.links_of(name))

    def cards(self) -> int:
        """How many accelerator cards the fabric connects."""
        return sum(endpoint.cards for endpoint in self.endpoints)


def _index(links: Iterable[Link]) -> dict[str, tuple[Link, ...]]:
    """Links by node, in the order of that node's ports."""
    found: dict[str, list[Link]] = {}
    for link in links:
        for name in (link.a, link.b):
            found.setdefault(name, []).append(link)
    return {name: tuple(sorted(of, key=lambda link: link.port_at(name))) for name, of in found.items()}


def _check_nodes(fabric: Fabric, problems: Problems) -> None:
    """Names, tiers, card counts."""
    if not fabric.endpoints:
        problems.add("endpoints", "the fabric has no endpoint", "add at least one card")
    named = [(f"endpoints[{i}]", e.name) for i, e in enumerate(fabric.endpoints)]
    named += [(f"switches[{i}]", s.name) for i, s in enumerate(fabric.switches)]
    for path, name in named:
        _check_name(name, f"{path}.name", problems)
    for name, times in Counter(fabric.node_names()).items():
        if times > 1:
            problems.add("node names", f"'{name}' is used {times} times", "give every node its own name")
    for index, endpoint in enumerate(fabric.endpoints):
        if not 1 <= endpoint.cards <= MAX_CARDS:
            problems.add(
                f"endpoints[{index}].cards", f"{endpoint.cards} cards behind one NIC", f"use 1 to {MAX_CARDS}"
            )
    for index, switch in enumerate(fabric.switches):
        if not 0 <= switch.tier <= MAX_TIER:
            problems.add(
                f"switches[{index}].tier", f"tier {switch.tier}", f"use 0 to {MAX_TIER}; 0 is the leaf tier"
            )


def _check_name(name: str, path: str, problems: Problems) -> None:
    """A name must do as part of an interface name."""
    if not _NAME.fullmatch(name):
        problems.add(
            path, f"'{name}' is no node name", "use a lower-case letter, then letters and digits, e.g. 'c1'"
        )
    if len(name) > MAX_NAME_CHARS:
        problems.add(path, f"'{name}' is longer than {MAX_NAME_CHARS} characters", "shorten it")


def _check_links(fabric: Fabric, problems: Problems) -> None:
    """Both ends of every link, its rate and its length."""
    endpoints = {e.name for e in fabric.endpoints}
    known = endpoints | {s.name for s in fabric.switches}
    taken: dict[tuple[str, int], int] = {}
    for index, link in enumerate(fabric.links):
        path = f"links[{index}]"
        if link.a == link.b:
            problems.add(path, f"it joins '{link.a}' to itself", "join two different nodes")
        for end, name, port in (("a", link.a, link.a_port), ("b", link.b, link.b_port)):
            if name not in known:
                problems.add(
                    f"{path}.{end}", f"unknown node '{name}'", "name an endpoint or a switch of the fabric"
                )
                continue
            _check_port(link, name, port, name in endpoints, f"{path}.{end}_port", problems)
            first = taken.setdefault((name, port), index)
            if first != index:
                problems.add(
                    f"{path}.{end}_port",
                    f"port {port} of '{name}' already has links[{first}]",
                    "give each link its own port",
                )
        _check_cable(link, path, problems)


def _check_port(link: Link, name: str, port: int, is_endpoint: bool, path: str, problems: Problems) -> None:
    """Endpoints have port 0 only; switch ports count from 1."""
    if is_endpoint and port != 0:
        problems.add(path, f"port {port} of endpoint '{name}'", "an endpoint has one port, 0")
    elif not is_endpoint and port < 1:
        problems.add(path, f"port {port} of switch '{name}'", "switch ports count from 1")
    elif len(link.interface_at(name)) > MAX_INTERFACE_CHARS and len(name) <= MAX_NAME_CHARS:
        problems.add(
            path,
            f"interface '{link.interface_at(name)}' is longer than {MAX_INTERFACE_CHARS} characters",
            f"shorten '{name}'",
        )


def _check_cable(link: Link, path: str, problems: Problems) -> None:
    """Rate and length of one link."""
    try:
        byte_time_ps(link.rate_bps)
    except SpecError as error:
        problems.add(f"{path}.rate_bps", str(error), error.remedy)
    if link.length_mm < 0:
        problems.add(f"{path}.length_mm", f"{link.length_mm} mm is negative", "write a positive length")
    if not 0 <= link.lanes <= MAX_LANES:
        problems.add(
            f"{path}.lanes", f"{link.lanes} lanes", f"use 1 to {MAX_LANES}, or 0 for the usual number"
        )
    if link.fec not in get_args(FecChoice):
        problems.add(
            f"{path}.fec", f"unknown code '{link.fec}'", f"use one of {', '.join(get_args(FecChoice))}"
        )
    if link.ber_e18 is not None and not 0 <= link.ber_e18 <= RATIO_UNIT // 2:
        problems.add(
            f"{path}.ber_e18", f"{link.ber_e18} x 1e-18 is no bit error ratio", "use 0 to 0.5 x 10^18"
        )
    for name, share_e18 in (("reorder_e18", link.reorder_e18), ("duplicate_e18", link.duplicate_e18)):
        if not 0 <= share_e18 <= RATIO_UNIT:
            problems.add(f"{path}.{name}", f"{share_e18} x 1e-18 is no share of frames", "use 0 to 10^18")
    if link.reorder_delay_ps is not None and not 1 <= link.reorder_delay_ps <= MAX_REORDER_DELAY_PS:
        problems.add(
            f"{path}.reorder_delay_ps",
            f"frames are held up for {format_time(link.reorder_delay_ps)}",
            f"use 1ps to {format_time(MAX_REORDER_DELAY_PS)}",
        )
    _check_faults(link, f"{path}.faults", problems)


def _check_faults(link: Link, path: str, problems: Problems) -> None:
    """Each is toward one of the ends; at any time, a direction has one."""
    for index, fault in enumerate(link.faults):
        if fault.toward not in (link.a, link.b):
            problems.add(
                f"{path}[{index}].toward", f"'{fault.toward}' is at no end", f"use '{link.a}' or '{link.b}'"
            )
    ordered = sorted(link.faults, key=lambda fault: (fault.toward, fault.from_ps))
    for one, other in itertools.pairwise(ordered):
        if one.toward == other.toward and other.from_ps < one.until_ps:
            problems.add(path, f"two at once toward '{one.toward}'", "let one end before the next begins")


def _check_connected(fabric: Fabric, problems: Problems) -> None:
    """Every node must be reachable from the first."""
    names = fabric.node_names()
    reached = {names[0]}
    queue = deque(reached)
    while queue:
        for name in fabric.neighbours(queue.popleft()):
            if name not in reached:
                reached.add(name)
                queue.append(name)
    cut_off = [name for name in names if name not in reached]
    if cut_off:
        some = ", ".join(cut_off[:5]) + (", ..." if len(cut_off) > 5 else "")
        problems.add(
            "links",
            f"the fabric is not connected: no path from {names[0]} to {some}",
            "add the missing links",
        )
