"""Forward error correction: the codes a link may use, what each costs in time, and which a lane needs.

A Reed-Solomon codeword must be in before it can be corrected, so a code costs its codewords' serialisation and a
fixed part. Which frames it cannot save is in `loss`.
"""

from __future__ import annotations

from dataclasses import dataclass

from testbed.errors import SpecError
from testbed.registry import Registry
from testbed.spec.fabric import FecChoice
from testbed.spec.sourced import Sourced
from testbed.units import PS_PER_S, format_rate

SYMBOL_BITS = 10
"""All Ethernet codes work on symbols of ten bits [IEEE 802.3 cl. 91]."""

_GBPS = 10**9
_NRZ = (25 * _GBPS,)
_PAM4 = (50 * _GBPS, 100 * _GBPS, 200 * _GBPS)
_AN846 = "Intel 683805"
_LL = "https://www.convergedigest.com/search/label/Specs (25G Ethernet Consortium, 2019)"
_DJ = (
    "estimate of IEEE 802.3dj he_3dj_01_2401, quoted at revitalife.shop/l65x3b/fec-latency.html: at 1 GHz encode 3,"
    " other 3, correct 31 ns"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fec:
    """One Reed-Solomon code."""

    name: str
    description: str
    codeword_symbols: Sourced
    """Symbols of ten bits in a codeword."""
    correctable_symbols: Sourced
    """How many of them may be wrong."""
    payload_bits: Sourced
    """MAC bits that one codeword carries."""
    fixed: Sourced
    """Encoding, correction and the rest, in ps."""
    ber_limit: Sourced
    """The bit error ratio before correction that the standard allows, in 1e-18."""
    lanes_bps: tuple[int, ...]
    """The lane rates it is used at."""

    def latency_ps(self, rate_bps: int) -> int:
        """What the code adds to a link, one way."""
        bits = self.payload_bits.number * interleaved_codewords(rate_bps)
        return bits * PS_PER_S // rate_bps + self.fixed.number


def interleaved_codewords(rate_bps: int) -> int:
    """How many codewords the PCS interleaves: 1 to 100G, 2 to 400G, 4 above [IEEE 802.3 cl. 91, 119, 172]."""
    if rate_bps <= 100 * _GBPS:
        return 1
    return 2 if rate_bps <= 400 * _GBPS else 4


KP4 = Fec(
    name="kp4",
    description="RS(544,514): every PAM4 lane",
    codeword_symbols=Sourced(544, "symbols", "V", f"RS(544,514), 100GBASE-KP4: {_AN846}"),
    correctable_symbols=Sourced(15, "symbols", "V", f"RS(544,514), 100GBASE-KP4: {_AN846}"),
    payload_bits=Sourced(
        5_120,
        "bit",
        "V",
        "RS(544,514): a 5,440-bit codeword at 17/16 of the MAC rate (3.03 % FEC x 257/256 transcoding); "
        "Intel 683805, 100GBASE-KP4",
    ),
    fixed=Sourced(37_000, "ps", "S", f"{_DJ}; with the codewords 63 ns at 400 and 800 Gb/s"),
    ber_limit=Sourced(
        240 * 10**12,
        "1e-18",
        "M",
        "2.4e-4: from memory of IEEE 802.3 cl. 124, 138; with random errors it gives just the frame loss ratios "
        "remembered from there, 9.2e-13 at 100 and 1.7e-12 at 400 Gb/s",
    ),
    lanes_bps=(*_NRZ, *_PAM4),
)
KR4 = Fec(
    name="kr4",
    description="RS(528,514): 25G NRZ lanes",
    codeword_symbols=Sourced(528, "symbols", "V", f"RS(528,514), 100GBASE-KR4: {_AN846}"),
    correctable_symbols=Sourced(7, "symbols", "V", f"RS(528,514), 100GBASE-KR4: {_AN846}"),
    payload_bits=Sourced(
        5_120, "bit", "E", f"514 symbols of 10 bits, 257/256 transcoding: 5,140 x 256/257; code: {_AN846}"
    ),
    fixed=Sourced(
        37_000,
        "ps",
        "assumed",
        "held to RS(544,514), which corrects more; at 100 Gb/s 88 ns in all, against 'the 100 ns latency of "
        "the KR4 FEC' in https://ieee802.org/3/100GNGOPTX/email/msg00675.html",
    ),
    ber_limit=Sourced(50 * 10**12, "1e-18", "M", "5e-5: from memory of IEEE 802.3 cl. 95, 100GBASE-SR4"),
    lanes_bps=_NRZ,
)
LL = Fec(
    name="ll",
    description="RS(272,257+1): half the codeword, about half the latency; both ends must have it",
    codeword_symbols=Sourced(272, "symbols", "V", f"RS(272,257+1,7,10): {_LL}"),
    correctable_symbols=Sourced(7, "symbols", "V", f"RS(272,257+1,7,10): {_LL}"),
    payload_bits=Sourced(2_560, "bit", "E", f"257 symbols of 10 bits, 257/256 transcoding; code: {_LL}"),
    fixed=Sourced(
        21_000,
        "ps",
        "E",
        f"2t + 1 = 15 cycles to correct in place of 31, else as RS(544,514); in all 54 % of it at 400 Gb/s, where "
        f"'approximately half' is published for 50 to 200 Gb/s: {_LL}",
    ),
    ber_limit=Sourced(50 * 10**12, "1e-18", "assumed", "held to RS(528,514), which corrects as many symbols"),
    lanes_bps=(*_NRZ, *_PAM4),
)

FECS: Registry[Fec] = Registry("FEC", {code.name: code for code in (KP4, KR4, LL)})
"""Every code that a link can be given."""


def fec_of(choice: FecChoice, lane_bps: int) -> Fec | None:
    """The code of a link, None if it has none; a choice that its lanes cannot work with is refused."""
    if choice == "none":
        _refuse_pam4(lane_bps)
        return None
    if choice == "auto":
        return FECS.get("kp4") if lane_bps in _PAM4 else FECS.get("kr4") if lane_bps in _NRZ else None
    code = FECS.get(choice)
    if lane_bps not in code.lanes_bps:
        known = ", ".join(format_rate(lane) for lane in code.lanes_bps)
        raise SpecError(
            f"fec {choice} is not used at {format_rate(lane_bps)} lanes, only at {known}",
            remedy="write 'auto', the code that these lanes usually have",
        )
    return code


def _refuse_pam4(lane_bps: int) -> None:
    """PAM4 has no good link to begin with."""
    if lane_bps in _PAM4:
        raise SpecError(
            f"{format_rate(lane_bps)} lanes are PAM4, and do not work without FEC: one bit in 4,000 may be wrong",
            remedy="write 'auto' or 'll', or use lanes of at most 25Gbps",
        )
