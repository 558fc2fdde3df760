"""The project's tree and its runs on another machine.

A run there is a *job*: it goes on when the connection drops, and is asked about, followed, fetched and stopped by its
name, over this connection or a later one. What is done there is done by `testbed/vm/agent`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from errno import ENOSPC
from pathlib import Path
from typing import Any, Literal

from testbed.commit import COMMIT_FILE, tree_commit
from testbed.errors import RemoteError
from testbed.run.files import storage_error, storing, sync_tree
from testbed.vm.agent.files import is_below
from testbed.vm.agent.tree import is_stale
from testbed.vm.asking import ask, command, error_of, listen
from testbed.vm.ssh import Connection, Link
from testbed.vm.transfer import (
    Bundle,
    Content,
    Progress,
    Receiver,
    Wanted,
    arrived_bytes,
    changed,
    is_whole,
    place,
    size_here,
    upload,
)
from testbed.vm.tree import FileState, state_of, tree_files

State = Literal["absent", "running", "ended", "lost"]
"""`lost`: it ended, or was left, without a word: the machine was restarted, or its supervisor killed."""
_MANIFEST = ".vm/wanted.json"
_SLICE_S = 15.0
_STOP_GRACE_S = {"SIGINT": 60.0, "SIGTERM": 15.0, "SIGKILL": 10.0}
_RETRY_S = 1.0
_STREAM_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """What is known of a job."""

    job: str
    state: State
    exit_code: int | None
    """128 + N if signal N ended it, as shells say."""
    log_bytes: int
    free_bytes: int
    """On the disk there that holds the job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What deploying changed."""

    files: int
    """How many were sent."""
    sent_bytes: int
    removed: int


class Remote:
    """One tree on one machine, and the jobs of the user who logs in there."""

    def __init__(self, link: Link, tree: str) -> None:
        self._link, self._tree = link, tree
        self._token = secrets.token_hex(4)
        self.bundle = ""
        """What is on its way to the tree there, while it is."""
        self._arrived_bytes = 0
        """How much of the bundle was there when it was begun, or gone on with, last."""

    def deploy(self, root: Path, progress: Progress) -> Deployed:
        """Make the tree there equal to that in `root`; what differs is sent, checked, and renamed into place.

        Raises RemoteError if a job runs in it and something would change, and if the disk there is too small.
        """
        files: dict[str, Content] = {**tree_files(root)}
        if commit := tree_commit(root):
            files[COMMIT_FILE] = f"{commit}\n".encode()
        found = {path: _with_state(content) for path, content in files.items()}
        sent: dict[str, int] = {}

        def work(connection: Connection) -> Deployed:
            there = ask(connection, "survey", tree=self._tree)
            wanted = _without_foreign_engines(found, there["engines"])
            rows: dict[str, list[Any]] = {p: [s.size_bytes, s.mode, s.sha256] for p, s in wanted.items()}
            new = [p for p, row in rows.items() if p not in there["files"] or there["files"][p][2] != row[2]]
            modes = [p for p, row in rows.items() if p not in new and there["files"][p][1] != row[1]]
            earlier = set(there["deployed"])
            stale = [p for p in there["files"] if p not in rows and is_stale(p, earlier, rows)]
            if not (new or modes or stale):
                return Deployed(files=len(sent), sent_bytes=sum(sent.values()), removed=0)
            if there["busy"]:
                raise error_of(
                    connection,
                    f"{there['tree']} would change, and is in use by {', '.join(there['busy'])}",
                    remedy="wait until it has ended, or ./tb vm stop",
                )
            contents = {p: found[p] for p in new} | {_MANIFEST: _with_state(json.dumps(rows).encode())}
            bundle = self._put(connection, there, Bundle(contents=contents), progress)
            sent.update({p: wanted[p].size_bytes for p in new})
            answer = ask(connection, "install", tree=self._tree, bundle=bundle, wanted=_MANIFEST)
            self.bundle = ""
            return Deployed(files=len(sent), sent_bytes=sum(sent.values()), removed=answer["removed"])

        return self._link.attempt(work)

    def forget(self, bundle: str) -> None:
        """Remove a bundle that nobody will go on with."""
        self._request("forget", bundle=bundle)

    def start(self, job: str, arguments: Sequence[str], *, files: Mapping[str, Path | bytes]) -> None:
        """Run `TREE/tb ARGUMENTS` in the directory JOB/files, which has these files; it outlives the connection.

        `{job}` in an argument becomes the job's directory. If there is a job of this name, nothing happens.
        """
        contents = {path: _with_state(content) for path, content in files.items()}

        def work(connection: Connection) -> None:
            there = ask(connection, "prepare", job=job)
            if there["state"] != "absent":
                return
            ask(
                connection,
                "start",
                job=job,
                tree=self._tree,
                arguments=list(arguments),
                bundle=self._put(connection, there, Bundle(contents=contents), _unheard) if contents else "",
            )

        self._link.attempt(work)

    def status(self, job: str) -> JobStatus:
        """What is known of a job now."""
        return JobStatus(**self._request("status", job=job))

    def follow(self, job: str, offset: int, sink: Callable[[bytes], None]) -> JobStatus:
        """Give what the job prints to `sink`, from a byte on, until it has ended; no byte is lost or comes twice."""

        def take(data: bytes) -> None:
            nonlocal offset
            self._link.progress()
            sink(data)
            offset += len(data)

        def work(connection: Connection) -> int:
            return listen(connection, command("follow", job=job, offset=offset), take)

        tries = 0
        while True:
            before = offset
            code = self._link.attempt(work)
            status = self.status(job)
            if code == 0 and status.state != "running":
                return status
            tries = tries + 1 if offset == before else 0
            if tries >= _STREAM_TRIES:
                raise RemoteError(
                    f"what job {job} prints cannot be read", remedy="see whether its log is there"
                )
            time.sleep(_RETRY_S)

    def stop(self, job: str, *, grace_s: Mapping[str, float] = _STOP_GRACE_S) -> None:
        """End a job: SIGINT, on which the testbed removes what it built; SIGTERM and SIGKILL if it does not end.

        `grace_s` says which signals, and for how many seconds each is given time.
        """
        for name, patience_s in grace_s.items():
            deadline = time.monotonic() + patience_s
            while True:
                wait_s = max(0.0, min(_SLICE_S, deadline - time.monotonic()))
                answer = self._request("stop", job=job, signal=name, wait_s=wait_s)
                if not answer["in_use"]:
                    return
                if time.monotonic() >= deadline:
                    break
        raise RemoteError(f"job {job} does not end", remedy="log in there and see what it does")

    def fetch(self, job: str, into: Path, progress: Progress) -> list[Path]:
        """Bring the results of a job that has ended into a directory; returns the files there.

        They are collected in `into/.JOB.part`, where a later call goes on, and get their names when every one is
        what the other machine has. A disk that is too small is an error before anything is written.
        """
        files = self._results(job)
        staging = into / f".{job}.part"
        _tidy(staging, files)
        total = sum(wanted.size_bytes for wanted in files.values())
        have = sum(max(0, size_here(staging / name)) for name in files)
        with storing(into):
            into.mkdir(parents=True, exist_ok=True)
            free_bytes = shutil.disk_usage(into).free
        if total - have > free_bytes:
            raise storage_error(into, OSError(ENOSPC, f"the results need {total - have:,} bytes"))

        def came(more: int) -> None:
            nonlocal have
            self._link.progress()
            have += more
            progress(min(have, total), total)

        receiver = Receiver(directory=staging, files=files, progress=came)
        self._receive(job, receiver, list(files))
        damaged = [name for name, wanted in files.items() if not is_whole(staging / name, wanted)]
        for name in damaged:  # once more
            (staging / name).unlink(missing_ok=True)
            self._receive(job, receiver, [name])
            if not is_whole(staging / name, files[name]):
                raise changed(name)
        if files:
            with storing(into):
                sync_tree(staging)
            place(staging, into)
        return [into / name for name in files]

    def _put(
        self, connection: Connection, there: Mapping[str, Any], bundle: Bundle, progress: Progress
    ) -> str:
        """Send a bundle to where the agent wants it; returns its path there."""
        needed = 2 * bundle.size_bytes  # once as it comes, once unpacked
        path = f"{there['incoming']}/.{hashlib.sha256(bundle.header).hexdigest()[:32]}.{self._token}.bundle"
        if needed > there["free_bytes"]:
            raise error_of(
                connection,
                f"{needed:,} bytes are needed for what is sent, and {there['free_bytes']:,} are free in "
                f"{there['incoming']}",
                remedy="free space on that machine's disk",
            )
        sftp = connection.sftp()
        if path != self.bundle:
            self.bundle, self._arrived_bytes = path, 0
        try:
            with connection.guard():
                arrived = arrived_bytes(sftp, path)
                if arrived > self._arrived_bytes:
                    self._link.progress()
                    self._arrived_bytes = arrived
                upload(sftp, path, bundle, progress)
                if arrived_bytes(sftp, path) == bundle.size_bytes:
                    return path
            reason = "not all of it was written"
        except OSError as error:
            reason = str(error)
        free = ask(connection, "forget", bundle=path)["free_bytes"]
        raise error_of(
            connection,
            f"what was sent to {path} cannot be written ({reason}; {free:,} bytes are free)",
            remedy="free space on that machine's disk, or see who may write there",
        )

    def _receive(self, job: str, receiver: Receiver, names: Sequence[str]) -> None:
        """Stream files; after a cut, from the byte on where it was."""

        def work(connection: Connection) -> None:
            todo = [name for name in names if receiver.lacks(name)]
            if not todo:
                return
            offset = max(0, size_here(receiver.directory / todo[0]))
            words = command("send", job=job, first=todo[0], offset=offset, alone=len(names) == 1)
            try:
                code = listen(connection, words, receiver.feed)
            finally:
                receiver.close()
            if code or any(receiver.lacks(name) for name in names):
                raise error_of(connection, f"the results of job {job} cannot be read", remedy="run it again")

        self._link.attempt(work)

    def _results(self, job: str) -> dict[str, Wanted]:
        """The files of the results there, in the order in which they are sent."""
        rows = self._request("results", job=job)["files"]
        if not all(is_below(name) for name, _, _ in rows):
            raise RemoteError(
                f"job {job} has results with impossible names", remedy="do not trust that machine"
            )
        return {name: Wanted(name=name, size_bytes=size, sha256=digest) for name, size, digest in rows}

    def remove(self, job: str) -> None:
        """Remove a job that has ended, with its results there."""
        self._request("remove", job=job)

    def _request(self, verb: str, **request: object) -> dict[str, Any]:
        return self._link.attempt(lambda connection: ask(connection, verb, **request))


def _with_state(content: Content) -> tuple[FileState, Content]:
    if isinstance(content, Path):
        return state_of(content), content
    digest = hashlib.sha256(content).hexdigest()
    return FileState(size_bytes=len(content), mode=0o644, sha256=digest), content


def _unheard(done: int, total: int) -> None:
    """No progress is shown of what is small."""


def _without_foreign_engines(
    found: Mapping[str, tuple[FileState, Content]], engines: Mapping[str, str]
) -> dict[str, FileState]:
    """What is wanted there, less the compiled engines that the machine has made for itself."""
    wanted = {path: state for path, (state, _) in found.items()}
    for key, text in engines.items():
        _, content = found.get(key, (None, b""))
        here = content.read_text(encoding="utf-8") if isinstance(content, Path) else ""
        if here.splitlines()[-1:] != text.splitlines()[-1:]:  # for which Python, distribution and processor
            wanted.pop(key, None)
            wanted.pop(key.removesuffix(".key"), None)
    return wanted


def _tidy(staging: Path, files: Mapping[str, Wanted]) -> None:
    """Keep of an earlier attempt only what can be gone on with."""
    for path in sorted(staging.rglob("*")) if staging.is_dir() else ():
        wanted = files.get(path.relative_to(staging).as_posix())
        if path.is_dir() and not path.is_symlink():
            continue
        if wanted is None or (path.stat().st_size >= wanted.size_bytes and not is_whole(path, wanted)):
            path.unlink()
