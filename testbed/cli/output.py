"""How the verbs print: text and tables on stdout, errors and progress on stderr, JSON alone on stdout.

Nothing here knows what it prints.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from testbed.errors import TestbedError

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]

WIDTH_OFF_TERMINAL = 160


def stdout() -> Console:
    """A console on stdout; in a pipe it neither colours nor wraps at 80 columns."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH_OFF_TERMINAL)


def stderr() -> Console:
    """A console on stderr, likewise."""
    wide = sys.stderr.isatty() or "COLUMNS" in os.environ
    return Console(stderr=True, width=None if wide else WIDTH_OFF_TERMINAL)


def table_width() -> int | None:
    """The columns of the terminal on stdout; None, as wide as needed, where there is none."""
    return stdout().width if sys.stdout.isatty() or "COLUMNS" in os.environ else None


def print_json(value: object) -> None:
    """Print a value as JSON, indented, keys in their order."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_error(error: TestbedError) -> None:
    """Print `error: MESSAGE` and `remedy: REMEDY`: in a panel on a terminal, as plain lines elsewhere."""
    text = f"error: {error}\nremedy: {error.remedy}"
    if not sys.stderr.isatty():
        typer.echo(text, err=True)
        return
    from rich.panel import Panel
    from rich.text import Text

    stderr().print(Panel(Text(text), border_style="red", expand=False))


def numbers_text(rows: Iterable[tuple[str, Any, str | None, str | None, str | None]], width: int) -> str:
    """Path, value, unit, mark and source of numbers, nothing cut: `path = value unit  (mark)`, the source below."""
    lines: list[str] = []
    for path, value, unit, mark, source in rows:
        text = f"{path} = {plain(value)}" + (f" {unit}" if unit else "") + (f"  ({mark})" if mark else "")
        lines += _filled(text, "", width) + _filled(source or "", " " * 4, width)
    return "\n".join(lines)


def plain(value: object) -> str:
    """A number with its thousands apart; the items of a table, likewise."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return ", ".join(map(plain, value)) if isinstance(value, tuple | list) else str(value)


def _filled(text: str, indent: str, width: int) -> list[str]:
    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> Table:
    """A plain table: a column whose name ends in `>` is aligned to the right."""
    made = Table(
        title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold"
    )
    for column in columns:
        made.add_column(column.removesuffix(">"), justify="right" if column.endswith(">") else "left")
    for row in rows:
        made.add_row(*row)
    return made
