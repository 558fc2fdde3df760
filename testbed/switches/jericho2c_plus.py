"""Broadcom Jericho2C+ (BCM88850), 14.4 Tb/s: deep buffers in HBM, virtual output queues, credits."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, MEMORY, no, sonic, yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, SwitchProfile, Voq

_SONIC = sonic("arista_7280dr3a, nokia_7250e")
_R3 = "https://people.ucsc.edu/~warner/Bufs/7280R3.html"
_SPLIT = (
    "no public split found; pipeline 1.5, credits 1.0 and fabric 0.5 us add up to 3 us, and 2.5 to 4 us are"
)
_UNKNOWN = "no public source found"

PROFILE = SwitchProfile(
    name="jericho2c_plus",
    description="Broadcom Jericho2C+: 14.4 Tb/s, 36 x 400G, 6.4 GB in HBM, VOQ, about 3 us",
    model="voq",
    port_rates_bps=(400 * GBPS, 200 * GBPS, 100 * GBPS),
    ports=Sourced(36, "ports", "M", f"36x400; {MEMORY}"),
    capacity=Sourced(14_400 * GBPS, "bit/s", "M", f"36x400; {MEMORY}"),
    max_ports=Sourced(144, "ports", "M", f"144x100; {MEMORY}"),
    pipeline_latency=Sourced(1_500_000, "ps", "M", f"{_SPLIT} {MEMORY}"),
    buffer=Buffer(
        pool=Sourced(6_441_610_000, "byte", "V", f"HBM per ASIC: {_SONIC}"),
        cell=Sourced(256, "byte", "assumed", f"{_UNKNOWN}; in line with the other profiles"),
        reserved=Sourced(0, "byte", "assumed", "virtual output queues need no reserve in so deep a buffer"),
        alpha_log2=Sourced(0, "log2", "V", f"shipped dynamic_th, 0, -1 or -4: {_SONIC}"),
        ingress_alpha_log2=Sourced(
            NO_THRESHOLD, "log2", "assumed", "the limit of each virtual output queue decides"
        ),
        group_reserved=Sourced(0, "byte", "assumed", f"{_UNKNOWN}; 0 in the other images"),
        headroom_pool=Sourced(400_000_000, "byte", "V", f"lower end of 0.4 to 1.6 GB: {_SONIC}"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(-5, "log2", "V", f"threshold of the lossless profile: {_SONIC}"),
        xon_offset=Sourced(3_584, "byte", "assumed", f"{_UNKNOWN}; 14 cells, as Tomahawk 5"),
        shipped=common.shipped({(400, 30): 1_495_040}, f"pg_profile_lookup.ini of {_SONIC}"),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=common.GENERIC_TABLES,
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=no("M", f"store-and-forward into virtual output queues; {MEMORY}"),
        pfc=yes("V", f"lossless profiles: {_SONIC}"),
        dlb=no("M", f"its cells are spread over a fabric, its flows over ports by hash; {MEMORY}"),
        per_packet=no("M", f"its cells are spread over a fabric, its flows over ports by hash; {MEMORY}"),
    ),
    voq=Voq(
        limit=Sourced(
            5_000_000_000,
            "ps",
            "V",
            f"5 ms of port rate by default; 500 MB at 100G is said there, 5 ms of it are 62.5 MB: {_R3}",
        ),
        credit=Sourced(4_096, "byte", "assumed", f"{_UNKNOWN}; about one frame"),
        credit_latency=Sourced(1_000_000, "ps", "M", f"{_SPLIT} {MEMORY}"),
        fabric_latency=Sourced(500_000, "ps", "M", f"{_SPLIT} {MEMORY}"),
        egress_buffer=Sourced(
            466_032, "byte", "E", f"16 MB on chip over 36 ports; Jericho2 has 8 GB HBM + 16 MB on chip: {_R3}"
        ),
        credit_speedup=Sourced(
            1_050,
            "permille",
            "assumed",
            "credits come slightly faster than the port sends, so that it never starves",
        ),
    ),
)
