"""A fabric of ordinary hosts and plain Open vSwitch bridges, without an emulated switch: to see that the rules forward.

The links end in the bridges of the control namespace; each endpoint is a host with an address and static neighbours.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from typing import Any

from testbed.controller.timing import ControlSetup
from testbed.errors import PreflightError
from testbed.fabric import wiring
from testbed.fabric.capacity import check_capacity, check_machine, raise_descriptor_limit
from testbed.fabric.control_plane import control_plane, run_inside
from testbed.fabric.holders import Holders
from testbed.fabric.state import RunState
from testbed.spec.fabric import Fabric, interface_name

_FIRST_ADDRESS = IPv4Address("10.0.0.1")
_PREFIX_BITS = 8


def host_batch(fabric: Fabric, index: int) -> str:
    """Input of `ip -batch -` in the namespace of an endpoint: its address, and every other's."""
    macs, own = wiring.macs_of(fabric), interface_name(fabric.endpoints[index].name, 0)
    lines = [f"link set {own} arp on", f"addr add {_FIRST_ADDRESS + index}/{_PREFIX_BITS} dev {own}"]
    lines += [
        f"neigh replace {_FIRST_ADDRESS + place} lladdr {macs[interface_name(endpoint.name, 0)]} dev {own}"
        for place, endpoint in enumerate(fabric.endpoints)
        if place != index
    ]
    return "".join(f"{line}\n" for line in lines)


@contextmanager
def plain_network(fabric: Fabric, *, state: RunState, controller: str, setup: ControlSetup) -> Iterator[Any]:
    """A context in which the network stands: its Mininet object, whose `pingAll` works."""
    check_machine()
    if shutil.which("ping") is None:
        raise PreflightError("not found: ping", remedy="install it: `apt install iputils-ping`")
    check_capacity(fabric)
    raise_descriptor_limit(fabric)
    # Only here: Mininet is needed to build a fabric, not to clean up after one.
    from testbed.fabric.mininet_nodes import end_processes, make_network

    names = [endpoint.name for endpoint in fabric.endpoints]
    switches = [switch.name for switch in fabric.switches]
    macs = wiring.macs_of(fabric)
    own = {name: (macs[interface_name(name, 0)],) for name in names}
    with ExitStack() as stack:
        hosts = Holders()
        stack.callback(hosts.stop)
        state.record_child("namespaces", hosts.pid)
        pids = hosts.start(names)
        state.record_children({f"namespace of {name}": pid for name, pid in pids.items()})

        def wire(control_pid: int) -> None:
            everyone = {**pids, **dict.fromkeys(switches, control_pid)}
            run_inside(control_pid, wiring.batch_command(), wiring.veth_batch(fabric, pids=everyone))
            ports = [port for name in switches for port in sorted(wiring.interfaces_of(fabric, name))]
            ups = "".join(f"link set {port} up\n" for port in ports)
            run_inside(control_pid, wiring.batch_command(), ups)
            hosts.configure(names)
            for index, name in enumerate(names):
                run_inside(pids[name], wiring.batch_command(), host_batch(fabric, index))

        plane = stack.enter_context(
            control_plane(fabric, state=state, controller=controller, setup=setup, macs=own, wire=wire)
        )
        everyone = {**pids, **dict.fromkeys(switches, plane.netns_pid)}
        net = make_network(fabric, pids=everyone, macs=macs, record=state.record_child)
        stack.callback(end_processes, net.hosts + net.switches)
        for index, host in enumerate(net.hosts):
            host.defaultIntf().ip = str(_FIRST_ADDRESS + index)
        yield net
