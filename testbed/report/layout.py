"""What texts are laid out with: prose beside labels, tables, and times in one unit, so that columns can be compared."""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from testbed.units import PS_PER_MS, PS_PER_NS, PS_PER_US

MISSING = "–"
_LABEL_CHARS = 13
PROSE_CHARS = 110
_ROOMY_CHARS = 10_000
_NO_BREAK = "\u00a0"
_UNIT_BLANK = re.compile(r"(?<=\d) (?=(?:[pnµm]?s|[KMG]?i?B|%)(?!\w))|(?<==) ")
"""The blanks before a unit and after an equals sign, which no line is broken at."""


@dataclass(frozen=True, slots=True)
class Scale:
    """The unit and the decimals that a table has for its times."""

    ps: int
    unit: str
    decimals: int

    def number(self, value_ps: int) -> str:
        """A time without its unit."""
        return f"{value_ps / self.ps:,.{self.decimals}f}"


def choose_scale(values_ps: Iterable[int]) -> Scale:
    """Nanoseconds, microseconds or milliseconds: the smallest value keeps three digits where it can."""
    values = [value for value in values_ps if value > 0] or [PS_PER_US]
    low, high = min(values), max(values)
    if high < 2 * PS_PER_US:
        ps, unit = PS_PER_NS, "ns"
    elif low < 10 * PS_PER_MS:
        ps, unit = PS_PER_US, "µs"
    else:
        ps, unit = PS_PER_MS, "ms"
    decimals = 2 if low < 10 * ps else 1 if low < 100 * ps else 0
    return Scale(ps, unit, max(decimals, 1) if unit == "ns" and high < 100 * ps else decimals)


def prose(lines: Iterable[tuple[str, str]], width: int | None) -> str:
    """Labels in a column of their own, sentences wrapped beside them; a long word is never broken."""
    wrapped: list[str] = []
    for label, text in lines:
        if not text:
            continue
        first = f"{label:<{_LABEL_CHARS}}" if len(label) < _LABEL_CHARS else f"{label}  "
        wrapped += textwrap.wrap(
            _UNIT_BLANK.sub(_NO_BREAK, text),
            min(width or PROSE_CHARS, PROSE_CHARS),
            initial_indent=first,
            subsequent_indent=" " * _LABEL_CHARS,
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(wrapped).replace(_NO_BREAK, " ")


Triple = tuple[int | None, int | None, int | None]
"""A value and the bounds of its interval."""


def aligned_columns(
    rows: Sequence[Sequence[Triple]], intervals: Sequence[bool], scale: Scale, *, units: bool = True
) -> list[list[str]]:
    """The texts of all rows, padded so that values and bounds stand below each other in each column."""
    columns = [
        _aligned(column, shown, scale, f" {scale.unit}" if units else "")
        for column, shown in zip(zip(*rows, strict=True), intervals, strict=True)
    ]
    return [list(row) for row in zip(*columns, strict=True)]


def _aligned(column: Sequence[Triple], interval: bool, scale: Scale, unit: str) -> list[str]:
    pad = _padding(column, scale)
    if not interval:
        return [f"{pad(0, value)}{unit}" if value is not None else MISSING for value, _, _ in column]
    texts = [
        f"{pad(0, value)}{unit} [{pad(1, low)}, {pad(2, high)}]" if value is not None else MISSING
        for value, low, high in column
    ]
    width = max(len(text) for text in texts)
    return [
        text.ljust(width) if text != MISSING else MISSING.rjust(len(pad(0, None))).ljust(width)
        for text in texts
    ]


def _padding(column: Sequence[Triple], scale: Scale) -> Callable[[int, int | None], str]:
    """A function that pads the value (0), the lower (1) or the upper bound (2) to the widest of its kind."""

    def text(value: int | None) -> str:
        return MISSING if value is None else scale.number(value)

    widths = [max(len(text(triple[part])) for triple in column) for part in range(3)]
    return lambda part, value: text(value).rjust(widths[part])


def empty_table(left: Sequence[str], right: Sequence[str]) -> Table:
    """A plain table: names to the left, numbers to the right."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for name in left:
        table.add_column(name, no_wrap=True)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def printed(table: Table, colour: bool) -> str:
    """What a console of unlimited width makes of the table, without trailing blanks."""
    console = Console(
        file=io.StringIO(),
        width=_ROOMY_CHARS,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    with console.capture() as captured:
        console.print(table)
    return "\n".join(line.rstrip() for line in captured.get().splitlines()) + "\n"


def columns_of(text: str) -> int:
    """How wide a text is on a terminal."""
    return max((len(Text.from_ansi(line).plain) for line in text.splitlines()), default=0)
