"""Links as LLDP has found them, beside those that the fabric should have. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from testbed.errors import FabricError
from testbed.spec.fabric import Fabric, interface_name

End: TypeAlias = tuple[str, int]
"""A switch and its port."""
Heard: TypeAlias = tuple[str, int, str, int]
"""Who sent, and where it was received: switch, port, switch, port."""


def wiring_problems(fabric: Fabric, heard: Iterable[Heard]) -> list[str]:
    """Every link between switches that is missing or leads elsewhere, a phrase each; and every one too many."""
    known = {switch.name for switch in fabric.switches}
    peers: dict[End, set[End]] = {}
    for sender, sender_port, receiver, receiver_port in heard:
        peers.setdefault((sender, sender_port), set()).add((receiver, receiver_port))
        peers.setdefault((receiver, receiver_port), set())
    problems: list[str] = []
    planned: set[End] = set()
    for link in fabric.links:
        ends = ((link.a, link.a_port), (link.b, link.b_port))
        if link.a in known and link.b in known:
            planned |= set(ends)
            for near, far in (ends, ends[::-1]):
                problems += _problems_of(near, far, peers.get(near, set()))
    for near in sorted(set(peers) - planned):
        problems += [
            f"{_name(near)} should lead to no switch, but leads to {_name(far)}" for far in peers[near]
        ]
    return problems


def _problems_of(near: End, planned: End, found: set[End]) -> list[str]:
    if not found:
        return [f"{_name(near)} should lead to {_name(planned)}, but nothing of it arrives anywhere"]
    wrong = sorted(found - {planned})
    return [f"{_name(near)} should lead to {_name(planned)}, but leads to {_name(far)}" for far in wrong]


def _name(end: End) -> str:
    return interface_name(*end)


def check_wiring(fabric: Fabric, heard: Iterable[Heard]) -> None:
    """Raise a `FabricError` that names every miswired and every missing link."""
    problems = wiring_problems(fabric, heard)
    if problems:
        raise FabricError(
            "the fabric is not wired as planned: " + "; ".join(problems),
            remedy="correct the cables, or the topology; nobody else may move interfaces of a fabric",
        )
