"""A medium as tables: what it costs at each rate, and what it loses. Pure; no output.

Shows what follows from the profile's numbers; the numbers and their sources are the profile's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from testbed.links import Medium
from testbed.links.fec import LL, Fec, fec_of
from testbed.links.loss import frame_loss
from testbed.links.profile import lane_bps, lane_counts
from testbed.units import format_length, format_rate, format_ratio, parse_ratio

_GBPS = 10**9
_RATES_BPS = tuple(gbps * _GBPS for gbps in (10, 25, 50, 100, 200, 400, 800, 1600))
_SHORT_MM = (1_000, 2_000, 3_000, 5_000)
_LONG_MM = (1_000, 10_000, 100_000)
_FRAME_BYTES = 4_096
_NEVER = Decimal("1e-20")
_BERS = ("1e-15", "1e-12", "1e-8", "1e-6", "1e-5", "1e-4", "2.4e-4", "5e-4", "1e-3")
_LOSS_RATE_BPS = 400 * _GBPS
_DASH = "–"


def medium_text(medium: Medium) -> str:
    """Both tables, each with a line that says what it is; at most 100 columns."""
    return "\n".join(
        [
            "one-way latency in ns by length, without serialisation; its ns, ll ns: what FEC takes of it, and",
            f"would with fec=ll; BER: of a healthy link; lost: of {_FRAME_BYTES:,}-byte frames; *: the usual lanes",
            *_aligned(_latency_rows(medium)),
            "",
            f"share of {_FRAME_BYTES:,}-byte frames lost, by the bit error ratio before correction (codes: at "
            f"{format_rate(_LOSS_RATE_BPS)})",
            *_aligned(_loss_rows(medium)),
        ]
    )


def _latency_rows(medium: Medium) -> list[tuple[str, ...]]:
    """One row for each rate and number of lanes that the medium has."""
    lengths = _lengths(medium)
    head = (
        "rate",
        "lanes",
        "reach",
        "FEC",
        "its ns",
        "ll ns",
        *map(format_length, lengths),
        "BER",
        "lost",
    )
    return [head, *_rows(medium, lengths)]


def _rows(medium: Medium, lengths: Sequence[int]) -> Iterator[tuple[str, ...]]:
    """The body of the table."""
    known = {reach.lane_bps: reach for reach in medium.reaches}
    for rate_bps in _RATES_BPS:
        usual_bps = lane_bps(rate_bps)
        for lanes in lane_counts(rate_bps):
            reach = known.get(rate_bps // lanes)
            if reach is None:
                continue
            code = fec_of("auto", reach.lane_bps)
            loss = frame_loss(reach.ber.number, code, rate_bps)
            star = " *" if reach.lane_bps == usual_bps else ""
            yield (
                format_rate(rate_bps),
                f"{lanes} x {format_rate(reach.lane_bps).removesuffix('bps')}{star}",
                format_length(reach.max_length.number),
                code.name if code else "none",
                _ns(code.latency_ps(rate_bps)) if code else _DASH,
                _ns(LL.latency_ps(rate_bps)) if code else _DASH,
                *(_latency(medium, length, rate_bps, lanes) for length in lengths),
                format_ratio(reach.ber.number),
                _share(loss.ratio(_FRAME_BYTES)),
            )


def _lengths(medium: Medium) -> list[int]:
    """Some lengths from 1 m to the medium's longest reach."""
    longest_mm = max(reach.max_length.number for reach in medium.reaches)
    lengths = _SHORT_MM if longest_mm < 2 * _SHORT_MM[-1] else _LONG_MM
    return [*(length for length in lengths if length < longest_mm), longest_mm]


def _latency(medium: Medium, length_mm: int, rate_bps: int, lanes: int) -> str:
    """A dash where the medium does not reach."""
    if length_mm > medium.max_length_mm(rate_bps, lanes):
        return _DASH
    return _ns(medium.latency_ps(length_mm, rate_bps, lanes=lanes))


def _loss_rows(medium: Medium) -> list[tuple[str, ...]]:
    """One row for each code that the medium's lanes may have, and one for none."""
    rows: list[tuple[str, ...]] = [("FEC", *_BERS)]
    slow = any(reach.lane_bps <= 25 * _GBPS for reach in medium.reaches)
    for code in (*([None] if slow else []), *medium.codes()):
        rows.append((code.name if code else "none", *(_loss(ber, code) for ber in _BERS)))
    return rows


def _loss(ber: str, code: Fec | None) -> str:
    """The loss, or that there is no link."""
    loss = frame_loss(parse_ratio(ber), code, _LOSS_RATE_BPS)
    return _share(loss.ratio(_FRAME_BYTES)) if loss.is_linear else "down"


def _share(share: Decimal) -> str:
    """A share of frames; what no run ever sees is 0."""
    return "0" if share < _NEVER else f"{share:.1e}"


def _ns(ps: int) -> str:
    return f"{ps / 1000:,.1f}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two blanks apart, all to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
