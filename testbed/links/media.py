"""The media, each number with its mark and source. Only numbers; the arithmetic is in `profile`."""

from __future__ import annotations

from testbed.links.profile import Medium, Reach
from testbed.spec.sourced import Mark, Sourced

_GBPS = 10**9
_BEOWULF = "https://beowulf.org/pipermail/beowulf/2026-March/037367.html"
_TIA_SR8 = (
    "https://www.tiafotc.org/ieee-802-3-ethernet-standards-update/multimode-standards-update/400gbase-sr8/"
)
_FLEXOPTIX = "https://www.flexoptix.net/en/blog/2018/06/the-400g-overview/"
_UBYTELINK = "https://ubytelink.com/blog/what-is-400g-dac-high-speed-cables-a-technical-deep-dive.html"
_NVIDIA_COPPER = (
    "https://docs.nvidia.com/networking/display/400g100gpam4ovpub/copper-dac-and-lacc-cables-overview"
)
_YINGDA = "https://ydfiberoptic.com/800g-osfp-aec-active-electrical-cable"
_TELEWIRE = (
    "https://www.telewiretech.com/blogs/technical-resources/"
    "cable-assembly-solutions-for-data-centers-and-telecom"
)
_MAPYOURTECH = "https://mapyourtech.com/?p=43204"
_WAVESPLITTER = "https://wavesplitter.jp/index.php/blog/800GFR4-500"
_MEMORY = "from memory of IEEE 802.3 and data sheets; not verified"


_PAM4_BER = "no public statistics found; the standard allows 2.4e-4, and healthy links are far better"
BER_OF_LANE: dict[int, Sourced] = {
    10: Sourced(
        1_000,
        "1e-18",
        "V",
        "1e-15: 'all products ship with a BER of 1E-15 and nearly all will continue to deliver' it: "
        "https://ieee802.org/3/hssg/email/msg00224.html",
    ),
    25: Sourced(10**6, "1e-18", "assumed", "1e-12, what the standard wants of a link with or without FEC"),
    50: Sourced(10**10, "1e-18", "assumed", f"1e-8: {_PAM4_BER}"),
    100: Sourced(10**11, "1e-18", "assumed", f"1e-7: {_PAM4_BER}"),
    200: Sourced(10**12, "1e-18", "assumed", f"1e-6: {_PAM4_BER}"),
}
"""Bit error ratio of a healthy link before correction, by lane rate in Gb/s; nothing tells the media apart."""


def _reach(lane_gbps: int, metres: int, mark: Mark, source: str) -> Reach:
    """How far, in metres, at one lane rate."""
    return Reach(
        lane_bps=lane_gbps * _GBPS,
        max_length=Sourced(metres * 1000, "mm", mark, source),
        ber=BER_OF_LANE[lane_gbps],
    )


PROPAGATION = Sourced(
    5_051,
    "ps/m",
    "V",
    "198,000,000 m/s for every cable: sonic-net/sonic-swss cfgmgr/buffer_headroom_mellanox.lua",
)
_DSP = Sourced(10_000, "ps", "V", f"PAM4 DSP about 10 ns per end: {_BEOWULF}")

DAC = Medium(
    name="dac",
    description="passive copper (twinax): nothing but wire, the shortest reach",
    limit="the loss of the wire grows with the rate of a lane, and nothing makes up for it",
    propagation=PROPAGATION,
    module=Sourced(0, "ps", "V", f"no electronics in the connector; a DAC adds a few ns in all: {_BEOWULF}"),
    reaches=(
        _reach(10, 7, "V", "40GBASE-CR4, 4 x 10G: https://www.seesuo.com/article/72370.html"),
        _reach(25, 5, "V", f"100G as 4 x 25G NRZ, up to 5 m: {_UBYTELINK}"),
        _reach(50, 3, "V", f"400G as 8 x 50G PAM4, up to 3 m: {_UBYTELINK}"),
        _reach(100, 2, "V", f"800G straight cables, 0.5 to 2 m: {_NVIDIA_COPPER}"),
        _reach(200, 1, "M", f"1.6T as 8 x 200G, 1 m: {_MEMORY}"),
    ),
)
ACC = Medium(
    name="acc",
    description="active copper: a linear amplifier in each connector, no retimer",
    limit="an amplifier raises the noise with the signal",
    propagation=PROPAGATION,
    module=Sourced(
        200,
        "ps",
        "assumed",
        "no clock, no memory: well below 1 ns; 'lower latency' than with a DSP is all that is published: "
        "https://www.acc-msa.org/home/faqs.html",
    ),
    reaches=(
        _reach(10, 7, "assumed", "held to the reach of the faster ones"),
        _reach(25, 7, "S", f"3 to 7 m at 25G to 800G: {_MAPYOURTECH}"),
        _reach(50, 5, "S", f"5 to 7 m: {_MAPYOURTECH}"),
        _reach(100, 5, "V", f"800G linear ACC, 3, 4 and 5 m: {_NVIDIA_COPPER}"),
        _reach(200, 2, "assumed", "between the DAC's 1 m and the AEC's 3 m"),
    ),
)
AEC = Medium(
    name="aec",
    description="active copper: a retimer in each connector, thinner and longer than a DAC",
    limit="the retimers make up for so much loss of the wire, and no more",
    propagation=PROPAGATION,
    module=Sourced(
        10_000, "ps", "E", f"a retimer is a PAM4 DSP, and that is about 10 ns per end: {_BEOWULF}"
    ),
    reaches=(
        _reach(10, 7, "assumed", "held to the reach of the faster ones"),
        _reach(25, 7, "M", f"7 m: {_MEMORY}"),
        _reach(50, 7, "M", f"7 m: {_MEMORY}"),
        _reach(100, 7, "V", f"800G, 2 to 7 m: {_YINGDA}"),
        _reach(200, 3, "M", f"3 m: {_MEMORY}"),
    ),
)
AOC = Medium(
    name="aoc",
    description="active optical cable: fibre fixed to its modules, across a row",
    limit="it is sold no longer",
    propagation=PROPAGATION,
    module=Sourced(2_000, "ps", "V", f"AOC about 2 ns per end: {_BEOWULF}"),
    reaches=(
        _reach(10, 100, "V", f"up to 100 m: {_TELEWIRE}"),
        _reach(25, 100, "V", f"up to 100 m: {_TELEWIRE}"),
        _reach(50, 100, "V", f"up to 100 m: {_TELEWIRE}"),
        _reach(100, 50, "M", f"50 m: {_MEMORY}"),
    ),
)
SR = Medium(
    name="sr",
    description="multi-mode fibre with pluggable modules, up to 100 m",
    limit="the modes of multi-mode fibre drift apart",
    propagation=PROPAGATION,
    module=_DSP,
    reaches=(
        _reach(10, 300, "V", "10GBASE-SR on OM3: https://kb.wisc.edu/ns/page.php?id=7829"),
        _reach(25, 100, "M", f"100GBASE-SR4 on OM4, 100 m: {_MEMORY}"),
        _reach(50, 100, "V", f"400GBASE-SR8 on OM4: {_TIA_SR8}"),
        _reach(100, 100, "M", f"800GBASE-SR8 on OM4, 100 m: {_MEMORY}"),
    ),
)
DR = Medium(
    name="dr",
    description="single-mode fibre with pluggable modules, up to 500 m",
    limit="the light of its modules is made for so much loss, and no more",
    propagation=PROPAGATION,
    module=_DSP,
    reaches=(
        _reach(10, 500, "assumed", "held to the reach of the faster ones"),
        _reach(25, 500, "assumed", "held to the reach of the faster ones"),
        _reach(50, 500, "M", f"200GBASE-DR4, 500 m: {_MEMORY}"),
        _reach(100, 500, "V", f"400GBASE-DR4, 500 m: {_FLEXOPTIX}"),
        _reach(200, 500, "M", f"1.6TBASE-DR8, 500 m: {_MEMORY}"),
    ),
)
FR = Medium(
    name="fr",
    description="single-mode fibre with pluggable modules, up to 2 km",
    limit="the light of its modules is made for so much loss, and no more",
    propagation=PROPAGATION,
    module=_DSP,
    reaches=(
        _reach(10, 2_000, "assumed", "held to the reach of the faster ones"),
        _reach(25, 2_000, "V", f"100G CWDM4, 2 km: {_WAVESPLITTER}"),
        _reach(50, 2_000, "V", f"400GBASE-FR8, 2 km: {_FLEXOPTIX}"),
        _reach(100, 2_000, "V", f"400GBASE-FR4, 2 km: {_FLEXOPTIX}"),
        _reach(200, 2_000, "V", f"800G FR4, 2 km, with an inner code that is not modelled: {_WAVESPLITTER}"),
    ),
)
