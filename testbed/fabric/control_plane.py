"""The control plane of a fabric: each switch as an Open vSwitch bridge, and a controller that programs them.

All of it is in one network namespace, "control". Port p of switch s1 is the interface `s1-eth<p>` of bridge s1; the far
end of its veth pair, `s1-cpu<p>`, is where the switch's process hands frames to the CPU, and what makes the carrier.
Nothing of the system's Open vSwitch is touched, and the end of the orchestrator, however it comes, ends everything.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
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
from testbed.fabric.ovs_instance import Bridge, Datapath, OpenVSwitch, inside
from testbed.fabric.process_table import stat_of
from testbed.fabric.quiet import is_quiet
from testbed.fabric.state import RunState
from testbed.spec.experiment import APPLICATION, FRAMEWORKS
from testbed.spec.fabric import Fabric

Progress = Callable[[str], None]

NAMESPACE = "control"
_SETTLE_DEADLINE_S = 300.0
_LLDP_DEADLINE_S = 20.0
_STILL_S = 0.3
_ALIVE_S = 1.0
_BATCH_DEADLINE_S = 120.0
_POLL_INTERVAL_S = 0.02


class ControlPlane:
    """A control plane that stands."""

    def __init__(
        self,
        fabric: Fabric,
        *,
        ovs: OpenVSwitch,
        holders: Mapping[str, int],
        netns_pid: int,
        framework: str,
        start: Callable[[], ControllerProcess],
        cpu_ports: CpuPorts,
    ) -> None:
        self.fabric = fabric
        self.framework = framework
        """Under which the application runs."""
        self.netns_pid = netns_pid
        """A process in the control namespace."""
        self._ovs = ovs
        self._holders = holders
        self._start = start
        self._cpu_ports = cpu_ports
        self._controller: ControllerProcess | None = None
        self._down: dict[str, set[int]] = {switch.name: set() for switch in fabric.switches}
        self._questions = 0

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
        if carriers:
            self._wait_for_ports(deadline)
        if self._controller is None:
            return
        if self._controller.is_ours and carriers:
            self._questions += 1
            down = {name: sorted(ports) for name, ports in self._down.items() if ports}
            self._controller.send({"settle": self._questions, "down": down})
            self._wait_for_answer(self._controller, deadline)
            return
        while not is_quiet(self.netns_pid, self.processes().values(), awake=not carriers):
            self._check_alive()
            if time.monotonic() > deadline:
                raise self._controller.failure(f"it did not come to rest within {_SETTLE_DEADLINE_S:.0f} s")

    def _wait_for_answer(self, controller: ControllerProcess, deadline: float) -> None:
        while (message := controller.next_message(_ALIVE_S)) is None or (
            message.get("settled") != self._questions
        ):
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
        for name, down in self._down.items():
            while {n for n, up in self._ovs.port_states(name).items() if not up} != down:
                self._check_alive()
                if time.monotonic() > deadline:
                    raise FabricError(
                        f"bridge '{name}' does not see the carriers of its ports",
                        remedy="do not stop or trace processes of a run; run again",
                    )
                time.sleep(_POLL_INTERVAL_S)

    def tables(self) -> dict[str, SwitchTables]:
        """What the bridges hold now."""
        return {name: self._tables_of(name) for name in self._down}

    def _tables_of(self, name: str) -> SwitchTables:
        try:
            return mirror.tables_of(self._ovs.flows(name), self._ovs.groups(name))
        except SpecError as error:
            raise SpecError(f"switch '{name}': {error}", remedy=error.remedy) from error

    def flow_statistics(self, switch: str) -> list[str]:
        """A bridge's rules with their ages and counters, as `ovs-ofctl` writes them."""
        return self._ovs.flow_statistics(switch)

    def start_controller(self) -> None:
        """Start it, unless it runs."""
        if self._controller is None:
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
            while _add_links(self._controller, heard, _STILL_S):  # those still under way
                pass
        return sorted(heard)


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


def veth_batch(fabric: Fabric, *, mtu_bytes: int = wiring.MTU_BYTES) -> str:
    """Input of `ip -batch -` in the control namespace: every port of every bridge, up, with its CPU end."""
    settings = f"mtu {mtu_bytes} numtxqueues 1 numrxqueues 1 arp off"
    lines = []
    for switch in fabric.switches:
        for port, name in ports_of(fabric, switch.name).items():
            cpu = cpu_interface(switch.name, port)
            lines.append(f"link add name {name} {settings} type veth peer name {cpu} {settings}")
            lines += [f"link set {name} up", f"link set {cpu} up"]
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
    with ExitStack() as stack:
        say("control namespace")
        directory = stack.enter_context(state.control())
        holders = Holders()
        stack.callback(holders.stop)
        state.record_child("namespaces of the control plane", holders.pid)
        (netns_pid,) = holders.start([NAMESPACE]).values()
        state.record_child("namespace of the control plane", netns_pid)
        if wire is not None:
            wire(netns_pid)
        else:
            run_inside(netns_pid, wiring.batch_command(), veth_batch(fabric))
        holders.configure([NAMESPACE])
        say("Open vSwitch")
        ovs = OpenVSwitch(netns_pid=netns_pid, directory=directory, state=state)
        stack.callback(ovs.stop)
        ovs.start()

        def start() -> ControllerProcess:
            return ControllerProcess(
                framework=framework,
                app=app,
                setup=told,
                netns_pid=netns_pid,
                directory=directory,
                state=state,
            )

        kept = {"namespaces of the control plane": holders.pid, "namespace of the control plane": netns_pid}
        of_interface = {
            cpu_interface(switch.name, port): (switch.name, port)
            for switch in fabric.switches
            for port in ports_of(fabric, switch.name)
        }
        cpu_ports = stack.enter_context(CpuPorts(netns_pid, of_interface))
        plane = ControlPlane(
            fabric,
            ovs=ovs,
            holders=kept,
            netns_pid=netns_pid,
            framework=framework,
            start=start,
            cpu_ports=cpu_ports,
        )
        say("controller")
        stack.callback(plane.stop_controller)
        plane.start_controller()
        say("bridges")
        bridges = [
            Bridge(name=name, dpid=dpid, ports=ports_of(fabric, name)) for dpid, name in told.dpids().items()
        ]
        ovs.add(bridges, controller=TARGET)
        say("rules")
        plane.settle()
        yield plane


def run_inside(netns_pid: int, command: list[str], text: str = "") -> None:
    """Run a command in the network namespace of a process."""
    done = subprocess.run(
        [*inside(netns_pid), *command],
        input=text,
        capture_output=True,
        text=True,
        timeout=_BATCH_DEADLINE_S,
        check=False,
    )
    if done.returncode != 0:
        problem = done.stderr.strip().replace("\n", "; ")
        raise FabricError(
            f"could not build the control plane: `{' '.join(command)}`: {problem}",
            remedy="the kernel needs the veth driver (`modprobe veth`), and the testbed CAP_NET_ADMIN",
        )
