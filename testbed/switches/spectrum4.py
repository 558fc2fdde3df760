"""NVIDIA Spectrum-4 (SN5600), 51.2 Tb/s."""

from __future__ import annotations

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, sonic, yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, SwitchProfile

_SONIC = sonic("sn5600")
_PORTS = "64x800G, 37.6 Bpps: techinsights on Spectrum-4"
_TRIMMING = (
    "Spectrum-4 and later, known unicast IP only: https://docs.nvidia.com/networking-ethernet-software/"
    "cumulus-linux-515/Layer-1-and-Switch-Ports/Quality-of-Service/Packet-Trimming"
)

PROFILE = SwitchProfile(
    name="spectrum4",
    description="NVIDIA Spectrum-4: 51.2 Tb/s, 64 x 800G, 158 MB shared buffer, about 700 ns",
    port_rates_bps=common.M_100G_TO_800G,
    ports=Sourced(64, "ports", "V", _PORTS),
    capacity=Sourced(51_200 * GBPS, "bit/s", "V", _PORTS),
    max_ports=Sourced(256, "ports", "M", "64 cages, each split in up to four; not verified"),
    pipeline_latency=Sourced(700_000, "ps", "M", "no public figure found; 0.6 to 0.8 us from memory"),
    buffer=Buffer(
        pool=Sourced(
            158_229_504,
            "byte",
            "V",
            f"egress shared pool: {_SONIC}; the ingress pools there have 73.7 to 142.7 MB",
        ),
        cell=Sourced(192, "byte", "V", _SONIC),
        reserved=Sourced(
            1_344,
            "byte",
            "assumed",
            "7 cells, in line with the other profiles; per queue. The shipped egress_lossy_profile has 9,216"
            f" per port: Mellanox-SN5600-C256S1 of {_SONIC}",
        ),
        alpha_log2=Sourced(0, "log2", "V", f"dynamic_th of the lossy queues (0, -7 or -3): {_SONIC}"),
        ingress_alpha_log2=Sourced(
            NO_THRESHOLD, "log2", "E", f"dynamic_th 7, so 128 times the free buffer, never binds: {_SONIC}"
        ),
        group_reserved=common.NO_GROUP_RESERVE,
        headroom_pool=Sourced(60_300_000, "byte", "V", f"up to 60.3 MB (SKU V256): {_SONIC}"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(0, "log2", "assumed", "not read for this product; as the shipped 0 of the others"),
        xon_offset=Sourced(
            19_456,
            "byte",
            "E",
            f"the smaller xon of the shipped profiles, 19,456 or 38,912, taken as an offset: {_SONIC}",
        ),
        shipped=(
            *common.shipped(
                {
                    (400, 5): 231_424,
                    (400, 40): 283_648,
                    (400, 300): 677_888,
                    (800, 5): 257_024,
                    (800, 300): 1_150_976,
                },
                f"pg_profile_lookup.ini of {_SONIC}",
            ),
        ),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=common.GENERIC_TABLES,
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=yes("V", f"cut-through: {_PORTS}"),
        pfc=yes("V", f"lossless profiles: {_SONIC}"),
        dlb=yes("V", f"adaptive routing: {_PORTS}"),
        per_packet=yes("M", "adaptive routing of single RoCE packets; from memory, not verified"),
        trimming=yes("V", _TRIMMING),
    ),
)
