"""From an experiment as written to one that can run: names looked up, fabrics built, everything checked.

All that is wrong with a spec is named in one `SpecError`. Starts nothing and reads no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from nic_emulator import NICS
from nic_emulator.setup import NicSetup, configured_all
from testbed.controller.carrier import CarrierEvent, port_events
from testbed.controller.timing import ControlSetup
from testbed.controller.timing import configured as configured_control
from testbed.errors import Problems, SpecError
from testbed.registry import unknown_name
from testbed.run.failure_checks import checked_failures
from testbed.spec.experiment import (
    FAN_IN_KINDS,
    MAX_SIZE_BYTES,
    Cell,
    Experiment,
    HostAgents,
    Operation,
    Scenario,
    Variant,
    experiment_problems,
)
from testbed.spec.fabric import Fabric
from testbed.spec.failures import Failure
from testbed.spec.parameters import Parameters
from testbed.switches import SWITCHES
from testbed.switches.setup import SwitchSetup, configured
from topologies import MAX_ENDPOINTS, build_fabric

MAX_PACKETS = 32_768
"""Of a message: a frame has 16 bits for their number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What one variant runs on."""

    variant: str
    """Empty where an experiment has no variants."""
    fabric: Fabric
    switch: SwitchSetup
    nics: Mapping[str, NicSetup]
    host_agents: HostAgents = ""
    """What befalls the hosts' control processes, on real frames."""
    failures: tuple[Failure, ...] = ()
    """What goes wrong, each time that it does."""
    control: ControlSetup
    """What the switches' rules are, and how soon they follow a failure."""

    def nic(self, cell: Cell) -> NicSetup:
        """The NIC of a cell."""
        return self.nics[cell.nic]

    def port_events(self) -> tuple[CarrierEvent, ...]:
        """What its switches notice of links that fail and return."""
        control = self.control
        return port_events(
            self.fabric,
            self.failures,
            detection_ps=control.detection_ps,
            link_up_ps=control.link_up_ps,
        )

    def in_short(self) -> tuple[Fabric, str, int]:
        """Fabric, switch, and how many cards the NICs have."""
        return self.fabric, self.switch.profile.name, max(nic.cards for nic in self.nics.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An experiment with everything it names."""

    experiment: Experiment
    networks: tuple[Network, ...]
    """One for each variant, in the experiment's order; one alone without variants."""
    cells: tuple[Cell, ...]

    def network(self, cell: Cell) -> Network:
        """What a cell runs on."""
        return next(network for network in self.networks if network.variant == cell.variant)

    @property
    def fabric(self) -> Fabric:
        """The fabric of an experiment without variants; else that of the first."""
        return self.networks[0].fabric

    @property
    def switch(self) -> SwitchSetup:
        """The switch of an experiment without variants; else that of the first."""
        return self.networks[0].switch


def resolve(experiment: Experiment) -> Resolved:
    """Look up and check everything."""
    problems = experiment_problems(experiment)
    _check_nics(experiment, problems)
    networks = _networks(experiment, problems)
    problems.raise_if_any()
    return Resolved(experiment=experiment, networks=networks, cells=experiment.cells())


def _check_nics(experiment: Experiment, problems: Problems) -> None:
    """Every NIC must have a profile."""
    if not isinstance(experiment.nics, tuple):
        return
    for index, nic in enumerate(experiment.nics):
        if isinstance(nic, str) and nic not in NICS:
            error = unknown_name("NIC", nic, NICS.names())
            problems.add(f"nics[{index}]", str(error), error.remedy)


def _known(experiment: Experiment) -> list[str]:
    """Its NICs that have a profile."""
    return [nic for nic in experiment.nics if isinstance(nic, str) and nic in NICS]


def _networks(experiment: Experiment, problems: Problems) -> tuple[Network, ...]:
    """The network of each variant; a fault that all variants share is the experiment's, and named once."""
    if not isinstance(experiment.variants, tuple) or not _is_sound(experiment):
        return ()  # experiment_problems has said so
    variants = [one for one in experiment.variants if isinstance(one, Variant) and _is_sound(one)]
    found = {variant.name: Problems() for variant in variants} or {"": Problems()}
    specs = [(variant.name, experiment.of_variant(variant)) for variant in variants] or [("", experiment)]
    networks = [_network(name, spec, found[name]) for name, spec in specs]
    shared = [
        one for one in next(iter(found.values())) if all(one in list(others) for others in found.values())
    ]
    for problem in shared:
        problems.add(problem.path, problem.problem, problem.remedy)
    for name, own in found.items():
        for problem in own:
            if problem not in shared:
                problems.add(f"variant '{name}': {problem.path}", problem.problem, problem.remedy)
    return tuple(network for network in networks if network is not None)


def _network(name: str, experiment: Experiment, problems: Problems) -> Network | None:
    """Fabric and switch of one variant."""
    fabric, switch, nics, control = (
        _fabric(experiment, problems),
        _switch(experiment, problems),
        _nics(experiment, problems),
        _control(experiment, problems),
    )
    failures: tuple[Failure, ...] = ()
    if fabric is not None:
        failures = checked_failures(experiment, fabric, switch, problems)
        _check_endpoints(fabric, problems)
        _check_scenarios(experiment, fabric, nics or {}, problems)
        for nic in (nics or {}).values():
            _check_cards(nic, fabric, problems)
            _check_messages(nic, experiment, problems)
        if switch is not None:
            _check_switch_ports(fabric, switch, problems)
            for nic in (nics or {}).values():
                _check_telemetry(nic, switch, problems)
    if fabric is None or switch is None or nics is None or control is None:
        return None
    return Network(
        variant=name,
        fabric=fabric,
        switch=switch,
        nics=nics,
        host_agents=experiment.host_agents,
        failures=failures,
        control=control,
    )


def _is_sound(spec: Experiment | Variant) -> bool:
    """Whether what names a network has the types it should have."""
    parameters = (spec.topology_parameters, spec.switch_settings, spec.nic_settings, spec.control_settings)
    return isinstance(spec.switch, str) and all(isinstance(one, Parameters) for one in parameters)


def _switch(experiment: Experiment, problems: Problems) -> SwitchSetup | None:
    """The switch with what the experiment sets of it, if it is known and takes that."""
    if not experiment.switch.strip():
        return None  # experiment_problems has said so
    try:
        profile = SWITCHES.get(experiment.switch)
    except SpecError as error:
        problems.add("switch", str(error), error.remedy)
        return None
    try:
        return configured(profile, experiment.switch_settings)
    except SpecError as error:
        problems.absorb(error, path="switch_settings")
        return None


def _control(experiment: Experiment, problems: Problems) -> ControlSetup | None:
    """The control plane with what the experiment sets of it, if it takes that."""
    try:
        return configured_control(experiment.control_settings)
    except SpecError as error:
        problems.absorb(error, path="control_settings")
        return None


def _nics(experiment: Experiment, problems: Problems) -> dict[str, NicSetup] | None:
    """The NICs with what the experiment sets of them, if they take that."""
    if not isinstance(experiment.nics, tuple):
        return None  # experiment_problems has said so
    try:
        return configured_all(_known(experiment), experiment.nic_settings, known=NICS)
    except SpecError as error:
        problems.absorb(error, path="nic_settings")
        return None


def _fabric(experiment: Experiment, problems: Problems) -> Fabric | None:
    """The fabric, if its topology is known and takes the parameters."""
    if not isinstance(experiment.topology, str) or not experiment.topology.strip():
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


def _check_scenarios(
    experiment: Experiment, fabric: Fabric, nics: Mapping[str, NicSetup], problems: Problems
) -> None:
    """Senders need cards of their own, and not behind the receiver's NIC; so does a victim, and where it sends to."""
    number = len(fabric.endpoints)
    several = min((nic.cards for nic in nics.values()), default=1)
    for index, scenario in enumerate(experiment.scenarios):
        if not isinstance(scenario, Scenario):
            continue
        _check_cards_of(scenario, fabric, nics, f"scenarios[{index}]", problems)
        if scenario.kind not in FAN_IN_KINDS:
            continue
        if scenario.kind == "victim" and any(nic.cards > 1 for nic in nics.values()):
            problems.add(
                f"scenarios[{index}].kind",
                "a victim's incast is of NICs with one card each",
                "leave out nic_settings.cards, or use kind='incast'",
            )
        others = 1 if scenario.kind == "incast" else 3
        most = (number - others) * several
        if isinstance(scenario.fan_in, int) and scenario.fan_in > most:
            others_text = "a receiver" if others == 1 else "a receiver, a victim and its destination"
            cards_text = "" if several == 1 else f" of {several} cards"
            problems.add(
                f"scenarios[{index}].fan_in",
                f"{scenario.fan_in} senders and {others_text}, but only {number} endpoints{cards_text}",
                f"use at most {most}, or more endpoints",
            )


def _check_cards_of(
    scenario: Scenario, fabric: Fabric, nics: Mapping[str, NicSetup], path: str, problems: Problems
) -> None:
    """Pairs need an even number of cards; cards with a load each must leave their port below its rate."""
    for nic in nics.values():
        if scenario.kind == "pairs" and len(fabric.endpoints) * nic.cards % 2:
            problems.add(path, "an odd number of cards, of which one is in no pair", "use an even number")
        if scenario.load_of == "card" and scenario.load_permille * nic.cards >= 1000:
            problems.add(
                f"{path}.load_permille",
                f"{nic.cards} cards of {scenario.load_permille} permille each are no steady load of one port",
                f"write less than {1000 // nic.cards}",
            )


def _check_cards(nic: NicSetup, fabric: Fabric, problems: Problems) -> None:
    """Not more cards than the engine has numbers for; all on one switch, where the NIC knows no other."""
    cards = len(fabric.endpoints) * nic.cards
    if nic.cards > 1 and cards > MAX_ENDPOINTS:
        problems.add("nic_settings.cards", f"{cards:,} cards", f"use at most {MAX_ENDPOINTS:,}")
    near = {fabric.neighbours(endpoint.name)[0] for endpoint in fabric.endpoints}
    if nic.profile.single_hop and len(near) > 1:
        problems.add(
            "topology",
            f"{nic.profile.name} reaches cards on its own switch, and these are on {len(near)}",
            "use single_switch, or squadrack with switches=1",
        )


def _check_telemetry(nic: NicSetup, switch: SwitchSetup, problems: Problems) -> None:
    """A packet that messages share has no room for telemetry."""
    if switch.telemetry and nic.profile.wire_format == "thin" and nic.profile.batching is not None:
        problems.add(
            "nic_settings.batch",
            f"packets of {nic.profile.name} with in-band telemetry hold one message",
            "set batch=off, or int=off of the switches",
        )


def _check_messages(nic: NicSetup, experiment: Experiment, problems: Problems) -> None:
    """The NIC must do what scenarios ask for, and number all packets of a message."""
    name, mtu_bytes = nic.profile.name, nic.profile.mtu_bytes.number
    for index, scenario in enumerate(experiment.scenarios):
        op = scenario.op if isinstance(scenario, Scenario) else None
        if op in get_args(Operation) and op not in nic.profile.ops:
            problems.add(
                f"scenarios[{index}].op",
                f"{name} cannot {op}, as it is set",
                f"leave {name} out, or use one of: {', '.join(nic.profile.ops)}",
            )
    for index, size_bytes in enumerate(experiment.sizes_bytes):
        if isinstance(size_bytes, int) and MAX_PACKETS * mtu_bytes < size_bytes <= MAX_SIZE_BYTES:
            problems.add(
                f"sizes_bytes[{index}]",
                f"a message of {size_bytes:,} bytes has more than {MAX_PACKETS:,} packets of {name}",
                "use smaller messages, or a larger nic_settings.mtu",
            )


def _check_switch_ports(fabric: Fabric, setup: SwitchSetup, problems: Problems) -> None:
    """Each switch must have the ports that the fabric uses; switches alike are named once."""
    first: dict[tuple[int, ...], str] = {}
    for switch in fabric.switches:
        rates = tuple(sorted(link.rate_bps for link in fabric.links_of(switch.name)))
        first.setdefault(rates, switch.name)
    for rates, name in first.items():
        try:
            setup.profile.check_ports(rates)
        except SpecError as error:
            problems.add("switch", f"as {name} of the fabric: {error}", error.remedy)
