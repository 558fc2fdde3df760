"""The commands that wire a fabric, as text: pure functions, run elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from testbed.spec.fabric import Fabric, Link, interface_name

MTU_BYTES = 9_216
"""What switches call jumbo [data-sheets]; a veth takes up to 65,535 [linux: ETH_MAX_MTU]."""


def mac_of(entity: int, port: int) -> str:
    """The address of a port: locally administered, with the entity and port readable in it."""
    return f"02:00:{entity >> 8:02x}:{entity & 0xFF:02x}:{port >> 8:02x}:{port & 0xFF:02x}"


def macs_of(fabric: Fabric) -> dict[str, str]:
    """The address of every interface."""
    entity = {name: index for index, name in enumerate(fabric.node_names())}
    ends = [end for link in fabric.links for end in ((link.a, link.a_port), (link.b, link.b_port))]
    return {interface_name(name, port): mac_of(entity[name], port) for name, port in ends}


def veth_batch(fabric: Fabric, *, pids: Mapping[str, int], mtu_bytes: int = MTU_BYTES) -> str:
    """Input of `ip -batch -`: every veth pair, made right between its two namespaces.

    No end is ever in the root namespace, so nothing can be left there. They come up later: an end cannot
    before its peer is there.
    """
    macs = macs_of(fabric)

    def end(link: Link, node: str) -> str:
        name = link.interface_at(node)
        return (
            f"name {name} address {macs[name]} mtu {mtu_bytes} numtxqueues 1 numrxqueues 1 arp off "
            f"netns {pids[node]}"
        )

    lines = (f"link add {end(link, link.a)} type veth peer {end(link, link.b)}\n" for link in fabric.links)
    return "".join(lines)


def batch_command() -> list[str]:
    """The command that reads `veth_batch`."""
    return ["ip", "-batch", "-"]


def interfaces_of(fabric: Fabric, name: str) -> frozenset[str]:
    """The interfaces that a node must have."""
    return frozenset(link.interface_at(name) for link in fabric.links_of(name))
