"""From a resolved cell to the engine's plan data: profiles, forwarding rules and workload as plain integers.

Loads count payload bytes against the line rate of a card's port, so that every NIC model gets the same messages at the
same intended times; headers and acknowledgements come on top.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from nic_emulator.profile import NicProfile, Stage
from testbed.controller.rules import forwarding
from testbed.links.latency import link_latency_ps
from testbed.run.schedule import Schedule
from testbed.spec.fabric import Fabric
from testbed.spec.sourced import Sourced
from testbed.switches.profile import SwitchProfile
from testbed.units import byte_time_ps

_FORMATS = {"thin": "THIN", "rocev2": "ROCE_V2"}
_RELIABILITY = {"selective": "SELECTIVE", "go_back_n": "GO_BACK_N"}


def plan_data(
    fabric: Fabric,
    *,
    switch: SwitchProfile,
    nic: NicProfile,
    schedule: Schedule,
    seed: int,
    measure_until_ps: int,
) -> dict[str, Any]:
    """Everything the engine needs to run one cell until every message intended before a time is complete."""
    nodes = [
        _nic_node(endpoint.name, nic, schedule.workload(index, measure_until_ps))
        for index, endpoint in enumerate(fabric.endpoints)
    ]
    return {
        "seed": seed,
        "nodes": nodes + _switch_nodes(fabric, switch, seed),
        "links": _links(fabric),
    }


def _links(fabric: Fabric) -> list[list[int]]:
    """Links by entity number."""
    number = {name: index for index, name in enumerate(fabric.node_names())}
    return [
        [
            number[link.a],
            link.a_port,
            number[link.b],
            link.b_port,
            byte_time_ps(link.rate_bps),
            link_latency_ps(link.medium, link.length_mm, link.rate_bps),
        ]
        for link in fabric.links
    ]


def _nic_node(name: str, nic: NicProfile, workload: dict[str, Any]) -> dict[str, Any]:
    """One card behind its NIC."""
    config = {
        "format": _FORMATS[nic.wire_format],
        "reliability": _RELIABILITY[nic.reliability],
        "mtu_bytes": nic.mtu_bytes.number,
        "first_header_bytes": nic.first_header_bytes.number,
        "other_header_bytes": nic.other_header_bytes.number,
        "ack_bytes": nic.ack_bytes.number,
        "data_class": nic.data_class.number,
        "ack_class": nic.ack_class.number,
        "window_pkts": nic.window_pkts.number,
        "ack_every_pkts": nic.ack_every_pkts.number,
        "tx_depth_pkts": nic.tx_depth_pkts.number,
        "retry_limit": nic.retry_limit.number,
        "ack_latency_ps": nic.ack_latency.number,
        "rto_ps": nic.retransmission_timeout.number,
        "ingress_latency_ps": sum(stage.latency.number for stage in nic.at("ingress")),
    }
    places = ("post", "send", "receive", "notify")
    stages = {place: [_stage(stage) for stage in nic.at(place)] for place in places}  # type: ignore[arg-type]
    return {"kind": "nic", "name": name, "config": config, "stages": stages, "workload": workload}


def _stage(stage: Stage) -> dict[str, Any]:
    """One stage as integers."""
    return {
        "name": stage.name,
        "latency_ps": stage.latency.number,
        "occupancy_ps": stage.occupancy.number,
        "occupancy_ps_per_kib": stage.occupancy_per_kib.number,
        "jitter": _table(stage.jitter),
        "stall_interval_ps": stage.stall_interval.number,
        "stall": _table(stage.stall),
    }


def _table(points: Sequence[tuple[Sourced, Sourced]]) -> list[list[int]]:
    return [[ppm.number, ps.number] for ppm, ps in points]


def _switch_nodes(fabric: Fabric, profile: SwitchProfile, seed: int) -> list[dict[str, Any]]:
    """All switches with their forwarding tables."""
    rules = forwarding(fabric)
    return [
        {
            "kind": "switch",
            "name": switch.name,
            "config": {
                "pipeline_latency_ps": profile.pipeline_latency.number,
                "cut_through": profile.cut_through,
                "buffer_bytes": profile.buffer_bytes.number,
                "cell_bytes": profile.cell_bytes.number,
                "alpha_log2": profile.alpha_log2.number,
                "reserved_bytes": profile.reserved_bytes.number,
                "hash_seed": _hash_seed(seed, switch.name),
                **_routes(fabric, rules[switch.name]),
            },
        }
        for switch in fabric.switches
    ]


def _routes(fabric: Fabric, ports_of: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    """Groups of equal-cost ports, and each endpoint's group."""
    groups = sorted(set(ports_of.values()))
    place = {ports: index for index, ports in enumerate(groups)}
    return {
        "groups": [list(ports) for ports in groups],
        "route": [place[ports_of[endpoint.name]] for endpoint in fabric.endpoints],
    }


def _hash_seed(seed: int, name: str) -> int:
    """Each switch hashes flows in its own way, as with a per-device seed."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")
