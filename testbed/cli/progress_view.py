"""The progress of a run on stderr: a bar on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from testbed.units import format_time

LINE_EVERY_S = 5.0
MINIMUM_TO_EXTRAPOLATE = 0.01


class ProgressView:
    """A `testbed.run.progress.Progress` that shows stage, virtual time, messages done and the time left."""

    def __init__(
        self,
        *,
        terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = LINE_EVERY_S,
    ) -> None:
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._clock = clock
        self._every_s = every_s
        self._began = self._last_line = clock()
        self._total = self._done = self._virtual_ps = 0
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

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[figures]}", markup=False),
        )
        self._bar = Progress(*columns, console=stderr(), transient=True, refresh_per_second=5)
        self._task = self._bar.add_task("", total=max(total_messages, 1), figures="")
        self._bar.start()

    def stage(self, name: str) -> None:
        """A cell on a clock, or a step, begins."""
        self._stage, self._virtual_ps = name, 0
        if self._bar is not None:
            self._bar.update(self._task, description=name, figures=self.figures())
        elif not self._terminal:
            self._line()

    def update(self, virtual_ps: int, messages_done: int) -> None:
        """Tell how far the stage, and the run, are."""
        self._virtual_ps, self._done = virtual_ps, messages_done
        if self._bar is not None:
            self._bar.update(self._task, completed=messages_done, figures=self.figures())
        elif self._clock() - self._last_line >= self._every_s:
            self._line()

    def finish(self) -> None:
        """Take the bar away; harmless when repeated."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def figures(self) -> str:
        """Virtual time, messages done of all, and the time left."""
        left = self.seconds_left()
        parts = [f"{format_time(self._virtual_ps)} virtual", f"{self._done:,}/{self._total:,} messages"]
        parts.append("time left unknown" if left is None else f"{_clock_text(left)} left")
        return "  ".join(parts)

    def seconds_left(self) -> int | None:
        """The time left at the pace so far; None while too little is done to tell."""
        if self._done < self._total * MINIMUM_TO_EXTRAPOLATE or not self._done:
            return None
        spent = self._clock() - self._began
        return round(spent * max(0, self._total - self._done) / self._done)

    def _line(self) -> None:
        self._last_line = self._clock()
        typer.echo(f"{self._stage}  {self.figures()}", err=True)


def _clock_text(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"
