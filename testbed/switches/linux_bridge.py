"""A Linux bridge: what switching in a kernel costs, beside switching in silicon."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import MEMORY, no, yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, Features, SwitchProfile, TableSizes

_NONE = no("M", f"not in the bridge of the kernel; {MEMORY}")
_NO_PFC = Sourced(0, "byte", "M", f"the bridge knows no PFC; {MEMORY}")
_UNLIMITED = Sourced(1 << 20, "entries", "assumed", "its tables are in main memory; not limited here")

PROFILE = SwitchProfile(
    name="linux_bridge",
    description="a Linux bridge: any rate, store-and-forward, about 10 us; CPU load is not modelled",
    port_rates_bps=(),
    ports=Sourced(1_023, "ports", "M", f"BR_MAX_PORTS of the kernel; {MEMORY}"),
    capacity=Sourced(
        2**63 - 1, "bit/s", "assumed", "not limited here; a real one ends at what its CPUs forward"
    ),
    max_ports=Sourced(1_023, "ports", "M", f"BR_MAX_PORTS of the kernel; {MEMORY}"),
    pipeline_latency=Sourced(
        10_000_000,
        "ps",
        "E",
        "half of an idle kernel UDP round trip of 15 to 30 us (from memory): that is two receive and two"
        " transmit paths, and a bridge is one of each",
    ),
    buffer=Buffer(
        pool=Sourced(
            16 << 20,
            "byte",
            "assumed",
            "about 1,000 frames (txqueuelen) of 16 KiB in all; real queues are per port",
        ),
        cell=Sourced(256, "byte", "assumed", "memory of a frame is allocated in larger units than its bytes"),
        reserved=Sourced(0, "byte", "assumed", "the kernel reserves nothing for a queue"),
        alpha_log2=Sourced(
            7, "log2", "assumed", "the kernel has no dynamic threshold: any queue may take nearly all"
        ),
        ingress_alpha_log2=Sourced(
            NO_THRESHOLD, "log2", "M", f"the kernel has no threshold at ingress; {MEMORY}"
        ),
        group_reserved=Sourced(0, "byte", "M", f"the kernel has no priority groups; {MEMORY}"),
        headroom_pool=_NO_PFC,
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(0, "log2", "M", f"the bridge knows no PFC; {MEMORY}"), xon_offset=_NO_PFC
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=TableSizes(
        mac_entries=_UNLIMITED,
        acl_entries=_UNLIMITED,
        groups=_UNLIMITED,
        group_members=_UNLIMITED,
    ),
    links=common.GENERIC_LINKS,
    features=Features(
        cut_through=no("V", "the kernel sees a frame only when its NIC has all of it"),
        pfc=_NONE,
        ecn=yes("M", f"the queue discipline `red` with `ecn` on a port; {MEMORY}"),
        dlb=_NONE,
        per_packet=_NONE,
        trimming=_NONE,
        telemetry=_NONE,
        llr=_NONE,
        cbfc=_NONE,
    ),
)
