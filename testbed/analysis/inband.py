"""In-band telemetry (INT): what the packets of a cell brought along about each switch, by hop. Pure.

Each switch writes into a packet, when it starts to send it, its number, the two ports, the time from the packet's first
bit in to its first bit out, in whole ns rounded down, and what was queued before it in its class, in units of 64 bytes
rounded down (docs/wire-format.md). The receiver keeps the hops of every packet, or, of a long run, of one packet in
`interval`, chosen by a hash of its identity, which knows nothing of its latency.

So the time from a packet's first bit at the sender to its last bit at the receiver is the sum of the latencies of its
hops, the propagation of its links and its serialisation on the last one, and, as each hop is rounded down to a ns,
less than 1 ns per hop more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from testbed.analysis.hops import tiers_of_plan
from testbed.analysis.percentiles import MIN_SAMPLES_BEYOND, nearest_rank
from testbed.units import PPM_PER_WHOLE

INT_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("arrived_ps", "<u8"),
        ("src", "<u2"),
        ("dst", "<u2"),
        ("psn", "<u4"),
        ("place", "<u4"),
        ("switch", "<u4"),
        ("ingress_port", "<u2"),
        ("egress_port", "<u2"),
        ("latency_ns", "<u4"),
        ("queue_occupancy", "<u4"),
        ("reserved", "<u4"),
    ]
)
"""One hop as its receiver found it: layout of `IntSample` in testbed/engine/telemetry.hpp.

`queue_occupancy`: class in the top 8 bits, bytes / 64 in the others. The engine keeps up to 131,072 hops.
"""
OCCUPANCY_BYTES = 64
_OCCUPANCY_MASK = 0xFFFFFF
_P50_PPM, _P99_PPM = PPM_PER_WHOLE // 2, PPM_PER_WHOLE * 99 // 100


@dataclass(frozen=True, slots=True, kw_only=True)
class HopTelemetry:
    """What packets found at an egress port of a switch. A p99 with fewer than ten packets beyond it is None."""

    node: str
    port: int
    peer: str
    """What the port leads to."""
    tier: int
    """0: a leaf, and so on upward."""
    packets: int
    """That the numbers are of."""
    p50_ns: int
    """First bit in to first bit out, in ns; nearest rank, as all percentiles here."""
    p99_ns: int | None
    max_ns: int
    queue_p50_bytes: int
    """Queued before the packet in its class, to 64 bytes; 0: it went on at once."""
    queue_p99_bytes: int | None
    queue_max_bytes: int

    @property
    def name(self) -> str:
        """`l1 port 3 → s2`."""
        return f"{self.node} port {self.port} → {self.peer}"


@dataclass(frozen=True, slots=True, kw_only=True)
class InBand:
    """The in-band telemetry of one cell."""

    interval: int
    """One packet in so many is kept."""
    packets: int
    hops: tuple[HopTelemetry, ...]
    """By tier, node and port."""


def inband_of(samples: npt.NDArray[np.void], plan: Mapping[str, Any], interval: int) -> InBand | None:
    """The hops of `INT_DTYPE` of a plan's run, by egress port; None where no packet brought any."""
    if len(samples) == 0:
        return None
    peers, tiers = _peers(plan), tiers_of_plan(plan)
    names = [node["name"] for node in plan["nodes"]]
    hops = []
    for switch, port, rows in _by_port(samples):
        latency, queue = np.sort(rows["latency_ns"]), np.sort(occupancy_bytes(rows))
        hops.append(
            HopTelemetry(
                node=names[switch],
                port=port,
                peer=names[peers[switch, port]],
                tier=tiers[switch],
                packets=len(rows),
                p50_ns=int(latency[nearest_rank(len(rows), _P50_PPM) - 1]),
                p99_ns=_p99(latency),
                max_ns=int(latency[-1]),
                queue_p50_bytes=int(queue[nearest_rank(len(rows), _P50_PPM) - 1]),
                queue_p99_bytes=_p99(queue),
                queue_max_bytes=int(queue[-1]),
            )
        )
    order = {name: place for place, name in enumerate(names)}
    return InBand(
        interval=interval,
        packets=int(np.count_nonzero(samples["place"] == 0)),
        hops=tuple(sorted(hops, key=lambda hop: (hop.tier, order[hop.node], hop.port))),
    )


def occupancy_bytes(samples: npt.NDArray[np.void]) -> npt.NDArray[np.int64]:
    """What was queued before each packet."""
    return (samples["queue_occupancy"].astype(np.int64) & _OCCUPANCY_MASK) * OCCUPANCY_BYTES


def _by_port(samples: npt.NDArray[np.void]) -> Iterator[tuple[int, int, npt.NDArray[np.void]]]:
    """Switch, egress port, and the samples there."""
    keys = samples["switch"].astype(np.int64) << 16 | samples["egress_port"]
    order = np.argsort(keys, kind="stable")
    bounds = [0, *(np.flatnonzero(np.diff(keys[order])) + 1).tolist(), len(samples)]
    for begin, end in pairwise(bounds):
        rows = samples[order[begin:end]]
        yield int(rows["switch"][0]), int(rows["egress_port"][0]), rows


def _p99(ordered: npt.NDArray[Any]) -> int | None:
    rank = nearest_rank(len(ordered), _P99_PPM)
    return int(ordered[rank - 1]) if len(ordered) - rank >= MIN_SAMPLES_BEYOND else None


def _peers(plan: Mapping[str, Any]) -> dict[tuple[int, int], int]:
    found = {}
    for a, a_port, b, b_port, *_ in plan["links"]:
        found[a, a_port], found[b, b_port] = b, a
    return found
