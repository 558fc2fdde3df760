"""What there is to say of a counter: where it belongs, its unit, and its names elsewhere. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from testbed.spec.fabric import interface_name

Names = Literal["own", "sai", "if-mib", "ethtool"]
NAMINGS: tuple[str, ...] = get_args(Names)


class Level(StrEnum):
    """What a counter belongs to."""

    SWITCH = "switch"
    PORT = "port"
    PFC = "class of a port"
    QUEUE = "queue"
    GROUP = "priority group"
    NIC = "nic"
    NODE = "switch or nic"


@dataclass(frozen=True, slots=True)
class Meaning:
    """One counter."""

    level: Level
    name: str
    unit: str
    """`octets`, `packets`, `bytes`, `ps`, `messages` or `events`."""
    what: str
    sai: str = ""
    if_mib: str = ""
    ethtool: str = ""
    differs: str = ""
    gauge: bool = False
    """A level or a highest level: it is read as it is, not as a rate."""
    sampled: bool = False
    """Whether it is in a cell's series."""

    def named(self, names: Names, traffic_class: int | None = None) -> str:
        """Its name there, the class filled in; empty if there is none."""
        name = {"own": self.name, "sai": self.sai, "if-mib": self.if_mib, "ethtool": self.ethtool}[names]
        return name if traffic_class is None else name.format(c=traffic_class)


@dataclass(frozen=True, slots=True)
class Place:
    """Where at a node a counter stands: a port, and a class of it; None where it has none."""

    port: int | None = None
    traffic_class: int | None = None

    def at(self, node: str) -> str:
        """`l1`, `l1-eth3`, `l1-eth3.c1`."""
        place = node if self.port is None else interface_name(node, self.port)
        return place + ("" if self.traffic_class is None else f".c{self.traffic_class}")
