"""From a switch's setup to the engine's config: plain integers. What is off is left out, so that it costs nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from testbed.controller.asic import check_tables, lower
from testbed.controller.rules import switch_tables
from testbed.controller.tables import Tables
from testbed.controller.timing import DEFAULT_RULES, RuleOptions
from testbed.spec.fabric import Fabric, Link
from testbed.switches.profile import CLASSES, NO_THRESHOLD, SwitchProfile, Voq
from testbed.switches.setup import SwitchSetup
from testbed.units import PS_PER_S

_PATHS = {
    "flowlet": "FLOWLET",
    "least_loaded": "LEAST_LOADED",
    "spray": "SPRAY",
    "round_robin": "ROUND_ROBIN",
}


def switch_nodes(
    fabric: Fabric,
    setup: SwitchSetup,
    seed: int,
    *,
    cards_per_nic: int = 1,
    rules: RuleOptions | Tables = DEFAULT_RULES,
) -> list[dict[str, Any]]:
    """All switches with the tables that the controller's rules give them, or with tables that are there."""
    if isinstance(rules, RuleOptions):
        routes = _routes(fabric, setup.profile, rules, cards_per_nic)
    else:
        routes = _lowered(fabric, setup.profile, rules, cards_per_nic)
    return [
        {
            "kind": "switch" if setup.profile.voq is None else "voq_switch",
            "name": switch.name,
            "config": {
                **_behaviour(setup, fabric.links_of(switch.name), switch.name),
                "hash_seed": _hash_seed(seed, "" if setup.same_seed else switch.name),
                **routes[switch.name],
            },
        }
        for switch in fabric.switches
    ]


def _behaviour(setup: SwitchSetup, links: Sequence[Link], name: str) -> dict[str, Any]:
    """Everything but where frames go."""
    if setup.profile.voq is not None:
        return _voq(setup, setup.profile.voq, links)
    return {
        **_pipeline(setup),
        **_ingress(setup),
        **_pfc(setup, links, name),
        **_ecn(setup),
        **_scheduling(setup),
        **_paths(setup),
        **_credits(setup),
        **_extras(setup),
    }


def _pipeline(setup: SwitchSetup) -> dict[str, Any]:
    buffer = setup.profile.buffer
    return {
        "pipeline_latency_ps": setup.profile.pipeline_latency.number,
        "cut_through": setup.cut_through,
        "buffer_bytes": setup.shared_bytes,
        "cell_bytes": buffer.cell.number,
        "alpha_log2": buffer.alpha_log2.number,
        "reserved_bytes": buffer.reserved.number,
    }


def _voq(setup: SwitchSetup, voq: Voq, links: Sequence[Link]) -> dict[str, Any]:
    """A switch of virtual output queues; the limit of one is time at the rate of its fastest port."""
    fastest_bps = max(link.rate_bps for link in links)
    return {
        "pipeline_latency_ps": setup.profile.pipeline_latency.number,
        "buffer_bytes": setup.profile.buffer.pool.number,
        "voq_limit_bytes": voq.limit.number * fastest_bps // (8 * PS_PER_S),
        "credit_bytes": voq.credit.number,
        "credit_latency_ps": voq.credit_latency.number,
        "fabric_latency_ps": voq.fabric_latency.number,
        "egress_buffer_bytes": voq.egress_buffer.number,
        "credit_speedup_permille": voq.credit_speedup.number,
        **_ecn(setup),
    }


def _ingress(setup: SwitchSetup) -> dict[str, Any]:
    """Accounting by priority group."""
    buffer = setup.profile.buffer
    config: dict[str, Any] = {}
    if buffer.ingress_alpha_log2.number != NO_THRESHOLD:
        config["ingress_alpha_log2"] = buffer.ingress_alpha_log2.number
    if setup.limits_ingress and buffer.group_reserved.number:
        config["pg_reserved_bytes"] = buffer.group_reserved.number
    return config


def _pfc(setup: SwitchSetup, links: Sequence[Link], name: str) -> dict[str, Any]:
    if not setup.lossless_classes:
        return {}
    pfc = setup.profile.pfc
    config = {
        "lossless_classes": sum(1 << one for one in setup.lossless_classes),
        "lossless_alpha_log2": pfc.alpha_log2.number,
        "headroom_bytes": _headroom(setup, links, name),
        "headroom_pool_bytes": setup.profile.buffer.headroom_pool.number,
        "xon_offset_bytes": pfc.xon_offset.number,
        "pause_quanta": pfc.pause_quanta.number,
        "pfc_generation_ps": pfc.generation.number,
        "pause_reaction_ps": setup.reaction_ps(link.rate_bps for link in links),
    }
    if setup.watchdog is not None:
        config["watchdog_detection_ps"] = setup.watchdog.detection_ps
        config["watchdog_restoration_ps"] = setup.watchdog.restoration_ps
    return config


def _headroom(setup: SwitchSetup, links: Sequence[Link], name: str) -> list[int]:
    """By port number; ports without a link have none."""
    by_port = {link.port_at(name): setup.headroom(link.rate_bps, link.length_mm) for link in links}
    return [by_port.get(port, 0) for port in range(max(by_port) + 1)]


def _ecn(setup: SwitchSetup) -> dict[str, Any]:
    """One curve for all classes."""
    if setup.curve is None:
        return {}
    curve = setup.curve
    config: dict[str, Any] = {"ecn": [[curve.kmin_bytes, curve.kmax_bytes, curve.pmax_ppm]] * CLASSES}
    if setup.ecn_at_enqueue:
        config["ecn_at_enqueue"] = True
    return config


def _scheduling(setup: SwitchSetup) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if setup.weights:
        quantum = setup.profile.scheduling.quantum.number
        config["dwrr_quantum_bytes"] = [weight * quantum for weight in setup.weights]
    if setup.shapers:
        shapers = {shaper.traffic_class: shaper for shaper in setup.shapers}
        each = [shapers.get(number) for number in range(CLASSES)]
        config["shaper_ps_per_kib"] = [shaper.ps_per_kib if shaper else 0 for shaper in each]
        config["shaper_burst_bytes"] = [shaper.burst_bytes if shaper else 0 for shaper in each]
    return config


def _paths(setup: SwitchSetup) -> dict[str, Any]:
    choice, numbers = setup.paths, setup.profile.paths
    if choice.kind == "hash":
        return {}
    config: dict[str, Any] = {"path_choice": _PATHS[choice.kind]}
    if choice.flowlet_gap_ps:
        config["flowlet_gap_ps"] = choice.flowlet_gap_ps
        config["flowlet_entries"] = numbers.flowlet_entries.number
    if choice.kind == "least_loaded":
        config["load_quantum_bytes"] = numbers.load_quantum.number
    return config


def _credits(setup: SwitchSetup) -> dict[str, Any]:
    """What ports grant each class of their neighbours, and how soon they tell."""
    if not setup.cbfc:
        return {}
    return {
        "credit_bytes": setup.profile.links.cbfc_credit.number,
        "pfc_generation_ps": setup.profile.pfc.generation.number,
    }


def _extras(setup: SwitchSetup) -> dict[str, Any]:
    """Trimming and telemetry."""
    config: dict[str, Any] = {}
    if setup.trim is not None:
        config |= {"trim_bytes": setup.trim.size_bytes, "trim_class": setup.trim.traffic_class}
    if setup.telemetry:
        config["int_enabled"] = True
    if setup.sflow_interval:
        config["sflow_interval"] = setup.sflow_interval
    return config


@lru_cache(maxsize=16)
def _routes(
    fabric: Fabric, profile: SwitchProfile, rules: RuleOptions, cards_per_nic: int
) -> dict[str, dict[str, Any]]:
    """Each switch's tables as its ASIC holds them; the cells of an experiment have the same."""
    tables = switch_tables(fabric, rules, cards_per_nic=cards_per_nic)
    return _lowered(fabric, profile, tables, cards_per_nic)


def _lowered(
    fabric: Fabric, profile: SwitchProfile, tables: Tables, cards_per_nic: int
) -> dict[str, dict[str, Any]]:
    cards = len(fabric.endpoints) * cards_per_nic
    found = {}
    for name, of_switch in tables.items():
        check_tables(name, of_switch, profile)
        ports = [link.port_at(name) for link in fabric.links_of(name)]
        found[name] = lower(of_switch, cards=cards, ports=ports)
    return found


def _hash_seed(seed: int, name: str) -> int:
    """Each switch hashes flows in its own way, as with a per-device seed; all alike without a name."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "little")
