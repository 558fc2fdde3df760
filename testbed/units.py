"""Units: integers inside, text only at the edges.

One base unit per quantity: picoseconds, bits per second, bytes, millimetres, permille. Nanoseconds would not
do: a byte at 400 Gb/s takes 20 ps. Text that is no whole number of base units is refused, never rounded.
"""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Mapping
from fractions import Fraction

from testbed.errors import SpecError

PS_PER_NS = 1_000
PS_PER_US = 1_000_000
PS_PER_MS = 1_000_000_000
PS_PER_S = 1_000_000_000_000

PREAMBLE_BYTES = 8
"""Preamble and start-of-frame delimiter [IEEE 802.3]."""
INTER_PACKET_GAP_BYTES = 12
"""Minimum gap between frames [IEEE 802.3]."""
WIRE_OVERHEAD_BYTES = PREAMBLE_BYTES + INTER_PACKET_GAP_BYTES
"""What a frame costs on the wire beyond its own bytes; the frame's own bytes include the 4-byte FCS."""

RATIO_UNIT = 10**18
"""Small ratios, such as that of bit errors, count in parts of this."""
PPM_PER_WHOLE = 1_000_000
BYTES_PER_KIB = 1_024

_BIT_PS_PER_BYTE = 8 * PS_PER_S

_TIME = {"ps": 1, "ns": PS_PER_NS, "us": PS_PER_US, "ms": PS_PER_MS, "s": PS_PER_S}
_RATE = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9, "Tbps": 10**12}
_SIZE = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_LENGTH = {"mm": 1, "m": 1_000, "km": 1_000_000}

# Also read, never written.
_TIME_IN = _TIME | {"µs": PS_PER_US, "μs": PS_PER_US}
_RATE_IN = _RATE | {f"{p}b/s": _RATE[f"{p}bps"] for p in ("", "k", "M", "G", "T")}
_SIZE_IN = _SIZE | {"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_LENGTH_IN = _LENGTH | {"cm": 10}

_QUANTITY = re.compile(r"\s*(?P<sign>[-+]?)(?P<number>\d[\d_]*(?:\.\d+)?)\s*(?P<unit>\S*)\s*", re.ASCII)
_RATIO = re.compile(r"\s*(?P<number>\d+(?:\.\d+)?)(?:[eE](?P<power>[-+]?\d{1,3}))?\s*", re.ASCII)
_MAX_TEXT_CHARS = 64


def parse_time(text: str) -> int:
    """Picoseconds from text such as `2us`."""
    return _parse(text, kind="time", units=_TIME_IN, example="2us", base="ps")


def parse_rate(text: str) -> int:
    """Bits per second from text such as `400Gbps`."""
    rate_bps = _parse(text, kind="rate", units=_RATE_IN, example="400Gbps", base="bit/s")
    if rate_bps == 0:
        raise SpecError(f"rate '{text}' is zero", remedy="write a positive rate, e.g. '400Gbps'")
    return rate_bps


def parse_size(text: str) -> int:
    """Bytes from text such as `4KiB`."""
    return _parse(text, kind="size", units=_SIZE_IN, example="4KiB", base="byte")


def parse_length(text: str) -> int:
    """Millimetres from text such as `3m`."""
    return _parse(text, kind="length", units=_LENGTH_IN, example="3m", base="mm")


def parse_permille(text: str) -> int:
    """Permille from text such as `60%` or `62.5%`."""
    return _parse(text, kind="share", units={"%": 10, "‰": 1, "permille": 1}, example="60%", base="permille")


def parse_ppm(text: str) -> int:
    """Parts per million from text such as `100%` or `0.02%`."""
    return _parse(text, kind="share", units={"%": 10_000, "‰": 1_000, "ppm": 1}, example="1%", base="ppm")


def parse_ratio(text: str) -> int:
    """Parts in 10^18 from text such as `1e-6`."""
    match = _RATIO.fullmatch(text) if len(text) <= _MAX_TEXT_CHARS else None
    if match is None:
        raise SpecError(f"'{text[:_MAX_TEXT_CHARS]}' is not a ratio", remedy="write a number, e.g. '1e-6'")
    value = Fraction(match["number"]) * Fraction(10) ** int(match["power"] or 0) * RATIO_UNIT
    if value.denominator != 1 or value > RATIO_UNIT:
        raise SpecError(f"ratio '{text}' is no whole number of 1e-18 up to 1", remedy="write e.g. '1e-6'")
    return int(value)


def format_time(ps: int) -> str:
    """`2us`, exact: `parse_time` gives the same number back."""
    return _format(ps, _TIME)


def format_rate(rate_bps: int) -> str:
    """`400Gbps`, exact."""
    return _format(rate_bps, _RATE)


def format_size(size_bytes: int) -> str:
    """`4KiB`, exact: the largest unit that divides the size."""
    unit = max(
        (u for u in _SIZE if size_bytes % _SIZE[u] == 0 and abs(size_bytes) >= _SIZE[u]),
        key=_SIZE.__getitem__,
        default="B",
    )
    return f"{size_bytes // _SIZE[unit]}{unit}"


def format_length(length_mm: int) -> str:
    """`3m`, exact."""
    return _format(length_mm, _LENGTH)


def format_permille(permille: int) -> str:
    """`60%`, exact."""
    return _format(permille, {"%": 10}) if permille % 10 == 0 else f"{permille // 10}.{permille % 10}%"


def format_ratio(ratio_e18: int) -> str:
    """`2.4e-4`, exact: `parse_ratio` gives the same number back."""
    digits = str(ratio_e18)
    fraction = digits[1:].rstrip("0")
    power = len(digits) - 1 - 18
    return f"{digits[0]}{'.' if fraction else ''}{fraction}" + (f"e{power}" if ratio_e18 and power else "")


def byte_time_ps(rate_bps: int) -> int:
    """How long one byte takes at this rate; a rate with no whole byte time is refused."""
    if rate_bps <= 0 or _BIT_PS_PER_BYTE % rate_bps:
        below, above = _neighbour_rates(rate_bps)
        raise SpecError(
            f"rate {format_rate(rate_bps)} has no whole number of picoseconds per byte",
            remedy=f"the nearest rates that have one are {format_rate(below)} and {format_rate(above)}",
        )
    return _BIT_PS_PER_BYTE // rate_bps


def _parse(text: str, *, kind: str, units: Mapping[str, int], example: str, base: str) -> int:
    """A whole number of base units from `<number><unit>`."""
    remedy = f"write a number and a unit, e.g. '{example}'; units: {', '.join(units)}"
    match = _QUANTITY.fullmatch(text) if len(text) <= _MAX_TEXT_CHARS else None
    if match is None or match["unit"] not in units:
        raise SpecError(f"'{text[:_MAX_TEXT_CHARS]}' is not a {kind}", remedy=remedy)
    if match["sign"] == "-":
        raise SpecError(f"{kind} '{text}' is negative", remedy=f"write a positive {kind}, e.g. '{example}'")
    value = Fraction(match["number"].replace("_", "")) * units[match["unit"]]
    if value.denominator != 1:
        raise SpecError(
            f"{kind} '{text}' is not a whole number of {base}", remedy=f"round it to a whole {base}"
        )
    return int(value)


def _format(value: int, units: Mapping[str, int]) -> str:
    """The exact decimal in the largest unit that the value reaches."""
    sign, size = ("-", -value) if value < 0 else ("", value)
    unit = max((u for u in units if units[u] <= size), key=units.__getitem__, default=next(iter(units)))
    whole, rest = divmod(size, units[unit])
    digits = len(str(units[unit])) - 1
    fraction = f".{rest:0{digits}d}".rstrip("0") if rest else ""
    return f"{sign}{whole}{fraction}{unit}"


def _neighbour_rates(rate_bps: int) -> tuple[int, int]:
    """The nearest rates, below and above, that have a whole byte time."""
    whole = _whole_byte_rates()
    at = bisect.bisect_left(whole, rate_bps)
    return whole[max(at - 1, 0)], whole[min(at, len(whole) - 1)]


@functools.cache
def _whole_byte_rates() -> tuple[int, ...]:
    """All rates with a whole byte time: the divisors of 8e12 = 2^15 * 5^12."""
    return tuple(sorted(2**twos * 5**fives for twos in range(16) for fives in range(13)))
