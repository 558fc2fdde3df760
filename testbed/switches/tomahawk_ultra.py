"""Broadcom Tomahawk Ultra, 51.2 Tb/s, made for scale-up latency."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, yes
from testbed.switches.profile import Buffer, SwitchProfile

_LAUNCH = (
    "https://www.techzine.eu/news/infrastructure/133074/"
    "broadcom-launches-tomahawk-ultra-with-250ns-network-latency"
)
_UNLIKE = "not public for this product; taken from Tomahawk 5"

PROFILE = SwitchProfile(
    name="tomahawk_ultra",
    description="Broadcom Tomahawk Ultra: 51.2 Tb/s, 64 x 800G, 250 ns port to port",
    port_rates_bps=common.M_100G_TO_800G,
    ports=Sourced(64, "ports", "V", _LAUNCH),
    capacity=Sourced(51_200 * GBPS, "bit/s", "V", _LAUNCH),
    max_ports=Sourced(256, "ports", "assumed", _UNLIKE),
    pipeline_latency=Sourced(250_000, "ps", "V", f"250 ns port to port: {_LAUNCH}"),
    buffer=Buffer(
        pool=Sourced(
            166_600_000, "byte", "assumed", f"{_UNLIKE}, whose chip has the same bandwidth; it may be smaller"
        ),
        cell=Sourced(254, "byte", "assumed", _UNLIKE),
        reserved=Sourced(1_778, "byte", "assumed", _UNLIKE),
        alpha_log2=Sourced(0, "log2", "assumed", _UNLIKE),
        ingress_alpha_log2=common.NO_INGRESS_THRESHOLD,
        group_reserved=Sourced(0, "byte", "assumed", _UNLIKE),
        headroom_pool=Sourced(29_423_360, "byte", "assumed", _UNLIKE),
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
        cut_through=yes("assumed", "250 ns port to port leave no time to store a frame"),
        pfc=yes("assumed", _UNLIKE),
        dlb=yes("assumed", _UNLIKE),
        per_packet=yes("assumed", _UNLIKE),
        llr=yes("V", f"link layer retry: {_LAUNCH}"),
        cbfc=yes("V", f"credit-based flow control: {_LAUNCH}"),
    ),
)
