"""How the verbs print: text and tables on stdout, errors and progress on stderr, JSON alone on stdout.

Nothing here knows what it prints.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

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
