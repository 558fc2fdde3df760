"""The state file of a run: who belongs to it, so that whatever is left of a killed run can be removed.

One file per run, JSON lines: a header that names the orchestrator, then a line for each process and partial
result as it is made. Imports nothing of Mininet: `./tb clean` works without it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from testbed.errors import FabricError, PreflightError
from testbed.process_table import boot_id, start_time_of, stat_of

STATE_DIRECTORY = Path("/run/transparent-nic-testbed")
SCHEMA_VERSION = 1
"""History. 1: header {schema_version, boot_id, orchestrator}; lines {child} and {partial}."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A process as a state file knows it."""

    name: str
    pid: int
    start_time_ticks: int

    def is_alive(self) -> bool:
        """Whether this very process lives (not another one with its pid)."""
        return start_time_of(self.pid) == self.start_time_ticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a state file says."""

    boot_id: str
    orchestrator: Recorded
    children: tuple[Recorded, ...] = ()
    partials: tuple[Path, ...] = ()

    def is_live(self) -> bool:
        """Whether the run's orchestrator still works on it."""
        return self.boot_id == boot_id() and self.orchestrator.is_alive()


class RunState:
    """The state file of the run that this process orchestrates; a context manager that removes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, run_id: str, *, directory: Path = STATE_DIRECTORY) -> RunState:
        """Make the file, whole from its first instant; the orchestrator is the calling process."""
        _make_private(directory)
        path = directory / f"{run_id}.json"
        whole = directory / f".{run_id}.{os.getpid()}.new"
        header = {
            "schema_version": SCHEMA_VERSION,
            "boot_id": boot_id(),
            "orchestrator": _describe("orchestrator", os.getpid()),
        }
        _append(whole, header, flags=os.O_CREAT | os.O_EXCL)
        try:
            os.link(whole, path)  # unlike rename, never over another run's file
        except FileExistsError as error:
            raise FabricError(
                f"run '{run_id}' already has a state file, {path}", remedy="give this run an id of its own"
            ) from error
        finally:
            whole.unlink()
        return cls(path)

    def record_child(self, name: str, pid: int) -> None:
        """Note a process of this run; one that is already dead needs no note."""
        self.record_children({name: pid})

    def record_children(self, pids: Mapping[str, int]) -> None:
        """Note many processes in one write."""
        found = [_describe(name, pid) for name, pid in pids.items() if stat_of(pid)]
        if found:
            _append(self.path, *({"child": child} for child in found))

    def record_partial(self, path: Path) -> None:
        """Note a result directory that is not whole yet; its name must end with `.partial`."""
        if not is_partial(path):
            raise FabricError(f"{path} is no partial result", remedy="let its name end with '.partial'")
        _append(self.path, {"partial": str(path.absolute())})

    @contextmanager
    def sockets(self) -> Iterator[Path]:
        """A directory for the control sockets of one cell, for this user alone; it ends with the context."""
        with self._directory(sockets_of(self.path)) as directory:
            yield directory

    @contextmanager
    def control(self) -> Iterator[Path]:
        """A directory for the control plane, for this user alone; it ends with the context."""
        with self._directory(control_of(self.path)) as directory:
            yield directory

    @staticmethod
    @contextmanager
    def _directory(directory: Path) -> Iterator[Path]:
        directory.mkdir(mode=0o700)
        try:
            yield directory
        finally:
            shutil.rmtree(directory)

    def remove(self) -> None:
        """The run is over and nothing of it is left."""
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> RunState:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()


def sockets_of(path: Path) -> Path:
    """Where the run with this state file has its control sockets while a cell runs."""
    return path.with_suffix(".sockets")


def control_of(path: Path) -> Path:
    """Where the run with this state file keeps the database, sockets and logs of its control plane."""
    return path.with_suffix(".control")


def unborn_pid(path: Path) -> int:
    """Who is making the state file with this temporary name (`.ID.PID.new`); 0, nobody, for another name."""
    pid = path.name.split(".")[-2]
    return int(pid) if pid.isdigit() else 0


def is_partial(path: Path) -> bool:
    """Whether a path may be recorded, and so removed, as a partial result."""
    return path.name.endswith(".partial")


def read_state(path: Path) -> Recording:
    """Read a state file. A last line that was cut off is not read: what it says never came to be used."""
    lines = path.read_text(encoding="utf-8").split("\n")[:-1]
    try:
        header, *entries = [json.loads(line) for line in lines]
        if header["schema_version"] != SCHEMA_VERSION:
            raise KeyError("schema_version")
        return Recording(
            boot_id=header["boot_id"],
            orchestrator=Recorded(**header["orchestrator"]),
            children=tuple(Recorded(**entry["child"]) for entry in entries if "child" in entry),
            partials=tuple(Path(entry["partial"]) for entry in entries if "partial" in entry),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise FabricError(
            f"{path} is not a state file of this version", remedy="delete it by hand"
        ) from error


def _describe(name: str, pid: int) -> dict[str, str | int]:
    """A process as the file holds it."""
    return {"name": name, "pid": pid, "start_time_ticks": start_time_of(pid) or 0}


def _append(path: Path, *entries: Mapping[str, object], flags: int = 0) -> None:
    """Add lines in one write, so that no other writer's come between."""
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _make_private(directory: Path) -> None:
    """The directory, for this user alone."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_uid == os.geteuid():
            directory.chmod(0o700)
            return
    except OSError as error:
        raise PreflightError(
            f"cannot make {directory}: {error}", remedy="run as root, e.g. with sudo"
        ) from error
    raise PreflightError(f"{directory} belongs to another user", remedy="run as root, e.g. with sudo")
