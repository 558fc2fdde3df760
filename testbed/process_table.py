"""What /proc says about processes: identity (pid and start time), sessions, network namespaces.

A pid alone names nobody: it is reused. A pid with its start time does, until the next boot.
Imports nothing of the testbed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_STATE, _SESSION, _START_TIME = 0, 3, 19
"""Fields of /proc/PID/stat, counted from the one after the command name [proc(5): 3, 6, 22]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """The part of /proc/PID/stat that tells who a process is."""

    command: str
    state: str
    """One letter; Z is a zombie: dead, but not yet waited for."""
    session: int
    start_time_ticks: int
    """Since boot."""


def parse_stat(text: str) -> Stat:
    """Read one line of /proc/PID/stat; the command name may hold blanks and brackets."""
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return Stat(
        command=head.partition("(")[2],
        state=fields[_STATE],
        session=int(fields[_SESSION]),
        start_time_ticks=int(fields[_START_TIME]),
    )


def stat_of(pid: int) -> Stat | None:
    """Who has this pid now; None if nobody, or only a zombie."""
    try:
        stat = parse_stat(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace"))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if stat.state in "ZX" else stat


def start_time_of(pid: int) -> int | None:
    """When the process with this pid started, in ticks since boot; None if there is none alive."""
    stat = stat_of(pid)
    return stat.start_time_ticks if stat else None


def boot_id() -> str:
    """Changes with each boot; start times of two boots must not be compared."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def pids() -> Iterator[int]:
    """Every process that /proc shows."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def kill_if_same(pid: int, start_time_ticks: int) -> bool:
    """SIGKILL a process if pid and start time are both its own; whether it was alive.

    Through a pidfd, so that no other process can take the pid between the check and the signal.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if start_time_of(pid) != start_time_ticks:
            return False
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        os.close(pidfd)
    return True


def session_members(sessions: Collection[int]) -> list[int]:
    """Living processes whose session leader is, or was, one of `sessions`."""
    found = ((pid, stat_of(pid)) for pid in pids())
    return [pid for pid, stat in found if stat and stat.session in sessions]


def namespace_of(pid: int) -> int:
    """The inode number of a process's network namespace."""
    return os.stat(f"/proc/{pid}/ns/net").st_ino


def processes_in(namespaces: Collection[int]) -> list[int]:
    """Living processes in any of these network namespaces (inode numbers)."""
    found = []
    for pid in pids():
        try:
            inside = namespace_of(pid) in namespaces
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue  # it ended while we looked, or is a zombie
        if inside:
            found.append(pid)
    return found
