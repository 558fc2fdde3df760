"""Broadcom Tomahawk 6 (BCM78910), 102.4 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, MEMORY, sonic, yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, SwitchProfile

_NOKIA = sonic("nokia_ixr7220_h6_128")
_OTHER = "Nokia-IXR7220-H6-128/buffers_defaults_t1.j2 @4f3de666"
_TABLE = f"Nokia-IXR7220-H6-P128/pg_profile_lookup.ini @6696e2fd of {_NOKIA}"
_LAUNCH = "https://gixtools.net/2025/06/broadcoms-102-4-tbps-tomahawk-6-targets-million-xpu-ai-clusters"

PROFILE = SwitchProfile(
    name="tomahawk6",
    description="Broadcom Tomahawk 6: 102.4 Tb/s, 64 x 1.6T, 257 MB shared buffer, about 800 ns",
    port_rates_bps=(1600 * GBPS, *common.M_100G_TO_800G),
    ports=Sourced(64, "ports", "V", f"64x1.6T/512x200G: {_LAUNCH}"),
    capacity=Sourced(102_400 * GBPS, "bit/s", "V", f"64x1.6T/512x200G: {_LAUNCH}"),
    max_ports=Sourced(512, "ports", "V", f"64x1.6T/512x200G: {_LAUNCH}"),
    pipeline_latency=Sourced(
        800_000,
        "ps",
        "S",
        "about 800 ns, low confidence: https://ai-stack.us/blogs/news/broadcom-tomahawk-ultra",
    ),
    buffer=Buffer(
        pool=Sourced(
            257_154_240,
            "byte",
            "V",
            f"shared pool (static limit 262,523,100): {_NOKIA}; 268,319,520 in {_OTHER}",
        ),
        cell=Sourced(420, "byte", "V", f"stated there: {_TABLE}"),
        reserved=Sourced(2_940, "byte", "assumed", f"7 cells, as Tomahawk 5; per queue. 0 in {_OTHER}"),
        alpha_log2=Sourced(0, "log2", "V", f"dynamic_th: {_NOKIA}; -4 for lossy egress in {_OTHER}"),
        ingress_alpha_log2=Sourced(
            NO_THRESHOLD, "log2", "assumed", f"as Tomahawk 5; -1 for lossy ingress in {_OTHER}"
        ),
        group_reserved=common.NO_GROUP_RESERVE,
        headroom_pool=Sourced(59_041_792, "byte", "V", f"xoff of ingress_lossless_pool: {_OTHER}"),
    ),
    pfc=common.pfc(
        alpha_log2=common.SHIPPED_ALPHA,
        xon_offset=Sourced(4_200, "byte", "V", f"10 cells: {_TABLE}"),
        shipped=common.shipped(
            {
                (100, 5): 125_580,
                (100, 40): 131_880,
                (100, 300): 180_180,
                (200, 5): 261_660,
                (200, 40): 274_260,
                (200, 300): 371_700,
                (400, 5): 464_520,
                (400, 40): 490_980,
                (400, 300): 686_280,
                (800, 5): 797_580,
                (800, 40): 850_080,
                (800, 300): 1_239_840,
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
        cut_through=yes("M", f"as the earlier generations of its family; {MEMORY}"),
        pfc=yes("V", f"lossless profiles: {_NOKIA}"),
        dlb=yes("V", f"Cognitive Routing 2.0, global load balancing 2.0: {_LAUNCH}"),
        per_packet=yes("M", f"per-packet mode of its load balancing; {MEMORY}"),
        trimming=yes("V", f"packet trimming: {_LAUNCH}"),
        telemetry=yes("M", f"in-band flow analyzer (IFA); {MEMORY}"),
    ),
)
