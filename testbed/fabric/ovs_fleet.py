"""The Open vSwitch of a whole fabric: one instance where the kernel forwards, else as many as its ports ask for.

In user space a daemon looks at each of its ports whenever it wakes, and again for each bridge that it makes; and the
kernel takes back the packet sockets of a process that ends one after another, some milliseconds each (`packet_release`
waits for `synchronize_net` [linux: net/packet/af_packet.c]). Several daemons with few ports each do all that side by
side. Each has a network namespace of its own, for a datapath in user space has a port of a fixed name, `ovs-netdev`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from testbed.fabric.ovs_instance import Bridge, Datapath, OpenVSwitch
from testbed.fabric.state import RunState

Answer = TypeVar("Answer")

MAX_PORTS = 160
"""Of one daemon in user space; a bridge that has more has a daemon to itself."""
_AT_ONCE = 32
"""Programs that ask the daemons something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """The bridges of one instance."""

    bridges: tuple[Bridge, ...]
    netns_pid: int
    """A process in the network namespace of their ports."""


def shares(bridges: Sequence[Bridge]) -> list[tuple[Bridge, ...]]:
    """The bridges that each instance in user space has, in their order."""
    found: list[list[Bridge]] = [[]]
    ports = 0
    for bridge in bridges:
        if found[-1] and ports + len(bridge.ports) > MAX_PORTS:
            found.append([])
            ports = 0
        found[-1].append(bridge)
        ports += len(bridge.ports)
    return [tuple(share) for share in found]


class Fleet:
    """All instances of a control plane."""

    def __init__(self, *, datapath: Datapath, directory: Path, state: RunState) -> None:
        self.datapath: Datapath = datapath
        self._directory = directory
        self._state = state
        self._instances: list[tuple[OpenVSwitch, Share]] = []
        self._of: dict[str, OpenVSwitch] = {}

    def start(self, found: Sequence[Share]) -> None:
        """Start the daemons, which then have no bridge."""
        for number, share in enumerate(found, start=1):
            directory = self._directory if number == 1 else self._directory / f"{number}"
            directory.mkdir(mode=0o700, exist_ok=True)
            instance = OpenVSwitch(
                netns_pid=share.netns_pid, directory=directory, datapath=self.datapath, state=self._state
            )
            self._instances.append((instance, share))
            self._of |= {bridge.name: instance for bridge in share.bridges}
            instance.start()

    def add(self, *, controller: str) -> None:
        """Make all bridges; when it returns, they have their ports."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda one: one[0].add(one[1].bridges, controller=controller), self._instances):
                pass

    def version(self) -> str:
        """Of Open vSwitch."""
        return self._instances[0][0].version()

    def processes(self) -> dict[str, int]:
        """The daemons; those of the first instance have no number."""
        return {
            name if number == 1 else f"{name} {number}": pid
            for number, (instance, _) in enumerate(self._instances, start=1)
            for name, pid in instance.processes().items()
        }

    def ask(
        self, question: Callable[[OpenVSwitch, str], Answer], bridges: Iterable[str]
    ) -> dict[str, Answer]:
        """What an instance says of each of its bridges, all asked at once."""
        names = list(bridges)
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return dict(zip(names, pool.map(lambda name: question(self._of[name], name), names), strict=True))

    def stop(self) -> None:
        """End all daemons, and wait for them."""
        for instance, _ in self._instances:
            instance.end()
        for instance, _ in self._instances:
            instance.stop()
        self._instances.clear()
