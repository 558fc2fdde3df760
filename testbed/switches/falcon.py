"""Marvell Prestera CX 8500 (Falcon, 98CX8580), 12.8 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, NOT_FOUND, sonic, yes
from testbed.switches.profile import Buffer, SwitchProfile

_SONIC = sonic("Prestera 98CX8580")
_ASTERA = "https://asteraix.com/blog/400g-switch-asic-teralynx-7-vs-falcon-cx8500"
_UNKNOWN = "no public source found"

PROFILE = SwitchProfile(
    name="falcon",
    description="Marvell Falcon CX 8500: 12.8 Tb/s, 32 x 400G, 23 MB shared buffer, about 1,500 ns",
    port_rates_bps=(400 * GBPS, 200 * GBPS, 100 * GBPS),
    ports=Sourced(32, "ports", "V", f"32x400: {_ASTERA}"),
    capacity=Sourced(12_800 * GBPS, "bit/s", "V", f"32x400: {_ASTERA}"),
    max_ports=Sourced(128, "ports", "M", "128x100; from memory, not verified"),
    pipeline_latency=Sourced(1_500_000, "ps", "V", f"about 1,500 ns: {_ASTERA}"),
    buffer=Buffer(
        pool=Sourced(
            23_000_000, "byte", "V", f"upper end of the shared pools that ship, 22 to 23 MB: {_SONIC}"
        ),
        cell=Sourced(256, "byte", "assumed", f"{_UNKNOWN}; in line with the other profiles"),
        reserved=Sourced(1_792, "byte", "assumed", "7 cells, in line with the other profiles; per queue"),
        alpha_log2=Sourced(
            1,
            "log2",
            "E",
            f"the shipped dynamic_th are 1, -3 and 3, and which is for lossy egress was not read: {_SONIC}",
        ),
        ingress_alpha_log2=common.NO_INGRESS_THRESHOLD,
        group_reserved=Sourced(0, "byte", "assumed", f"{_UNKNOWN}; 0 in the other images"),
        headroom_pool=Sourced(0, "byte", "assumed", f"{_UNKNOWN}; every port has its own"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(
            -3,
            "log2",
            "E",
            f"the shipped dynamic_th are 1, -3 and 3, and which is for lossless groups was not read: {_SONIC}",
        ),
        xon_offset=Sourced(3_584, "byte", "assumed", f"{_UNKNOWN}; 14 cells, as Tomahawk 5"),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=common.GENERIC_TABLES,
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=yes("assumed", f"{_UNKNOWN}; its peers have it"),
        pfc=yes("V", f"lossless profiles: {_SONIC}"),
        dlb=NOT_FOUND,
        per_packet=NOT_FOUND,
    ),
)
