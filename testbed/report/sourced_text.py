"""Sourced numbers as text: each with unit, mark and source, under titles. Pure; no output.

Sources are numbered and listed once, below: most of them stand behind many numbers.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence

from testbed.spec.sourced import UNVERIFIED, Sourced
from testbed.units import format_rate, format_time

Groups = Sequence[tuple[str, Sequence[tuple[str, Sourced]]]]
"""Titles, and under each of them names and numbers."""
Formats = Mapping[str, Callable[[int], str]]
"""How a number of some unit reads."""

_Row = tuple[str, str, str, str]
_GAP = "  "
_INDENT = 7
_UNLIMITED = 2**63 - 1


def unverified_line(groups: Groups) -> str:
    """How well the numbers are known."""
    numbers = [number for _, items in groups for _, number in items]
    unverified = sum(number.mark in UNVERIFIED for number in numbers)
    return f"{unverified} of {len(numbers)} numbers are not verified (marks M, E and assumed)"


def sourced_text(groups: Groups, width: int, formats: Formats) -> list[str]:
    """Groups of numbers, then the sources, at most `width` columns where words allow it."""
    sources: dict[str, int] = {}
    tables = [(title, [_row(*item, sources, formats) for item in items]) for title, items in groups]
    every = [row for _, rows in tables for row in rows]
    widths = (
        max(len(f"{name}{_GAP}{value}") for name, value, *_ in every),
        max(len(row[2]) for row in every),
    )
    lines: list[str] = []
    for title, rows in tables:
        lines += ["", title, *(_aligned(row, widths) for row in rows)]
    return [*lines, "", "sources", *_sources(sources, width)]


def _row(name: str, number: Sourced, sources: dict[str, int], formats: Formats) -> _Row:
    """Name, value with unit, mark, number of the source."""
    reference = sources.setdefault(number.source, len(sources) + 1)
    return name, _value(number, formats), number.mark, f"[{reference}]"


def _value(number: Sourced, formats: Formats) -> str:
    """A value as a person reads it."""
    if isinstance(number.value, tuple):
        return ", ".join(map(str, number.value))
    if number.value == _UNLIMITED:
        return "unlimited"
    formatted = formats.get(number.unit) or _UNITS.get(number.unit)
    return formatted(number.value) if formatted else f"{number.value:,} {number.unit}"


_UNITS: Mapping[str, Callable[[int], str]] = {
    "ps": format_time,
    "bit/s": format_rate,
    "yes/no": lambda value: "yes" if value else "no",
    "ppm": lambda value: f"{value / 10_000:g} %",
    "permille": lambda value: f"{value / 10:g} %",
}


def _aligned(row: _Row, widths: Sequence[int]) -> str:
    """Names to the left, values to the right: a long name may stand where another row has a long value."""
    name, value, mark, reference = row
    return _GAP + _GAP.join([name + value.rjust(widths[0] - len(name)), mark.ljust(widths[1]), reference])


def _sources(sources: Mapping[str, int], width: int) -> Iterator[str]:
    """Each source behind its number; a long address stays whole."""
    for source, reference in sources.items():
        yield from textwrap.wrap(
            source,
            width,
            initial_indent=f"{_GAP}[{reference}]".ljust(_INDENT),
            subsequent_indent=" " * _INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
