"""What an experiment writes about a part of its network, read into plain values: parsers that all parts share. Pure.

Each raises a `SpecError` that says what to write.
"""

from __future__ import annotations

import re

from testbed.errors import SpecError
from testbed.spec.parameters import ParameterValue
from testbed.units import parse_size, parse_time

BY_EXPERIMENT = "set by the experiment"
"""The source of a number that the experiment sets in place of a profile's."""

_WHOLE = re.compile(r"[+-]?\d[\d_]*", re.ASCII)


def whole(value: ParameterValue, *, low: int, high: int) -> int:
    """A whole number between two limits."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, str) or not low <= value <= high:
        raise SpecError(f"'{value}' is no whole number from {low:,} to {high:,}", remedy=f"write e.g. {low}")
    return value


def size(value: ParameterValue) -> int:
    """Bytes above zero: a number, or text with a unit."""
    found = value if isinstance(value, int) else parse_size(value)
    if found <= 0:
        raise SpecError(f"size '{value}' is not above zero", remedy="write e.g. '64MB'")
    return found


def time_above_zero(text: str) -> int:
    """Picoseconds above zero."""
    found = parse_time(text)
    if found == 0:
        raise SpecError(f"time '{text}' is zero", remedy="write e.g. '500ns'")
    return found


def latency(value: ParameterValue) -> int:
    """Picoseconds; zero is a latency."""
    return parse_time(str(value))


def switched(value: ParameterValue) -> bool:
    """`on` or `off`."""
    if value not in ("on", "off"):
        raise SpecError(f"'{value}' is neither on nor off", remedy="write 'on' or 'off'")
    return value == "on"
