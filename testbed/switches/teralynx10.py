"""Marvell Teralynx 10 (MVTX9180), 51.2 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, MEMORY, sonic, yes
from testbed.switches.profile import Buffer, SwitchProfile

_SONIC = sonic("dbmvtx9180, SKU d64p512t")
_PORTS = "51.2 Tb/s, over 200 MB: https://wheelersnetwork.com/2023/03/marvell-teralynx-leapfrogs-to-512t.html"

PROFILE = SwitchProfile(
    name="teralynx10",
    description="Marvell Teralynx 10: 51.2 Tb/s, 64 x 800G, 216 MB shared buffer, about 500 ns",
    port_rates_bps=common.M_100G_TO_800G,
    ports=Sourced(64, "ports", "E", f"51.2 Tb/s at 800 Gb/s: {_PORTS}"),
    capacity=Sourced(51_200 * GBPS, "bit/s", "V", _PORTS),
    max_ports=Sourced(512, "ports", "M", f"512x100; {MEMORY}"),
    pipeline_latency=Sourced(
        500_000,
        "ps",
        "M",
        "no public figure found; about 500 ns from memory. Teralynx 7 has 500 ns: "
        "https://cloudswit.ch/blogs/choosing-the-right-32x100g-switch/",
    ),
    buffer=Buffer(
        pool=Sourced(
            215_600_000,
            "byte",
            "V",
            f"upper end of the lossless egress pools, 214.6 to 215.6 MB; the lossy pool has 182,386,688: {_SONIC}",
        ),
        cell=Sourced(128, "byte", "assumed", f"shipped headroom is a multiple of 128: {_SONIC}; not stated"),
        reserved=Sourced(896, "byte", "assumed", "7 cells, in line with the other profiles; per queue"),
        alpha_log2=Sourced(2, "log2", "V", f"dynamic_th of the lossy profiles: {_SONIC}"),
        ingress_alpha_log2=common.NO_INGRESS_THRESHOLD,
        group_reserved=Sourced(0, "byte", "assumed", "not read for this product; 0 in the other images"),
        headroom_pool=Sourced(72_600_000, "byte", "V", f"upper end of 71.6 to 72.6 MB: {_SONIC}"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(1, "log2", "V", f"dynamic_th of the lossless profiles: {_SONIC}"),
        xon_offset=Sourced(13_824, "byte", "V", f"xon_offset: {_SONIC}"),
        shipped=common.shipped(
            {(400, 5): 129_920, (800, 5): 247_424, (800, 300): 550_528},
            f"pg_profile_lookup.ini of {_SONIC}",
        ),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=common.GENERIC_TABLES,
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=yes("M", MEMORY),
        pfc=yes("V", f"lossless profiles: {_SONIC}"),
        dlb=yes("M", f"congestion-aware load balancing; {MEMORY}"),
        per_packet=yes("assumed", "no public source found; its peers of 51.2 Tb/s have it"),
        telemetry=yes("M", f"in-band telemetry; {MEMORY}"),
    ),
)
