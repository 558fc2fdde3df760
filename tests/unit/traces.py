"""Made-up plans, hops and messages for the tests of what explains a tail."""

from __future__ import annotations

from typing import Any

import numpy as np

from testbed.analysis.explain import Message, Packets, packets_of
from testbed.analysis.hops import HOP_DTYPE, Hop, Network, network_of
from testbed.analysis.records import RECORD_DTYPE, Records

BYTE_PS = 20
LATENCY_PS = 15_000
PIPELINE_PS = 600_000
INGRESS_PS = 200_000
SEND_PS = 300_000
RECEIVE_PS = 300_000
FRAME_BYTES = 26 + 4096
WHOLE_PS = (FRAME_BYTES + 8) * BYTE_PS
WIRE_PS = (FRAME_BYTES + 20) * BYTE_PS
RTO_PS = 100_000_000
C1, C2, C3, L1, L2, S1 = range(6)


def nic(name: str, *, go_back_n: bool = False) -> dict[str, Any]:
    return {
        "kind": "nic",
        "name": name,
        "config": {
            "format": "THIN",
            "reliability": "go_back_n" if go_back_n else "selective",
            "mtu_bytes": 4096,
            "first_header_bytes": 26,
            "other_header_bytes": 26,
            "ingress_latency_ps": INGRESS_PS,
            "rto_ps": RTO_PS,
        },
        "stages": {
            "send": [{"latency_ps": SEND_PS, "occupancy_ps": 0, "occupancy_ps_per_kib": 0}],
            "receive": [{"latency_ps": RECEIVE_PS, "occupancy_ps": 0, "occupancy_ps_per_kib": 0}],
        },
    }


def switch(name: str, *, cut_through: bool = True) -> dict[str, Any]:
    return {
        "kind": "switch",
        "name": name,
        "config": {"pipeline_latency_ps": PIPELINE_PS, "cut_through": cut_through},
    }


def plan(*, go_back_n: bool = False, cut_through: bool = True, last: dict[str, Any] | None = None) -> Any:
    """c1 and c3 at l1, c2 at l2, s1 between the two; `last` is what the link to c2 does."""
    return {
        "nodes": [
            *(nic(name, go_back_n=go_back_n) for name in ("c1", "c2", "c3")),
            *(switch(name, cut_through=cut_through) for name in ("l1", "l2", "s1")),
        ],
        "links": [
            [C1, 0, L1, 1, BYTE_PS, LATENCY_PS],
            [C3, 0, L1, 2, BYTE_PS, LATENCY_PS],
            [C2, 0, L2, 1, BYTE_PS, LATENCY_PS, *([last] if last else [])],
            [L1, 3, S1, 1, BYTE_PS, LATENCY_PS],
            [L2, 3, S1, 2, BYTE_PS, LATENCY_PS],
        ],
    }


def network(**changes: Any) -> Network:
    return network_of(plan(**changes))


def packets(**changes: Any) -> Packets:
    return packets_of(plan(**changes)["nodes"][0])


WAY = ((C1, 0), (L1, 3), (S1, 2), (L2, 1))
"""The egress ports from c1 to c2."""


def journey(
    ready_ps: int,
    *,
    psn: int = 0,
    waits_ps: tuple[int, ...] = (0, 0, 0, 0),
    paused_ps: tuple[int, ...] = (0, 0, 0, 0),
    ahead: tuple[int, int] | None = None,
    extra_ps: int = 0,
    lost_at: int | None = None,
    outcome: int = 2,
) -> list[Hop]:
    """The hops of a packet from c1 to c2; `extra_ps`: what each switch adds before the egress."""
    hops = []
    for place, ((entity, port), wait_ps, stopped_ps) in enumerate(zip(WAY, waits_ps, paused_ps, strict=True)):
        lost = place == lost_at
        hops.append(
            Hop(
                arrived_ps=ready_ps,
                started_ps=ready_ps + wait_ps,
                paused_ps=stopped_ps,
                ahead_bytes=8000 if ahead and wait_ps else 0,
                ahead_flow_bytes=6000 if ahead and wait_ps else 0,
                psn=psn,
                entity=entity,
                port=port,
                src=C1,
                dst=C2,
                ahead_src=ahead[0] if ahead else 0,
                ahead_dst=ahead[1] if ahead else 0,
                traffic_class=3,
                outcome=outcome if lost else int(wait_ps > 0),
            )
        )
        if lost:
            break
        ready_ps += wait_ps + LATENCY_PS + PIPELINE_PS + extra_ps
    return hops


def last_bit_ps(hops: list[Hop]) -> int:
    """When the whole frame is at c2."""
    return hops[-1].started_ps + LATENCY_PS + WHOLE_PS


def message(
    first: list[Hop], completing: list[Hop], *, size_bytes: int = 4096, receive_ps: int = 0, msn: int = 0
) -> Message:
    """A message whose first packet and completing packet went these ways."""
    ready_ps, delivered_ps = (
        first[0].arrived_ps,
        last_bit_ps(completing) + INGRESS_PS + RECEIVE_PS + receive_ps,
    )
    return Message(
        src=C1,
        dst=C2,
        msn=msn,
        size_bytes=size_bytes,
        intended_ps=ready_ps - 1_000_000,
        posted_ps=ready_ps - 400_000,
        first_byte_ps=first[0].started_ps,
        delivered_ps=delivered_ps,
        completed_ps=delivered_ps + 50_000,
    )


def by_packet(*journeys: list[Hop]) -> dict[tuple[int, int, int], list[Hop]]:
    found: dict[tuple[int, int, int], list[Hop]] = {}
    for hops in journeys:
        found.setdefault((C1, C2, hops[0].psn), []).extend(hops)
    return found


def samples(*journeys: list[Hop]) -> np.ndarray:
    """As the engine gives them: in no particular order."""
    return np.array([tuple(hop) for hops in journeys for hop in reversed(hops)], HOP_DTYPE)


def record(message: Message, seq: int) -> Records:
    made: Records = np.zeros(1, RECORD_DTYPE)
    made["seq"], made["message_bytes"] = seq, message.size_bytes
    for name in ("src", "dst", "intended_ps", "posted_ps", "first_byte_ps", "delivered_ps", "completed_ps"):
        made[name] = getattr(message, name)
    return made
