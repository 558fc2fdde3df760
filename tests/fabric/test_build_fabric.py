from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.errors import FabricError, PreflightError
from testbed.fabric import wiring
from testbed.fabric.build import LiveFabric, build_fabric
from testbed.fabric.capture import start_capture
from testbed.fabric.state import RunState, read_state
from testbed.process_table import namespace_of, stat_of
from testbed.spec.fabric import Fabric
from topologies.leaf_spine import build as leaf_spine
from topologies.single_switch import build as single_switch

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

ETH_P_ALL = 0x0003
SHIM = 0x88B5
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def inside(pid: int) -> Iterator[None]:
    """This thread in another process's network namespace."""
    with open("/proc/thread-self/ns/net") as home, open(f"/proc/{pid}/ns/net") as there:
        assert _libc.setns(there.fileno(), CLONE_NEWNET) == 0
        try:
            yield
        finally:
            assert _libc.setns(home.fileno(), CLONE_NEWNET) == 0


def packet_socket(live: LiveFabric, name: str, interface: str | None, ethertype: int = SHIM) -> socket.socket:
    with inside(live.netns_pid(name)):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
        if interface:
            opened.bind((interface, ethertype))
    opened.settimeout(5)
    return opened


def frame(text: bytes, size_bytes: int) -> bytes:
    return (b"\xff" * 6 + b"\x02" * 6 + SHIM.to_bytes(2, "big") + text).ljust(size_bytes, b"\0")


def sleeper_in(live: LiveFabric, name: str) -> subprocess.Popen[bytes]:
    """A process in a node's namespace that the fabric knows nothing of."""
    process = subprocess.Popen(["nsenter", f"--net=/proc/{live.netns_pid(name)}/ns/net", "sleep", "300"])
    while (stat := stat_of(process.pid)) is None or stat.command != "sleep":
        assert process.poll() is None
    return process


@pytest.mark.parametrize("fabric", [single_switch(cards=3), leaf_spine(spines=2, leaves=2, cards=4)])
def test_build_fabric_every_link_carries_jumbo_frames_both_ways(state: RunState, fabric: Fabric) -> None:
    with build_fabric(fabric, state=state) as live:
        for index, link in enumerate(fabric.links):
            a, b = live.interface(link.a, link.a_port), live.interface(link.b, link.b_port)
            with packet_socket(live, link.a, a) as near, packet_socket(live, link.b, b) as far:
                for source, sink in ((near, far), (far, near)):
                    sent = frame(b"link %d" % index, wiring.MTU_BYTES)
                    source.send(sent)
                    assert sink.recv(1 << 16) == sent


def test_build_fabric_nodes_have_their_interfaces_and_no_others(state: RunState) -> None:
    fabric = leaf_spine(spines=2, leaves=2, cards=4)
    with build_fabric(fabric, state=state) as live:
        for name in fabric.node_names():
            with inside(live.netns_pid(name)):
                names = {interface for _, interface in socket.if_nameindex()}
            assert names >= wiring.interfaces_of(fabric, name)
            assert not any("-eth" in other for other in names - wiring.interfaces_of(fabric, name))
        spaces = [namespace_of(live.netns_pid(name)) for name in fabric.node_names()]
        assert len({*spaces, namespace_of(os.getpid())}) == len(fabric.node_names()) + 1


def test_build_fabric_idle_sees_no_frame(state: RunState) -> None:
    fabric = single_switch(cards=3)
    with build_fabric(fabric, state=state) as live, contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(packet_socket(live, name, None, ETH_P_ALL)) for name in fabric.node_names()
        ]
        sockets[0].settimeout(3)  # the kernel's own chatter comes in the first second or two
        with pytest.raises(TimeoutError):
            sockets[0].recv(1 << 16)
        for quiet in sockets:
            quiet.setblocking(False)
            with pytest.raises(BlockingIOError):
                quiet.recv(1 << 16)


def test_build_fabric_ip_frame_to_a_card_is_not_answered_by_the_kernel(state: RunState) -> None:
    """Else the kernel would answer each RoCEv2 frame with `port unreachable`."""
    fabric = single_switch(cards=2)
    with build_fabric(fabric, state=state) as live:
        switch = fabric.switches[0].name
        port = live.interface(switch, 1)
        with packet_socket(live, switch, port, ETH_P_ALL) as wire:
            target = bytes.fromhex(wiring.macs_of(fabric)["c1-eth0"].replace(":", ""))
            header = bytes.fromhex("4500001c00000000401100000a0000020a000001")
            wire.send(target + b"\x02" * 6 + b"\x08\x00" + header + bytes.fromhex("12b712b700080000"))
            wire.settimeout(0.3)
            with pytest.raises(TimeoutError):
                wire.recv(1 << 16)


def test_build_fabric_offloads_are_off(state: RunState) -> None:
    if shutil.which("ethtool") is None:
        pytest.skip("ethtool is not installed")
    with build_fabric(single_switch(cards=2), state=state) as live:
        for node, interface in (("c1", "c1-eth0"), ("l1", "l1-eth2")):
            if node not in live.pids:
                continue
            text = live.net[node].cmd(f"ethtool -k {interface}")
            values = dict(line.strip().split(": ") for line in text.splitlines() if ": " in line)
            for what in (
                "rx-checksumming",
                "tx-checksumming",
                "generic-segmentation-offload",
                "generic-receive-offload",
                "tx-tcp-segmentation",
            ):
                assert values[what].startswith("off"), (interface, what)


def test_build_fabric_mininet_objects_work(state: RunState) -> None:
    fabric = single_switch(cards=3)
    switch = fabric.switches[0].name
    with build_fabric(fabric, state=state) as live:
        net = live.net
        assert {host.name for host in net.hosts} == {"c1", "c2", "c3"}
        assert "c2-eth0" in net["c2"].cmd("ip -o link")
        assert net["c2"].cmd("ls /sys/class/net").split() == ["c2-eth0", "lo"]
        assert f"{switch}-eth3" in net[switch].cmd("ip -o link")
        ((near, far),) = net["c3"].connectionsTo(net[switch])
        assert (near.name, far.name) == ("c3-eth0", f"{switch}-eth3")
        assert net["c1"].popen(["readlink", "/proc/self/ns/net"]).communicate()[0].decode().strip() == (
            f"net:[{namespace_of(live.netns_pid('c1'))}]"
        )
        assert net["c1"].MAC() == wiring.macs_of(fabric)["c1-eth0"]


def test_build_fabric_jobs_started_in_a_node_end_with_it(state: RunState) -> None:
    with build_fabric(single_switch(cards=2), state=state) as live:
        live.net["c1"].cmd("trap '' HUP; sleep 300 &")
        job = int(live.net["c1"].cmd("echo $!"))
        popen = live.net["c2"].popen(["sleep", "300"])
        recorded = {child.pid for child in read_state(state.path).children}
        assert popen.pid in recorded
        assert stat_of(job) is not None
    assert stat_of(job) is None
    assert stat_of(popen.pid) is None


def test_build_fabric_recorded_process_left_inside_is_ended(state: RunState) -> None:
    with build_fabric(single_switch(cards=2), state=state) as live:
        left = sleeper_in(live, "c1")
        state.record_child("left", left.pid)
    with left:
        assert left.wait(5) == -9


def test_build_fabric_stranger_left_inside_is_named_and_spared(state: RunState) -> None:
    strangers: list[subprocess.Popen[bytes]] = []

    def live_and_leave_one() -> None:
        with build_fabric(single_switch(cards=2), state=state) as live:
            strangers.append(sleeper_in(live, "c1"))

    with pytest.raises(FabricError, match=r"sleep \(pid \d+\) in c1"):
        live_and_leave_one()
    with strangers[0] as stranger:
        assert stranger.poll() is None
        stranger.kill()


def test_build_fabric_exception_inside_leaves_nothing(state: RunState) -> None:
    def fail() -> None:
        with build_fabric(leaf_spine(spines=2, leaves=2, cards=4), state=state) as live:
            live.net["c1"].cmd("true")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def test_build_fabric_step_fails_names_it_and_leaves_nothing(
    state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "veth_batch", lambda *_args, **_named: "link add name x type nonsense\n")
    with (
        pytest.raises(FabricError, match="step 'links'") as caught,
        build_fabric(single_switch(), state=state),
    ):
        pytest.fail("it was built")
    assert "veth" in caught.value.remedy


def test_build_fabric_half_the_links_names_the_interfaces(
    state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = wiring.veth_batch

    def without_the_last(fabric: Fabric, *, pids: dict[str, int]) -> str:
        return "".join(whole(fabric, pids=pids).splitlines(keepends=True)[:-1])

    monkeypatch.setattr(wiring, "veth_batch", without_the_last)
    with (
        pytest.raises(FabricError, match="'c3' lacks c3-eth0"),
        build_fabric(single_switch(cards=3), state=state),
    ):
        pytest.fail("it was built")


def test_build_fabric_without_root_is_a_preflight_error(
    state: RunState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(PreflightError, match="root"), build_fabric(single_switch(), state=state):
        pytest.fail("it was built")


def test_build_fabric_twice_at_once_do_not_disturb_each_other(state: RunState, tmp_path: Path) -> None:
    fabric = single_switch(cards=2)
    with build_fabric(fabric, state=state) as one:
        with RunState.create("other", directory=tmp_path) as other, build_fabric(fabric, state=other) as two:
            assert namespace_of(one.netns_pid("c1")) != namespace_of(two.netns_pid("c1"))
        assert "c1-eth0" in one.net["c1"].cmd("ip -o link")


def test_capture_of_a_link_holds_its_frames(state: RunState, tmp_path: Path) -> None:
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    fabric = single_switch(cards=2)
    path = tmp_path / "c1.pcap"
    with build_fabric(fabric, state=state) as live, packet_socket(live, "c1", "c1-eth0") as source:
        capture = start_capture(netns_pid=live.netns_pid("c1"), interface="c1-eth0", path=path, state=state)
        for number in range(100):
            source.send(frame(b"frame %d" % number, 1000))
        counts = capture.stop()
    assert (counts.captured_pkts, counts.dropped_pkts) == (100, 0)
    assert path.read_bytes().count(b"frame ") == 100


def test_capture_of_a_missing_interface_is_an_error(state: RunState, tmp_path: Path) -> None:
    with (
        build_fabric(single_switch(cards=2), state=state) as live,
        pytest.raises(FabricError, match="tcpdump did not start"),
    ):
        start_capture(netns_pid=live.netns_pid("c1"), interface="nope", path=tmp_path / "x.pcap")


def test_build_fabric_in_an_interpreter_that_warns_as_errors_imports_mininet() -> None:
    command = [sys.executable, "-W", "error", "-c", "import testbed.fabric.mininet_nodes"]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])
