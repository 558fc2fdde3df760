"""sFlow version 5: what switches sampled and counted, as the datagrams that their agents would send. Pure.

The format is that of https://sflow.org/sflow_version_5.txt, in XDR: words of 32 bits, big-endian. A datagram has flow
samples (format 1) with the frame's first bytes (raw packet header, Ethernet), or counters samples (format 2) with the
generic counters of an interface. Of Python libraries that are kept none writes sFlow; it is a few `struct.pack`.

What the fields are here:

* agent address: 198.18.0.0/15 (RFC 2544, for benchmarks) plus the switch's entity number; sub-agent 0;
* ifIndex and source id: the port's number;
* uptime: virtual time in ms, which stays 0 for a run of less than that;
* sample pool: frames that have come in by the port; drops: 0, sampling always finds room;
* frame length: with FCS, which the 4 stripped bytes are;
* output: the port that forwarding chose; a frame without a route has the discard code 0 (ICMP: net unreachable).

A datagram leaves when it is full, or when its first sample is a second old; the counters leave at the end of the run.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.units import PS_PER_MS, PS_PER_S

FLOW_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("time_ps", "<u8"),
        ("switch", "<u4"),
        ("ingress_port", "<u2"),
        ("egress_port", "<u2"),  # `NO_EGRESS`: no route
        ("src", "<u2"),
        ("dst", "<u2"),
        ("traffic_class", "u1"),
        ("header_bytes", "u1"),
        ("reserved", "<u2"),
        ("frame_bytes", "<u4"),  # with FCS
        ("payload_bytes", "<u4"),
        ("sequence", "<u4"),  # frames that have come in by the port
        ("psn", "<u4"),
        ("header", "V128"),
    ]
)
"""One frame that a switch sampled: layout of `FlowSample` in testbed/engine/telemetry.hpp."""
NO_EGRESS = 0xFFFF
MOST_SAMPLES = 1_000_000
"""The engine keeps the first so many of a cell."""

DEFAULT_PORT = 6343
"""IANA: sflow."""
MOST_BYTES = 1400
"""Of a datagram, so that it fits an Ethernet frame (sFlow v5, section 5)."""
_MOST_WAIT_PS = PS_PER_S
_FIRST_AGENT = int(ipaddress.IPv4Address("198.18.0.0"))
_VERSION, _IP_V4, _SUB_AGENT = 5, 1, 0
_FLOW_SAMPLE, _COUNTERS_SAMPLE = 1, 2
_RAW_HEADER, _INTERFACE_COUNTERS = 1, 1
_ETHERNET, _FCS_BYTES = 1, 4
_DISCARDED_NO_ROUTE = 1 << 30
_TYPE_ETHERNET, _FULL_DUPLEX, _UP, _NOT_PROMISCUOUS = 6, 1, 3, 2  # of RFC 2863
_UNKNOWN = 0xFFFFFFFF
_WORD, _LONG = 1 << 32, 1 << 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A switch that samples."""

    entity: int
    name: str
    interval: int
    """One frame in so many, on average."""
    ports: Mapping[int, int]
    """Rate in bit/s by port number."""

    @property
    def address(self) -> str:
        """Its agent address, dotted."""
        return str(ipaddress.IPv4Address(_FIRST_AGENT + self.entity))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """What the switches of one cell sampled."""

    samples: npt.NDArray[np.void]
    """`FLOW_DTYPE`, by time."""
    agents: tuple[Agent, ...]
    end_ps: int
    """When the run ended, which its counters are of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """What one agent sends at a time."""

    time_ps: int
    agent: Agent
    data: bytes
    flow_samples: int = 0
    counters_samples: int = 0


def agents_of(plan: Mapping[str, Any]) -> tuple[Agent, ...]:
    """The switches of a plan that sample, by entity number."""
    rates: defaultdict[int, dict[int, int]] = defaultdict(dict)
    for a, a_port, b, b_port, byte_time_ps, *_ in plan["links"]:
        rates[a][a_port] = rates[b][b_port] = 8 * PS_PER_S // byte_time_ps
    return tuple(
        Agent(entity=entity, name=node["name"], interval=interval, ports=dict(sorted(rates[entity].items())))
        for entity, node in enumerate(plan["nodes"])
        if (interval := node["config"].get("sflow_interval", 0))
    )


def datagrams(sampled: Sampled, counters: Mapping[str, Mapping[str, int]]) -> list[Datagram]:
    """All datagrams of a cell by virtual time; `counters` are those of its nodes, by name."""
    made: list[Datagram] = []
    for agent in sampled.agents:
        export = _Export(agent)
        own = sampled.samples[sampled.samples["switch"] == agent.entity]
        made += export.flows(own)
        made += export.counters(counters.get(agent.name, {}), sampled.end_ps)
    return sorted(made, key=lambda one: (one.time_ps, one.agent.entity))


class _Export:
    """The datagrams of one agent, numbered from 1."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._sent = 0
        self._flow_number: defaultdict[int, int] = defaultdict(int)

    def flows(self, samples: npt.NDArray[np.void]) -> Iterator[Datagram]:
        """Flow samples, as many as fit in a datagram."""
        waiting: list[bytes] = []
        first_ps = last_ps = size = 0
        names = FLOW_DTYPE.names or ()
        for row in samples.tolist():
            sample = dict(zip(names, row, strict=True))
            data, now_ps = self._flow_sample(sample), sample["time_ps"]
            if waiting and (size + len(data) > MOST_BYTES or now_ps - first_ps >= _MOST_WAIT_PS):
                yield self._datagram(waiting, min(now_ps, first_ps + _MOST_WAIT_PS), flows=len(waiting))
                waiting = []
            if not waiting:
                first_ps, size = now_ps, _HEADER_BYTES
            waiting.append(data)
            size += len(data)
            last_ps = now_ps
        if waiting:
            yield self._datagram(waiting, last_ps, flows=len(waiting))

    def counters(self, counts: Mapping[str, int], end_ps: int) -> Iterator[Datagram]:
        """A counters sample for each port."""
        samples = [self._counters_sample(port, rate, counts) for port, rate in self._agent.ports.items()]
        fit = (MOST_BYTES - _HEADER_BYTES) // len(samples[0]) if samples else 1
        for begin in range(0, len(samples), fit):
            part = samples[begin : begin + fit]
            yield self._datagram(part, end_ps, counters=len(part))

    def _datagram(
        self, samples: Sequence[bytes], time_ps: int, *, flows: int = 0, counters: int = 0
    ) -> Datagram:
        self._sent += 1
        head = _words(
            _VERSION,
            _IP_V4,
            int(ipaddress.IPv4Address(self._agent.address)),
            _SUB_AGENT,
            self._sent,
            time_ps // PS_PER_MS,
            len(samples),
        )
        return Datagram(
            time_ps=time_ps,
            agent=self._agent,
            data=head + b"".join(samples),
            flow_samples=flows,
            counters_samples=counters,
        )

    def _flow_sample(self, sample: Mapping[str, Any]) -> bytes:
        port, egress = sample["ingress_port"], sample["egress_port"]
        self._flow_number[port] += 1
        header = bytes(sample["header"])[: sample["header_bytes"]]
        record = _words(_ETHERNET, sample["frame_bytes"], _FCS_BYTES) + _opaque(header)
        body = _words(
            self._flow_number[port],
            port,
            self._agent.interval,
            sample["sequence"],
            0,
            port,
            _DISCARDED_NO_ROUTE if egress == NO_EGRESS else egress,
            1,
        )
        return _words(_FLOW_SAMPLE) + _opaque(body + _words(_RAW_HEADER) + _opaque(record))

    def _counters_sample(self, port: int, rate_bps: int, counts: Mapping[str, int]) -> bytes:
        record = interface_counters(port, rate_bps, counts)
        body = _words(1, port, 1) + _words(_INTERFACE_COUNTERS) + _opaque(record)
        return _words(_COUNTERS_SAMPLE) + _opaque(body)


def interface_counters(port: int, rate_bps: int, counts: Mapping[str, int]) -> bytes:
    """`if_counters` of a port. What a switch drops for want of a route is counted for all ports, so unknown here.

    Control frames are what is sent to a group address; a frame that the buffer does not take has not gone out.
    """

    def of(*names: str) -> int:
        return sum(counts.get(f"port{port}.{name}", 0) for name in names)

    in_groups, out_groups = of("pause_frames_rx"), of("pause_frames_tx", "credit_frames_tx")
    return (
        _words(port, _TYPE_ETHERNET)
        + _long(rate_bps)
        + _words(_FULL_DUPLEX, _UP)
        + _long(of("in_octets"))
        + _words(of("in_frames") - in_groups, in_groups, 0, _UNKNOWN, of("fcs_errors"), 0)
        + _long(of("out_octets"))
        + _words(of("out_frames") - out_groups, out_groups, 0, of("out_discards"), 0, _NOT_PROMISCUOUS)
    )


def _words(*values: int) -> bytes:
    """Unsigned integers; counters start again at 2^32."""
    return struct.pack(f">{len(values)}I", *(value % _WORD for value in values))


def _long(value: int) -> bytes:
    """An unsigned hyper."""
    return struct.pack(">Q", value % _LONG)


def _opaque(data: bytes) -> bytes:
    """Length, bytes, and zeros up to a whole word."""
    return _words(len(data)) + data + bytes(-len(data) % 4)


_HEADER_BYTES = len(_words(*range(7)))
