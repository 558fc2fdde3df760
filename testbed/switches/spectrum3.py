"""NVIDIA Spectrum-3 (SN4700), 12.8 Tb/s."""

from __future__ import annotations

from dataclasses import replace

from testbed.spec.sourced import Sourced
from testbed.switches import common
from testbed.switches.common import GBPS, MEMORY, sonic, yes
from testbed.switches.profile import NO_THRESHOLD, Buffer, SwitchProfile

_SONIC = sonic("msn4700")
_PORTS = "12.8T, 8.4 Bpps, 64 MB: https://grokipedia.com/page/NVIDIA_Spectrum-3"

PROFILE = SwitchProfile(
    name="spectrum3",
    description="NVIDIA Spectrum-3: 12.8 Tb/s, 32 x 400G, 61 MB shared buffer, about 500 ns",
    port_rates_bps=(400 * GBPS, 200 * GBPS, 100 * GBPS),
    ports=Sourced(32, "ports", "E", f"12.8 Tb/s at 400 Gb/s: {_PORTS}"),
    capacity=Sourced(12_800 * GBPS, "bit/s", "V", _PORTS),
    max_ports=Sourced(128, "ports", "M", f"32 cages, each split in up to four; {MEMORY}"),
    pipeline_latency=Sourced(500_000, "ps", "M", "no public figure found; 425 to 600 ns from memory"),
    buffer=Buffer(
        pool=Sourced(60_817_392, "byte", "V", f"shared pool: {_SONIC}"),
        cell=Sourced(144, "byte", "V", _SONIC),
        reserved=Sourced(1_008, "byte", "assumed", "7 cells, in line with the other profiles; per queue"),
        alpha_log2=Sourced(0, "log2", "assumed", "not read for this product; taken from Spectrum-4"),
        ingress_alpha_log2=Sourced(
            NO_THRESHOLD, "log2", "assumed", "not read for this product; taken from Spectrum-4"
        ),
        group_reserved=Sourced(0, "byte", "assumed", "not read for this product; taken from Spectrum-4"),
        headroom_pool=Sourced(20_000_000, "byte", "V", f"upper end of 1.7 to 20 MB: {_SONIC}"),
    ),
    pfc=common.pfc(
        alpha_log2=Sourced(3, "log2", "V", f"lower end of the lossless dynamic_th, 3 to 7: {_SONIC}"),
        xon_offset=Sourced(
            19_456, "byte", "assumed", "pipeline latency of 19 KiB in SONiC's asic_table.j2, as Spectrum-4"
        ),
    ),
    ecn=common.GENERIC_ECN,
    scheduling=common.GENERIC_SCHEDULING,
    paths=common.GENERIC_PATHS,
    tables=replace(
        common.GENERIC_TABLES,
        mac_entries=Sourced(
            50_000,
            "entries",
            "V",
            "Spectrum-2 and -3, default profile, 50k: Cumulus Linux 4.4:"
            " https://docs.nvidia.com/networking-ethernet-software/cumulus-linux-44/Layer-3/Routing/"
            "Supported-Route-Table-Entries/",
        ),
    ),
    links=common.GENERIC_LINKS,
    features=common.features(
        cut_through=yes("M", MEMORY),
        pfc=yes("V", f"lossless profiles: {_SONIC}"),
        dlb=yes("M", f"adaptive routing; {MEMORY}"),
        per_packet=yes("M", f"adaptive routing of single RoCE packets; {MEMORY}"),
    ),
)
