"""The way of traced packets through the fabric, and where one message's time went on it. Pure.

A message is as late as the packet that completes it. Its latency is divided along that packet's way, and the parts add
up to completed - intended exactly, in picoseconds:

=============== ==================================================================================================
kind            what it is
=============== ==================================================================================================
source_software the sender's software, from the intended time until its NIC has the work
source_nic      the sender's NIC: what its stages take for the first packet at least
source_queue    in the sender's NIC, waiting for a turn, for the window, or for a stage that is not free
message         serialisation of the message's packets before the completing one, at the sender
retransmission  from the first time the completing packet was sent until it was ready to be sent for the last time
queue           waiting for an egress port (a NIC's, a switch's), with the frames that are ahead
pause           waiting for an egress port whose class was paused, or had no credit
wire            propagation, FEC and modules of all links
pipeline        switches, from the first bit in to the lookup done
serialisation   a store-and-forward switch, or the receiver, takes in the whole frame
replay          a link that sends a frame again (LLR)
receiver_nic    the receiver's NIC, from the last bit to the payload in memory
notification    until the receiver has been told
=============== ==================================================================================================

Which packet completes the message follows from the receiver's rules. A selective receiver takes the first copy of each
packet that reaches it, and the packet whose copy comes last completes the message; a go-back-N receiver takes packets
in their order, so it is the last packet, and of its copies the latest that could have been delivered in time. Where the
last link may lose frames, the latest copy of each packet that fits counts, since a lost one cannot be told apart.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from testbed.analysis.hops import PSN_MASK, Copy, Flow, Hop, Network, Outcome, copies_of, trace_error
from testbed.analysis.records import RECORD_DTYPE, Records
from testbed.units import BYTES_PER_KIB, PREAMBLE_BYTES, WIRE_OVERHEAD_BYTES

_LEAST_FRAME_BYTES = 64


class Kind(StrEnum):
    """What a part of a latency is; the table above."""

    SOURCE_SOFTWARE = "source_software"
    SOURCE_NIC = "source_nic"
    SOURCE_QUEUE = "source_queue"
    MESSAGE = "message"
    RETRANSMISSION = "retransmission"
    QUEUE = "queue"
    PAUSE = "pause"
    WIRE = "wire"
    PIPELINE = "pipeline"
    SERIALISATION = "serialisation"
    REPLAY = "replay"
    RECEIVER_NIC = "receiver_nic"
    NOTIFICATION = "notification"


class Part(NamedTuple):
    """A kind of time, and for waiting its place: node, egress port and class."""

    kind: Kind
    node: int = -1
    port: int = -1
    traffic_class: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: its record, and its place in its stream."""

    src: int
    dst: int
    msn: int
    size_bytes: int
    intended_ps: int
    posted_ps: int
    first_byte_ps: int
    delivered_ps: int
    completed_ps: int
    held: bool = False
    """Whether, when it was posted, an earlier message of its flow with packets that were sent again was under way."""

    @property
    def latency_ps(self) -> int:
        """From the intended time until the receiver is told."""
        return self.completed_ps - self.intended_ps

    @property
    def flow(self) -> Flow:
        """Source and destination."""
        return (self.src, self.dst)


def messages_of(records: Records, chosen: npt.NDArray[np.intp]) -> list[Message]:
    """Chosen records with their numbers in their streams: of each stream, `records` holds all from the first on."""
    streams = np.stack([records["src"], records["dst"]], axis=1)
    order = np.lexsort((records["seq"], records["dst"], records["src"]))
    begins = np.flatnonzero((np.diff(streams[order], axis=0, prepend=-1) != 0).any(axis=1))
    stream = np.searchsorted(begins, np.arange(len(order)), side="right") - 1
    msn, held = np.empty(len(order), np.int64), np.empty(len(order), np.bool_)
    msn[order] = np.arange(len(order)) - begins[stream]
    held[order] = _held(records[order], begins)
    names = RECORD_DTYPE.names or ()
    return [
        _message(dict(zip(names, records[i].tolist(), strict=True)), int(msn[i]), bool(held[i]))
        for i in chosen.tolist()
    ]


def _held(records: Records, begins: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Whether each message was posted before an earlier one of its stream, sent again in part, was delivered."""
    held = np.zeros(len(records), np.bool_)
    until_ps = np.where(records["retransmits"] > 0, records["delivered_ps"], 0)
    for begin, end in pairwise([*begins.tolist(), len(records)]):
        held[begin + 1 : end] = (
            records["posted_ps"][begin + 1 : end] < np.maximum.accumulate(until_ps[begin:end])[:-1]
        )
    return held


def _message(record: Mapping[str, int], msn: int, held: bool) -> Message:
    return Message(
        src=record["src"],
        dst=record["dst"],
        msn=msn,
        size_bytes=record["message_bytes"],
        intended_ps=record["intended_ps"],
        posted_ps=record["posted_ps"],
        first_byte_ps=record["first_byte_ps"],
        delivered_ps=record["delivered_ps"],
        completed_ps=record["completed_ps"],
        held=held,
    )


Stages = tuple[tuple[int, int], ...]
"""Fixed time, and time per KiB, of each thing that a packet passes, in ps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packets:
    """How a NIC cuts messages into packets, and what its receiver does with them."""

    mtu_bytes: int
    first_header_bytes: int
    other_header_bytes: int
    least_frame_bytes: int
    pads: bool
    go_back_n: bool
    rto_ps: int
    send: Stages
    """From a packet's turn to the port."""
    receive: Stages
    """From a packet's last bit to its payload in memory."""

    def count(self, size_bytes: int) -> int:
        """Packets of a message."""
        return -(-size_bytes // self.mtu_bytes)

    def psns(self, message: Message) -> list[int]:
        """The packet numbers of a message, as they are on the wire."""
        count = self.count(message.size_bytes)
        return [(message.msn * count + index) & PSN_MASK for index in range(count)]

    def payload_bytes(self, size_bytes: int, index: int) -> int:
        """Payload of one packet of a message."""
        return min(self.mtu_bytes, size_bytes - index * self.mtu_bytes)

    def frame_bytes(self, size_bytes: int, index: int) -> int:
        """One packet's frame, FCS included."""
        payload = self.payload_bytes(size_bytes, index)
        header = self.first_header_bytes if index == 0 else self.other_header_bytes
        return max(self.least_frame_bytes, header + payload + (-payload % 4 if self.pads else 0))


def least_ps(stages: Stages, payload_bytes: int) -> int:
    """The least time that a packet takes through all of them."""
    return sum(fixed + -(-payload_bytes * per_kib // BYTES_PER_KIB) for fixed, per_kib in stages)


def _stages(nic: Mapping[str, Any], place: str) -> Stages:
    return tuple(
        (stage["latency_ps"] + stage["occupancy_ps"], stage["occupancy_ps_per_kib"])
        for stage in nic["stages"][place]
    )


def packets_of(nic: Mapping[str, Any]) -> Packets:
    """From a NIC node of the plan."""
    config = nic["config"]
    return Packets(
        mtu_bytes=config["mtu_bytes"],
        first_header_bytes=config["first_header_bytes"],
        other_header_bytes=config["other_header_bytes"],
        least_frame_bytes=_LEAST_FRAME_BYTES,
        pads=config["format"] == "ROCE_V2",
        go_back_n=config["reliability"] == "go_back_n",
        rto_ps=config["rto_ps"],
        send=_stages(nic, "send"),
        receive=((config["ingress_latency_ps"], 0), *_stages(nic, "receive")),
    )


# ------------------------------------------------------------------------------------------------- explanation


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A time that the completing packet waited for an egress port, pauses left out."""

    part: Part
    ps: int
    behind: Flow | None
    """The flow with the most bytes ahead; None: only a frame on its way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resend:
    """The completing packet was sent more than once."""

    part: Part
    ps: int
    times: int
    timed_out: bool
    """Whether the sender's time-out ended the wait; otherwise a negative acknowledgement did."""
    how: str
    """dropped, trimmed, or refused: it arrived behind a gap or was lost on a wire."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Where one message's time went."""

    message: Message
    parts: Mapping[Part, int]
    """Adds up to the latency."""
    waits: tuple[Wait, ...]
    resend: Resend | None
    path: tuple[Hop, ...]
    """The completing packet's last way, from the sender's NIC on."""


class _Parts:
    """Collects the parts of one message along a clock that only goes forward."""

    def __init__(self, message: Message, network: Network) -> None:
        self.message = message
        self.now_ps = message.intended_ps
        self.found: defaultdict[Part, int] = defaultdict(int)
        self.waits: list[Wait] = []
        self.network = network

    def until(self, time_ps: int, part: Part) -> None:
        """Everything from where the clock stands to a time is of one part."""
        if time_ps < self.now_ps:
            message = self.message
            raise trace_error(
                f"message {message.msn} of {self.network.flow_name(message.flow)}: "
                f"{part.kind} ends {self.now_ps - time_ps} ps before it begins"
            )
        if time_ps > self.now_ps:
            self.found[part] += time_ps - self.now_ps
            self.now_ps = time_ps

    def wait(self, hop: Hop, *, own_ps: int = 0) -> None:
        """Everything until a hop starts: `own_ps` of it for the message itself, then its port, the rest for a turn."""
        place = (hop.entity, hop.port, hop.traffic_class)
        paused_ps = min(hop.paused_ps, hop.started_ps - self.now_ps)
        left_ps = hop.started_ps - self.now_ps - paused_ps
        own_ps = min(own_ps, left_ps)
        queued_ps = min(left_ps - own_ps, hop.wait_ps - hop.paused_ps)
        if queued_ps > 0:
            self.waits.append(Wait(part=Part(Kind.QUEUE, *place), ps=queued_ps, behind=hop.behind))
        for part, ps in (
            (Part(Kind.MESSAGE), own_ps),
            (Part(Kind.SOURCE_QUEUE), left_ps - own_ps - queued_ps),
            (Part(Kind.QUEUE, *place), queued_ps),
            (Part(Kind.PAUSE, *place), paused_ps),
        ):
            self.until(self.now_ps + ps, part)


def explain(
    message: Message, hops: Mapping[tuple[int, int, int], Sequence[Hop]], network: Network, packets: Packets
) -> Explanation:
    """Divide a message's latency; `hops` holds those of each of its packets by (src, dst, psn)."""
    copies = [
        copies_of(_in_time(hops.get((*message.flow, psn), ()), message), network)
        for psn in packets.psns(message)
    ]
    if not all(copies):
        raise trace_error(
            f"message {message.msn} of {network.flow_name(message.flow)} has packets without a trace"
        )
    index, last = _completing(message, copies, network, packets)
    parts = _Parts(message, network)
    resend = _sending(parts, copies[0][0].hops[0], copies[index], last, packets, index)
    _crossing(parts, last, network, packets.frame_bytes(message.size_bytes, index))
    parts.until(message.delivered_ps, Part(Kind.RECEIVER_NIC))
    parts.until(message.completed_ps, Part(Kind.NOTIFICATION))
    assert sum(parts.found.values()) == message.latency_ps, "the parts of a latency are all of it"
    return Explanation(
        message=message, parts=dict(parts.found), waits=tuple(parts.waits), resend=resend, path=last.hops
    )


def _in_time(hops: Sequence[Hop], message: Message) -> list[Hop]:
    """The hops that belong to this message: after 2^24 packets a stream counts from 0 again."""
    return [hop for hop in hops if message.posted_ps <= hop.arrived_ps <= message.delivered_ps]


def _completing(
    message: Message, copies: Sequence[Sequence[Copy]], network: Network, packets: Packets
) -> tuple[int, Copy]:
    """The packet that completed the message, and the copy of it that did."""
    arrivals: list[tuple[int, int, Copy]] = []
    for index, of_packet in enumerate(copies):
        if packets.go_back_n and index + 1 < len(copies):
            continue
        payload_bytes = packets.payload_bytes(message.size_bytes, index)
        latest_ps = message.delivered_ps - least_ps(packets.receive, payload_bytes)
        frame_bytes = packets.frame_bytes(message.size_bytes, index)
        whole = [
            (_last_bit_ps(copy, network, frame_bytes), copy) for copy in _whole(of_packet, message, network)
        ]
        fitting = [(time_ps, copy) for time_ps, copy in whole if time_ps <= latest_ps]
        if not fitting:
            raise trace_error(
                f"message {message.msn} of {network.flow_name(message.flow)} was delivered at "
                f"{message.delivered_ps} ps without its packet {index}"
            )
        lossy = any(network.wires[copy.hops[-1].entity, copy.hops[-1].port].lossy for _, copy in fitting)
        time_ps, copy = fitting[-1] if packets.go_back_n or lossy else fitting[0]
        arrivals.append((time_ps, index, copy))
    _, index, copy = max(arrivals, key=lambda arrival: arrival[:2])
    return index, copy


def _whole(copies: Sequence[Copy], message: Message, network: Network) -> Iterator[Copy]:
    """The copies that reached the receiver's wire."""
    for copy in copies:
        last = copy.hops[-1]
        if copy.lost_at is None and network.wires[last.entity, last.port].peer == network.nic_of(message.dst):
            yield copy


def _last_bit_ps(copy: Copy, network: Network, frame_bytes: int) -> int:
    """When the whole frame is at the far end of its last hop's wire."""
    last = copy.hops[-1]
    wire = network.wires[last.entity, last.port]
    return last.started_ps + wire.latency_ps + (frame_bytes + PREAMBLE_BYTES) * wire.byte_time_ps


def _sending(
    parts: _Parts, first: Hop, copies: Sequence[Copy], last: Copy, packets: Packets, index: int
) -> Resend | None:
    """From the intended time until the completing copy starts on the sender's wire."""
    message = parts.message
    parts.until(message.posted_ps, Part(Kind.SOURCE_SOFTWARE))
    least_send_ps = least_ps(packets.send, packets.payload_bytes(message.size_bytes, 0))
    parts.until(min(message.posted_ps + least_send_ps, first.arrived_ps), Part(Kind.SOURCE_NIC))
    parts.until(first.arrived_ps, Part(Kind.SOURCE_QUEUE))
    parts.wait(first)
    if parts.now_ps != message.first_byte_ps:
        raise trace_error(f"message {message.msn}: its first byte and its first packet started at two times")
    if index:
        parts.wait(
            copies[0].hops[0], own_ps=_ahead_ps(first, parts.network, packets, message.size_bytes, index)
        )
    if last is copies[0]:
        return None
    resend = _resend(copies, last, parts.now_ps, packets)
    parts.until(last.hops[0].arrived_ps, resend.part)
    parts.wait(last.hops[0])
    return resend


def _ahead_ps(first: Hop, network: Network, packets: Packets, size_bytes: int, index: int) -> int:
    """What the packets of a message before one of them take on the sender's wire."""
    frames = packets.frame_bytes(size_bytes, 0) + (index - 1) * packets.frame_bytes(size_bytes, 1)
    return (frames + index * WIRE_OVERHEAD_BYTES) * network.wires[first.entity, first.port].byte_time_ps


def _resend(copies: Sequence[Copy], last: Copy, began_ps: int, packets: Packets) -> Resend:
    """Why the completing packet was sent again, and what that took."""
    before = copies[: copies.index(last)]
    lost = next((copy.lost_at for copy in reversed(before) if copy.lost_at is not None), None)
    place = (lost.entity, lost.port, lost.traffic_class) if lost is not None else ()
    how = "refused" if lost is None else Outcome(lost.outcome).name.lower()
    gap_ps = last.hops[0].arrived_ps - before[-1].hops[0].started_ps
    return Resend(
        part=Part(Kind.RETRANSMISSION, *place),
        ps=last.hops[0].arrived_ps - began_ps,
        times=len(before),
        timed_out=2 * gap_ps >= packets.rto_ps,
        how=how,
    )


def _crossing(parts: _Parts, copy: Copy, network: Network, frame_bytes: int) -> None:
    """From the first bit on the sender's wire to the last bit at the receiver."""
    for hop, following in pairwise(copy.hops):
        wire = network.wires[hop.entity, hop.port]
        ready_ps = following.arrived_ps
        parts.until(hop.started_ps + wire.latency_ps, Part(Kind.WIRE))
        parts.until(min(parts.now_ps + network.pipeline_ps(following.entity), ready_ps), Part(Kind.PIPELINE))
        if network.stores(following.entity, wire, network.wires[following.entity, following.port]):
            whole_ps = (frame_bytes + PREAMBLE_BYTES) * wire.byte_time_ps
            parts.until(min(parts.now_ps + whole_ps, ready_ps), Part(Kind.SERIALISATION))
        link = Part(Kind.REPLAY, hop.entity, hop.port, hop.traffic_class)
        parts.until(ready_ps, link if wire.retries else Part(Kind.PIPELINE))
        parts.wait(following)
    wire = network.wires[copy.hops[-1].entity, copy.hops[-1].port]
    parts.until(parts.now_ps + wire.latency_ps, Part(Kind.WIRE))
    parts.until(_last_bit_ps(copy, network, frame_bytes), Part(Kind.SERIALISATION))
