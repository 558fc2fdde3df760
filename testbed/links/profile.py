"""The shape of a medium profile, and the arithmetic on it. Knows no medium by name.

Latency of a link, one way, from the first bit out of one MAC to the first bit into the other:
propagation + FEC + modules at both ends. Serialisation is the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.errors import SpecError
from testbed.spec.sourced import Sourced
from testbed.units import PS_PER_S, format_length, format_rate

MAX_LANES = 8
"""QSFP-DD and OSFP have eight lanes each way."""
_LANE_OF_RATE: tuple[tuple[int, int], ...] = (
    (10 * 10**9, 10 * 10**9),
    (25 * 10**9, 25 * 10**9),
    (400 * 10**9, 50 * 10**9),
    (800 * 10**9, 100 * 10**9),
    (1600 * 10**9, 200 * 10**9),
)
"""Up to this rate: lanes of that rate, so 400 Gb/s is 8 x 50G PAM4 and 800 Gb/s is 8 x 100G PAM4."""


def lane_bps(rate_bps: int) -> int:
    """The lane rate that a link of this rate is modelled with."""
    for limit_bps, lane in _LANE_OF_RATE:
        if rate_bps <= limit_bps:
            return lane
    fastest_bps = _LANE_OF_RATE[-1][0]
    raise SpecError(
        f"no medium carries {format_rate(rate_bps)}",
        remedy=f"use at most {format_rate(fastest_bps)} per link",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fec:
    """Reed-Solomon forward error correction: a codeword must be in before it can be corrected."""

    payload_bits: Sourced
    """MAC bits that one codeword carries."""
    fixed: Sourced
    """Encoding, correction and the rest, in ps."""
    none_up_to_bps: Sourced
    """Links up to this rate run without."""

    def latency_ps(self, rate_bps: int) -> int:
        """What FEC adds to a link, one way."""
        if rate_bps <= self.none_up_to_bps.number:
            return 0
        bits = self.payload_bits.number * interleaved_codewords(rate_bps)
        return bits * PS_PER_S // rate_bps + self.fixed.number


def interleaved_codewords(rate_bps: int) -> int:
    """How many codewords the PCS interleaves: 1 to 100G, 2 to 400G, 4 above [IEEE 802.3 cl. 91, 119, 172]."""
    if rate_bps <= 100 * 10**9:
        return 1
    return 2 if rate_bps <= 400 * 10**9 else 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How far a medium goes at one lane rate."""

    lane_bps: int
    max_length: Sourced
    """In mm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Medium:
    """One kind of cable, with what it costs in time."""

    name: str
    description: str
    propagation: Sourced
    """In ps per m."""
    module: Sourced
    """What the module at each end adds, in ps."""
    fec: Fec
    reaches: tuple[Reach, ...]
    """By lane rate; a rate that is missing does not exist."""

    def max_length_mm(self, rate_bps: int) -> int:
        """The longest cable of this kind for a link of this rate."""
        lane = lane_bps(rate_bps)
        for reach in self.reaches:
            if reach.lane_bps == lane:
                return reach.max_length.number
        raise SpecError(
            f"{self.name} does not exist for {format_rate(rate_bps)} ({format_rate(lane)} lanes)",
            remedy="use another medium",
        )

    def check(self, length_mm: int, rate_bps: int) -> None:
        """Refuse a cable that is longer than its kind can be."""
        longest_mm = self.max_length_mm(rate_bps)
        if length_mm > longest_mm:
            lanes = f"{format_rate(rate_bps)} ({format_rate(lane_bps(rate_bps))} lanes)"
            raise SpecError(
                f"{format_length(length_mm)} of {self.name} is too long: at {lanes} it reaches"
                f" {format_length(longest_mm)}",
                remedy=f"use at most {format_length(longest_mm)}, or a medium that reaches further",
            )

    def latency_ps(self, length_mm: int, rate_bps: int) -> int:
        """The whole one-way latency of a link; a cable that cannot exist is refused."""
        self.check(length_mm, rate_bps)
        propagation_ps = (length_mm * self.propagation.number + 500) // 1000
        return propagation_ps + self.fec.latency_ps(rate_bps) + 2 * self.module.number
