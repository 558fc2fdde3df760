"""Removes what a killed run left behind, and only that: it acts on nothing that no state file records.

Namespaces and veth pairs need no cleaning: they have no name outside the processes that hold them, and end
with the last of these. Imports nothing of Mininet.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from testbed.errors import FabricError
from testbed.fabric.state import (
    STATE_DIRECTORY,
    Recorded,
    Recording,
    control_of,
    is_partial,
    read_state,
    sockets_of,
    unborn_pid,
)
from testbed.process_table import boot_id, kill_if_same, stat_of

_DEATH_DEADLINE_S = 60.0
_POLL_INTERVAL_S = 0.01


def clean(*, dry_run: bool = False, directory: Path = STATE_DIRECTORY) -> list[str]:
    """Remove what is left of runs whose orchestrator is dead; what was (or would be) removed, a line each."""
    removed = _clean_unborn(directory, dry_run=dry_run)
    unreadable: list[FabricError] = []
    for path in sorted(directory.glob("*.json")):
        try:
            recording = read_state(path)
        except FileNotFoundError:
            continue  # that run has just ended by itself
        except FabricError as error:
            unreadable.append(error)
            continue
        if not recording.is_live():
            removed += _clean_run(path, recording, dry_run=dry_run)
    if unreadable:
        raise unreadable[0]
    return removed


def _clean_unborn(directory: Path, *, dry_run: bool) -> list[str]:
    """State files whose run was killed before they had their name: nothing had been made yet."""
    found = [path for path in sorted(directory.glob(".*.new")) if not stat_of(unborn_pid(path))]
    if not dry_run:
        for path in found:
            path.unlink(missing_ok=True)
    return [f"state file {path}" for path in found]


def _clean_run(path: Path, recording: Recording, *, dry_run: bool) -> list[str]:
    """What is left of one dead run; the state file goes last, so that a failure can be tried again."""
    alive = [child for child in recording.children if child.is_alive()]
    if recording.boot_id != boot_id():
        alive = []  # start times of another boot name nobody
    partials = [part for part in recording.partials if is_partial(part) and _is_own_directory(part)]
    sockets = [directory for directory in (sockets_of(path),) if _is_own_directory(directory)]
    control = [directory for directory in (control_of(path),) if _is_own_directory(directory)]
    if not dry_run:
        _kill(alive)
        for directory in (*partials, *sockets, *control):
            shutil.rmtree(directory)
        path.unlink(missing_ok=True)
    return [
        *(f"process {child.name} (pid {child.pid})" for child in alive),
        *(f"partial result {part}" for part in partials),
        *(f"control sockets {directory}" for directory in sockets),
        *(f"control plane {directory}" for directory in control),
        f"state file {path}",
    ]


def _is_own_directory(path: Path) -> bool:
    """A symbolic link is not followed."""
    return path.is_dir() and not path.is_symlink()


def _kill(children: Sequence[Recorded]) -> None:
    """SIGKILL, then wait until they are dead."""
    for child in children:
        kill_if_same(child.pid, child.start_time_ticks)
    deadline = time.monotonic() + _DEATH_DEADLINE_S
    while left := [child for child in children if child.is_alive()]:
        if time.monotonic() > deadline:
            names = ", ".join(f"{child.name} (pid {child.pid})" for child in left)
            raise FabricError(
                f"{names} did not end on SIGKILL", remedy="look at `cat /proc/PID/stack`; reboot if stuck"
            )
        time.sleep(_POLL_INTERVAL_S)
