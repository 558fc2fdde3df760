"""Broadcom Tomahawk 5 (BCM78900), 51.2 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches.profile import SwitchProfile

_PORTS = "64x800/128x400/256x200: https://www.signalintegrityjournal.com/articles/2766"
_SONIC = "sonic-net/sonic-buildimage @086b03bd, device arista_7060x6_64pe"

PROFILE = SwitchProfile(
    name="tomahawk5",
    description="Broadcom Tomahawk 5: 51.2 Tb/s, 64 x 800G, 166 MB shared buffer, about 600 ns",
    port_rates_bps=(800 * 10**9, 400 * 10**9, 200 * 10**9, 100 * 10**9),
    ports=Sourced(64, "ports", "V", _PORTS),
    capacity=Sourced(51_200 * 10**9, "bit/s", "V", _PORTS),
    max_ports=Sourced(256, "ports", "V", _PORTS),
    pipeline_latency=Sourced(
        600_000,
        "ps",
        "S",
        "about 600 ns, low confidence: https://ai-stack.us/blogs/news/broadcom-tomahawk-ultra",
    ),
    cut_through=True,
    buffer_bytes=Sourced(
        166_600_000, "byte", "V", f"upper end of the shared pools that ship, 161.2 to 166.6 MB: {_SONIC}"
    ),
    cell_bytes=Sourced(254, "byte", "V", f"thresholds are multiples of it, 1778 = 7, 3556 = 14: {_SONIC}"),
    alpha_log2=Sourced(0, "log2", "V", f"dynamic_th of the lossy egress profile: {_SONIC}"),
    reserved_bytes=Sourced(1_778, "byte", "assumed", "7 cells, the unit of the shipped profiles; per queue"),
)
