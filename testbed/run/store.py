"""Result directories: written whole or not at all, and read back.

    results/<experiment>/<utc>-<id>/
        spec.json metadata.json summary.json counters.json report.txt queue_depth.parquet
        records/<cell>.parquet  series/<cell>.parquet  hdr/<cell>.hlog  figures/*.png|svg
    results/<experiment>/sensitivity-<utc>-<id>/
        spec.json metadata.json sensitivity.json report.txt  figures/*.png|svg

While a run lasts, its directory is called `.<utc>-<id>.partial`. It is renamed when every file is on the
disk, and removed when the run fails. A run that was killed outright leaves it behind: `abandoned_partials`
finds it, since a living writer holds a lock on the file `.lock` in it.

The id is the first 8 hex digits of a SHA-256 over the spec, the time in nanoseconds, the process id and 8
random bytes: it names a run, not an outcome. The outcome is named by `records_digest` in the summary.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from testbed.analysis.records import Records
from testbed.analysis.summary import RunSummary
from testbed.errors import SpecError
from testbed.run import cell_files
from testbed.run.files import storing, sync, sync_tree
from testbed.run.ownership import Owner, hand_over, heir_at
from testbed.spec.codec import from_dict

QUEUE_DEPTH_COLUMNS = {
    "cell": pa.string(),
    "time_ps": pa.int64(),
    "entity": pa.int32(),
    "node": pa.string(),
    "tier": pa.int8(),
    "port": pa.int32(),
    "peer_entity": pa.int32(),
    "peer": pa.string(),
    "traffic_class": pa.int8(),
    "kind": pa.int8(),
    "depth_bytes": pa.int64(),
}
_QUEUE_DEPTH_UNITS = {
    "units": "time: ps, depth: bytes",
    "kind": "0: depth of a class of an egress port, 1: a class is stopped by the peer (1) or free (0), "
    "2: the peer is told to stop a class (1) or to go on (0), 3: buffer used by a switch, 4: depth of an egress port",
    "tier": "-1: a card, 0: a leaf, and so on upward",
}

_LOCK = ".lock"
_PARTIAL = ".partial"
RUN_FOLDERS = (cell_files.RECORDS_DIR, cell_files.HDR_DIR, "figures")


class ResultWriter:
    """Context manager: `directory` is where to write, `final` where the result is afterwards."""

    def __init__(
        self,
        out: Path,
        experiment: str,
        spec: Mapping[str, Any],
        *,
        prefix: str = "",
        folders: Sequence[str] = RUN_FOLDERS,
    ) -> None:
        now_ns = time.time_ns()
        stamp = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
        self.result_id = f"{prefix}{stamp}-{_run_id(spec, now_ns)}"
        self.final = Path(out) / experiment / self.result_id
        self.directory = self.final.with_name(f".{self.result_id}{_PARTIAL}")
        self._spec, self._folders = spec, tuple(folders)
        self._made: list[Path] = []
        self._undo = ExitStack()
        self._heir: Owner | None = None

    def __enter__(self) -> ResultWriter:
        with ExitStack() as undo:
            undo.callback(self._remove)
            with storing(self.final):
                self._make_directories()
                lock = undo.enter_context((self.directory / _LOCK).open("w"))
                fcntl.flock(lock, fcntl.LOCK_EX)
            self.write_json("spec.json", self._spec)
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._undo as undo:  # removes the partial directory, unless it has become the result
            if kind is None:
                with storing(self.final):
                    self._publish()
                undo.pop_all().close()

    def write_json(self, name: str, value: object) -> Path:
        """Write a value as JSON, keys in their order."""
        return self.write_text(name, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file."""
        with storing(self.directory / name) as path:
            path.write_text(text, encoding="utf-8")
        return path

    def write_cell(self, cell_id: str, records: Records) -> None:
        """Write a cell's records and histogram; another process may use `cell_files.write_cell`."""
        cell_files.write_cell(self.directory, cell_id, records)

    def write_queue_depth(self, columns: Mapping[str, Any]) -> Path:
        """Write queues and pauses over time: equally long columns, as `testbed.analysis.depths` makes them."""
        schema = pa.schema(list(QUEUE_DEPTH_COLUMNS.items()), metadata=_QUEUE_DEPTH_UNITS)
        table = pa.table({name: columns[name] for name in QUEUE_DEPTH_COLUMNS}, schema=schema)
        path = self.directory / "queue_depth.parquet"
        cell_files.write_table(path, table)
        return path

    def _make_directories(self) -> None:
        """The partial directory and what lacks above it; notes what it made."""
        self._heir = heir_at(self.final.parent)
        for parent in (*reversed(self.final.parent.parents), self.final.parent, self.directory):
            if not parent.exists():
                parent.mkdir()
                self._made.append(parent)
                hand_over(parent, self._heir)
        for folder in self._folders:
            (self.directory / folder).mkdir()
        hand_over(self.directory, self._heir)

    def _publish(self) -> None:
        """On the disk first, then under its name: a reader never sees half a result."""
        hand_over(self.directory, self._heir)
        sync_tree(self.directory)  # may take minutes, and without the lock it would pass for a dead run's
        (self.directory / _LOCK).unlink()
        sync(self.directory)
        self.directory.rename(self.final)
        self._made.clear()
        sync(self.final.parent)

    def _remove(self) -> None:
        """Take away what was made, as far as nobody else has put anything there."""
        if self.directory in self._made:
            shutil.rmtree(self.directory, ignore_errors=True)
        for parent in reversed(self._made):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedResult:
    """A saved result; its records are read when they are asked for."""

    directory: Path
    summary: RunSummary
    spec: Mapping[str, Any]
    metadata: Mapping[str, Any]

    @property
    def result_id(self) -> str:
        """`<utc>-<id>`."""
        return self.directory.name

    def records(self, cell_id: str) -> Records:
        """The records of one cell, in canonical order."""
        return cell_files.read_records(self.directory, cell_id)

    def counters(self) -> dict[str, dict[str, dict[str, int]]]:
        """The counters at the end of each cell, by cell, node and name."""
        return _read_json(self.directory / "counters.json")

    def queue_depth(self) -> dict[str, npt.NDArray[Any]] | None:
        """The columns of the queue depths; None if the run kept none."""
        path = self.directory / "queue_depth.parquet"
        if not path.exists():
            return None
        try:
            table = pq.read_table(path)
            return {name: np.asarray(table[name].to_numpy()) for name in QUEUE_DEPTH_COLUMNS}
        except (OSError, KeyError, pa.ArrowException) as error:
            raise _unreadable(path, error) from error


def load_result(directory: Path) -> LoadedResult:
    """Open a saved result; a `SpecError` if there is none, or one of another version."""
    resolved = Path(directory).resolve()
    return LoadedResult(
        directory=resolved,
        summary=from_dict(RunSummary, _read_json(resolved / "summary.json")),
        spec=_read_json(resolved / "spec.json"),
        metadata=_read_json(resolved / "metadata.json"),
    )


def abandoned_partials(out: Path) -> list[Path]:
    """Unfinished results below `out` whose writer is no longer alive: what a killed run left behind."""
    return [
        path for path in sorted(Path(out).glob(f"*/.*{_PARTIAL}")) if path.is_dir() and not _is_held(path)
    ]


def remove_abandoned(out: Path, *, dry_run: bool = False) -> list[str]:
    """Remove the unfinished results of dead runs below `out`; what was (or would be) removed, a line each."""
    found = abandoned_partials(out)
    for path in () if dry_run else found:
        with storing(path):
            shutil.rmtree(path)
    return [f"partial result {path}" for path in found]


def sweep(out: Path, note: Callable[[str], None]) -> None:
    """Remove the unfinished results of dead runs below `out`, as a run does that begins; `note` is told of each.

    One that cannot be removed, as that of another user, is no reason not to run.
    """
    for path in abandoned_partials(out):
        try:
            shutil.rmtree(path)
        except OSError as error:
            note(f"partial result {path} of a run that was killed stays: {error.strerror}; try ./tb clean")
        else:
            note(f"removed partial result {path} of a run that was killed")


def _is_held(partial: Path) -> bool:
    """Whether a living process holds the lock of a partial directory; also where only its owner can tell."""
    try:
        lock: IO[str] = (partial / _LOCK).open()
    except PermissionError:
        return True
    except FileNotFoundError:  # it dies between making the directory and the lock, or publishes
        try:
            return time.time() - partial.stat().st_mtime < 60
        except FileNotFoundError:  # it has published
            return True
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _run_id(spec: Mapping[str, Any], now_ns: int) -> str:
    named = json.dumps(spec, sort_keys=True, default=str) + f"\0{now_ns}\0{os.getpid()}\0"
    return hashlib.sha256(named.encode() + os.urandom(8)).hexdigest()[:8]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from error
    if not isinstance(value, dict):
        raise _unreadable(path, TypeError("it holds no JSON object"))
    return value


def _unreadable(path: Path, error: Exception) -> SpecError:
    return SpecError(f"{path} cannot be read: {error}", remedy="give the directory of a saved result")
