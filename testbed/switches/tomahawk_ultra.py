"""Broadcom Tomahawk Ultra, 51.2 Tb/s, made for scale-up latency."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches.profile import SwitchProfile

_LAUNCH = (
    "https://www.techzine.eu/news/infrastructure/133074/"
    "broadcom-launches-tomahawk-ultra-with-250ns-network-latency"
)
_UNLIKE = "not public for this product; taken from Tomahawk 5"

PROFILE = SwitchProfile(
    name="tomahawk_ultra",
    description="Broadcom Tomahawk Ultra: 51.2 Tb/s, 64 x 800G, 250 ns port to port",
    port_rates_bps=(800 * 10**9, 400 * 10**9, 200 * 10**9, 100 * 10**9),
    ports=Sourced(64, "ports", "V", _LAUNCH),
    capacity=Sourced(51_200 * 10**9, "bit/s", "V", _LAUNCH),
    max_ports=Sourced(256, "ports", "assumed", _UNLIKE),
    pipeline_latency=Sourced(250_000, "ps", "V", f"250 ns port to port: {_LAUNCH}"),
    cut_through=True,
    buffer_bytes=Sourced(
        166_600_000, "byte", "assumed", f"{_UNLIKE}, whose chip has the same bandwidth; it may be smaller"
    ),
    cell_bytes=Sourced(254, "byte", "assumed", _UNLIKE),
    alpha_log2=Sourced(0, "log2", "assumed", _UNLIKE),
    reserved_bytes=Sourced(1_778, "byte", "assumed", _UNLIKE),
)
