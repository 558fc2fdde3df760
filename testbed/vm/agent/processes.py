"""Processes: which one it is, and how a signal reaches it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

from testbed.vm.agent.files import Refused


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def process_of(pid: int) -> tuple[str, list[str]] | None:
    """Name and fields of /proc/PID/stat from the state on (state, parent, group, session, ...); None if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            head, _, tail = file.read().rpartition(")")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return head.partition("(")[2], tail.split()


def identity_of(pid: int) -> dict[str, Any]:
    """What no other process has: its id, when it was started, and since which start of the machine."""
    process = process_of(pid)
    return {"pid": pid, "started": process[1][19] if process else "gone", "boot": _boot()}


def is_alive(identity: dict[str, Any] | None) -> bool:
    """Whether that very process still runs."""
    if not identity or identity["boot"] != _boot():
        return False
    process = process_of(identity["pid"])
    return process is not None and process[1][19] == identity["started"] and process[1][0] not in "ZX"


def receivers(leader: int, name: str) -> list[int]:
    """Whom a signal for a command goes to: its group, as Ctrl-C would; SIGKILL to all that it started.

    `sudo` hands a signal on to what it runs, which must not have it twice.
    """
    found = {int(pid): process_of(int(pid)) for pid in os.listdir("/proc") if pid.isdigit()}
    table = {pid: process for pid, process in found.items() if process is not None}

    def above(pid: int) -> Iterator[int]:
        while pid in table and pid != leader:
            pid = int(table[pid][1][1])
            yield pid

    if name == "SIGKILL":
        return [
            pid
            for pid, (_, f) in table.items()
            if int(f[3]) == leader or pid == leader or leader in above(pid)
        ]
    return [
        pid
        for pid, (_, fields) in table.items()
        if int(fields[2]) == leader and not any(table[p][0] == "sudo" for p in above(pid) if p in table)
    ]


def deliver(pids: list[int], name: str) -> None:
    """Send processes a signal, through sudo where this user may not."""
    denied = []
    for pid in pids:
        try:
            os.kill(pid, getattr(signal, name))
        except ProcessLookupError:
            continue
        except PermissionError:
            denied.append(str(pid))
    if not denied:
        return
    done = sudo("kill", "-s", name[3:], "--", *denied)
    if not done and any(process_of(int(pid)) for pid in denied):
        raise Refused(
            f"the run belongs to root, and this user may not end it (processes {', '.join(denied)})",
            "log in as root, or allow sudo without a password",
        )


def sudo(*command: str) -> bool:
    """Run a command as root, if that needs no password; whether it succeeded."""
    try:
        done = subprocess.run(
            ["sudo", "-n", *command], stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except FileNotFoundError:
        return False
    return done.returncode == 0
