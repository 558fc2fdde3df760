"""From a NIC's setup to the engine's config: plain integers. What is off is left out, so that it costs nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nic_emulator.profile import NicProfile, OpName, Place, Stage
from nic_emulator.setup import NicSetup
from testbed.run.round_trip import round_trip_ps
from testbed.run.schedule import Schedule
from testbed.spec.fabric import Fabric
from testbed.spec.sourced import Sourced
from testbed.switches.setup import SwitchSetup

FORMATS = {
    "thin": "THIN",
    "thin_udp": "THIN_UDP",
    "rocev2": "ROCE_V2",
    "tcp": "TCP",
    "udp": "UDP",
    "uet": "UET",
    "sue": "SUE",
    "sue_compressed": "SUE_COMPRESSED",
    "ualink": "UALINK",
}
OPS: Mapping[OpName, str] = {
    "put": "PUT",
    "put_signal": "PUT_SIGNAL",
    "send": "SEND",
    "get": "GET_REQUEST",
}
_ALWAYS: tuple[Place, ...] = ("post", "send", "receive", "notify")
_WHERE_THERE: tuple[Place, ...] = ("local", "bridge", "signal")


def nic_nodes(
    fabric: Fabric, setup: NicSetup, switch: SwitchSetup, schedule: Schedule, measure_until_ps: int
) -> list[dict[str, Any]]:
    """All NICs with their cards' workloads."""
    config = _config(setup) | _of_fabric(setup, switch, fabric)
    return [
        {
            "kind": "nic",
            "name": endpoint.name,
            "config": config | _asked(setup, switch, fabric, endpoint.name),
            "stages": _stages(setup, schedule),
            **_workloads(schedule, index, measure_until_ps),
        }
        for index, endpoint in enumerate(fabric.endpoints)
    ]


def _workloads(schedule: Schedule, endpoint: int, measure_until_ps: int) -> dict[str, Any]:
    """That of the one card, or a list of those of all."""
    cards = schedule.cards_of(endpoint)
    each = [_workload(schedule, card, measure_until_ps) for card in cards]
    return {"workload": each[0]} if len(each) == 1 else {"workloads": each}


def _workload(schedule: Schedule, card: int, measure_until_ps: int) -> dict[str, Any]:
    """One card's, with what its messages ask for."""
    workload = schedule.workload(card, measure_until_ps)
    op = schedule.cell.scenario.op
    return workload if op == "put" else workload | {"op": OPS[op]}


def _asked(setup: NicSetup, switch: SwitchSetup, fabric: Fabric, name: str) -> dict[str, Any]:
    """What the switches' settings and the links ask of a card.

    To stop when paused, as soon as a port must; to bear reordering; to carry telemetry.
    """
    asked: dict[str, Any] = {}
    profile = setup.profile
    if switch.lossless_classes:
        asked["pause_reaction_ps"] = switch.reaction_ps(link.rate_bps for link in fabric.links_of(name))
    keeps_order = switch.keeps_order and not fabric.reorders
    if setup.bears_reordering(keeps_order=keeps_order) and profile.reorder_window_pkts.number:
        asked["reorder_window_pkts"] = profile.reorder_window_pkts.number
    if switch.telemetry and profile.wire_format == "thin":
        asked["int_enabled"] = True
    return asked


def _of_fabric(setup: NicSetup, switch: SwitchSetup, fabric: Fabric) -> dict[str, Any]:
    """Parameters of congestion control that are the fabric's, where nothing else is set: 0 stands for these."""
    profile = setup.profile
    given = profile.congestions.get(profile.congestion, {})
    if "base_rtt_ps" not in given:
        return {}
    numbers = {name: number.number for name, number in given.items()}
    base_rtt_ps = numbers["base_rtt_ps"] or round_trip_ps(fabric, switch, setup)
    target_ps = numbers["target_delay_ps"] or base_rtt_ps * 3 // 4
    return {"congestion_parameters": numbers | {"base_rtt_ps": base_rtt_ps, "target_delay_ps": target_ps}}


def _config(setup: NicSetup) -> dict[str, Any]:
    """Everything but stages and what depends on the switches."""
    profile = setup.profile
    return {
        "format": FORMATS[profile.wire_format],
        "reliability": profile.reliability,
        "mtu_bytes": profile.mtu_bytes.number,
        "first_header_bytes": profile.first_header_bytes.number,
        "other_header_bytes": profile.other_header_bytes.number,
        "ack_bytes": profile.ack_bytes.number,
        "data_class": profile.data_class.number,
        "ack_class": profile.ack_class.number,
        "window_pkts": profile.window_pkts.number,
        "ack_every_pkts": profile.ack_every_pkts.number,
        "tx_depth_pkts": profile.tx_depth_pkts.number,
        "tx_depth_bytes": profile.tx_depth_bytes.number,
        "retry_limit": profile.retry_limit.number,
        "ack_latency_ps": profile.ack_latency.number,
        "rto_ps": profile.retransmission_timeout.number,
        "ingress_latency_ps": sum(stage.latency.number for stage in profile.at("ingress")),
        **_flags(setup),
        **_numbers(profile),
        **_parts(profile),
    }


def _flags(setup: NicSetup) -> dict[str, Any]:
    """What differs from the engine's defaults."""
    profile = setup.profile
    hears_marks = profile.congestion != ""
    on = {"ordered": profile.ordered, "avoid_marked": profile.avoid_marked and setup.sprays and hears_marks}
    flags: dict[str, Any] = {name: True for name, is_on in on.items() if is_on}
    if not profile.nacks and profile.reliability != "unreliable":
        flags["nacks"] = False
    if setup.cards > 1:
        flags["cards"] = setup.cards
    return flags


def _numbers(profile: NicProfile) -> dict[str, Any]:
    """Single numbers that a NIC may not have."""
    numbers = {
        "paths": profile.paths,
        "tlp_ps": profile.tail_loss_probe,
        "virtual_channels": profile.virtual_channels,
        "cnp_interval_ps": profile.cnp_interval,
    }
    return {
        name: number.number
        for name, number in numbers.items()
        if number is not None and not (name == "virtual_channels" and number.number == 1)
    }


def _parts(profile: NicProfile) -> dict[str, Any]:
    """Batching, framing, posted receives, congestion control."""
    config: dict[str, Any] = {}
    batching, framing, receives = profile.batching, profile.framing, profile.receives
    if batching is not None:
        config["batch_bytes"] = batching.bytes.number
        config["batch_delay_ps"] = batching.delay.number
        config["batch_header_bytes"] = batching.header.number
    if framing is not None:
        config["unit_bytes"] = framing.unit.number
        config["unit_header_bytes"] = framing.unit_header.number
        if framing.flit.number:
            config["flit_bytes"] = framing.flit.number
            config["flit_payload_bytes"] = framing.flit_payload.number
    if receives is not None:
        config["receive_depth"] = receives.depth.number
        config["rnr_timer_ps"] = receives.timer.number
        config["rnr_retry_limit"] = receives.retry_limit.number
    if profile.congestion:
        parameters = profile.congestions[profile.congestion]
        config["congestion"] = profile.congestion
        config["congestion_parameters"] = {name: number.number for name, number in parameters.items()}
    return config


def _stages(setup: NicSetup, schedule: Schedule) -> dict[str, list[dict[str, Any]]]:
    """By place; the latency of the ingress is part of the config."""
    cell = schedule.cell
    found = {
        place: setup.stages(place, size_bytes=cell.size_bytes, op=cell.scenario.op)
        for place in (*_ALWAYS, *_WHERE_THERE)
        if place != "signal" or cell.scenario.op == "put_signal"
    }
    return {
        place: [stage_data(stage) for stage in stages]
        for place, stages in found.items()
        if stages or place in _ALWAYS
    }


def stage_data(stage: Stage) -> dict[str, Any]:
    """One stage as integers."""
    data: dict[str, Any] = {
        "name": stage.name,
        "latency_ps": stage.latency.number,
        "occupancy_ps": stage.occupancy.number,
        "occupancy_ps_per_kib": stage.occupancy_per_kib.number,
        "jitter": _table(stage.jitter),
        "stall_interval_ps": stage.stall_interval.number,
        "stall": _table(stage.stall),
    }
    if stage.per_card:
        data["per_card"] = True
    if stage.reads_payload:
        data["reads_payload"] = True
    if stage.servers.number > 1:
        data["servers"] = stage.servers.number
    if stage.coalesce.number:
        data["coalesce_ps"] = stage.coalesce.number
    if stage.wake_after.number:
        data |= {"wake_after_ps": stage.wake_after.number, "wake": _table(stage.wake)}
    return data


def _table(points: Sequence[tuple[Sourced, Sourced]]) -> list[list[int]]:
    return [[ppm.number, ps.number] for ppm, ps in points]
