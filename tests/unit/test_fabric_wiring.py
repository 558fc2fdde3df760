from __future__ import annotations

from testbed.fabric import wiring
from topologies.leaf_spine import build as leaf_spine
from topologies.single_switch import build as single_switch


def test_veth_batch_of_single_switch_makes_each_pair_between_its_namespaces() -> None:
    fabric = single_switch()
    pids = {name: 100 + index for index, name in enumerate(fabric.node_names())}
    lines = wiring.veth_batch(fabric, pids=pids, mtu_bytes=9216).splitlines()
    assert len(lines) == len(fabric.links)
    link = fabric.links[0]
    near, far = lines[0].removeprefix("link add ").split(" type veth peer ")
    assert near == (
        f"name {link.interface_at(link.a)} address 02:00:00:00:00:00 mtu 9216 numtxqueues 1 numrxqueues 1 "
        f"arp off netns {pids[link.a]}"
    )
    assert far.startswith(f"name {link.interface_at(link.b)} ")
    assert far.endswith(f"netns {pids[link.b]}")


def test_macs_of_leaf_spine_are_distinct_and_locally_administered() -> None:
    fabric = leaf_spine()
    macs = wiring.macs_of(fabric)
    assert len(set(macs.values())) == 2 * len(fabric.links)
    assert all(int(mac[:2], 16) & 0b11 == 0b10 for mac in macs.values())


def test_mac_of_large_entity_keeps_entity_and_port_readable() -> None:
    assert wiring.mac_of(0x1234, 0x56) == "02:00:12:34:00:56"


def test_interfaces_of_switch_are_its_ports() -> None:
    fabric = single_switch()
    switch = fabric.switches[0].name
    ports = len(fabric.endpoints)
    assert wiring.interfaces_of(fabric, switch) == {f"{switch}-eth{port}" for port in range(1, ports + 1)}
