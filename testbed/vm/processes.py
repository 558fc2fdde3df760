"""Processes that outlive the command that started them: known by pid, start time and command line, all three.

Identity is `testbed.process_table`'s; where there is no /proc, as on macOS, ps(1) tells.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from testbed.process_table import boot_id, start_time_of

_LOOK_EVERY_S = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A process as a state file knows it."""

    pid: int
    started: str
    """When, as the system tells it: with the pid, one process for ever."""

    def is_alive(self, mark: str) -> bool:
        """Whether this very process lives, and has `mark` in its command line, which one that is dying has no more."""
        line = command_line(self.pid)
        return started(self.pid) == self.started and (not line or mark in line)

    def end(self, number: signal.Signals, mark: str) -> None:
        """Send it a signal; nothing if it is gone, and never to another process that has its pid."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except AttributeError:  # not on macOS
            if self.is_alive(mark):
                os.kill(self.pid, number)
            return
        except ProcessLookupError:
            return
        try:
            if self.is_alive(mark):  # asked after the pidfd is held: it cannot become another's
                signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return
        finally:
            os.close(descriptor)

    def wait(self, mark: str, timeout_s: float) -> bool:
        """Wait until it has ended; whether it has."""
        until = time.monotonic() + timeout_s
        while self.is_alive(mark):
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_EVERY_S)
        return True


def known(pid: int) -> Known | None:
    """The process that has this pid now; None if there is none alive."""
    begun = started(pid)
    return Known(pid=pid, started=begun) if begun else None


def started(pid: int) -> str:
    """When a process started, such that no two processes with its pid have the same; empty if none lives."""
    if not Path("/proc/self/stat").exists():
        return _ps(pid, "lstart")
    start_time_ticks = start_time_of(pid)
    return "" if start_time_ticks is None else f"{boot_id()} {start_time_ticks}"


def command_line(pid: int) -> str:
    """The command line of a process, its arguments parted by blanks; empty if none lives."""
    if not Path("/proc/self/stat").exists():
        return _ps(pid, "command")
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def remove_partials(whole: Path, *, dry_run: bool = False) -> list[Path]:
    """Remove what commands that were killed have left of making `whole`: `.NAME.PID.new` beside it."""
    left = [
        path
        for path in sorted(whole.parent.glob(f".{glob.escape(whole.name)}.*.new"))
        if (pid := path.name.split(".")[-2]).isdecimal() and not started(int(pid))
    ]
    for path in left if not dry_run else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    return left


def _ps(pid: int, column: str) -> str:
    done = subprocess.run(
        ["ps", "-ww", "-o", f"{column}=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()
