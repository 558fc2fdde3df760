"""A switch that no one sells: no latency, a buffer that never fills. It shows what the wires alone cost."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, Features, Links, Paths, SwitchProfile, TableSizes

_BY_DEFINITION = "by definition of an ideal switch"
_HAS = yes("V", _BY_DEFINITION)

PROFILE = SwitchProfile(
    name="ideal",
    description="an ideal switch: no latency, 1 TiB of buffer, any rate; shows what the wires alone cost",
    port_rates_bps=(),
    ports=Sourced(65_535, "ports", "V", _BY_DEFINITION),
    capacity=Sourced(2**63 - 1, "bit/s", "V", _BY_DEFINITION),
    max_ports=Sourced(65_535, "ports", "V", _BY_DEFINITION),
    pipeline_latency=Sourced(0, "ps", "V", _BY_DEFINITION),
    buffer=Buffer(
        pool=Sourced(1 << 40, "byte", "V", _BY_DEFINITION),
        cell=Sourced(1, "byte", "V", _BY_DEFINITION),
        reserved=Sourced(0, "byte", "V", _BY_DEFINITION),
        alpha_log2=Sourced(7, "log2", "V", f"{_BY_DEFINITION}; the largest that SAI knows"),
        ingress_alpha_log2=Sourced(NO_THRESHOLD, "log2", "V", _BY_DEFINITION),
        group_reserved=Sourced(0, "byte", "V", _BY_DEFINITION),
        headroom_pool=Sourced(0, "byte", "V", f"{_BY_DEFINITION}; every port has its own"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(7, "log2", "V", _BY_DEFINITION),
        xon_offset=Sourced(0, "byte", "V", _BY_DEFINITION),
        generation=Sourced(0, "ps", "V", _BY_DEFINITION),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=Paths(
        flowlet_entries=Sourced(1 << 20, "entries", "V", f"{_BY_DEFINITION}; flows hardly ever share one"),
        load_quantum=Sourced(1, "byte", "V", _BY_DEFINITION),
    ),
    tables=TableSizes(
        mac_entries=Sourced(1 << 20, "entries", "V", _BY_DEFINITION),
        acl_entries=Sourced(1 << 20, "entries", "V", _BY_DEFINITION),
        groups=Sourced(1 << 20, "groups", "V", _BY_DEFINITION),
        group_members=Sourced(1 << 20, "members", "V", _BY_DEFINITION),
    ),
    links=Links(
        llr_latency=Sourced(0, "ps", "V", _BY_DEFINITION),
        cbfc_credit=Sourced(
            32_767, "byte", "V", "the most that a 16-bit credit can count in cells of one byte"
        ),
    ),
    features=Features(
        cut_through=_HAS,
        pfc=_HAS,
        ecn=_HAS,
        dlb=_HAS,
        per_packet=_HAS,
        trimming=_HAS,
        telemetry=_HAS,
        llr=_HAS,
        cbfc=_HAS,
    ),
)
