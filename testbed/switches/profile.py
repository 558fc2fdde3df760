"""The shape of a commodity-switch profile. Knows no product by name; the behaviour is in C++ beside it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from testbed.errors import SpecError
from testbed.spec.sourced import Sourced
from testbed.units import format_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchProfile:
    """One product: what it has, and what it costs in time and memory."""

    name: str
    description: str
    port_rates_bps: tuple[int, ...]
    """The rates its ports are modelled at, fastest first; empty: any rate."""
    ports: Sourced
    """How many ports it has at its fastest rate."""
    capacity: Sourced
    """What its ports may add up to, in bit/s, one way."""
    max_ports: Sourced
    """How many ports it can have at any rate."""
    pipeline_latency: Sourced
    """First bit in to first bit out of an idle switch in cut-through, in ps."""
    cut_through: bool
    """Whether it starts to send before the last bit is in, where speeds and an idle egress allow it."""
    buffer_bytes: Sourced
    """The shared packet buffer."""
    cell_bytes: Sourced
    """The unit in which the buffer is taken."""
    alpha_log2: Sourced
    """Dynamic threshold: a queue may take 2^alpha_log2 times the free buffer."""
    reserved_bytes: Sourced
    """What each queue has for its own."""

    def check_ports(self, rates_bps: Iterable[int]) -> None:
        """Refuse a set of ports that this switch does not have."""
        rates = tuple(rates_bps)
        for rate in sorted(set(rates)):
            self._check_rate(rate)
        if len(rates) > self.max_ports.number:
            raise SpecError(
                f"{len(rates)} ports, {self.name} has {self.max_ports.number} at most",
                remedy="use fewer links per switch, or more switches",
            )
        if sum(rates) > self.capacity.number:
            raise SpecError(
                f"{len(rates)} ports of {format_rate(sum(rates))} in all, {self.name} has"
                f" {format_rate(self.capacity.number)}",
                remedy="use fewer or slower links per switch, or more switches",
            )

    def _check_rate(self, rate_bps: int) -> None:
        """Refuse a rate that no port of this switch runs at."""
        if self.port_rates_bps and rate_bps not in self.port_rates_bps:
            known = [format_rate(rate) for rate in self.port_rates_bps]
            near = format_rate(min(self.port_rates_bps, key=lambda known_bps: abs(known_bps - rate_bps)))
            raise SpecError(
                f"{self.name} has no ports of {format_rate(rate_bps)}; it has {', '.join(known)}",
                remedy=f"use e.g. {near}, or the switch 'ideal'",
            )
