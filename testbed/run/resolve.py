"""From an experiment as written to one that can run: names looked up, fabric built, everything checked.

All that is wrong with a spec is named in one `SpecError`. Starts nothing and reads no file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.spec.experiment import Cell, Experiment, Scenario, experiment_problems
from testbed.spec.fabric import Fabric
from testbed.switches import SWITCHES, SwitchProfile
from topologies import MAX_ENDPOINTS, build_fabric


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An experiment with everything it names."""

    experiment: Experiment
    fabric: Fabric
    switch_profile: SwitchProfile
    cells: tuple[Cell, ...]


def resolve(experiment: Experiment, *, known_nics: Collection[str] | None = None) -> Resolved:
    """Look up and check everything; `known_nics` names the NIC profiles, by default those of the tree."""
    problems = experiment_problems(experiment)
    _check_nics(experiment, nic_names() if known_nics is None else known_nics, problems)
    profile = _switch_profile(experiment, problems)
    fabric = _fabric(experiment, problems)
    if fabric is not None:
        _check_endpoints(fabric, problems)
        _check_scenarios(experiment, fabric, problems)
        if profile is not None:
            _check_switch_ports(fabric, profile, problems)
    problems.raise_if_any()
    assert fabric is not None
    assert profile is not None
    return Resolved(experiment=experiment, fabric=fabric, switch_profile=profile, cells=experiment.cells())


def nic_names() -> tuple[str, ...]:
    """The NIC profiles of the tree."""
    from nic_emulator import NICS  # the profiles are only needed by name here

    return tuple(NICS.names())


def _check_nics(experiment: Experiment, known: Collection[str], problems: Problems) -> None:
    """Every NIC must have a profile."""
    if not isinstance(experiment.nics, tuple):
        return
    for index, nic in enumerate(experiment.nics):
        if isinstance(nic, str) and nic not in known:
            error = unknown_name("NIC", nic, known)
            problems.add(f"nics[{index}]", str(error), error.remedy)


def _switch_profile(experiment: Experiment, problems: Problems) -> SwitchProfile | None:
    """The switch, if it is known."""
    if not isinstance(experiment.switch, str) or not experiment.switch.strip():
        return None  # experiment_problems has said so
    try:
        return SWITCHES.get(experiment.switch)
    except SpecError as error:
        problems.add("switch", str(error), error.remedy)
        return None


def _fabric(experiment: Experiment, problems: Problems) -> Fabric | None:
    """The fabric, if its topology is known and takes the parameters."""
    named = isinstance(experiment.topology, str) and experiment.topology.strip()
    if not named or not isinstance(experiment.topology_parameters, Mapping):
        return None  # experiment_problems has said so
    try:
        return build_fabric(experiment.topology, experiment.topology_parameters)
    except SpecError as error:
        problems.absorb(error, path="topology_parameters" if error.problems else "topology")
        return None


def _check_endpoints(fabric: Fabric, problems: Problems) -> None:
    """Not more than the engine has ids for; at least two, or no message could go anywhere."""
    number = len(fabric.endpoints)
    if number > MAX_ENDPOINTS:
        problems.add("topology_parameters", f"{number:,} endpoints", f"use at most {MAX_ENDPOINTS:,}")
    if number < 2:
        problems.add("topology_parameters", f"{number} endpoint has no peer to send to", "use at least 2")


def _check_scenarios(experiment: Experiment, fabric: Fabric, problems: Problems) -> None:
    """An incast needs more endpoints than senders."""
    number = len(fabric.endpoints)
    for index, scenario in enumerate(experiment.scenarios):
        if not isinstance(scenario, Scenario) or scenario.kind != "incast":
            continue
        if isinstance(scenario.fan_in, int) and scenario.fan_in >= number:
            problems.add(
                f"scenarios[{index}].fan_in",
                f"{scenario.fan_in} senders and a receiver, but only {number} endpoints",
                f"use at most {number - 1}, or more endpoints",
            )


def _check_switch_ports(fabric: Fabric, profile: SwitchProfile, problems: Problems) -> None:
    """Each switch must have the ports that the fabric uses; switches alike are named once."""
    first: dict[tuple[int, ...], str] = {}
    for switch in fabric.switches:
        rates = tuple(sorted(link.rate_bps for link in fabric.links_of(switch.name)))
        first.setdefault(rates, switch.name)
    for rates, name in first.items():
        try:
            profile.check_ports(rates)
        except SpecError as error:
            problems.add("switch", f"as {name} of the fabric: {error}", error.remedy)
