"""The shape of a NIC profile: stages with sources, wire format, reliability, flow and congestion control.

Knows no NIC by name and no engine. A profile says all that a NIC can do; what of it a run uses is decided by
`nic_emulator.setup`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from testbed.spec.sourced import Sourced

Place: TypeAlias = Literal["post", "send", "ingress", "receive", "notify", "local", "bridge", "signal"]
"""Where a stage stands.

Before the NIC has the work, memory to wire, wire to NIC, NIC to memory, telling the peer; between two cards behind
one NIC, by its PCIe switch or by the bridge that joins two cards; and what a signal takes beside the notice.
"""
PLACES: tuple[Place, ...] = ("post", "send", "ingress", "receive", "notify", "local", "bridge", "signal")

Initiator: TypeAlias = Literal["device", "host"]
"""Whether cards post their own work, or host software does it for them."""
WireName: TypeAlias = Literal[
    "thin", "thin_udp", "rocev2", "tcp", "udp", "uet", "sue", "sue_compressed", "ualink"
]
ENTROPY_FORMATS: frozenset[WireName] = frozenset({"thin_udp", "rocev2", "tcp", "udp", "uet", "sue"})
"""Formats with a field that spreads the packets of one stream over paths."""
OpName: TypeAlias = Literal["put", "put_signal", "send", "get"]
ReliabilityName: TypeAlias = Literal["selective", "go_back_n", "unreliable"]
Table: TypeAlias = tuple[tuple[Sourced, Sourced], ...]
"""A quantile table: (cumulative probability in ppm, ps)."""


def const(value: int, unit: str, mark: str, source: str, span: tuple[int, int] | None = None) -> Sourced:
    """A sourced number, and the span that its source gives or that the engine can do."""
    return Sourced(value, unit, mark, source, span)  # type: ignore[arg-type]  # Sourced checks the mark


NOTHING_PS = Sourced(0, "ps", "V", "none")
ONE_SERVER = Sourced(1, "servers", "V", "none")
EVERY_GAP_IS_A_LOSS = Sourced(0, "packets", "V", "by definition of an in-order transport")
NOTHING_PS_PER_KIB = Sourced(0, "ps/KiB", "V", "none")
TX_DEPTH_BYTES = Sourced(
    65_536, "byte", "assumed", "covers the latency of the send stages at line rate: 400 Gb/s times 1.3 us"
)


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
    jitter: Table = ()
    """Added to the latency."""
    stall_interval: Sourced = NOTHING_PS
    """Mean time between stalls, in ps; 0 for none. Stalls are a property of the server, not of the item."""
    stall: Table = ()
    """A stall's length."""
    coalesce: Sourced = NOTHING_PS
    """Items leave together, at most so long after the first of them came, in ps."""
    wake_after: Sourced = NOTHING_PS
    """A server idle for so long sleeps, in ps; 0: never."""
    wake: Table = ()
    """And how much longer the item takes that wakes it."""
    servers: Sourced = ONE_SERVER
    """How many items may hold it at a time."""
    per_card: bool = False
    """Whether each card has its own; else those behind a NIC share it."""
    software: bool = False
    """Whether host software runs here."""
    reads_payload: bool = False
    """Whether it is there to fetch the payload, which a message posted inline brings with it, and a get has not."""
    when: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Choices of the NIC with which the stage is there; empty: always."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A setting with a few values, of which the first is the default."""

    about: str
    options: Mapping[str, Mapping[str, Any]]
    """The fields of the profile that each value replaces; stages may depend on it, too (`Stage.when`)."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Other choices without which no value but the default makes sense."""

    @property
    def default(self) -> str:
        """Where nothing is set."""
        return next(iter(self.options))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """Small messages to one peer that share a packet."""

    bytes: Sourced
    """Most payload of such a packet; 0: each message has its own."""
    delay: Sourced
    """Longest wait for more, in ps."""
    header: Sourced
    """What each message of a packet has of its own, in bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Payload cut into units with a header each, and packed into flits of one size."""

    unit: Sourced
    """Payload of a unit, in bytes."""
    unit_header: Sourced
    flit: Sourced
    """Bytes of a flit on the wire; 0: none."""
    flit_payload: Sourced
    """Of these, units and their headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receives:
    """Receives that a program posts for messages that need one."""

    depth: Sourced
    """Posted for each stream; 0: as many as it takes."""
    timer: Sourced
    """How long a sender waits when there is none, in ps."""
    retry_limit: Sourced
    """How often; 7: for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NicProfile:
    """One NIC in front of its cards, as the models take it; None where it has no such thing."""

    name: str
    description: str
    initiator: Initiator
    wire_format: WireName
    reliability: ReliabilityName
    ops: tuple[OpName, ...]
    """What a message may ask for."""
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
    tx_depth_bytes: Sourced = TX_DEPTH_BYTES
    """Payload between them: no packet joins it from there on."""
    reorder_window_pkts: Sourced = EVERY_GAP_IS_A_LOSS
    """How far behind a gap a packet must be for it to be a loss, where packets of a flow may overtake each other."""
    expects_reordering: bool = False
    """Whether it holds to that everywhere."""
    nacks: bool = True
    """Whether the receiver tells of gaps; else only time-outs find losses."""
    ordered: bool = False
    """Whether messages complete in the order in which they were posted."""
    avoid_marked: bool = False
    """Whether a path whose packet came back marked is passed over once."""
    single_hop: bool = False
    """Whether it only works where all cards are on one switch."""
    posts_inline: bool = False
    """Whether small messages take their payload along with the work request."""
    max_inline: Sourced | None = None
    """The largest such message, in bytes."""
    paths: Sourced | None = None
    """Entropy values that a stream sprays over; 1: one path."""
    tail_loss_probe: Sourced | None = None
    """Silence after which the last packet is sent again, in ps; 0: none."""
    batching: Batching | None = None
    framing: Framing | None = None
    virtual_channels: Sourced | None = None
    """Classes that streams spread over, from the class of data."""
    receives: Receives | None = None
    cnp_interval: Sourced | None = None
    """Least time between two congestion notifications to one sender, in ps."""
    congestion: str = ""
    """The congestion control in use, by its part's name; empty: none."""
    congestions: Mapping[str, Mapping[str, Sourced]] = field(default_factory=dict)
    """Those that it can have, with their parameters."""
    choices: Mapping[str, Choice] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default_factory=tuple)

    def at(self, place: Place) -> tuple[Stage, ...]:
        """The stages of one place, in order."""
        return tuple(stage for stage in self.stages if stage.place == place)
