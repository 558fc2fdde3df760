"""Numbers that products share, because a standard sets them or because no vendor publishes its own.

The product files say everything in which one product differs; this file names no product as its own subject.
"""

from __future__ import annotations

from testbed.spec.sourced import Mark, Sourced
from testbed.switches.profile import (
    NO_THRESHOLD,
    Ecn,
    Features,
    Links,
    Paths,
    Pfc,
    Response,
    Scheduling,
    ShippedHeadroom,
    TableSizes,
)

GBPS = 10**9
MEMORY = "from memory, not verified"
"""The source of a number with the mark M."""
M_100G_TO_800G = (800 * GBPS, 400 * GBPS, 200 * GBPS, 100 * GBPS)

SONIC = "sonic-net/sonic-buildimage @086b03bd"
_SWSS = "sonic-net/sonic-swss cfgmgr/buffer_headroom_mellanox.lua @18913fa3"
_RESPONSE = f"IEEE 802.3 31B.3.7, as in the table of {_SWSS}"
_ESUN = (
    "many current switches have PFC but neither LLR nor CBFC (ESUN workstream, 2026-03-26): "
    "https://www.pulse.bot/hardware/video/networking-esun-ethernet-for-scale-up-networking-workstream-2026-03-26"
    "-78cc75c8-2eb9-4ba4-b921-282f0bfbb2a4/"
)
_NO_SOURCE = "no public source found"


def sonic(device: str) -> str:
    """The source line of a device directory of SONiC's images."""
    return f"{SONIC}, device {device}"


def yes(mark: Mark, source: str) -> Sourced:
    """A feature that a product has."""
    return Sourced(1, "yes/no", mark, source)


def no(mark: Mark, source: str) -> Sourced:
    """A feature that a product has not."""
    return Sourced(0, "yes/no", mark, source)


NOT_FOUND = no("assumed", f"{_NO_SOURCE}; taken as absent")
NO_LLR = no("V", _ESUN)

NO_INGRESS_THRESHOLD = Sourced(
    NO_THRESHOLD, "log2", "assumed", "the shipped one is not known; the threshold at egress alone decides"
)
NO_GROUP_RESERVE = Sourced(0, "byte", "V", "size of ingress_lossy_profile in the SONiC image of this product")

RESPONSE = (
    *(
        Response(rate_bps=gbps * GBPS, quanta=Sourced(quanta, "quanta", "V", _RESPONSE))
        for gbps, quanta in ((1, 2), (10, 67), (25, 80), (40, 118), (50, 147), (100, 394), (200, 453))
    ),
    *(Response(rate_bps=gbps * GBPS, quanta=Sourced(905, "quanta", "V", _RESPONSE)) for gbps in (400, 800)),
    Response(
        rate_bps=1600 * GBPS,
        quanta=Sourced(
            1_810, "quanta", "assumed", "not in the published table; the same time as at 800 Gb/s"
        ),
    ),
)
LOSSLESS_CLASSES = Sourced((3, 4), "class", "V", f"lossless priorities of SONiC's qos_config.j2: {SONIC}")
PAUSE_QUANTA = Sourced(
    65_535, "quanta", "M", f"the longest pause, ended by a frame that asks for none; {MEMORY}"
)
GENERATION = Sourced(
    16_384, "ps", "E", f"mac_phy_delay of 0.8 KiB, at 400 Gb/s: platform/mellanox/asic_table.j2 of {SONIC}"
)
SHIPPED_ALPHA = Sourced(0, "log2", "V", "threshold column of the shipped pg_profile_lookup.ini")

GENERIC_ECN = Ecn(
    kmin=Sourced(1 << 20, "byte", "V", f"files/build_templates/qos_config.j2 of {SONIC}"),
    kmax=Sourced(2 << 20, "byte", "V", f"files/build_templates/qos_config.j2 of {SONIC}"),
    pmax=Sourced(50_000, "ppm", "V", f"files/build_templates/qos_config.j2 of {SONIC}"),
)
GENERIC_SCHEDULING = Scheduling(
    weights=Sourced(
        (14, 14, 14, 15, 15, 14, 14, 14),
        "weight",
        "V",
        f"DWRR 14 for lossy and 15 for lossless queues: files/build_templates/qos_config.j2 of {SONIC}",
    ),
    quantum=Sourced(2_048, "byte", "assumed", f"{_NO_SOURCE}; about one frame of storage per unit of weight"),
)
GENERIC_PATHS = Paths(
    flowlet_entries=Sourced(32_768, "entries", "assumed", f"{_NO_SOURCE}; few flows share an entry"),
    load_quantum=Sourced(8_192, "byte", "assumed", f"{_NO_SOURCE}; two large frames"),
)
_TOMAHAWK = (
    "that of the first Tomahawk, taken for its successors and others, whose sizes were not found: Cumulus Linux 3.7,"
    " cl-resource-query:"
    " https://docs.cumulusnetworks.com/cumulus-linux-37/Monitoring-and-Troubleshooting/Resource-Diagnostics-Using-cl-resource-query/"
)
GENERIC_TABLES = TableSizes(
    mac_entries=Sourced(40_960, "entries", "E", _TOMAHAWK),
    acl_entries=Sourced(1_536, "entries", "E", _TOMAHAWK),
    groups=Sourced(1_024, "groups", "assumed", f"{_NO_SOURCE}; members enough for 15 ports each"),
    group_members=Sourced(16_327, "members", "E", f"ECMP next hops; {_TOMAHAWK}"),
)
GENERIC_LINKS = Links(
    llr_latency=Sourced(
        100_000, "ps", "assumed", f"{_NO_SOURCE}; notice of the loss and restart of the replay buffer"
    ),
    cbfc_credit=Sourced(
        262_144, "byte", "assumed", f"{_NO_SOURCE}; covers the round trip of 800 Gb/s over 100 m twice"
    ),
)


def pfc(
    *,
    alpha_log2: Sourced,
    xon_offset: Sourced,
    generation: Sourced = GENERATION,
    shipped: tuple[ShippedHeadroom, ...] = (),
) -> Pfc:
    """PFC with the standard's numbers, and with a product's own."""
    return Pfc(
        classes=LOSSLESS_CLASSES,
        alpha_log2=alpha_log2,
        xon_offset=xon_offset,
        pause_quanta=PAUSE_QUANTA,
        generation=generation,
        response=RESPONSE,
        shipped=shipped,
    )


def shipped(
    table: dict[tuple[int, int], int], source: str, *, mark: Mark = "V"
) -> tuple[ShippedHeadroom, ...]:
    """Published headroom from (Gb/s, metres) -> bytes."""
    return tuple(
        ShippedHeadroom(
            rate_bps=gbps * GBPS,
            length_mm=metres * 1000,
            headroom=Sourced(headroom_bytes, "byte", mark, source),
        )
        for (gbps, metres), headroom_bytes in table.items()
    )


def features(
    *,
    cut_through: Sourced,
    pfc: Sourced,
    dlb: Sourced,
    per_packet: Sourced,
    trimming: Sourced = NOT_FOUND,
    telemetry: Sourced = NOT_FOUND,
    llr: Sourced = NO_LLR,
    cbfc: Sourced = NO_LLR,
) -> Features:
    """What a product has; what is not named it has not, as most have not."""
    return Features(
        cut_through=cut_through,
        pfc=pfc,
        ecn=yes("V", f"WRED with ECN in SONiC's qos_config.j2 for platforms in general: {SONIC}"),
        dlb=dlb,
        per_packet=per_packet,
        trimming=trimming,
        telemetry=telemetry,
        llr=llr,
        cbfc=cbfc,
    )
