"""The shape of a commodity-switch profile. Knows no product by name; the behaviour is in C++ beside it.

What a run uses of a profile depends on what it switches on: see `testbed.switches.setup`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from testbed.errors import SpecError
from testbed.spec.sourced import Sourced
from testbed.units import format_length, format_rate

NO_THRESHOLD = 127
"""An `alpha_log2` that stands for no dynamic threshold at all."""
CLASSES = 8
"""Traffic classes of a port [IEEE 802.1Q]."""

Model: TypeAlias = Literal["shared", "voq"]
"""One shared buffer; or a deep buffer with a virtual output queue per egress port, scheduled by credits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Buffer:
    """The packet memory, and who may take how much of it."""

    pool: Sourced
    """All of it, in bytes; with lossless classes, queues share what the headroom pool leaves."""
    cell: Sourced
    """The unit in which it is taken, in bytes."""
    reserved: Sourced
    """What each queue has for its own, in bytes."""
    alpha_log2: Sourced
    """Dynamic threshold of a lossy queue: it may take 2^alpha_log2 times the free buffer."""
    ingress_alpha_log2: Sourced
    """Dynamic threshold of a lossy priority group, likewise; 127: none."""
    group_reserved: Sourced
    """What each priority group has for its own, in bytes."""
    headroom_pool: Sourced
    """What all lossless priority groups together may take beyond their thresholds, in bytes; 0: all of theirs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """How long a port of one rate may take to stop after a pause frame."""

    rate_bps: int
    quanta: Sourced
    """In pause quanta of 512 bit times."""

    @property
    def label(self) -> str:
        """The rate as text."""
        return format_rate(self.rate_bps)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedHeadroom:
    """The headroom that a software image configures for one kind of port."""

    rate_bps: int
    length_mm: int
    """The longest cable it is for."""
    headroom: Sourced
    """Of one lossless priority group, in bytes."""

    @property
    def label(self) -> str:
        """Rate and length as text."""
        return f"{format_rate(self.rate_bps)}, {format_length(self.length_mm)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pfc:
    """Priority flow control [IEEE 802.1Qbb]; used only where an experiment asks for lossless classes."""

    classes: Sourced
    """The classes that are lossless by default."""
    alpha_log2: Sourced
    """Dynamic threshold of a lossless priority group; beyond it the switch pauses its neighbour."""
    xon_offset: Sourced
    """How far below the threshold a group must fall before its neighbour may go on, in bytes."""
    pause_quanta: Sourced
    """What a pause frame asks for."""
    generation: Sourced
    """From the decision to pause to the frame being ready, in ps."""
    response: tuple[Response, ...]
    """How fast a paused port stops, slowest rate first."""
    shipped: tuple[ShippedHeadroom, ...] = ()
    """Published headroom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ecn:
    """Default marking curve: none below `kmin`, `pmax` at `kmax`, all above."""

    kmin: Sourced
    """In bytes."""
    kmax: Sourced
    """In bytes."""
    pmax: Sourced
    """In ppm."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduling:
    """Deficit weighted round robin as shipped."""

    weights: Sourced
    """Of the eight classes."""
    quantum: Sourced
    """Bytes per round and unit of weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """What load-aware path choice works with."""

    flowlet_entries: Sourced
    """Size of the flowlet table, a power of two."""
    load_quantum: Sourced
    """Queue depths that differ by less look the same, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSizes:
    """What its forwarding tables have room for."""

    mac_entries: Sourced
    """Rules for a destination."""
    acl_entries: Sourced
    """Rules that look at the port a frame came in by, too."""
    groups: Sourced
    group_members: Sourced
    """Ports in all groups; one with a weight counts as many times."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What links do beside carrying frames, where an experiment asks for it."""

    llr_latency: Sourced
    """What one replay costs besides the wire and the round trip, in ps."""
    cbfc_credit: Sourced
    """What a port grants each class of its neighbour, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Voq:
    """Virtual output queues and the credits that drain them."""

    limit: Sourced
    """What one queue may hold, as time at its port's rate, in ps."""
    credit: Sourced
    """Bytes that one credit lets through."""
    credit_latency: Sourced
    """Request to grant, in ps."""
    fabric_latency: Sourced
    """Ingress to egress, in ps."""
    egress_buffer: Sourced
    """What may wait at an egress port, in bytes."""
    credit_speedup: Sourced
    """Rate of credits over rate of the port, in permille."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """What the product can do: 1 or 0, each with its source."""

    cut_through: Sourced
    """Starts to send before the last bit is in, where speeds and an idle egress allow it."""
    pfc: Sourced
    ecn: Sourced
    dlb: Sourced
    """Flowlets, and the least loaded port for each."""
    per_packet: Sourced
    """Each packet by its own path: sprayed, in turn, or to the least loaded port."""
    trimming: Sourced
    telemetry: Sourced
    """In-band telemetry: a stack of per-hop metadata in the packet."""
    llr: Sourced
    """Link-level retry."""
    cbfc: Sourced
    """Credit-based flow control."""


FEATURE_WORDS: Mapping[str, str] = {
    "cut_through": "cut-through",
    "pfc": "priority flow control",
    "ecn": "ECN",
    "dlb": "flowlets and load-aware paths",
    "per_packet": "path choice per packet",
    "trimming": "packet trimming",
    "telemetry": "in-band telemetry",
    "llr": "link-level retry",
    "cbfc": "credit-based flow control",
}
"""The features in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchProfile:
    """One product: what it has, and what it costs in time and memory."""

    name: str
    description: str
    model: Model = "shared"
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
    buffer: Buffer
    pfc: Pfc
    ecn: Ecn
    scheduling: Scheduling
    paths: Paths
    tables: TableSizes
    links: Links
    features: Features
    voq: Voq | None = None
    """Of the model `voq` only."""

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
