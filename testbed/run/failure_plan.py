"""Failures as the engine's plan names them: what links do to frames meanwhile, what switches know of their ports, who
restarts, and which tables follow. Pure.

A link without carrier loses all frames that start in the directions concerned, until its ports are up again. A bit
error ratio p loses a frame of b bytes with 1 - (1 - p)^8b, taken as 8 b p, which is too much by a share of at most
4 b p; from 8 b p = 1 on all are lost. Of what is on a link at a time the greatest counts. Frames that are already on
their way arrive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from testbed.controller.asic import check_tables, lower_updates
from testbed.controller.carrier import port_events, union, unusable_spans
from testbed.controller.reaction import programme
from testbed.controller.tables import Programme, TableUpdate
from testbed.controller.timing import ControlSetup
from testbed.spec.fabric import Fabric, Link
from testbed.spec.failures import Failure
from testbed.switches.profile import SwitchProfile
from testbed.units import PPM_PER_WHOLE, RATIO_UNIT, byte_time_ps

Rows: TypeAlias = list[list[int]]

_WHOLE_2P64 = 2**64
_ALL_2P64 = _WHOLE_2P64 - 1
"""The engine's nearest to certainty: it spares one frame in 2^64."""
_SILENT = ("loss", "ber")
_SLOW = ("rate", "delay")


@dataclass(frozen=True, slots=True, kw_only=True)
class FailurePlan:
    """What a plan holds more than one without failures; nothing of what has none."""

    links: Mapping[int, Mapping[str, Rows]] = field(default_factory=dict)
    """By place in `fabric.links`: `dark`, `faults` and `slow`."""
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By name: `port_states`, `restarts`, `updates` and `packet_outs`."""


UNDISTURBED = FailurePlan()


def failure_plan(
    fabric: Fabric,
    profile: SwitchProfile,
    control: ControlSetup,
    failures: Sequence[Failure],
    *,
    cards_per_nic: int = 1,
    given: Programme | None = None,
) -> FailurePlan:
    """Everything that an experiment's failures, and what the control plane makes of them, put into a plan.

    A programme that is `given` stands in for what the testbed's own application would do; frames without a rule then go
    to the CPU port.
    """
    if not failures and given is None:
        return UNDISTURBED
    rules = given or programme(fabric, control, failures, cards_per_nic=cards_per_nic)
    nodes: dict[str, dict[str, Any]] = {}
    for what, found in (
        ("port_states", _port_states(fabric, control, failures)),
        ("restarts", _restarts(failures)),
        ("updates", _updates(fabric, profile, rules, cards_per_nic)),
    ):
        for name, rows in found.items():
            nodes.setdefault(name, {})[what] = rows
    if given is not None:
        for name in given.first:
            nodes.setdefault(name, {})["punt_latency_ps"] = control.control_latency_ps
        for out in given.packet_outs:
            sent = nodes[out.switch].setdefault("packet_outs", [])
            sent.append([out.time_ps, out.port, out.frame.hex()])
    return FailurePlan(links=_links(fabric, control, failures), nodes=nodes)


def _updates(
    fabric: Fabric, profile: SwitchProfile, rules: Programme, cards_per_nic: int
) -> dict[str, list[dict[str, Any]]]:
    """By switch: the tables that the controller's reactions bring, each of which the ASIC must hold."""
    updates: dict[str, list[TableUpdate]] = {}
    for update in rules.updates:
        check_tables(update.switch, update.tables, profile)
        updates.setdefault(update.switch, []).append(update)
    cards = len(fabric.endpoints) * cards_per_nic
    return {
        name: lower_updates(
            rules.first[name],
            of_switch,
            cards=cards,
            ports=[link.port_at(name) for link in fabric.links_of(name)],
        )
        for name, of_switch in updates.items()
    }


def _links(
    fabric: Fabric, control: ControlSetup, failures: Sequence[Failure]
) -> dict[int, Mapping[str, Rows]]:
    """What each link that has any does to frames."""
    found: dict[int, Mapping[str, Rows]] = {}
    for index, link in enumerate(fabric.links):
        of_link = [one for one in failures if one.toward(link) or _is_dark_end(one, link)]
        if not of_link:
            continue
        features = {
            "dark": list(_dark(link, control, of_link)),
            "faults": list(_lossy(link, of_link)),
            "slow": list(_slow(link, of_link)),
        }
        if any(features.values()):
            found[index] = {name: rows for name, rows in features.items() if rows}
    return found


def _is_dark_end(failure: Failure, link: Link) -> bool:
    """Whether an end of a link restarts."""
    return failure.kind == "restart" and failure.where in (link.a, link.b)


def _toward(link: Link) -> Iterator[tuple[int, str]]:
    """The engine's numbers of both directions, with the end that receives."""
    yield 0, link.b
    yield 1, link.a


def _dark(link: Link, control: ControlSetup, failures: Sequence[Failure]) -> Iterator[list[int]]:
    """All frames are lost, by direction, until the ports are up again."""
    for direction, end in _toward(link):
        dark = union(
            (one.from_ps, one.until_ps)
            for one in failures
            if _is_dark_end(one, link) or (one.kind == "down" and end in one.toward(link))
        )
        spans = unusable_spans(dark, detection_ps=control.detection_ps, link_up_ps=control.link_up_ps)
        for from_ps, until_ps, _ in spans:
            yield [direction, from_ps, until_ps]


def _lossy(link: Link, failures: Sequence[Failure]) -> Iterator[list[int]]:
    """Some frames are lost, and the ports know nothing of it."""
    for direction, end in _toward(link):
        for one in failures:
            if one.kind not in _SILENT or end not in one.toward(link):
                continue
            base = min(_WHOLE_2P64 * one.loss_ppm // PPM_PER_WHOLE, _ALL_2P64)
            per_byte = min(_WHOLE_2P64 * 8 * one.ber_e18 // RATIO_UNIT, _ALL_2P64)
            yield [direction, one.from_ps, one.until_ps, base, *[per_byte] * bool(per_byte)]


def _slow(link: Link, failures: Sequence[Failure]) -> Iterator[list[int]]:
    """Frames take longer, at the rate or on their way."""
    rated_ps = byte_time_ps(link.rate_bps)
    for direction, end in _toward(link):
        for one in failures:
            if one.kind in _SLOW and end in one.toward(link):
                byte_ps = byte_time_ps(one.rate_bps) if one.rate_bps else rated_ps
                yield [direction, one.from_ps, one.until_ps, byte_ps, one.delay_ps]


def _port_states(fabric: Fabric, control: ControlSetup, failures: Sequence[Failure]) -> dict[str, Rows]:
    """What each switch knows of its ports, from when on; NICs do not look."""
    switches = {switch.name for switch in fabric.switches}
    found: dict[str, Rows] = {}
    events = port_events(fabric, failures, detection_ps=control.detection_ps, link_up_ps=control.link_up_ps)
    for event in events:
        link = fabric.links[event.link]
        for name in {link.a, link.b} & switches:
            found.setdefault(name, []).append([event.time_ps, link.port_at(name), int(event.up)])
    return {name: sorted(rows) for name, rows in found.items()}


def _restarts(failures: Sequence[Failure]) -> Mapping[str, Rows]:
    """When each node is away. A process that stands in for a NIC may be another one: the NIC does not notice."""
    found: dict[str, Rows] = {}
    for one in failures:
        if one.kind == "restart":
            found.setdefault(one.where, []).append([one.from_ps, one.until_ps])
    return {name: sorted(rows) for name, rows in found.items()}
