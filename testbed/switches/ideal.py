"""A switch that no one sells: no latency, a buffer that never fills. It shows what the wires alone cost."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches.profile import SwitchProfile

_BY_DEFINITION = "by definition of an ideal switch"

PROFILE = SwitchProfile(
    name="ideal",
    description="an ideal switch: no latency, 1 TiB of buffer, any rate; shows what the wires alone cost",
    port_rates_bps=(),
    ports=Sourced(65_535, "ports", "V", _BY_DEFINITION),
    capacity=Sourced(2**63 - 1, "bit/s", "V", _BY_DEFINITION),
    max_ports=Sourced(65_535, "ports", "V", _BY_DEFINITION),
    pipeline_latency=Sourced(0, "ps", "V", _BY_DEFINITION),
    cut_through=True,
    buffer_bytes=Sourced(1 << 40, "byte", "V", _BY_DEFINITION),
    cell_bytes=Sourced(1, "byte", "V", _BY_DEFINITION),
    alpha_log2=Sourced(7, "log2", "V", f"{_BY_DEFINITION}; the largest that SAI knows"),
    reserved_bytes=Sourced(0, "byte", "V", _BY_DEFINITION),
)
