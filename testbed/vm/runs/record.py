"""Where runs on other machines stand, on this machine: one directory each, until its results are published.

    OUT/.vm/<run>/
        run.json    what runs where, and how far each part is; replaced as a whole
        .lock       held by the one client that follows the run
        files/      what the experiment names, as it was when the run began
        parts/<n>/  results of a part as they come; staged/ results that are complete

Results are made here and then renamed, so a reader of OUT never sees half of one.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shlex
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, TypeAlias

from testbed.errors import SpecError
from testbed.run.files import storing, sync
from testbed.run.loader import results_dir
from testbed.spec.codec import from_dict, to_dict
from testbed.spec.experiment import Experiment

FOLDER = ".vm"
_RECORD, _LOCK = "run.json", ".lock"
_RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
PartState: TypeAlias = Literal["new", "started", "fetched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one machine does of a run."""

    host: str
    """As the user names it."""
    job: str
    """What it is called there."""
    seed: int
    seeds: int = 1
    """With how many seeds it runs, from `seed` on."""
    cells: tuple[str, ...] = ()
    """Which cells it runs; none: all."""
    state: PartState = "new"
    removed: bool = False
    """Whether the machine has been told to remove what is here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run on other machines."""

    id: str
    began_at_s: int
    """When, in seconds since 1970."""
    experiment: Experiment
    """As it was sent."""
    originals: Mapping[str, str] = field(default_factory=dict)
    """What the user wrote, by what was sent instead."""
    engine: str
    identity: str = ""
    directory: str = ""
    host_key: str = ""
    """How its machines are reached: `--identity`, `--directory`, `--host-key`."""
    keep: bool = False
    """Whether the jobs' directories are left on the machines."""
    parts: tuple[Part, ...]
    program: str = ""
    """The `program_digest` of the tree with which its parts run; empty before the first is started."""
    published: tuple[str, ...] = ()
    """`EXPERIMENT/ID` of each result, once all are complete: from then on they only have to be renamed."""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The machines that have a part, each once."""
        return tuple(dict.fromkeys(part.host for part in self.parts))


class RunFolder:
    """The directory of a run; `run` is what its record says."""

    def __init__(self, directory: Path, run: Run) -> None:
        self.directory = directory
        self.run = run
        self._changing = threading.Lock()

    @property
    def out(self) -> Path:
        """Where its results go."""
        return self.directory.parent.parent

    @property
    def reference(self) -> str:
        """What `tb vm attach` and `stop` are told to find it."""
        is_default = self.out.resolve() == results_dir().resolve()
        return self.run.id if is_default else f"{self.run.id} --out {shlex.quote(str(self.out))}"

    @property
    def files(self) -> Path:
        """What is sent, as it was when the run began."""
        return self.directory / "files"

    @property
    def staged(self) -> Path:
        """Complete results that are not published yet: `staged/EXPERIMENT/ID/`."""
        return self.directory / "staged"

    def part(self, index: int) -> Path:
        """Where the results of a part arrive: `parts/N/EXPERIMENT/ID/`."""
        return self.directory / "parts" / str(index)

    def save(self, run: Run) -> None:
        """Replace the record."""
        path = self.directory / _RECORD
        fresh = path.with_suffix(".new")
        with storing(path):
            with fresh.open("w", encoding="utf-8") as file:
                file.write(json.dumps(to_dict(run), indent=2, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            sync(self.directory)
        self.run = run

    def set_part(self, index: int, part: Part) -> None:
        """Replace one part; parts may be changed by several threads."""
        with self._changing:
            parts = self.run.parts
            self.save(replace(self.run, parts=(*parts[:index], part, *parts[index + 1 :])))

    def remove(self) -> None:
        """Forget the run: the record first, so that half a directory is no run."""
        with storing(self.directory):
            (self.directory / _RECORD).unlink(missing_ok=True)
            shutil.rmtree(self.directory)
        with suppress(OSError):  # there are other runs, or another client was quicker
            self.directory.parent.rmdir()


def new_run_id() -> str:
    """`<utc>-<8 hex digits>`."""
    stamp = datetime.fromtimestamp(time.time(), UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{stamp}-{secrets.token_hex(4)}"


def create(out: Path, run: Run, files: Mapping[str, Path]) -> RunFolder:
    """Write the record of a run that is about to begin, and keep the files that it sends."""
    folder = RunFolder(Path(out) / FOLDER / run.id, run)
    with storing(folder.directory):
        with suppress(FileNotFoundError):  # another client has just removed `FOLDER` with its own last run
            folder.files.mkdir(parents=True)
        folder.files.mkdir(parents=True, exist_ok=True)
        for place, source in files.items():
            target = folder.files / place
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
    folder.save(run)
    return folder


@contextmanager
def held(folder: RunFolder) -> Iterator[RunFolder]:
    """Be the one client of a run, as its record says now; a `SpecError` if there is another."""
    with storing(folder.directory / _LOCK) as path:
        lock = path.open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SpecError(
                f"another client follows the run {folder.run.id}",
                remedy=f"wait until it ends; ./tb vm stop {folder.reference} ends the run itself",
            ) from None
        yield _load(folder.directory / _RECORD)


def is_held(directory: Path) -> bool:
    """Whether a client follows the run of this directory."""
    try:
        lock = (directory / _LOCK).open()
    except FileNotFoundError:
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def unfinished(out: Path) -> list[RunFolder]:
    """The runs whose results are not published, oldest first."""
    found = []
    for path in sorted((Path(out) / FOLDER).glob(f"*/{_RECORD}")):
        try:
            found.append(_load(path))
        except SpecError:
            if path.exists():  # else its client has just finished it
                raise
    return [folder for folder in found if not _is_finished(folder)]


def find(out: Path, reference: str | None) -> RunFolder:
    """The run of that id, or of the only id that begins so; without one the newest."""
    known = unfinished(out)
    matching = [folder for folder in known if folder.run.id.startswith(reference or "")]
    if not matching or (reference and len(matching) > 1 and reference != matching[0].run.id):
        which = (
            f"'{reference}' is {'more than one' if matching else 'no'} unfinished run" if reference else ""
        )
        listed = ", ".join(folder.run.id for folder in known)
        raise SpecError(
            which or f"no run on another machine is unfinished below {out}",
            remedy=f"use one of: {listed}"
            if listed
            else "begin one with ./tb vm run, or say with --out where else to look",
        )
    return matching[-1]


def remove_leftovers(out: Path, *, dry_run: bool = False) -> list[str]:
    """Remove what finished runs have left because their client was killed; what was (or would be) removed."""
    found = [path for path in sorted((Path(out) / FOLDER).glob("*")) if path.is_dir() and _is_leftover(path)]
    for path in () if dry_run else found:
        with storing(path):
            shutil.rmtree(path)
    return [f"record of a finished run {path}" for path in found]


def _is_leftover(directory: Path) -> bool:
    """It is a run's, its record is gone or says that all is published, and nobody works on it."""
    if not _RUN_ID.fullmatch(directory.name) or is_held(directory):
        return False
    if not (directory / _RECORD).exists():
        return time.time() - directory.stat().st_mtime > 60  # else it may be about to begin
    return _is_finished(_load(directory / _RECORD))


def _is_finished(folder: RunFolder) -> bool:
    names = folder.run.published
    return bool(names) and all(
        (folder.out / name).is_dir() and not (folder.staged / name).exists() for name in names
    )


def _load(path: Path) -> RunFolder:
    try:
        run = from_dict(Run, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, SpecError) as error:
        raise SpecError(
            f"{path} cannot be read: {error}",
            remedy=f"remove {path.parent}, if the run is of no use any more",
        ) from error
    return RunFolder(path.parent, run)
