"""The media, each number with its mark and source. Only numbers; the arithmetic is in `profile`."""

from __future__ import annotations

from testbed.links.profile import Fec, Medium, Reach
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
_MEMORY = "from memory of IEEE 802.3 and data sheets; not verified"


def _reach(lane_gbps: int, metres: int, mark: Mark, source: str) -> Reach:
    """How far, in metres, at one lane rate."""
    return Reach(lane_bps=lane_gbps * _GBPS, max_length=Sourced(metres * 1000, "mm", mark, source))


PROPAGATION = Sourced(
    5_051,
    "ps/m",
    "V",
    "198,000,000 m/s for every cable: sonic-net/sonic-swss cfgmgr/buffer_headroom_mellanox.lua",
)
RS_FEC = Fec(
    payload_bits=Sourced(
        5_120,
        "bit",
        "V",
        "RS(544,514): a 5,440-bit codeword at 17/16 of the MAC rate (3.03 % FEC x 257/256 transcoding); "
        "Intel 683805, 100GBASE-KP4",
    ),
    fixed=Sourced(
        37_000,
        "ps",
        "S",
        "encode 3 + correct 31 + other 3 ns at 1 GHz: estimate of IEEE 802.3dj he_3dj_01_2401, quoted at "
        "revitalife.shop/l65x3b/fec-latency.html; with the codewords 63 ns at 400 and 800 Gb/s",
    ),
    none_up_to_bps=Sourced(10 * _GBPS, "bit/s", "M", f"10GBASE-R runs without FEC; {_MEMORY}"),
)
_DSP = Sourced(10_000, "ps", "V", f"PAM4 DSP about 10 ns per end: {_BEOWULF}")

DAC = Medium(
    name="dac",
    description="passive copper (twinax): nothing but wire, the shortest reach",
    propagation=PROPAGATION,
    module=Sourced(0, "ps", "V", f"no electronics in the connector; a DAC adds a few ns in all: {_BEOWULF}"),
    fec=RS_FEC,
    reaches=(
        _reach(10, 7, "V", "40GBASE-CR4, 4 x 10G: https://www.seesuo.com/article/72370.html"),
        _reach(25, 5, "V", f"100G as 4 x 25G NRZ, up to 5 m: {_UBYTELINK}"),
        _reach(50, 3, "V", f"400G as 8 x 50G PAM4, up to 3 m: {_UBYTELINK}"),
        _reach(100, 2, "V", f"800G straight cables, 0.5 to 2 m: {_NVIDIA_COPPER}"),
        _reach(200, 1, "M", f"1.6T as 8 x 200G, 1 m: {_MEMORY}"),
    ),
)
AEC = Medium(
    name="aec",
    description="active copper: a retimer in each connector, thinner and longer than a DAC",
    propagation=PROPAGATION,
    module=Sourced(
        10_000, "ps", "E", f"a retimer is a PAM4 DSP, and that is about 10 ns per end: {_BEOWULF}"
    ),
    fec=RS_FEC,
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
    propagation=PROPAGATION,
    module=Sourced(2_000, "ps", "V", f"AOC about 2 ns per end: {_BEOWULF}"),
    fec=RS_FEC,
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
    propagation=PROPAGATION,
    module=_DSP,
    fec=RS_FEC,
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
    propagation=PROPAGATION,
    module=_DSP,
    fec=RS_FEC,
    reaches=(
        _reach(10, 500, "assumed", "held to the reach of the faster ones"),
        _reach(25, 500, "assumed", "held to the reach of the faster ones"),
        _reach(50, 500, "M", f"200GBASE-DR4, 500 m: {_MEMORY}"),
        _reach(100, 500, "V", f"400GBASE-DR4, 500 m: {_FLEXOPTIX}"),
        _reach(200, 500, "M", f"1.6TBASE-DR8, 500 m: {_MEMORY}"),
    ),
)
