"""NVIDIA Spectrum-4 (SN5600), 51.2 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches.profile import SwitchProfile

_SONIC = "sonic-net/sonic-buildimage @086b03bd, device sn5600"
_PORTS = "64x800G, 37.6 Bpps: techinsights on Spectrum-4"

PROFILE = SwitchProfile(
    name="spectrum4",
    description="NVIDIA Spectrum-4: 51.2 Tb/s, 64 x 800G, 158 MB shared buffer, about 700 ns",
    port_rates_bps=(800 * 10**9, 400 * 10**9, 200 * 10**9, 100 * 10**9),
    ports=Sourced(64, "ports", "V", _PORTS),
    capacity=Sourced(51_200 * 10**9, "bit/s", "V", _PORTS),
    max_ports=Sourced(256, "ports", "M", "64 cages, each split in up to four; not verified"),
    pipeline_latency=Sourced(700_000, "ps", "M", "no public figure found; 0.6 to 0.8 us from memory"),
    cut_through=True,
    buffer_bytes=Sourced(158_229_504, "byte", "V", f"egress shared pool: {_SONIC}"),
    cell_bytes=Sourced(192, "byte", "V", _SONIC),
    alpha_log2=Sourced(0, "log2", "V", f"dynamic_th of the lossy queues (0, -7 or -3): {_SONIC}"),
    reserved_bytes=Sourced(1_344, "byte", "assumed", "7 cells, in line with the other profiles; per queue"),
)
