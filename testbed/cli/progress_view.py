"""The progress of a run on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from testbed.analysis.answers import approximate_time

LINE_EVERY_S = 5.0
LEAST_WORK_PPM = 10_000
"""With less than a hundredth done, the time left is not told."""
ROOMY_COLUMNS = 110
STAGE_COLUMNS = 40
_WHOLE_PPM = 1_000_000


class ProgressView:
    """A `testbed.run.progress.Progress` that shows stage, virtual time, messages done and the time left."""

    def __init__(
        self,
        *,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = LINE_EVERY_S,
        of: str = "messages",
    ) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._clock = clock
        self._every_s = every_s
        self._of = of
        self._began = self._last_line = clock()
        self._total = self._done = self._virtual_ps = self._work_ppm = 0
        self._narrow = False
        self._stage = ""
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def start(self, total_messages: int) -> None:
        """Begin, with how many messages are to come."""
        self._total = total_messages
        self._began = self._last_line = self._clock()
        if not self._terminal:
            return
        from testbed.cli.output import stderr

        console = stderr()
        self._narrow = console.width < ROOMY_COLUMNS
        columns = (
            TextColumn(
                "{task.description}", markup=False, table_column=_one_line(STAGE_COLUMNS, console.width)
            ),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}", markup=False, table_column=Column(no_wrap=True)),
        )
        self._bar = Progress(*columns, console=console, transient=True, refresh_per_second=5, expand=True)
        self._task = self._bar.add_task("", total=_WHOLE_PPM, figures="")
        self._bar.start()

    def stage(self, name: str) -> None:
        """A cell on a clock, or a step, begins."""
        self._stage, self._virtual_ps = name, 0
        if self._bar is not None:
            self._bar.update(self._task, description=name, figures=self.figures())
        elif not self._terminal:
            self._line()

    def update(self, virtual_ps: int, messages_done: int, work_ppm: int) -> None:
        """Tell how far the stage, and the run, are."""
        self._virtual_ps, self._done, self._work_ppm = virtual_ps, messages_done, work_ppm
        if self._bar is not None:
            self._bar.update(self._task, completed=work_ppm, figures=self.figures())
        elif self._clock() - self._last_line >= self._every_s:
            self._line()

    def note(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is not None:
            self._bar.console.print(text, markup=False, highlight=False)
        else:
            typer.echo(text, err=True)

    def finish(self) -> None:
        """Take the bar away; harmless when repeated."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def figures(self) -> str:
        """Virtual time, messages done of all, and the time left."""
        left = self.seconds_left()
        count = _short if self._narrow else _long
        virtual = approximate_time(self._virtual_ps) if self._virtual_ps else ""
        parts = [virtual if self._narrow or not virtual else f"{virtual} virtual"]
        parts.append(f"{count(self._done)}/{count(self._total)}{'' if self._narrow else f' {self._of}'}")
        parts.append("-:-- left" if left is None else f"{_clock_text(left)} left")
        return "  ".join(part for part in parts if part)

    def seconds_left(self) -> int | None:
        """The time left at the pace so far; None while too little is done to tell."""
        if self._work_ppm < LEAST_WORK_PPM:
            return None
        spent = self._clock() - self._began
        return round(spent * max(0, _WHOLE_PPM - self._work_ppm) / self._work_ppm)

    def _line(self) -> None:
        self._last_line = self._clock()
        typer.echo(f"{self._stage}  {self.figures()}", err=True)


def _one_line(most: int, width: int) -> Column:
    """A column that is cut rather than wrapped, and takes at most half a narrow terminal."""
    return Column(no_wrap=True, overflow="ellipsis", max_width=min(most, width // 2 - 1))


def _long(count: int) -> str:
    return f"{count:,}"


def _short(count: int) -> str:
    """`12.1M`."""
    for size, letter in ((10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.{1 if count < 100 * size else 0}f}{letter}"
    return str(count)


def _clock_text(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"
