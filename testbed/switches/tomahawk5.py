"""Broadcom Tomahawk 5 (BCM78900), 51.2 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, no, sonic, yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, Ecn, SwitchProfile

_PORTS = "64x800/128x400/256x200: https://www.signalintegrityjournal.com/articles/2766"
_ARISTA = sonic("arista_7060x6_64pe")
_NOKIA = sonic("nokia_ixr7220_h5_64d")
_QOS = f"qos.json.j2 of {_ARISTA}; the generic image has 1 to 2 MiB, 5 %"

PROFILE = SwitchProfile(
    name="tomahawk5",
    description="Broadcom Tomahawk 5: 51.2 Tb/s, 64 x 800G, 166 MB shared buffer, about 600 ns",
    port_rates_bps=common.M_100G_TO_800G,
    ports=Sourced(64, "ports", "V", _PORTS),
    capacity=Sourced(51_200 * GBPS, "bit/s", "V", _PORTS),
    max_ports=Sourced(256, "ports", "V", _PORTS),
    pipeline_latency=Sourced(
        600_000,
        "ps",
        "S",
        "about 600 ns, low confidence: https://ai-stack.us/blogs/news/broadcom-tomahawk-ultra",
    ),
    buffer=Buffer(
        pool=Sourced(
            166_600_000,
            "byte",
            "V",
            f"upper end of the shared pools that ship, 161.2 to 166.6 MB (static limit 167,546,528): {_ARISTA}",
        ),
        cell=Sourced(254, "byte", "V", f"thresholds are multiples of it, 1778 = 7, 3556 = 14: {_ARISTA}"),
        reserved=Sourced(
            1_778, "byte", "V", f"size of egress_lossy_profile, 7 cells; per queue: O128S2 of {_ARISTA}"
        ),
        alpha_log2=Sourced(
            0,
            "log2",
            "V",
            f"dynamic_th of the lossy egress profile, 0 or 1: {_ARISTA}; -4 (-1 at ingress): {_NOKIA}",
        ),
        ingress_alpha_log2=Sourced(
            NO_THRESHOLD,
            "log2",
            "V",
            f"ingress_lossy_profile has the whole buffer as its static limit: O128S2 of {_ARISTA}",
        ),
        group_reserved=common.NO_GROUP_RESERVE,
        headroom_pool=Sourced(
            29_423_360, "byte", "V", f"xoff of ingress_lossless_pool: O128S2 of {_ARISTA}; 29.5 MB: {_NOKIA}"
        ),
    ),
    pfc=common.pfc(
        alpha_log2=common.SHIPPED_ALPHA,
        xon_offset=Sourced(3_556, "byte", "V", f"14 cells: {_ARISTA}"),
        shipped=(
            *common.shipped(
                {(400, 5): 307_848, (800, 5): 572_516, (400, 300): 499_618, (800, 300): 929_132},
                f"pg_profile_lookup.ini of {_NOKIA}",
            ),
            *common.shipped(
                {(400, 40): 330_200, (800, 40): 614_172},
                "the same file in a fork: zili11720/sonic-buildimage @7184ad0f",
                mark="S",
            ),
            *common.shipped({(200, 5): 300_990}, f"pg_profile_lookup.ini of {_ARISTA}"),
            *common.shipped(
                {(400, 150): 612_140}, f"pg_profile_lookup.ini of {_ARISTA}, which has it for 5 m, too"
            ),
        ),
    ),
    ecn=Ecn(
        kmin=Sourced(131_072, "byte", "V", _QOS),
        kmax=Sourced(262_144, "byte", "V", _QOS),
        pmax=Sourced(50_000, "ppm", "V", _QOS),
    ),
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=common.GENERIC_TABLES,
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=yes("M", "as the earlier generations of its family; from memory, not verified"),
        pfc=yes("V", f"lossless profiles: {_ARISTA}"),
        dlb=yes("V", f"dynamic load balancing, Cognitive Routing: {_PORTS}"),
        per_packet=yes("M", "per-packet mode of its dynamic load balancing; from memory, not verified"),
        trimming=no("assumed", "named for Tomahawk 6 only; taken as absent"),
        telemetry=yes("M", "in-band flow analyzer (IFA); from memory, not verified"),
    ),
)
