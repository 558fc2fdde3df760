"""From a resolved cell to the engine's plan data: profiles, forwarding rules and workload as plain integers.

Loads count payload bytes against the line rate of a card's port, so that every NIC model gets the same messages at the
same intended times; headers and acknowledgements come on top.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nic_emulator.setup import NicSetup
from testbed.controller.tables import Programme, Tables
from testbed.controller.timing import DEFAULT_RULES, RuleOptions
from testbed.links.features import link_features
from testbed.links.latency import link_latency_ps
from testbed.run.failure_plan import UNDISTURBED, FailurePlan, failure_plan
from testbed.run.nic_plan import nic_nodes
from testbed.run.resolve import Network
from testbed.run.schedule import Schedule
from testbed.run.switch_plan import switch_nodes
from testbed.spec.experiment import Cell
from testbed.spec.fabric import Fabric, Link
from testbed.switches.setup import SwitchSetup
from testbed.units import byte_time_ps


def cell_plan(
    cell: Cell,
    network: Network,
    *,
    schedule: Schedule,
    seed: int,
    measure_until_ps: int,
    given: Programme | None = None,
) -> dict[str, Any]:
    """`plan_data` of one cell of an experiment, with rules of its own or with those that are given."""
    return plan_data(
        network.fabric,
        switch=network.switch,
        nic=network.nic(cell),
        schedule=schedule,
        seed=seed,
        measure_until_ps=measure_until_ps,
        rules=given.first if given else network.control.rules,
        disturbed=failure_plan(
            network.fabric,
            network.switch.profile,
            network.control,
            network.failures,
            cards_per_nic=network.nic(cell).cards,
            given=given,
        ),
    )


def plan_data(
    fabric: Fabric,
    *,
    switch: SwitchSetup,
    nic: NicSetup,
    schedule: Schedule,
    seed: int,
    measure_until_ps: int,
    rules: RuleOptions | Tables = DEFAULT_RULES,
    disturbed: FailurePlan = UNDISTURBED,
) -> dict[str, Any]:
    """Everything the engine needs to run one cell until every message intended before a time is complete."""
    assert schedule.cards_per_nic == nic.cards, "a schedule is of the cards that its NICs have"
    nodes = [
        *nic_nodes(fabric, nic, switch, schedule, measure_until_ps),
        *switch_nodes(fabric, switch, seed, cards_per_nic=nic.cards, rules=rules),
    ]
    for node in nodes:
        node["config"] |= disturbed.nodes.get(node["name"], {})
    return {"seed": seed, "nodes": nodes, "links": _links(fabric, switch, disturbed)}


def _links(fabric: Fabric, switch: SwitchSetup, disturbed: FailurePlan) -> list[list[Any]]:
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
            *filter(None, [_features(link, switch, disturbed.links.get(index, {}))]),
        ]
        for index, link in enumerate(fabric.links)
    ]


def _features(link: Link, switch: SwitchSetup, disturbed: Mapping[str, list[Any]]) -> dict[str, Any]:
    """What a link loses, and what both its ends do about it; nothing for a sound link as it is."""
    latency_ps = switch.profile.links.llr_latency.number
    features = link_features(link, llr=switch.llr, llr_latency_ps=latency_ps, cbfc=switch.cbfc)
    return features | {name: features.get(name, []) + rows for name, rows in disturbed.items()}
