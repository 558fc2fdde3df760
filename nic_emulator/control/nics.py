"""The NICs of one process behind their sockets, and the plan that comes of what their clients loaded."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from nic_emulator.control.card import CardControl, Snapshot
from nic_emulator.control.protocol import Message
from nic_emulator.control.server import ControlServer
from testbed.engine.plan import PlanData, build_plan

_LOOK_S = 0.05
IDLE: Mapping[str, Any] = {"arrivals": "NONE"}
"""The workload of a card that has been given none."""

GroupSnapshot = tuple[int, int, Mapping[str, Mapping[str, int]]]
"""Virtual time [ps], messages completed, and counters by node, of one instant."""


def cards_of(node: Mapping[str, Any]) -> int:
    """Cards behind a NIC of plan data."""
    return len(node["workloads"]) if "workloads" in node else 1


def workloads_of(node: Mapping[str, Any]) -> list[Message]:
    """The workload of each card behind a NIC of plan data."""
    return [*node["workloads"]] if "workloads" in node else [node["workload"]]


def with_workloads(node: Mapping[str, Any], workloads: list[Message]) -> dict[str, Any]:
    """A NIC of plan data with other workloads."""
    if "workloads" in node:
        return {**node, "workloads": workloads}
    return {**node, "workload": workloads[0]}


def without_workloads(data: PlanData) -> dict[str, Any]:
    """Plan data whose NICs have nothing to do."""
    nodes = [
        with_workloads(node, [dict(IDLE)] * cards_of(node)) if node["kind"] == "nic" else node
        for node in data["nodes"]
    ]
    return {**data, "nodes": nodes}


class NicControls:
    """Serves NICs, each at its listening socket, from a thread of its own.

    Args:
        data: the plan; what it says of workloads is not looked at.
        listeners: the sockets, by entity.
    """

    def __init__(self, data: PlanData, listeners: Mapping[int, socket.socket]) -> None:
        self._data = data
        self._snapshot: Callable[[], GroupSnapshot] | None = None
        self._cards = {entity: self._control(entity) for entity in listeners}
        self._server = ControlServer(
            [(listener, self._cards[entity]) for entity, listener in listeners.items()]
        )

    def wait_started(self, patience_s: float, over: Callable[[], bool]) -> PlanData | None:
        """The plan with what the clients loaded, once each NIC has been told to start.

        None if that takes longer than `patience_s`, or if `over` says meanwhile that nobody wants it any more.
        """
        deadline_s = time.monotonic() + patience_s
        while not self._server.wait_started(_LOOK_S):
            if time.monotonic() > deadline_s or over():
                return None
        nodes = [*self._data["nodes"]]
        for entity, card in self._cards.items():
            nodes[entity] = with_workloads(nodes[entity], card.workloads)
        return {**self._data, "nodes": nodes}

    def not_started(self) -> list[str]:
        """The NICs that nobody has told to start so far."""
        return self._server.not_started()

    def read_from(self, snapshot: Callable[[], GroupSnapshot]) -> None:
        """Where counters come from, from now on; called from the server's thread."""
        self._snapshot = snapshot

    def end(self, reason: str) -> None:
        """The run is over: say so to every client, without waiting for any."""
        self._server.end(reason)

    def close(self) -> None:
        """Serve no longer."""
        self._server.close()

    def _control(self, entity: int) -> CardControl:
        node = self._data["nodes"][entity]
        cards = cards_of(node)
        endpoints = sum(other["kind"] == "nic" for other in self._data["nodes"])
        return CardControl(
            node["name"],
            first_card=entity * cards,
            cards=cards,
            fabric_cards=endpoints * cards,
            check_workload=workload_check(node),
            read_counters=lambda: self._read(node["name"]),
        )

    def _read(self, name: str) -> Snapshot:
        if self._snapshot is None:
            return 0, 0, {}
        now_ps, messages, counters = self._snapshot()
        return now_ps, messages, counters[name]


def workload_check(node: Mapping[str, Any]) -> Callable[[int, Message], None]:
    """Lets the engine judge a workload for one card of a NIC; ValueError if it refuses."""

    def check(card: int, workload: Message) -> None:
        workloads = [dict(IDLE)] * cards_of(node)
        workloads[card] = workload
        alone = {"seed": 0, "nodes": [with_workloads(node, workloads)], "links": []}
        try:
            build_plan(alone)
        except (AttributeError, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error

    return check
