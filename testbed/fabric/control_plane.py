"""The control plane of a fabric: each switch as an Open vSwitch bridge, and a controller that programs them.

All of it is in one network namespace, "control". Port p of switch s1 is the interface `s1-eth<p>` of bridge s1; the far
end of its veth pair, `s1-cpu<p>`, is where the switch's process hands frames to the CPU, and what makes the carrier.
Nothing of the system's Open vSwitch is touched, and the end of the orchestrator, however it comes, ends everything.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib import metadata
from pathlib import Path

from testbed.controller import mirror
from testbed.controller.app_setup import Setup, available
from testbed.controller.discovery import Heard
from testbed.controller.tables import SwitchTables
from testbed.controller.timing import ControlSetup
from testbed.errors import FabricError, PreflightError, SpecError
from testbed.fabric import wiring
from testbed.fabric.controller_process import TARGET, ControllerProcess
from testbed.fabric.cpu_ports import CpuFrame, CpuPorts
from testbed.fabric.holders import Holders
from testbed.fabric.lldp_relay import LldpRelay
from testbed.fabric.ovs_fleet import Fleet, Share, shares
from testbed.fabric.ovs_instance import Bridge, Datapath, OpenVSwitch, best_datapath, inside
from testbed.fabric.quiet import is_quiet
from testbed.fabric.state import RunState
from testbed.process_table import stat_of
from testbed.spec.experiment import APPLICATION, FRAMEWORKS
from testbed.spec.fabric import Fabric

Progress = Callable[[str], None]

NAMESPACE = "control"
_SETTLE_DEADLINE_S = 1800.0
_LLDP_DEADLINE_S = 300.0
_STILL_S = 0.3
_MISSING_S = 5.0
_ALIVE_S = 1.0
_BATCH_DEADLINE_S = 1200.0
_POLL_INTERVAL_S = 0.02


class ControlPlane:
    """A control plane that stands."""

    def __init__(
        self,
        fabric: Fabric,
        *,
        ovs: Fleet,
        holders: Mapping[str, int],
        netns_pids: Sequence[int],
        framework: str,
        start: Callable[[], ControllerProcess],
        cpu_ports: CpuPorts,
    ) -> None:
        self.fabric = fabric
        self.framework = framework
        """Under which the application runs."""
        self.netns_pid = netns_pids[0]
        """A process in the control namespace."""
        self._netns_pids = netns_pids
        self._ovs = ovs
        self._holders = holders
        self._start = start
        self._cpu_ports = cpu_ports
        self._controller: ControllerProcess | None = None
        self._down: dict[str, set[int]] = {switch.name: set() for switch in fabric.switches}
        self._questions = 0
        self._read: dict[str, SwitchTables] = {}
        """Tables that nobody has changed since they were read."""

    @property
    def datapath(self) -> Datapath:
        """Where Open vSwitch forwards: in the kernel (`system`) or in user space (`netdev`)."""
        return self._ovs.datapath

    @property
    def is_ours(self) -> bool:
        """Whether the application that runs is a `FabricApp`, which says when it has reacted, and finds links."""
        return self._controller is not None and self._controller.is_ours

    def about(self) -> dict[str, str]:
        """With what the switches are programmed: of metadata.json."""
        return {
            "framework": self.framework,
            "framework_version": metadata.version(self.framework),
            "datapath": self.datapath,
            "open_vswitch_version": self._ovs.version(),
        }

    def processes(self) -> dict[str, int]:
        """Its processes by name, to be watched beside those of the run."""
        controller = {"controller": self._controller.pid} if self._controller else {}
        return {**self._holders, **self._ovs.processes(), **controller}

    def to_cpu(self, switch: str, port: int, frame: bytes) -> None:
        """Hand a frame that came by a port to the switch's bridge."""
        self._cpu_ports.send(switch, port, frame)

    def from_cpu(self) -> list[CpuFrame]:
        """Switch, port and bytes of each frame for a card that a bridge has sent since the last time."""
        return self._cpu_ports.receive()

    def set_carrier(self, switch: str, port: int, up: bool) -> None:
        """Let a port's carrier come or go."""
        command = ["ip", "link", "set", cpu_interface(switch, port), "up" if up else "down"]
        run_inside(self.netns_pid, command)
        (self._down[switch].discard if up else self._down[switch].add)(port)

    def settle(self, *, carriers: bool = True) -> None:
        """Wait until the bridges know their carriers, and the controller, where there is one, has reacted.

        Without `carriers` these are as they were, and the controller is to react to a frame.
        """
        deadline = time.monotonic() + _SETTLE_DEADLINE_S
        if self._controller is not None and self._controller.is_ours and carriers:
            self._ask_to_settle(self._controller, deadline)
            return
        if carriers:
            self._wait_for_ports(deadline)
        self._read.clear()
        pids = self.processes().values()
        while self._controller and not is_quiet(self._netns_pids, pids, awake=not carriers):
            self._check_alive()
            if time.monotonic() > deadline:
                raise self._controller.failure(f"it did not come to rest within {_SETTLE_DEADLINE_S:.0f} s")

    def _ask_to_settle(self, controller: ControllerProcess, deadline: float) -> None:
        """Our own application says when it knows the carriers, and which switches it has changed."""
        self._questions += 1
        down = {name: sorted(ports) for name, ports in self._down.items() if ports}
        controller.send({"settle": self._questions, "down": down})
        settled = 0
        while settled != self._questions:
            message = controller.next_message(_ALIVE_S) or {}
            settled = message.get("settled", settled)
            for name in message.get("changed", ()):
                self._read.pop(name, None)
            self._check_alive()
            if time.monotonic() > deadline:
                raise controller.failure(f"it did not come to rest within {_SETTLE_DEADLINE_S:.0f} s")

    def _check_alive(self) -> None:
        """An error that names a process which has died: nobody may wait for it."""
        for name, pid in self.processes().items():
            if stat_of(pid) is None:
                raise FabricError(
                    f"process '{name}' (pid {pid}) of the control plane died",
                    remedy="look at `dmesg | tail` (out of memory?), then run again",
                )

    def _wait_for_ports(self, deadline: float) -> None:
        waiting = set(self._down)
        while waiting:
            seen = self._ovs.ask(OpenVSwitch.port_states, sorted(waiting))
            waiting = {
                name for name, of in seen.items() if {n for n, up in of.items() if not up} != self._down[name]
            }
            self._check_alive()
            if waiting and time.monotonic() > deadline:
                raise FabricError(
                    f"bridge '{min(waiting)}' does not see the carriers of its ports",
                    remedy="do not stop or trace processes of a run; run again",
                )

    def tables(self) -> dict[str, SwitchTables]:
        """What the bridges hold now; only those are read that can have changed since they were."""
        self._read |= self._read_tables([name for name in self._down if name not in self._read])
        return {name: self._read[name] for name in self._down}

    def check_tables(self) -> None:
        """Read all bridges; raise a `FabricError` if one has changed that the controller has not changed."""
        found = self._read_tables(self._down)
        if wrong := [name for name, tables in self._read.items() if found[name] != tables]:
            raise FabricError(
                f"the tables of {', '.join(wrong[:4])} have changed, but not by the controller",
                remedy="let nothing else write to the bridges of a run; run again",
            )
        self._read = found

    def _read_tables(self, names: Iterable[str]) -> dict[str, SwitchTables]:
        def ask(ovs: OpenVSwitch, name: str) -> tuple[list[str], list[str]]:
            return ovs.flows(name), ovs.groups(name)

        return {name: _parsed(name, *texts) for name, texts in self._ovs.ask(ask, names).items()}

    def flow_statistics(self, switch: str) -> list[str]:
        """A bridge's rules with their ages and counters, as `ovs-ofctl` writes them."""
        return self._ovs.ask(OpenVSwitch.flow_statistics, [switch])[switch]

    def start_controller(self) -> None:
        """Start it, unless it runs."""
        if self._controller is None:
            self._read.clear()
            self._controller = self._start()

    def stop_controller(self) -> None:
        """End it: the switches keep their rules."""
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def links(self, switch_pids: Mapping[str, int]) -> list[Heard]:
        """The links between switches that LLDP finds. `switch_pids`: a process in each switch's namespace."""
        if self._controller is None or not self.is_ours:
            raise FabricError(
                "links can only be discovered by the testbed's own application",
                remedy="use --controller ryu, or derive your application from FabricApp",
            )
        heard: list[Heard] = []
        with LldpRelay(control_pid=self.netns_pid, switch_pids=switch_pids) as relay:
            self._controller.send({"discover": True})
            asked = self._controller.wait_for("discovering", _LLDP_DEADLINE_S)["discovering"]
            deadline = time.monotonic() + _LLDP_DEADLINE_S
            while relay.sent < asked or len(heard) < relay.carried:
                _add_links(self._controller, heard, _POLL_INTERVAL_S)
                if time.monotonic() > deadline:
                    raise self._controller.failure(
                        f"of {asked} LLDP frames {relay.sent} left, {relay.carried} arrived, {len(heard)} were heard"
                    )
            planned = links_between_switches(self.fabric)
            # Those still under way; on a slow machine a frame may be for long.
            while _add_links(self._controller, heard, _STILL_S if len(heard) >= planned else _MISSING_S):
                pass
        return sorted(heard)


def links_between_switches(fabric: Fabric) -> int:
    """How many LLDP frames reach a switch if all is wired as planned: one for each direction."""
    switches = {switch.name for switch in fabric.switches}
    return 2 * sum({link.a, link.b} <= switches for link in fabric.links)


def _add_links(controller: ControllerProcess, heard: list[Heard], timeout_s: float) -> bool:
    """Note the next link; whether there was one in time."""
    message = controller.next_message(timeout_s)
    if message is not None and "link" in message:
        heard.append(tuple(message["link"]))
    return message is not None


def cpu_interface(switch: str, port: int) -> str:
    """What the CPU's end of a port is called: as long as the port's own name."""
    return f"{switch}-cpu{port}"


def ports_of(fabric: Fabric, switch: str) -> dict[int, str]:
    """The interfaces of a switch's bridge, by port."""
    return {link.port_at(switch): link.interface_at(switch) for link in fabric.links_of(switch)}


def _parsed(name: str, flows: list[str], groups: list[str]) -> SwitchTables:
    try:
        return mirror.tables_of(flows, groups)
    except SpecError as error:
        raise SpecError(f"switch '{name}': {error}", remedy=error.remedy) from error


def _wire(found: Sequence[Share], control_pid: int) -> None:
    """Every port of every bridge, up, with its CPU end, which is in the control namespace."""
    ends = "".join(veth_batch(bridge, share.netns_pid) for share in found for bridge in share.bridges)
    run_inside(control_pid, wiring.batch_command(), ends)
    for share in found:
        ports = (name for bridge in share.bridges for name in bridge.ports.values())
        run_inside(
            share.netns_pid, wiring.batch_command(), "".join(f"link set {name} up\n" for name in ports)
        )


def veth_batch(bridge: Bridge, netns_pid: int, *, mtu_bytes: int = wiring.MTU_BYTES) -> str:
    """Input of `ip -batch -` in the control namespace: a bridge's ports in the namespace of a process, and CPU ends."""
    settings = f"mtu {mtu_bytes} numtxqueues 1 numrxqueues 1 arp off"
    lines = []
    for port, name in bridge.ports.items():
        cpu = cpu_interface(bridge.name, port)
        here = f"name {name} netns {netns_pid}"
        lines += [
            f"link add {here} {settings} type veth peer name {cpu} {settings}",
            f"link set {cpu} up",
        ]
    return "".join(f"{line}\n" for line in lines)


def framework_of(controller: str) -> tuple[str, str]:
    """Framework and application of `ryu`, `os-ken`, or of a user's file; `ryu` means os-ken where Ryu is not there."""
    if controller.endswith(APPLICATION):
        if not Path(controller).is_file():
            raise SpecError(f"there is no application {controller}", remedy="name a file that exists")
        framework, app = FRAMEWORKS[0], str(Path(controller).resolve())
    elif controller in FRAMEWORKS:
        framework, app = controller, ""
    else:
        raise SpecError(
            f"unknown controller '{controller}'",
            remedy=f"use one of {', '.join(FRAMEWORKS)}, or a file path/to/app.py",
        )
    there = available()
    if not there or (controller == "os-ken" and controller not in there):
        raise PreflightError("neither Ryu nor os-ken is installed", remedy="./tb installs them")
    return (framework if framework in there else there[0]), app


@contextmanager
def control_plane(
    fabric: Fabric,
    *,
    state: RunState,
    controller: str,
    setup: ControlSetup,
    cards_per_nic: int = 1,
    macs: Mapping[str, tuple[str, ...]] | None = None,
    wire: Callable[[int], None] | None = None,
    progress: Progress | None = None,
) -> Iterator[ControlPlane]:
    """A context in which the control plane stands and has settled; whatever ends it, nothing is left.

    Args:
        fabric: The fabric; it need not be built.
        state: The run's.
        controller: `ryu`, `os-ken`, or a user's application, `path/to/app.py`.
        setup: What the rules are to do.
        cards_per_nic: How many cards each endpoint has.
        macs: The addresses of each endpoint, in place of the cards'.
        wire: Makes the bridges' interfaces, and brings them up, in the network namespace of a process; by default
            each is a veth pair with its CPU end.
        progress: Is told each step.
    """
    say = progress or (lambda _step: None)
    framework, app = framework_of(controller)
    told = Setup(fabric=fabric, rules=setup.rules, cards_per_nic=cards_per_nic, macs=macs)
    bridges = [
        Bridge(name=name, dpid=dpid, ports=ports_of(fabric, name)) for dpid, name in told.dpids().items()
    ]
    datapath = best_datapath()
    parts = [tuple(bridges)] if wire is not None or datapath == "system" else shares(bridges)
    with ExitStack() as stack:
        say("control namespace")
        directory = stack.enter_context(state.control())
        holders = Holders()
        stack.callback(holders.stop)
        names = [NAMESPACE, *(f"{NAMESPACE} {number}" for number in range(2, len(parts) + 1))]
        state.record_child("namespaces of the control plane", holders.pid)
        pids = holders.start(names)
        kept = {f"namespace '{name}'": pid for name, pid in pids.items()}
        state.record_children(kept)
        netns_pids = list(pids.values())
        found = [Share(bridges=part, netns_pid=pid) for part, pid in zip(parts, netns_pids, strict=True)]
        if wire is not None:
            wire(netns_pids[0])
        else:
            _wire(found, netns_pids[0])
        holders.configure(names)
        say("Open vSwitch")
        ovs = Fleet(datapath=datapath, directory=directory, state=state)
        stack.callback(ovs.stop)
        ovs.start(found)

        def start() -> ControllerProcess:
            return ControllerProcess(
                framework=framework,
                app=app,
                setup=told,
                netns_pids=netns_pids,
                directory=directory,
                state=state,
            )

        of_interface = {
            cpu_interface(bridge.name, port): (bridge.name, port)
            for bridge in bridges
            for port in bridge.ports
        }
        cpu_ports = stack.enter_context(CpuPorts(netns_pids[0], of_interface))
        plane = ControlPlane(
            fabric,
            ovs=ovs,
            holders={"namespaces of the control plane": holders.pid, **kept},
            netns_pids=netns_pids,
            framework=framework,
            start=start,
            cpu_ports=cpu_ports,
        )
        say("controller")
        stack.callback(plane.stop_controller)
        plane.start_controller()
        say("bridges")
        ovs.add(controller=TARGET)
        say("rules")
        plane.settle()
        yield plane


def run_inside(netns_pid: int, command: list[str], text: str = "") -> None:
    """Run a command in the network namespace of a process."""
    try:
        done = subprocess.run(
            [*inside(netns_pid), *command],
            input=text,
            capture_output=True,
            text=True,
            timeout=_BATCH_DEADLINE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FabricError(
            f"could not build the control plane: `{' '.join(command)}` took more than {_BATCH_DEADLINE_S:.0f} s",
            remedy="the machine may be out of memory or very loaded; try a smaller fabric",
        ) from error
    if done.returncode != 0:
        problem = done.stderr.strip().replace("\n", "; ")
        raise FabricError(
            f"could not build the control plane: `{' '.join(command)}`: {problem}",
            remedy="the kernel needs the veth driver (`modprobe veth`), and the testbed CAP_NET_ADMIN",
        )
