"""The shape of a medium profile, and the arithmetic on it. Knows no medium by name.

Latency of a link, one way, from the first bit out of one MAC to the first bit into the other:
propagation + FEC + modules at both ends. Serialisation is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.errors import SpecError
from testbed.links.fec import FECS, Fec, fec_of
from testbed.spec.fabric import FecChoice
from testbed.spec.sourced import Sourced
from testbed.units import format_length, format_rate

_GBPS = 10**9
_LANE_OF_RATE: tuple[tuple[int, int], ...] = (
    (10 * _GBPS, 10 * _GBPS),
    (25 * _GBPS, 25 * _GBPS),
    (400 * _GBPS, 50 * _GBPS),
    (800 * _GBPS, 100 * _GBPS),
    (1600 * _GBPS, 200 * _GBPS),
)
"""Up to this rate: lanes of that rate, so 400 Gb/s is 8 x 50G PAM4 and 800 Gb/s is 8 x 100G PAM4."""
LANE_COUNTS = (1, 2, 4, 8)
LANE_RATES_BPS = tuple(lane for _, lane in _LANE_OF_RATE)


def lane_bps(rate_bps: int, lanes: int = 0) -> int:
    """The lane rate of a link: its rate over its lanes, or the usual one where it states none."""
    if lanes:
        return _stated_lane_bps(rate_bps, lanes)
    for limit_bps, lane in _LANE_OF_RATE:
        if rate_bps <= limit_bps:
            return lane
    fastest_bps = _LANE_OF_RATE[-1][0]
    raise SpecError(
        f"no medium carries {format_rate(rate_bps)}",
        remedy=f"use at most {format_rate(fastest_bps)} per link",
    )


def _stated_lane_bps(rate_bps: int, lanes: int) -> int:
    """The lane rate of a stated number of lanes; one that nobody makes is refused."""
    if lanes not in lane_counts(rate_bps):
        known = ", ".join(map(str, lane_counts(rate_bps))) or "no number of lanes carries it"
        rates = ", ".join(format_rate(lane) for lane in LANE_RATES_BPS)
        raise SpecError(
            f"{format_rate(rate_bps)} does not run over {lanes} lanes; lanes are {rates}",
            remedy=f"write 'auto', or one of: {known}",
        )
    return rate_bps // lanes


def lane_counts(rate_bps: int) -> tuple[int, ...]:
    """How many lanes a link of this rate may have, the slowest lanes first."""
    return tuple(rate_bps // lane for lane in LANE_RATES_BPS if rate_bps in (n * lane for n in LANE_COUNTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a medium does at one lane rate."""

    lane_bps: int
    max_length: Sourced
    """In mm."""
    ber: Sourced
    """Bit error ratio of a healthy cable before correction, in 1e-18."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """One kind of cable, with what it costs in time."""

    name: str
    description: str
    limit: str
    """Why it goes no further."""
    propagation: Sourced
    """In ps per m."""
    module: Sourced
    """What the module at each end adds, in ps."""
    reaches: tuple[Reach, ...]
    """By lane rate; a rate that is missing does not exist."""

    def reach(self, rate_bps: int, lanes: int = 0) -> Reach:
        """The row of a link's lane rate."""
        lane = lane_bps(rate_bps, lanes)
        for reach in self.reaches:
            if reach.lane_bps == lane:
                return reach
        raise SpecError(
            f"{self.name} does not exist for {format_rate(rate_bps)} ({format_rate(lane)} lanes)",
            remedy="use another medium",
        )

    def max_length_mm(self, rate_bps: int, lanes: int = 0) -> int:
        """The longest cable of this kind for a link of this rate."""
        return self.reach(rate_bps, lanes).max_length.number

    def check(self, length_mm: int, rate_bps: int, lanes: int = 0) -> None:
        """Refuse a cable that is longer than its kind can be."""
        longest_mm = self.max_length_mm(rate_bps, lanes)
        if length_mm > longest_mm:
            at = f"{format_rate(rate_bps)} ({format_rate(lane_bps(rate_bps, lanes))} lanes)"
            raise SpecError(
                f"{format_length(length_mm)} of {self.name} is too long: at {at} it reaches"
                f" {format_length(longest_mm)}, as {self.limit}",
                remedy=f"use at most {format_length(longest_mm)}, or a medium that reaches further",
            )

    def latency_ps(self, length_mm: int, rate_bps: int, *, lanes: int = 0, fec: FecChoice = "auto") -> int:
        """The whole one-way latency of a link; a cable that cannot exist is refused."""
        self.check(length_mm, rate_bps, lanes)
        code = fec_of(fec, lane_bps(rate_bps, lanes))
        propagation_ps = (length_mm * self.propagation.number + 500) // 1000
        fec_ps = code.latency_ps(rate_bps) if code else 0
        return propagation_ps + fec_ps + 2 * self.module.number

    def codes(self) -> tuple[Fec, ...]:
        """The codes that its lanes may have."""
        lanes = {reach.lane_bps for reach in self.reaches}
        return tuple(code for code in map(FECS.get, FECS.names()) if lanes & set(code.lanes_bps))
