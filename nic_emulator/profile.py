"""The shape of a NIC profile: stages with sources, wire format, reliability. Knows no NIC by name and no engine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from testbed.spec.sourced import Sourced

Place: TypeAlias = Literal["post", "send", "ingress", "receive", "notify"]
"""Where a stage stands: before the NIC has the work, memory to wire, wire to NIC, NIC to memory, telling the peer."""


def const(value: int, unit: str, mark: str, source: str) -> Sourced:
    """A sourced number."""
    return Sourced(value, unit, mark, source)  # type: ignore[arg-type]  # Sourced checks the mark


NOTHING_PS = Sourced(0, "ps", "V", "none")
EVERY_GAP_IS_A_LOSS = Sourced(0, "packets", "V", "by definition of an in-order transport")
NOTHING_PS_PER_KIB = Sourced(0, "ps/KiB", "V", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A FIFO server: an item holds it for its occupancy and leaves its latency (and jitter) later."""

    name: str
    place: Place
    latency: Sourced
    """Constant part, in ps."""
    occupancy: Sourced = NOTHING_PS
    """How long an item holds the stage, in ps."""
    occupancy_per_kib: Sourced = NOTHING_PS_PER_KIB
    """And for each 1024 bytes of it, in ps; the item moves on when it is whole."""
    jitter: tuple[tuple[Sourced, Sourced], ...] = ()
    """Quantile table added to the latency: (cumulative probability in ppm, ps)."""
    stall_interval: Sourced = NOTHING_PS
    """Mean time between stalls, in ps; 0 for none. Stalls are a property of the server, not of the item."""
    stall: tuple[tuple[Sourced, Sourced], ...] = ()
    """Quantile table of a stall's length: (cumulative probability in ppm, ps)."""
    software: bool = False
    """Whether host software runs here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicProfile:
    """One NIC in front of one card, as the models take it."""

    name: str
    description: str
    initiator: Literal["device", "host"]
    wire_format: Literal["thin", "rocev2"]
    reliability: Literal["selective", "go_back_n"]
    stages: tuple[Stage, ...]
    mtu_bytes: Sourced
    """Payload of a full packet."""
    first_header_bytes: Sourced
    """Ethernet header to FCS around the payload of a message's first packet."""
    other_header_bytes: Sourced
    ack_bytes: Sourced
    """A whole acknowledgement frame, FCS included."""
    data_class: Sourced
    """802.1Q priority of data."""
    ack_class: Sourced
    """802.1Q priority of acknowledgements."""
    window_pkts: Sourced
    """Packets that a stream may have in flight: the receiver's credits, or the sender's limit."""
    ack_every_pkts: Sourced
    tx_depth_pkts: Sourced
    """Packets between scheduler and wire."""
    ack_latency: Sourced
    """From the packet that causes an acknowledgement to its way to the port, in ps."""
    retransmission_timeout: Sourced
    retry_limit: Sourced
    reorder_window_pkts: Sourced = EVERY_GAP_IS_A_LOSS
    """How far behind a gap a packet must be for it to be a loss, where switches do not keep the order of a flow."""
    notes: tuple[str, ...] = field(default_factory=tuple)

    def at(self, place: Place) -> tuple[Stage, ...]:
        """The stages of one place, in order."""
        return tuple(stage for stage in self.stages if stage.place == place)
