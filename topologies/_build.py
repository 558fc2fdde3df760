"""What all builders share: parameters, port numbers, the choice of uplinks. Pure; imports no Mininet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar, get_args

from testbed.errors import Problems, SpecError
from testbed.links.latency import cable_problems
from testbed.registry import unknown_name
from testbed.spec.fabric import (
    MAX_LANES,
    MAX_REORDER_DELAY_PS,
    Endpoint,
    Fabric,
    FecChoice,
    Link,
    Switch,
)
from testbed.spec.parameters import Parameters, ParameterValue
from testbed.units import byte_time_ps, format_time, parse_length, parse_rate, parse_ratio, parse_time
from topologies._faults import FAULTS_EXAMPLE, SOUND, Impairments, parse_faults, with_impairments

T = TypeVar("T")

MAX_ENDPOINTS = 65_535
"""The engine's limit; also keeps a slip of the pen from filling the memory."""
MAX_LINKS = 1_000_000
AUTO: Final = "auto"

_GBPS = 10**9
STANDARD_RATES_BPS = tuple(gbps * _GBPS for gbps in (10, 25, 50, 100, 200, 400, 800))
"""Ethernet rates that an uplink may be given by `auto`, slowest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cable:
    """One kind of cable of a topology."""

    rate_bps: int
    medium: str
    length_mm: int
    lanes: int = 0
    fec: FecChoice = "auto"
    ber_e18: int | None = None

    def problems(self) -> Problems:
        """What is wrong with it, under the names of its parameters."""
        return cable_problems(
            self.medium,
            self.length_mm,
            self.rate_bps,
            lanes=self.lanes,
            fec=self.fec,
            ber_e18=self.ber_e18,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplinks:
    """How a switch is joined to each switch of the next tier."""

    rate_bps: int
    per_switch: int


class Reader:
    """Reads the parameters of one builder and notes everything wrong with them before it raises."""

    def __init__(self) -> None:
        self._problems = Problems()
        self._read: dict[str, ParameterValue] = {}

    def count(self, name: str, value: int, *, low: int = 1, high: int = MAX_ENDPOINTS) -> int:
        """A whole number within limits; the lower limit stands in for a bad one."""
        self._read[name] = value
        if isinstance(value, bool) or not isinstance(value, int):
            self._problems.add(name, f"{value!r} is no whole number", f"write {low} to {high}")
            return low
        if not low <= value <= high:
            self._problems.add(name, f"{value} is out of range", f"write {low} to {high}")
            return low
        return value

    def rate(self, name: str, value: str) -> int:
        """Bits per second; a rate with no whole byte time is refused."""
        self._read[name] = value
        try:
            rate_bps = parse_rate(_text(value, "400Gbps"))
            byte_time_ps(rate_bps)
        except SpecError as error:
            self._problems.add(name, str(error), error.remedy)
            return 400 * _GBPS
        return rate_bps

    def cable(
        self,
        medium: str,
        length: str,
        rate_bps: int,
        lanes: int | str = AUTO,
        fec: str = AUTO,
        ber: str = AUTO,
        *,
        prefix: str = "",
    ) -> Cable:
        """A cable of a known medium that reaches; `prefix` leads to the names of its parameters."""
        given = {"medium": medium, "length": length, "lanes": lanes, "fec": fec, "ber": ber}
        self._read |= {f"{prefix}{name}": value for name, value in given.items()}
        before = len(self._problems)
        cable = Cable(
            rate_bps=rate_bps,
            medium=self._parsed(f"{prefix}medium", lambda: _text(medium, "dac"), "dac"),
            length_mm=self._parsed(f"{prefix}length", lambda: parse_length(_text(length, "3m")), 0),
            lanes=self._parsed(f"{prefix}lanes", lambda: _lanes(lanes), 0),
            fec=self._parsed(f"{prefix}fec", lambda: _fec(fec), AUTO),
            ber_e18=self._parsed(f"{prefix}ber", lambda: _ber(ber), None),
        )
        if len(self._problems) == before:
            for found in cable.problems():
                self._problems.add(f"{prefix}{found.path}", found.problem, found.remedy)
        return cable

    def impairments(self, faults: str, reorder: str, reorder_delay: str, duplicate: str) -> Impairments:
        """What the links do to frames; which links the faults are of is known when all are laid."""
        self._read |= {
            "faults": faults,
            "reorder": reorder,
            "reorder_delay": reorder_delay,
            "duplicate": duplicate,
        }
        return Impairments(
            faults=self._parsed("faults", lambda: parse_faults(_text(faults, FAULTS_EXAMPLE)), ()),
            reorder_e18=self._parsed("reorder", lambda: parse_ratio(str(reorder)), 0),
            reorder_delay_ps=self._parsed("reorder_delay", lambda: _delay(reorder_delay), None),
            duplicate_e18=self._parsed("duplicate", lambda: parse_ratio(str(duplicate)), 0),
        )

    def _parsed(self, name: str, parse: Callable[[], T], fallback: T) -> T:
        """What a parameter says; the fallback stands in for one that cannot be read."""
        try:
            return parse()
        except SpecError as error:
            self._problems.add(name, str(error), error.remedy)
            return fallback

    def uplinks(
        self, *, down_bps: int, switches: int, rate: str, per_switch: int, oversubscription: int, prefix: str
    ) -> Uplinks:
        """Uplinks that carry what comes from below, or a stated fraction of it.

        `auto` takes the slowest standard rate that does, and 0 as many parallel links as that takes.
        """
        ratio = self.count("oversubscription", oversubscription, high=1_000)
        fixed = self.count(f"{prefix}links", per_switch, low=0, high=1_000)
        self._read[f"{prefix}rate"] = rate
        if rate != AUTO and fixed and ratio != 1:
            self._problems.add(
                "oversubscription",
                f"{prefix}rate and {prefix}links already fix it",
                "leave out one of the three",
            )
        needed_bps = -(-down_bps // (switches * ratio))
        if rate != AUTO:
            rate_bps = self.rate(f"{prefix}rate", rate)
        else:
            share_bps = -(-needed_bps // max(fixed, 1))
            rate_bps = next((r for r in STANDARD_RATES_BPS if r >= share_bps), STANDARD_RATES_BPS[-1])
        return Uplinks(rate_bps=rate_bps, per_switch=fixed or max(1, -(-needed_bps // rate_bps)))

    def limit(self, what: str, number: int, most: int) -> None:
        """Refuse a product of parameters that no machine holds."""
        if number > most:
            self._problems.add(what, f"{number:,} is more than {most:,}", "use smaller parameters")

    def refuse(self, name: str, problem: str, remedy: str) -> None:
        """Note a problem that only the builder can see."""
        self._problems.add(name, problem, remedy)

    def done(self) -> Parameters:
        """All parameters as they were given; raises if anything was wrong."""
        self._problems.raise_if_any()
        return Parameters(self._read)


class Wiring:
    """Joins nodes and numbers their ports: 0 on an endpoint, from 1 upward on a switch."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self._endpoints = frozenset(endpoint.name for endpoint in endpoints)
        self._used: Counter[str] = Counter()
        self._links: list[Link] = []

    def join(self, a: str, b: str, cable: Cable, *, times: int = 1) -> None:
        """Lay `times` parallel cables between two nodes."""
        for _ in range(times):
            self._links.append(
                Link(
                    a=a,
                    a_port=self._next_port(a),
                    b=b,
                    b_port=self._next_port(b),
                    rate_bps=cable.rate_bps,
                    medium=cable.medium,
                    length_mm=cable.length_mm,
                    lanes=cable.lanes,
                    fec=cable.fec,
                    ber_e18=cable.ber_e18,
                )
            )

    def mesh(self, lower: Iterable[Switch], upper: Sequence[Switch], cable: Cable, *, times: int) -> None:
        """Join every switch of one tier to every one of the next."""
        for low in lower:
            for high in upper:
                self.join(low.name, high.name, cable, times=times)

    def links(self) -> tuple[Link, ...]:
        """Everything laid so far."""
        return tuple(self._links)

    def _next_port(self, name: str) -> int:
        """The next free port of a node."""
        if name in self._endpoints:
            return 0
        self._used[name] += 1
        return self._used[name]


def single_cards(number: int) -> tuple[Endpoint, ...]:
    """Cards c1 to cN, each in a server of its own."""
    return tuple(Endpoint(name=f"c{i}", server=f"h{i}") for i in range(1, number + 1))


def tier_of(letter: str, number: int, tier: int) -> tuple[Switch, ...]:
    """Switches l1 to lN, or of another letter, of one tier."""
    return tuple(Switch(name=f"{letter}{i}", tier=tier) for i in range(1, number + 1))


def fabric(
    topology: str,
    parameters: Parameters,
    endpoints: tuple[Endpoint, ...],
    switches: tuple[Switch, ...],
    wiring: Wiring,
    impairments: Impairments = SOUND,
) -> Fabric:
    """The finished fabric, with what its links do to frames."""
    return Fabric(
        topology=topology,
        parameters=parameters,
        endpoints=endpoints,
        switches=switches,
        links=with_impairments(wiring.links(), impairments),
    )


def _text(value: str, example: str) -> str:
    """Text from a parameter that should be one; a bare number has no unit."""
    if not isinstance(value, str):
        raise SpecError(f"{value!r} is no text", remedy=f"write e.g. '{example}'")
    return value


def _lanes(value: int | str) -> int:
    """How many lanes; 0 for `auto`. A number may come as text."""
    if value == AUTO:
        return 0
    text = str(value)
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 2 and 1 <= int(text) <= MAX_LANES):
        raise SpecError(f"{value!r} is no number of lanes", remedy=f"write 'auto', or 1 to {MAX_LANES}")
    return int(text)


def _fec(value: str) -> FecChoice:
    """One of the codes."""
    known: tuple[FecChoice, ...] = get_args(FecChoice)
    for choice in known:
        if value == choice:
            return choice
    raise unknown_name("FEC", str(value), known)


def _delay(value: str) -> int | None:
    """Picoseconds; None for `auto`."""
    if value == AUTO:
        return None
    delay_ps = parse_time(_text(value, "2us"))
    if not 1 <= delay_ps <= MAX_REORDER_DELAY_PS:
        longest = format_time(MAX_REORDER_DELAY_PS)
        raise SpecError(
            f"frames cannot be held up for '{value}'", remedy=f"write 'auto', or 1ps to {longest}"
        )
    return delay_ps


def _ber(value: str) -> int | None:
    """Parts in 10^18; None for `auto`."""
    return None if value == AUTO else parse_ratio(str(value))
