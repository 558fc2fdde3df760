"""Mininet's classes, made to fit: the one module that imports Mininet.

Mininet keeps its object model (`net['c1'].cmd(...)`, `connectionsTo`, `net.links`); what costs time in it is
replaced. A node's namespaces are made by a holder process beforehand, its shell starts when it is first used,
and a link only notes its two ends: all veth pairs are made at once by `wiring.py`. Mininet's clean-up kills
by name and its set-up changes kernel limits, so neither is ever called.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from testbed.errors import PreflightError
from testbed.process_table import session_members
from testbed.spec.fabric import Fabric

with warnings.catch_warnings():
    # Mininet 2.3 imports distutils, which Python 3.11 warns of; 3.12 needs setuptools for it.
    warnings.simplefilter("ignore", DeprecationWarning)
    try:
        from mininet.link import Intf, Link
        from mininet.log import lg
        from mininet.net import Mininet
        from mininet.node import Node, Switch
        from mininet.topo import Topo
    except ImportError as error:
        raise PreflightError(
            f"cannot import Mininet: {error}",
            remedy="install it with `apt install mininet python3-setuptools`, and use the system's Python",
        ) from error

Record = Callable[[str, int], None]
"""Notes a process of the run: name, pid."""

_GRACE_S = 0.3
"""How long a shell has to end its own jobs before they are killed."""


class FabricNode(Node):  # type: ignore[misc]
    """A node in the namespaces that a holder process keeps; its shell starts with its first command."""

    isSetup = True  # noqa: N815  Mininet's name; its set-up would end the process if a tool were missing

    def startShell(self, mnopts: str | None = None) -> None:  # noqa: N802
        """Take over the holder's namespaces; Mininet would start a shell here."""
        self.started: list[subprocess.Popen[bytes]] = []
        self.pid = self.params["holder_pid"]

    def sendCmd(self, *args: Any, **kwargs: Any) -> None:  # noqa: N802, ANN401
        """Send a command to the shell, starting it if there is none yet."""
        if self.shell is None:
            self._open_shell()
        super().sendCmd(*args, **kwargs)

    def cmd(self, *args: Any, **kwargs: Any) -> str:  # noqa: ANN401
        """Run a command in the node's shell; its output."""
        if self.shell is None:
            self._open_shell()
        output: str = super().cmd(*args, **kwargs)
        return output

    def config(self, **_params: Any) -> dict[str, object]:  # noqa: ANN401
        """Configure nothing: interfaces get no IP address, so that the kernel answers no frame of ours."""
        return {}

    def terminate(self) -> None:
        """End what was started in this node; its holder ends with the fabric."""
        end_processes([self])

    def _open_shell(self) -> None:
        # Mininet would add `n`, a new namespace, to these options; we want the holder's.
        holder, self.inNamespace = self.pid, False
        try:
            super().startShell(f"-cda{holder}")
        finally:
            self.pid, self.inNamespace = holder, True

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[bytes]:  # noqa: ANN401
        started: subprocess.Popen[bytes] = super()._popen(cmd, **params)
        self.started.append(started)
        self.params["record"](f"{self.name}: {cmd[-1]}", started.pid)
        return started


class EndpointHost(FabricNode):
    """A card with its NIC."""


class SwitchNode(FabricNode, Switch):  # type: ignore[misc]
    """A switch in a namespace of its own; its process is started by the run, not by Mininet."""

    controlIntf = None  # noqa: N815

    def defaultDpid(self, dpid: str | None = None) -> str:  # noqa: N802
        """The entity id as datapath id: names of two tiers (l1, s1) would collide in Mininet's way."""
        return str(super().defaultDpid(dpid or f"{self.params['entity']:x}"))

    def start(self, controllers: Iterable[object]) -> None:
        """Nothing to start: forwarding is the switch process's."""

    def stop(self, deleteIntfs: bool = True) -> None:  # noqa: N803
        """Nothing to stop; interfaces end with their namespace."""


class PlannedIntf(Intf):  # type: ignore[misc]
    """An interface that `wiring.py` makes and the holder brings up."""

    def config(self, **_params: Any) -> dict[str, object]:  # noqa: ANN401
        """Configure nothing."""
        return {}


class PlannedLink(Link):  # type: ignore[misc]
    """A link that notes its ends."""

    @classmethod
    def makeIntfPair(cls, *_args: Any, **_kwargs: Any) -> None:  # noqa: N802, ANN401
        """Make nothing: see `wiring.py`."""

    def delete(self) -> None:
        """Delete nothing: a veth pair ends with its namespaces."""

    def stop(self) -> None:
        """Nothing to stop."""


def make_network(fabric: Fabric, *, pids: Mapping[str, int], macs: Mapping[str, str], record: Record) -> Any:  # noqa: ANN401
    """The Mininet object of a fabric whose namespaces exist; it makes no process and no interface."""
    Mininet.inited = True  # its init() raises kernel limits for the whole machine
    lg.setLogLevel("warning")
    topo = Topo()
    for entity, name in enumerate(fabric.node_names()):
        add = topo.addHost if entity < len(fabric.endpoints) else topo.addSwitch
        add(name, holder_pid=pids[name], record=record, entity=entity, inNamespace=True)
    for link in fabric.links:
        ends = (link.interface_at(link.a), link.interface_at(link.b))
        addresses = {"addr1": macs[ends[0]], "addr2": macs[ends[1]]}
        topo.addLink(link.a, link.b, port1=link.a_port, port2=link.b_port, **addresses)
    return Mininet(
        topo=topo,
        host=EndpointHost,
        switch=SwitchNode,
        link=PlannedLink,
        intf=PlannedIntf,
        controller=None,
    )


def end_processes(nodes: Iterable[FabricNode]) -> None:
    """End shells, their jobs, and everything else that these nodes started; wait for all of it."""
    nodes = list(nodes)
    shells = [node.shell for node in nodes if node.shell]
    for shell in shells:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGHUP)  # an interactive shell passes it on to its jobs
    _kill_sessions({shell.pid for shell in shells})
    for node in nodes:
        for started in node.started:
            started.kill()  # through Popen: does nothing once it has been waited for
            started.wait()
            for stream in (started.stdin, started.stdout, started.stderr):
                if stream:
                    stream.close()
        node.started.clear()
        _close_terminal(node)


def _kill_sessions(sessions: set[int]) -> None:
    """A node's shell leads a session (mnexec -d): whoever is left in it after a grace is killed."""
    deadline = time.monotonic() + _GRACE_S
    while sessions and (left := session_members(sessions)):
        if time.monotonic() > deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.005)


def _close_terminal(node: FabricNode) -> None:
    if node.shell is None:
        return
    for table in (node.inToNode, node.outToNode):
        table.pop(node.stdin.fileno(), None)
    node.stdin.close()
    os.close(node.slave)
    node.shell = None
