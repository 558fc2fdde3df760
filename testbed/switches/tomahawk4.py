"""Broadcom Tomahawk 4 (BCM56990), 25.6 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, MEMORY, sonic, yes
from testbed.switches.profile import Buffer, SwitchProfile

_NOKIA = sonic("nokia_ixr7220_h4")
_UNLIKE = "not public for this product; taken from Tomahawk 5"

PROFILE = SwitchProfile(
    name="tomahawk4",
    description="Broadcom Tomahawk 4: 25.6 Tb/s, 64 x 400G, 113 MB shared buffer, about 700 ns",
    port_rates_bps=(400 * GBPS, 200 * GBPS, 100 * GBPS),
    ports=Sourced(64, "ports", "M", f"64x400; {MEMORY}"),
    capacity=Sourced(25_600 * GBPS, "bit/s", "M", f"64x400; {MEMORY}"),
    max_ports=Sourced(256, "ports", "M", f"256x100; {MEMORY}"),
    pipeline_latency=Sourced(
        700_000, "ps", "M", "no public figure found; the middle of 0.5 to 0.9 us from memory"
    ),
    buffer=Buffer(
        pool=Sourced(113_143_792, "byte", "V", f"shared pool: {_NOKIA}"),
        cell=Sourced(254, "byte", "M", f"as its successor; {MEMORY}"),
        reserved=Sourced(1_778, "byte", "assumed", f"{_UNLIKE}; per queue"),
        alpha_log2=Sourced(-4, "log2", "V", f"dynamic_th of the lossy egress profile: {_NOKIA}"),
        ingress_alpha_log2=Sourced(-1, "log2", "V", f"dynamic_th of the lossy ingress profile: {_NOKIA}"),
        group_reserved=Sourced(0, "byte", "assumed", "not read for this product; 0 in the other images"),
        headroom_pool=Sourced(48_400_000, "byte", "V", f"48.4 MB: {_NOKIA}"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(0, "log2", "assumed", _UNLIKE),
        xon_offset=Sourced(3_556, "byte", "assumed", _UNLIKE),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=common.GENERIC_TABLES,
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=yes("M", MEMORY),
        pfc=yes("V", f"lossless profiles: {_NOKIA}"),
        dlb=yes("M", f"dynamic load balancing; {MEMORY}"),
        per_packet=yes("M", f"per-packet mode of its dynamic load balancing; {MEMORY}"),
        telemetry=yes("M", f"in-band flow analyzer (IFA); {MEMORY}"),
    ),
)
