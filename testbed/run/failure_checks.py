"""What is wrong with the failures of an experiment once its fabric is known. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from testbed.errors import Problems, SpecError
from testbed.spec.disturbance import check_node
from testbed.spec.experiment import Experiment
from testbed.spec.fabric import FOREVER_PS, Fabric
from testbed.spec.failures import Failure, parse_failures
from testbed.switches.setup import SwitchSetup
from testbed.units import format_rate, format_time

_NO_CONTROLLER = ("static", ".json")
"""Endings of those that are nobody who could be lost."""


def checked_failures(
    experiment: Experiment, fabric: Fabric, switch: SwitchSetup | None, problems: Problems
) -> tuple[Failure, ...]:
    """All failures of a variant; those that its fabric or its switches cannot have are named."""
    if not isinstance(experiment.failures, tuple):
        return ()  # experiment_problems has said so
    found: list[Failure] = []
    for index, text in enumerate(experiment.failures):
        try:
            failures = parse_failures([text]) if isinstance(text, str) else ()
        except SpecError:
            continue  # experiment_problems has said so
        try:
            if failures:
                _check(failures[0], experiment, fabric)
                _check_credits(failures[0], switch)
        except SpecError as error:
            problems.add(f"failures[{index}]", f"'{text}': {error}", error.remedy)
            continue
        found += failures
    _check_restarts(found, problems)
    return tuple(found)


def _check(failure: Failure, experiment: Experiment, fabric: Fabric) -> None:
    """One text, by the first time that it comes."""
    if failure.place is not None:
        failure.place.check(fabric.links)
        _check_rate(failure, fabric)
    elif failure.kind == "lost":
        if isinstance(experiment.controller, str) and experiment.controller.endswith(_NO_CONTROLLER):
            raise SpecError(
                f"with controller '{experiment.controller}' there is none that could be lost",
                remedy="leave it out, or set controller=ryu",
            )
    else:
        _check_node(failure, fabric)


def _check_rate(failure: Failure, fabric: Fabric) -> None:
    """A slow link is slower than it was."""
    for link in fabric.links:
        if failure.rate_bps and failure.toward(link) and failure.rate_bps >= link.rate_bps:
            raise SpecError(
                f"{format_rate(failure.rate_bps)} is not slower than the {format_rate(link.rate_bps)} of"
                f" {link.a}-{link.b}",
                remedy="write a lower rate",
            )


def _check_node(failure: Failure, fabric: Fabric) -> None:
    """Switches and cards restart; processes that stand in for a NIC are those of cards. A card must come back."""
    check_node(failure.where, fabric.node_names())
    is_card = failure.where not in {switch.name for switch in fabric.switches}
    if failure.kind == "process" and not is_card:
        raise SpecError(
            f"{failure.where} is a switch, and 'process' is of a NIC",
            remedy=f"write '{failure.where}@...:restart', or name a card",
        )
    if failure.kind == "restart" and is_card and failure.until_ps == FOREVER_PS:
        raise SpecError(
            f"{failure.where} never comes back, and so its messages never end",
            remedy=f"write an end, e.g. '{failure.where}@{format_time(failure.from_ps)}-"
            f"{format_time(failure.from_ps + 100_000_000)}:restart'",
        )


def _check_credits(failure: Failure, switch: SwitchSetup | None) -> None:
    """Credits that are lost are never granted again."""
    if switch is not None and switch.cbfc and failure.kind in ("down", "restart"):
        raise SpecError(
            "with credit-based flow control a neighbour would wait for ever for the credits that are lost then",
            remedy="write switch.cbfc=off",
        )


def _check_restarts(failures: Sequence[Failure], problems: Problems) -> None:
    """One node has one restart at a time; so has the controller."""
    by_node: dict[str, list[Failure]] = {}
    for failure in failures:
        if failure.place is None:
            by_node.setdefault(failure.where, []).append(failure)
    for one, other in _overlapping(by_node):
        problems.add(
            "failures",
            f"'{one.text}' and '{other.text}' are of {one.where} at one time",
            "let one end before the other begins",
        )


def _overlapping(by_node: Mapping[str, list[Failure]]) -> list[tuple[Failure, Failure]]:
    """The first two of each node that are at one time, or touch: it has not begun again then."""
    found = []
    for of_node in by_node.values():
        ordered = sorted(of_node, key=lambda failure: failure.from_ps)
        pairs = ((a, b) for a, b in itertools.pairwise(ordered) if b.from_ps <= a.until_ps)
        found += list(itertools.islice(pairs, 1))
    return found
