"""Builds a fabric as namespaces and veth pairs under Mininet, and takes it down without a trace.

Every endpoint and every switch has namespaces of its own, which live as long as its holder process. The
holders end with the orchestrator, however that ends, so not even SIGKILL leaves a namespace or an interface.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from testbed import process_table
from testbed.errors import FabricError
from testbed.fabric import wiring
from testbed.fabric.capacity import check_capacity, check_machine, raise_descriptor_limit
from testbed.fabric.holders import Holders
from testbed.fabric.processes import Supervisor
from testbed.fabric.state import RunState, read_state
from testbed.spec.fabric import Fabric, interface_name

Progress = Callable[[str], None]

_BATCH_DEADLINE_S = 1200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveFabric:
    """A fabric that stands."""

    fabric: Fabric
    net: Any
    """The Mininet object."""
    pids: Mapping[str, int]
    """The process that holds each node's namespaces."""
    holder_pid: int
    """The parent of all of these."""

    def netns_pid(self, name: str) -> int:
        """A process whose /proc/PID/ns/net is the node's network namespace."""
        return self.pids[name]

    def interface(self, name: str, port: int) -> str:
        """The name of a port's interface inside its node's namespace."""
        return interface_name(name, port)

    def processes(self) -> dict[str, int]:
        """The fabric's own processes by name, to be watched beside those of the run."""
        return {"namespaces": self.holder_pid} | {
            f"namespace of {name}": pid for name, pid in self.pids.items()
        }


@contextmanager
def build_fabric(
    fabric: Fabric, *, state: RunState, progress: Progress | None = None
) -> Iterator[LiveFabric]:
    """A context in which the fabric stands; whatever ends the context, nothing of the fabric is left."""
    say = progress or (lambda _step: None)
    check_machine()
    check_capacity(fabric)
    raise_descriptor_limit(fabric)
    # Only here: Mininet is needed to build a fabric, not to clean up after one.
    from testbed.fabric.mininet_nodes import end_processes, make_network

    names = fabric.node_names()
    with ExitStack() as stack:
        say("namespaces")
        holders = Holders()
        stack.callback(holders.stop)
        state.record_child("namespaces", holders.pid)
        pids = holders.start(names)
        state.record_children({f"namespace of {name}": pid for name, pid in pids.items()})
        stack.callback(_end_inhabitants, state, dict(pids))
        say("links")
        macs = wiring.macs_of(fabric)
        net = make_network(fabric, pids=pids, macs=macs, record=state.record_child)
        stack.callback(end_processes, net.hosts + net.switches)
        _run_batch(wiring.veth_batch(fabric, pids=pids))
        say("interfaces")
        _check_interfaces(fabric, holders.configure(names))
        say("ready")
        yield LiveFabric(fabric=fabric, net=net, pids=pids, holder_pid=holders.pid)


def _run_batch(batch: str) -> None:
    """Make all links in one process."""
    try:
        done = subprocess.run(
            wiring.batch_command(),
            input=batch,
            capture_output=True,
            text=True,
            timeout=_BATCH_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _link_failure(f"`ip -batch` took more than {_BATCH_DEADLINE_S:.0f} s") from error
    if done.returncode != 0:
        raise _link_failure(done.stderr.strip().replace("\n", "; "))


def _link_failure(problem: str) -> FabricError:
    return FabricError(
        f"could not build the fabric: step 'links': {problem}",
        remedy="the kernel needs the veth driver (`modprobe veth`), and the testbed CAP_NET_ADMIN",
    )


def _check_interfaces(fabric: Fabric, found: Mapping[str, tuple[str, ...]]) -> None:
    """Each node has the interfaces of its links."""
    for name in fabric.node_names():
        missing = wiring.interfaces_of(fabric, name) - set(found[name])
        if missing:
            which = ", ".join(sorted(missing))
            raise FabricError(
                f"could not build the fabric: step 'interfaces': node '{name}' lacks {which}",
                remedy="look at `dmesg | tail`; something else on this machine may move or rename interfaces",
            )


def _end_inhabitants(state: RunState, pids: Mapping[str, int]) -> None:
    """Nobody but the holders may be in the namespaces now, or they would outlive the fabric.

    Processes of this run are ended; anybody else's are named, and left alone.
    """
    alive = {name: pid for name, pid in pids.items() if process_table.stat_of(pid)}
    owner = {process_table.namespace_of(pid): name for name, pid in alive.items()}
    inside = set(process_table.processes_in(owner)) - set(pids.values())
    with Supervisor() as left:
        for child in read_state(state.path).children:
            if child.pid in inside and child.is_alive():
                left.add(child.name, child.pid)
        inside -= set(left.alive().values())
        left.kill_all()
    if inside:
        raise FabricError(
            f"the fabric is down, but processes are left in its namespaces: {_describe(inside, owner)}",
            remedy="end these processes; the namespaces end with them",
        )


def _describe(inside: Iterable[int], owner: Mapping[int, str]) -> str:
    stats = ((pid, process_table.stat_of(pid)) for pid in sorted(inside))
    return ", ".join(
        f"{stat.command} (pid {pid}) in {owner[process_table.namespace_of(pid)]}"
        for pid, stat in stats
        if stat
    )
