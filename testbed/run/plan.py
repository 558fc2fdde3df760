"""From a resolved cell to the engine's plan data: profiles, forwarding rules and workload as plain integers.

Loads count payload bytes against the line rate of a card's port, so that every NIC model gets the same messages at the
same intended times; headers and acknowledgements come on top.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_emulator import NICS
from nic_emulator.profile import NicProfile, Stage
from testbed.links.features import link_features
from testbed.links.latency import link_latency_ps
from testbed.run.resolve import Network
from testbed.run.schedule import Schedule
from testbed.run.switch_plan import switch_nodes
from testbed.spec.experiment import Cell
from testbed.spec.fabric import Fabric, Link
from testbed.spec.sourced import Sourced
from testbed.switches.setup import SwitchSetup
from testbed.units import byte_time_ps

_FORMATS = {"thin": "THIN", "rocev2": "ROCE_V2"}


def cell_plan(
    cell: Cell, network: Network, *, schedule: Schedule, seed: int, measure_until_ps: int
) -> dict[str, Any]:
    """`plan_data` of one cell of an experiment."""
    return plan_data(
        network.fabric,
        switch=network.switch,
        nic=NICS.get(cell.nic),
        schedule=schedule,
        seed=seed,
        measure_until_ps=measure_until_ps,
    )


def plan_data(
    fabric: Fabric,
    *,
    switch: SwitchSetup,
    nic: NicProfile,
    schedule: Schedule,
    seed: int,
    measure_until_ps: int,
) -> dict[str, Any]:
    """Everything the engine needs to run one cell until every message intended before a time is complete."""
    nodes = [
        _nic_node(
            endpoint.name,
            nic,
            schedule.workload(index, measure_until_ps),
            asked=_asked_of_nic(nic, switch, fabric, endpoint.name),
        )
        for index, endpoint in enumerate(fabric.endpoints)
    ]
    return {
        "seed": seed,
        "nodes": nodes + switch_nodes(fabric, switch, seed),
        "links": _links(fabric, switch),
    }


def _links(fabric: Fabric, switch: SwitchSetup) -> list[list[Any]]:
    """Links by entity number; what they do beside carrying frames, if anything, comes last."""
    number = {name: index for index, name in enumerate(fabric.node_names())}
    return [
        [
            number[link.a],
            link.a_port,
            number[link.b],
            link.b_port,
            byte_time_ps(link.rate_bps),
            link_latency_ps(link.medium, link.length_mm, link.rate_bps, lanes=link.lanes, fec=link.fec),
            *filter(None, [_features(link, switch)]),
        ]
        for link in fabric.links
    ]


def _features(link: Link, switch: SwitchSetup) -> dict[str, Any]:
    """What a link loses, and what both its ends do about it; nothing for a sound link as it is."""
    latency_ps = switch.profile.links.llr_latency.number
    return link_features(link, llr=switch.llr, llr_latency_ps=latency_ps, cbfc=switch.cbfc)


def _asked_of_nic(nic: NicProfile, switch: SwitchSetup, fabric: Fabric, name: str) -> dict[str, Any]:
    """What the switches' settings and the links ask of a card.

    To stop when paused, as soon as a port must; to bear reordering; to carry telemetry.
    """
    asked: dict[str, Any] = {}
    if switch.lossless_classes:
        asked["pause_reaction_ps"] = switch.reaction_ps(link.rate_bps for link in fabric.links_of(name))
    keeps_order = switch.keeps_order and not any(link.reorder_e18 for link in fabric.links)
    if not keeps_order and nic.reorder_window_pkts.number:
        asked["reorder_window_pkts"] = nic.reorder_window_pkts.number
    if switch.telemetry and nic.wire_format == "thin":
        asked["int_enabled"] = True
    return asked


def _nic_node(
    name: str, nic: NicProfile, workload: dict[str, Any], *, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """One card behind its NIC."""
    config = {
        "format": _FORMATS[nic.wire_format],
        "reliability": nic.reliability,
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
        **asked,
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
