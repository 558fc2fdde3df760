"""From plain data to the engine's plan. The data is JSON, so that every process of a run builds the same plan.

Shape: `{"seed", "nodes": [...], "links": [[a, a_port, b, b_port, byte_time_ps, latency_ps], ...]}`, where
a link may have a seventh item, a mapping of its features (`read_features` in bindings_models.cpp), with `faults`
[[direction, from_ps, until_ps, loss_base_2p64, loss_per_byte_2p64 (0 if not there)], ...] and `slow` [[direction,
from_ps, until_ps, byte_time_ps, extra_latency_ps], ...]; a node is
`{"kind": "nic", "name", "config", "stages", "workload"}`, with `workloads` (a list) where its NIC has several
cards, or `{"kind", "name", "config"}` with the kind `switch` or `voq_switch`; `config` and `workload` hold the
fields of the engine's NicConfig, SwitchConfig, VoqSwitchConfig and WorkloadConfig by name.

The tables of a switch are `groups`, `weights`, `watched` (by group: 0 plain, 1 the ports that are up, 2 the
first that is up), `route` and `ingress_routes` (`[[in_port, routes], ...]`); a route is a group, NO_ROUTE,
DROP_ROUTE or CPU_ROUTE. What changes them: `updates` (`[{"time_ps", tables ...}, ...]`), `port_states`
(`[[time_ps, port, 0 or 1], ...]`) and `restarts` (`[[from_ps, until_ps], ...]`), each in order of time. What its CPU
sends: `packet_outs` (`[[time_ps, port, frame with its trailer in hexadecimal], ...]`), likewise.
Imports the extension only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from testbed.engine import _engine

PlanData = Mapping[str, Any]

_Config = TypeVar("_Config")

_ENUMS: dict[str, Any] = {
    "format": _engine.WireFormat,
    "arrivals": _engine.Arrivals,
    "op": _engine.Op,
    "path_choice": _engine.PathChoice,
}


def build_plan(data: PlanData) -> _engine.Plan:
    """The engine's plan for plain data; raises ValueError for what no node can be."""
    plan = _engine.Plan(data["seed"])
    for node in data["nodes"]:
        _add_node(plan, node)
    for link in data["links"]:
        plan.add_link(*link)
    return plan


def _add_node(plan: _engine.Plan, node: Mapping[str, Any]) -> None:
    """One NIC or switch; ValueError for another kind."""
    if node["kind"] == "nic":
        config = _filled(_engine.NicConfig(), node["config"])
        for place, stages in node["stages"].items():
            config.set_stages(place, [_stage(stage) for stage in stages])
        workloads = node["workloads"] if "workloads" in node else [node["workload"]]
        plan.add_nic(node["name"], config, [_filled(_engine.WorkloadConfig(), one) for one in workloads])
    elif node["kind"] == "switch":
        plan.add_switch(node["name"], _filled(_engine.SwitchConfig(), node["config"]))
    elif node["kind"] == "voq_switch":
        plan.add_voq_switch(node["name"], _filled(_engine.VoqSwitchConfig(), node["config"]))
    else:
        raise ValueError(f"no node is a {node['kind']!r}")


def _filled(config: _Config, values: Mapping[str, Any]) -> _Config:
    """A configuration with its fields set; an unknown field is an AttributeError."""
    for name, value in values.items():
        if name == "packet_outs":
            value = [(time_ps, port, bytes.fromhex(frame)) for time_ps, port, frame in value]
        setattr(config, name, getattr(_ENUMS[name], value) if name in _ENUMS else value)
    return config


def _stage(data: Mapping[str, Any]) -> _engine.StageConfig:
    """One stage."""
    plain = {name: value for name, value in data.items() if name not in ("jitter", "stall", "wake")}
    stage = _filled(_engine.StageConfig(), plain)
    stage.set_jitter(_points(data.get("jitter", ())))
    stage.set_stall(_points(data.get("stall", ())))
    stage.set_wake(_points(data.get("wake", ())))
    return stage


def _points(table: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """(probability in ppm, ps) as (probability in 2^-32, ps)."""
    return [((ppm << 32) // 1_000_000, ps) for ppm, ps in table]
