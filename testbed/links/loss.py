"""From the bit error ratio of a lane to the frames that a link loses; random errors, exact arithmetic.

With FEC a frame is lost if any codeword it touches has more wrong symbols than can be corrected: the tail of a
binomial distribution. Without, if any of its bits is wrong. Both are then linear in the frame's length, which
holds while the loss is small (`MAX_LOSS`): p of n codewords, or bits, overstates 1 - (1 - p)^n by at most np/2 of it.

Decimal, not floating point: the engine's integers must be the same on every machine.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from decimal import Decimal, localcontext

from testbed.links.fec import SYMBOL_BITS, Fec, interleaved_codewords
from testbed.units import RATIO_UNIT, WIRE_OVERHEAD_BYTES

JUMBO_FRAME_BYTES = 9_216
"""The largest frame that data-centre switches are usually set to; both limits below are for this one."""
LOSS_FLOOR = Decimal("1e-9")
"""A link that loses fewer jumbo frames than this is taken as perfect: a run sends some 10^8 frames over a link at most,
and so would expect a tenth of a loss."""
MAX_LOSS = Decimal("0.1")
"""Beyond, the sum is no probability any more, and no real link would stay up."""

_PRECISION = 60
_ONE = Decimal(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameLoss:
    """The probability that a frame is lost: `base + frame_bytes * per_byte`."""

    base: Decimal
    per_byte: Decimal

    def ratio(self, frame_bytes: int) -> Decimal:
        """For frames of one length, FCS included."""
        return self.base + frame_bytes * self.per_byte

    @property
    def is_seen(self) -> bool:
        """Whether a run can be expected to notice it."""
        return self.ratio(JUMBO_FRAME_BYTES) >= LOSS_FLOOR

    @property
    def is_linear(self) -> bool:
        """Whether it is small enough to be linear in the frame's length."""
        return self.ratio(JUMBO_FRAME_BYTES) <= MAX_LOSS


@functools.lru_cache(maxsize=256)
def frame_loss(ber_e18: int, fec: Fec | None, rate_bps: int) -> FrameLoss:
    """What a link loses at a bit error ratio before correction.

    A frame with its preamble and gap touches one codeword for each `payload_bits` of it and one more, and all that are
    interleaved with these.
    """
    with localcontext(prec=_PRECISION):
        if fec is None:
            return FrameLoss(base=Decimal(0), per_byte=8 * Decimal(ber_e18) / RATIO_UNIT)
        each = codeword_error_ratio(ber_e18, fec)
        per_byte = each * 8 / fec.payload_bits.number
        return FrameLoss(
            base=each * interleaved_codewords(rate_bps) + WIRE_OVERHEAD_BYTES * per_byte, per_byte=per_byte
        )


def codeword_error_ratio(ber_e18: int, fec: Fec) -> Decimal:
    """The share of codewords with more wrong symbols than the code corrects."""
    with localcontext(prec=_PRECISION):
        return sum((share for _, share in _uncorrectable(ber_e18, fec)), Decimal(0))


def post_fec_ber(ber_e18: int, fec: Fec | None) -> Decimal:
    """The bit error ratio after correction; a codeword that cannot be corrected keeps its errors."""
    with localcontext(prec=_PRECISION):
        before = Decimal(ber_e18) / RATIO_UNIT
        if fec is None or not ber_e18:
            return before
        symbols = sum((wrong * share for wrong, share in _uncorrectable(ber_e18, fec)), Decimal(0))
        return symbols / fec.codeword_symbols.number * before / _symbol_error_ratio(before)


def _symbol_error_ratio(ber: Decimal) -> Decimal:
    """A symbol is wrong if any of its bits is."""
    return _ONE - (_ONE - ber) ** SYMBOL_BITS


def _uncorrectable(ber_e18: int, fec: Fec) -> tuple[tuple[int, Decimal], ...]:
    """Numbers of wrong symbols beyond correction, each with the share of codewords that have so many."""
    symbols, correctable = fec.codeword_symbols.number, fec.correctable_symbols.number
    with localcontext(prec=_PRECISION):
        wrong = _symbol_error_ratio(Decimal(ber_e18) / RATIO_UNIT)
        some = (
            (n, math.comb(symbols, n) * wrong**n * (_ONE - wrong) ** (symbols - n))
            for n in range(correctable + 1, symbols)
        )
        return (*some, (symbols, wrong**symbols))
