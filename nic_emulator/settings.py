"""What an experiment writes about its NICs, read into plain values. Knows no profile.

One parser per key; each raises a `SpecError` that says what to write.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from nic_emulator.card import MAX_CARDS
from testbed.errors import SpecError
from testbed.registry import unknown_name
from testbed.spec.parameters import ParameterValue
from testbed.spec.settings import latency, size, time_above_zero, whole
from testbed.spec.sourced import Sourced
from testbed.units import parse_ppm, parse_rate, parse_size

MIN_MTU_BYTES = 64
MAX_MTU_BYTES = 8_192
MAX_PATHS = 64
MAX_WINDOW_PKTS = 1 << 16
MAX_RECEIVES = 1 << 16
MAX_SCALE = 1_000_000
CLASSES = 8

_SCALE = re.compile(r"x(\d{1,7}(?:\.\d{1,6})?)", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window in bytes or in packets; the other is 0."""

    size_bytes: int = 0
    pkts: int = 0

    def in_pkts(self, mtu_bytes: int) -> int:
        """Whole packets."""
        return self.pkts or -(-self.size_bytes // mtu_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """How much payload of small messages may share a packet, and for how long one waits; no size: none does."""

    size_bytes: int
    delay_ps: int | None = None


def cards(value: ParameterValue) -> int:
    """How many cards a NIC has."""
    return whole(value, low=1, high=MAX_CARDS)


def memory(value: ParameterValue) -> str:
    """The card's memory that payload is in."""
    return _one_of("memory", value, ("performance", "capacity"))


def local(value: ParameterValue) -> str:
    """The way between the two cards of a pair."""
    return _one_of("local path", value, ("bridge", "switch"))


def _one_of(kind: str, value: ParameterValue, known: tuple[str, ...]) -> str:
    if value not in known:
        raise unknown_name(kind, str(value), known)
    return str(value)


def window(value: ParameterValue) -> Window:
    """Packets, or a size."""
    if isinstance(value, str) and not value.strip().isdigit():
        return Window(size_bytes=size(value))
    return Window(pkts=whole(value, low=1, high=MAX_WINDOW_PKTS))


def mtu(value: ParameterValue) -> int:
    """Payload of a full packet."""
    found = size(value)
    if not MIN_MTU_BYTES <= found <= MAX_MTU_BYTES:
        raise SpecError(
            f"{found:,} bytes of payload", remedy=f"write {MIN_MTU_BYTES} to {MAX_MTU_BYTES:,}, e.g. '4KiB'"
        )
    return found


def paths(value: ParameterValue) -> int:
    """How many entropy values a stream uses."""
    return whole(value, low=1, high=MAX_PATHS)


def time_or_off(value: ParameterValue) -> int:
    """A time, or `off`: 0."""
    return 0 if value == "off" else time_above_zero(str(value))


def some_time(value: ParameterValue) -> int:
    """A time."""
    return time_above_zero(str(value))


def batch(value: ParameterValue) -> Batch:
    """`SIZE`, `SIZE:TIME` or `off`."""
    if value == "off":
        return Batch(size_bytes=0)
    length, colon, wait = str(value).partition(":")
    return Batch(size_bytes=size(length), delay_ps=latency(wait) if colon else None)


def virtual_channels(value: ParameterValue) -> int:
    """How many classes streams spread over."""
    return whole(value, low=1, high=CLASSES)


def receive_depth(value: ParameterValue) -> int:
    """Receives posted for each stream; 0: there is always one."""
    return whole(value, low=0, high=MAX_RECEIVES)


def scale(value: ParameterValue) -> Fraction:
    """`x10`, `x0.5`, or `off`: 0."""
    if value == "off":
        return Fraction(0)
    match = _SCALE.fullmatch(str(value))
    if match is None or not 0 < Fraction(match[1]) <= MAX_SCALE:
        raise SpecError(
            f"'{value}' is no scale", remedy="write 'x1' as measured, 'x10' for ten times, or 'off'"
        )
    return Fraction(match[1])


def text(value: ParameterValue) -> str:
    """A name that the NIC must know."""
    return str(value)


def number_like(sourced: Sourced, value: ParameterValue) -> int:
    """A number in the unit of the one that it replaces: a size, a time, a rate, a share, or a whole number."""
    if isinstance(value, int) or value.strip().isdigit():
        return whole(value, low=0, high=2**62)
    parse = _BY_UNIT.get(sourced.unit)
    if parse is None:
        raise SpecError(
            f"'{value}' is no whole number of {sourced.unit}", remedy=f"write e.g. {sourced.value}"
        )
    return parse(value)


_BY_UNIT: Mapping[str, Callable[[str], int]] = {
    "byte": parse_size,
    "ps": latency,
    "bit/s": parse_rate,
    "ppm": parse_ppm,
}

PARSERS: Mapping[str, Callable[[ParameterValue], object]] = {
    "cards": cards,
    "memory": memory,
    "local": local,
    "mtu": mtu,
    "window": window,
    "paths": paths,
    "tlp": time_or_off,
    "retransmission_timeout": some_time,
    "batch": batch,
    "virtual_channels": virtual_channels,
    "receive_depth": receive_depth,
    "congestion": text,
    "host_stalls": scale,
    "host_jitter": scale,
}
"""Every key of `nic_settings` but for choices, which each NIC has of its own, and parameters of congestion control."""
