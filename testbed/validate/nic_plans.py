"""Plans of NICs as their profiles have them, around one switch; and of NICs that cost nothing but their headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nic_emulator import NICS
from nic_emulator.profile import NicProfile, OpName
from nic_emulator.setup import NicSetup, configured
from testbed.run.plan import plan_data
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Cell, Scenario
from testbed.spec.fabric import Fabric
from testbed.spec.parameters import ParameterValue
from testbed.switches import SWITCHES
from testbed.switches.setup import configured as configured_switch
from testbed.validate.plans import Data, Field, stages
from topologies import build_fabric

Settings = Mapping[str, ParameterValue]
QUIET: Settings = {"host_stalls": "off", "host_jitter": "off"}
"""Host software that nothing disturbs."""
IDLE: Data = {"arrivals": "NONE"}


def setup_of(nic: str, settings: Settings) -> NicSetup:
    """A NIC under settings; its host software, if it has any, is never disturbed."""
    profile = NICS.get(nic)
    found = configured(profile, settings)
    software = any(stage.software for stage in found.profile.stages)
    return configured(profile, {**settings, **QUIET}) if software else found


def profile_of(nic: str) -> NicProfile:
    """What is known of a NIC, whatever its settings."""
    return NICS.get(nic)


def around_switch(
    setup: NicSetup,
    workloads: Sequence[Data],
    *,
    size_bytes: int,
    op: OpName = "put",
    switch: str = "ideal",
    switch_settings: Settings | None = None,
    rate: str = "400Gbps",
    fabric: Fabric | None = None,
    seed: int = 1,
) -> Data:
    """NICs around one switch over 3 m of copper (1 m at 800G); each card has its workload; or another fabric."""
    nics = len(workloads) // setup.cards
    if fabric is None:
        length = "1m" if rate == "800Gbps" else "3m"
        fabric = build_fabric("single_switch", {"cards": nics, "rate": rate, "length": length})
    scenario = Scenario(name="validate", kind="idle", op=op)
    cell = Cell(scenario=scenario, size_bytes=size_bytes, nic=setup.profile.name)
    data = plan_data(
        fabric,
        switch=configured_switch(SWITCHES.get(switch), switch_settings or {}),
        nic=setup,
        schedule=schedule_of(cell, fabric, cards_per_nic=setup.cards),
        seed=seed,
        measure_until_ps=1,
    )
    for number, node in enumerate(data["nodes"][:nics]):
        asked = node.pop("workload", None) or node.pop("workloads")[0]
        kind = {"op": asked["op"]} if "op" in asked else {}
        mine = [
            load | kind | {"message_bytes": size_bytes}
            for load in workloads[number * setup.cards : (number + 1) * setup.cards]
        ]
        node |= {"workload": mine[0]} if setup.cards == 1 else {"workloads": mine}
    return data


def without_stages(data: Data, **config: Field) -> Data:
    """The same plan with NICs that take no time, and fields of their configuration replaced."""
    nothing = {"ingress_latency_ps": 0, "ack_latency_ps": 0}
    nodes = [
        {**node, "stages": stages(), "config": node["config"] | nothing | config}
        if node["kind"] == "nic"
        else node
        for node in data["nodes"]
    ]
    return {**data, "nodes": nodes}
