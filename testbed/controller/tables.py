"""What a switch's OpenFlow 1.3 tables hold, as plain values. Pure.

`rules.py` computes them, Ryu installs them, `mirror.py` reads them back and `asic.py` loads them into the switch's
model. Equal tables compare equal, whatever the order they were made in.

Table 0 gives a frame its class, table 1 its port. Ports are numbered as in the fabric (from 1 on a switch).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

CLASS_TABLE = 0
FORWARDING_TABLE = 1
CPU_PORT = 0xFFFF_FFFD
"""OFPP_CONTROLLER [OpenFlow 1.3.5, 7.2.1]."""

GroupKind: TypeAlias = Literal["select", "fast_failover"]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Match:
    """The fields that a rule looks at; None: any."""

    in_port: int | None = None
    eth_dst: str | None = None
    """As `02:54:4e:00:00:01`."""
    eth_src: str | None = None
    eth_type: int | None = None
    vlan_vid: int | None = None
    """12 bits, without OpenFlow's bit for "a tag is there"."""
    vlan_pcp: int | None = None
    """Given: a tag is there."""
    ip_dscp: int | None = None
    other: tuple[str, ...] = ()
    """Fields that no switch here knows, as `ovs-ofctl` writes them; a rule that has any is refused by `asic.py`."""

    def key(self) -> tuple[object, ...]:
        """Orders matches of which some fields are None: these first."""
        return (
            -1 if self.in_port is None else self.in_port,
            self.eth_dst or "",
            self.eth_src or "",
            -1 if self.eth_type is None else self.eth_type,
            -1 if self.vlan_vid is None else self.vlan_vid,
            -1 if self.vlan_pcp is None else self.vlan_pcp,
            -1 if self.ip_dscp is None else self.ip_dscp,
            self.other,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """One rule. With no output, no group and no further table it drops."""

    table: int
    priority: int
    match: Match = Match()
    output: int | None = None
    """A port, or CPU_PORT."""
    group: int | None = None
    queue: int | None = None
    """The class that it gives (set_queue)."""
    goto: int | None = None
    other: tuple[str, ...] = ()
    """Actions that no switch here knows."""

    def key(self) -> tuple[int, int, tuple[object, ...]]:
        """By table, then the highest priority first."""
        return (self.table, -self.priority, self.match.key())


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Bucket:
    """One way out of a group."""

    port: int
    weight: int = 1
    """Of a select group."""
    watched: bool = False
    """It counts only while its port is up (watch_port); always so in a fast-failover group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Several ways out: `select` is the switch's own choice, `fast_failover` the first that is up."""

    number: int
    kind: GroupKind
    buckets: tuple[Bucket, ...]
    """Ascending by port in a select group; by preference in a fast-failover group."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchTables:
    """Everything of one switch."""

    flows: tuple[Flow, ...] = ()
    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "flows", tuple(sorted(self.flows, key=Flow.key)))
        object.__setattr__(self, "groups", tuple(sorted(self.groups, key=lambda group: group.number)))


Tables: TypeAlias = Mapping[str, SwitchTables]
"""By switch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Programme:
    """What switches begin with, and what becomes of it."""

    first: Tables
    updates: tuple[TableUpdate, ...] = ()
    """In order of time."""
    packet_outs: tuple[PacketOut, ...] = ()
    """Likewise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableUpdate:
    """From a time on a switch has these tables in place of those before."""

    time_ps: int
    switch: str
    tables: SwitchTables


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketOut:
    """The controller, or the bridge by a rule, lets a switch send a frame that had gone to its CPU."""

    time_ps: int
    switch: str
    port: int
    frame: bytes
    """As it came to the CPU, the emulation's trailer included."""
