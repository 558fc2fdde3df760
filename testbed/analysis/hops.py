"""The way of traced packets through the fabric: hops as the engine keeps them, joined to copies of packets. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from testbed.errors import MeasurementError, SpecError

HOP_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("arrived_ps", "<u8"),  # ready for the egress port
        ("started_ps", "<u8"),  # first bit out, or dropped
        ("paused_ps", "<u8"),  # of the time between: its class was stopped
        ("ahead_bytes", "<u8"),  # queued before it on arrival, in its class or a higher one
        ("ahead_flow_bytes", "<u4"),  # of which the largest flow had
        ("psn", "<u4"),
        ("entity", "<u4"),
        ("port", "<u2"),
        ("src", "<u2"),
        ("dst", "<u2"),
        ("ahead_src", "<u2"),  # that flow
        ("ahead_dst", "<u2"),
        ("traffic_class", "u1"),
        ("outcome", "u1"),
    ]
)
"""Layout of `HopSample` in testbed/engine/telemetry.hpp."""
PSN_MASK = (1 << 24) - 1
CARD_TIER = -1
_UNLOADED = ("pipeline_latency_ps", "credit_latency_ps", "fabric_latency_ps")
"""What every frame takes in a node; the last two in a switch with virtual output queues."""

Flow = tuple[int, int]
"""Source and destination, as entity numbers."""


class Outcome(IntEnum):
    """How a packet left a node."""

    AT_ONCE = 0
    WAITED = 1
    DROPPED = 2
    TRIMMED = 3


class Hop(NamedTuple):
    """A `HOP_DTYPE` as plain numbers."""

    arrived_ps: int
    started_ps: int
    paused_ps: int
    ahead_bytes: int
    ahead_flow_bytes: int
    psn: int
    entity: int
    port: int
    src: int
    dst: int
    ahead_src: int
    ahead_dst: int
    traffic_class: int
    outcome: int

    @property
    def wait_ps(self) -> int:
        """From ready to started."""
        return self.started_ps - self.arrived_ps

    @property
    def behind(self) -> Flow | None:
        """The flow with the most bytes ahead; None if only a frame on its way out was, and at a card."""
        return (self.ahead_src, self.ahead_dst) if self.ahead_flow_bytes else None


class Wire(NamedTuple):
    """The link behind an egress port."""

    peer: int
    latency_ps: int
    byte_time_ps: int
    lossy: bool
    """Whether frames can vanish on it for good."""
    retries: bool
    """Whether it sends a broken frame again by itself (LLR)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What of a plan decides how long a packet takes where nothing waits."""

    names: tuple[str, ...]
    wires: Mapping[tuple[int, int], Wire]
    """By entity and port."""
    nodes: tuple[Mapping[str, Any], ...]
    """The plan's nodes, by entity."""
    tiers: Mapping[int, int]
    """By entity, as `tiers_of_plan` counts them."""
    cards_per_nic: int = 1
    """The ends of flows are cards; those behind a NIC have consecutive numbers."""

    def nic_of(self, card: int) -> int:
        """The entity that a card is behind."""
        return card // self.cards_per_nic

    def card_name(self, card: int) -> str:
        """`c4`, or `c4.2` for the second of several cards."""
        name = self.names[self.nic_of(card)]
        return name if self.cards_per_nic == 1 else f"{name}.{card % self.cards_per_nic + 1}"

    def pipeline_ps(self, entity: int) -> int:
        """From the first bit (of a store-and-forward switch: the last) to the frame ready for its egress."""
        return sum(int(self.nodes[entity]["config"].get(name, 0)) for name in _UNLOADED)

    def stores(self, entity: int, wire: Wire, egress: Wire) -> bool:
        """Whether a node takes a frame in as a whole before it can leave: always, or since it leaves faster."""
        node = self.nodes[entity]
        cut_through = bool(node["config"].get("cut_through", node["kind"] != "voq_switch"))
        return not cut_through or egress.byte_time_ps < wire.byte_time_ps

    def port_name(self, entity: int, port: int) -> str:
        """`l2 port 3 → c7`; a card has one port, so it has no number."""
        number = "" if self.nodes[entity]["kind"] == "nic" else f" port {port}"
        return f"{self.names[entity]}{number} → {self.names[self.wires[entity, port].peer]}"

    def flow_name(self, flow: Flow) -> str:
        """`c4 → c7`."""
        return f"{self.card_name(flow[0])} → {self.card_name(flow[1])}"


def network_of(plan: Mapping[str, Any]) -> Network:
    """The network of the engine's plan data."""
    wires = {}
    for a, a_port, b, b_port, byte_time_ps, latency_ps, *more in plan["links"]:
        features = more[0] if more else {}
        if features.get("reorder_2p64") or features.get("duplicate_2p64"):
            raise SpecError(
                "packets cannot be followed over links that reorder or duplicate frames",
                remedy="ask for the tail of a run without topology.reorder and topology.duplicate",
            )
        if features.get("slow"):
            raise SpecError(
                "packets cannot be followed over links that are slow for a while",
                remedy="ask for the tail of a run without slow links",
            )
        lossy, retries = _loses(features)
        wires[a, a_port] = Wire(b, latency_ps, byte_time_ps, lossy, retries)
        wires[b, b_port] = Wire(a, latency_ps, byte_time_ps, lossy, retries)
    if any(node["kind"] == "nic" and node["config"].get("restarts") for node in plan["nodes"]):
        raise SpecError(
            "packets cannot be followed through NICs that restart",
            remedy="ask for the tail of a run without restarts of NICs or cards",
        )
    names = tuple(node["name"] for node in plan["nodes"])
    return Network(
        names=names,
        wires=wires,
        nodes=tuple(plan["nodes"]),
        tiers=tiers_of_plan(plan),
        cards_per_nic=cards_per_nic(plan),
    )


def cards_per_nic(plan: Mapping[str, Any]) -> int:
    """How many cards each NIC of a plan has."""
    return next((int(node["config"].get("cards", 1)) for node in plan["nodes"] if node["kind"] == "nic"), 1)


def tiers_of_plan(plan: Mapping[str, Any]) -> dict[int, int]:
    """By entity, how many links from the nearest card, less one: cards -1, leaves 0."""
    neighbours: dict[int, list[int]] = {entity: [] for entity in range(len(plan["nodes"]))}
    for a, _, b, *_ in plan["links"]:
        neighbours[a].append(b)
        neighbours[b].append(a)
    tiers = {entity: CARD_TIER for entity, node in enumerate(plan["nodes"]) if node["kind"] == "nic"}
    queue = deque(tiers)
    while queue:
        entity = queue.popleft()
        for neighbour in neighbours[entity]:
            if neighbour not in tiers:
                tiers[neighbour] = tiers[entity] + 1
                queue.append(neighbour)
    return tiers


def _loses(link: Mapping[str, Any]) -> tuple[bool, bool]:
    """Whether a link loses frames for good, and whether it sends them again by itself."""
    retries = bool(link.get("llr"))
    errors = bool(link.get("loss_base_2p64") or link.get("loss_per_byte_2p64"))
    return bool(link.get("faults")) or (errors and not retries), retries


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One time that a packet was sent, as far as it came."""

    hops: tuple[Hop, ...]

    @property
    def lost_at(self) -> Hop | None:
        """Where a switch dropped or trimmed it."""
        return next((hop for hop in self.hops if hop.outcome in (Outcome.DROPPED, Outcome.TRIMMED)), None)


def copies_of(hops: Sequence[Hop], network: Network) -> list[Copy]:
    """All hops of one packet as copies of it, in the order in which the sender sent them."""
    under_way: list[list[Hop]] = []
    for hop in sorted(hops):
        if hop.entity == network.nic_of(hop.src):
            under_way.append([hop])
            continue
        from_here = [copy for copy in under_way if _leads_to(copy[-1], hop, network)]
        if not from_here:
            raise trace_error(
                f"packet {hop.psn} of {network.flow_name((hop.src, hop.dst))} was at a switch it was never sent to"
            )
        min(from_here, key=lambda copy: abs(_late_ps(copy[-1], hop, network))).append(hop)
    return [Copy(hops=tuple(copy)) for copy in under_way]


def _leads_to(hop: Hop, to: Hop, network: Network) -> bool:
    """Whether a packet can have come from one hop to another."""
    wire = network.wires[hop.entity, hop.port]
    sent = hop.outcome != Outcome.DROPPED
    return sent and wire.peer == to.entity and hop.started_ps + wire.latency_ps <= to.arrived_ps


def _late_ps(hop: Hop, to: Hop, network: Network) -> int:
    """By how much a packet took longer from one hop to another than wire and pipeline do."""
    wire = network.wires[hop.entity, hop.port]
    return to.arrived_ps - hop.started_ps - wire.latency_ps - network.pipeline_ps(to.entity)


def hops_by_packet(samples: npt.NDArray[np.void]) -> dict[tuple[int, int, int], list[Hop]]:
    """The samples of each packet, by (src, dst, psn)."""
    found: defaultdict[tuple[int, int, int], list[Hop]] = defaultdict(list)
    for row in samples.tolist():
        hop = Hop(*row)
        found[hop.src, hop.dst, hop.psn].append(hop)
    return dict(found)


def trace_error(what: str) -> MeasurementError:
    """A trace that cannot be true."""
    return MeasurementError(what, remedy="the trace is at fault; please report the spec of this result")
