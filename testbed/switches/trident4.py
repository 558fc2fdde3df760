"""Broadcom Trident 4 (BCM56880), 12.8 Tb/s, programmable."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, MEMORY, sonic, yes
from testbed.switches.profile import Buffer, SwitchProfile

_NOKIA = sonic("nokia_ixr7220_d4")
_TABLE = f"Nokia-IXR7220-D4-36D/pg_profile_lookup.ini @7166ed97 of {_NOKIA}"

PROFILE = SwitchProfile(
    name="trident4",
    description="Broadcom Trident 4: 12.8 Tb/s, 32 x 400G, 84 MB shared buffer, about 700 ns",
    port_rates_bps=(400 * GBPS, 200 * GBPS, 100 * GBPS),
    ports=Sourced(32, "ports", "M", f"32x400; {MEMORY}"),
    capacity=Sourced(12_800 * GBPS, "bit/s", "M", f"32x400; {MEMORY}"),
    max_ports=Sourced(128, "ports", "M", f"128x100; {MEMORY}"),
    pipeline_latency=Sourced(
        700_000, "ps", "M", "no public figure found; the middle of 0.5 to 0.9 us from memory"
    ),
    buffer=Buffer(
        pool=Sourced(
            84_219_120,
            "byte",
            "V",
            f"shared pool: {_NOKIA}; an older image has 73,964,892 (buffers_defaults_t0.j2 @12e7a2be)",
        ),
        cell=Sourced(
            254,
            "byte",
            "E",
            f"the shipped size of egress_lossy_profile is 1,778 = 7 x 254; the headroom of {_TABLE} is in"
            " multiples of 318",
        ),
        reserved=Sourced(1_778, "byte", "V", f"size of egress_lossy_profile; per queue: {_NOKIA}"),
        alpha_log2=Sourced(-4, "log2", "V", f"dynamic_th of the lossy egress profile: {_NOKIA}"),
        ingress_alpha_log2=Sourced(
            -1, "log2", "V", f"dynamic_th of the lossy ingress profile: {_NOKIA}; -4 in an older image"
        ),
        group_reserved=common.NO_GROUP_RESERVE,
        headroom_pool=Sourced(20_300_000, "byte", "V", f"20.3 MB: {_NOKIA}; an older image has 2,097,152"),
    ),
    pfc=common.pfc(
        alpha_log2=common.SHIPPED_ALPHA,
        xon_offset=Sourced(2_544, "byte", "V", _TABLE),
        shipped=common.shipped(
            {
                (100, 5): 75_366,
                (100, 40): 81_726,
                (100, 100): 89_040,
                (100, 300): 117_978,
                (400, 5): 154_548,
                (400, 40): 180_624,
                (400, 100): 209_562,
                (400, 300): 325_632,
            },
            _TABLE,
        ),
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
        telemetry=yes("M", f"in-band telemetry in its programmable pipeline; {MEMORY}"),
    ),
)
