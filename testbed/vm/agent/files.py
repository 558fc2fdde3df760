"""Files and directories: values in them, locks on them, bundles, room on the disk."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

STATE = os.path.join(os.path.expanduser("~"), ".local", "state", "transparent-nic-testbed")
JOBS = os.path.join(STATE, "jobs")
POLL_S = 0.1
LOCK_WAIT_S = 30.0
LEFT_S = 86_400
"""After so long without a change a transfer is not gone on with."""
_CHUNK = 1 << 20
_RESERVED = 512

Request = dict[str, Any]
Answer = dict[str, Any]


class Refused(Exception):  # noqa: N818 - an answer
    """What the other side is told, with a remedy."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class InUse(Refused):
    """Somebody else holds a lock."""


def tree_of(request: Request) -> str:
    """Where the tree of a request is."""
    return os.path.join(os.path.expanduser("~"), os.path.expanduser(request["tree"]))


def sha256(path: str) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            digest.update(chunk)
    return digest.hexdigest()


def read_json(path: str) -> Any:  # noqa: ANN401 - any JSON
    """The value in a file, or None if there is no such file or no JSON in it."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def write_json(path: str, value: object) -> None:
    """Write and rename."""
    new = f"{path}.{os.getpid()}.new"
    with open(new, "w", encoding="utf-8") as file:
        json.dump(value, file)
    os.replace(new, path)


def reserve(directory: str, name: str) -> None:
    """Take the room of a small file now: the disk may be full when it is to be written."""
    with open(os.path.join(directory, f".{name}"), "wb") as file:
        file.write(b" " * _RESERVED)
        os.fsync(file.fileno())


def fill(directory: str, name: str, value: object) -> None:
    """Write into the reserved room, and give the file its name."""
    reserved = os.path.join(directory, f".{name}")
    with open(reserved, "r+b") as file:
        file.write(json.dumps(value).encode().ljust(_RESERVED))
        file.flush()
        os.fsync(file.fileno())
    os.rename(reserved, os.path.join(directory, name))


@contextlib.contextmanager
def locked(path: str, kind: int, remedy: str, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold a lock on a file or directory; `InUse` if others hold it for so long."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        lock(descriptor, kind, path, remedy, wait_s=wait_s)
        yield
    finally:
        os.close(descriptor)


def lock(descriptor: int, kind: int, path: str, remedy: str, *, wait_s: float = LOCK_WAIT_S) -> None:
    """Lock an open file or directory, as `locked` does."""
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise InUse(f"{path} is in use by another run or transfer", remedy) from None
            time.sleep(POLL_S)
        else:
            return


def unpack(bundle: str, into: str) -> list[str]:
    """Write the files that a bundle carries below a directory; every one must be what its header says."""
    with open(bundle, "rb") as file:
        names = []
        for path, size, mode, expected in json.loads(file.readline()):
            where = below(into, path)
            os.makedirs(os.path.dirname(where), exist_ok=True)
            digest = hashlib.sha256()
            with open(where, "wb") as out:
                while size > 0:
                    chunk = file.read(min(size, _CHUNK))
                    if not chunk:
                        break
                    digest.update(chunk)
                    out.write(chunk)
                    size -= len(chunk)
                os.fchmod(out.fileno(), mode)
            if size or digest.hexdigest() != expected:
                raise Refused(
                    f"{path} did not arrive as it was sent", "run it again; was the file being changed?"
                )
            names.append(path)
    return names


def is_below(path: str) -> bool:
    """Whether a path leads to something below the directory it starts from."""
    return not any(part in ("", ".", "..") for part in path.split("/"))


def below(directory: str, path: str) -> str:
    """Where a path leads that must stay below a directory."""
    if not is_below(path):
        raise Refused(f"{path!r} is no path below {directory}", "give a relative path without `..`")
    return os.path.join(directory, path)


def free_bytes(path: str) -> int:
    """What this user may still write on the disk that holds, or will hold, a path."""
    while not os.path.exists(path):
        path = os.path.dirname(path)
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def discard(path: str) -> None:
    """Remove a file, or a directory as far as that can be done; it need not be there."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def forget(request: Request) -> Answer:
    """Remove a bundle that did not arrive; says how much room there is."""
    if request["bundle"].endswith(".bundle"):
        discard(request["bundle"])
    return {"free_bytes": free_bytes(os.path.dirname(request["bundle"]))}


def copy(source: int, sink: int, size: int | None) -> int:
    """Copy so many bytes, or all there are; returns how many there were."""
    copied = 0
    while size is None or copied < size:
        chunk = memoryview(os.read(source, _CHUNK if size is None else min(_CHUNK, size - copied)))
        if not chunk:
            break
        copied += len(chunk)
        while chunk:
            chunk = chunk[os.write(sink, chunk) :]
    return copied
