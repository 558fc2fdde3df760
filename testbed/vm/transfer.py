"""Bytes to another machine and from it: many files as one stream that goes on where it was cut.

Upwards a *bundle* is written by SFTP: a line of JSON, then the contents of the files. Downwards the agent streams the
files of a job's results, each behind a line of JSON. What is here already is asked first, and not sent again.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from testbed.errors import RemoteError
from testbed.run.files import storing
from testbed.vm.tree import FileState, state_of

Progress = Callable[[int, int], None]
"""Told of (bytes there, bytes in all)."""
Content = Path | bytes
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """Files that go as one."""

    contents: Mapping[str, tuple[FileState, Content]]

    @property
    def header(self) -> bytes:
        """What is in it: [path, size, mode, SHA-256] of each."""
        rows = [[path, s.size_bytes, s.mode, s.sha256] for path, (s, _) in self.contents.items()]
        return json.dumps(rows).encode() + b"\n"

    @property
    def size_bytes(self) -> int:
        """Of the header and all files."""
        return len(self.header) + sum(state.size_bytes for state, _ in self.contents.values())

    def read_from(self, offset: int) -> Iterator[bytes]:
        """Its bytes from an offset on."""
        header = self.header
        yield header[offset:]
        offset -= min(offset, len(header))
        for path, (state, content) in self.contents.items():
            if offset >= state.size_bytes:
                offset -= state.size_bytes
                continue
            if isinstance(content, bytes):
                yield content[offset:]
            else:
                yield from _read(path, content, offset, state.size_bytes)
            offset = 0


def _read(name: str, path: Path, offset: int, size: int) -> Iterator[bytes]:
    try:
        file = path.open("rb")
    except OSError as error:
        raise RemoteError(f"{name} cannot be read: {error.strerror}", remedy="run it again") from error
    with file:
        file.seek(offset)
        while offset < size:
            chunk = file.read(min(_CHUNK_BYTES, size - offset))
            if not chunk:
                raise RemoteError(f"{name} became shorter while it was sent", remedy="run it again")
            offset += len(chunk)
            yield chunk


def arrived_bytes(sftp: Any, path: str) -> int:  # noqa: ANN401 - paramiko has no types
    """How much of a bundle is there."""
    try:
        return int(sftp.stat(path).st_size)
    except FileNotFoundError:
        return 0


def upload(sftp: Any, path: str, bundle: Bundle, progress: Progress) -> None:  # noqa: ANN401 - paramiko has no types
    """Write a bundle to a path there, from where an earlier attempt was cut on."""
    total = bundle.size_bytes
    try:
        file = sftp.open(path, "r+b")
    except FileNotFoundError:
        file = sftp.open(path, "wb")
    with file:
        # Written at offsets, not appended: the server may still be writing what came before the cut.
        offset = file.stat().st_size
        file.seek(offset)
        file.set_pipelined(True)
        for chunk in bundle.read_from(offset):
            file.write(chunk)
            offset += len(chunk)
            progress(offset, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A file of the results there."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(slots=True, kw_only=True)
class Receiver:
    """Takes the stream of the agent's `send`, and puts the files below a directory."""

    directory: Path
    files: Mapping[str, Wanted]
    progress: Callable[[int], None]
    """Told how many bytes came."""
    _head: bytearray = field(default_factory=bytearray, init=False)
    _left: int = field(default=0, init=False)
    _file: IO[bytes] | None = field(default=None, init=False)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        view = memoryview(data)
        while view:
            if self._file is None:
                head, newline, _ = bytes(view).partition(b"\n")
                self._head += head + newline
                view = view[len(head) + len(newline) :]
                if newline:
                    head_line = bytes(self._head)
                    self._head.clear()
                    self._begin(*_parsed(head_line))
            else:
                part = view[: self._left]
                with storing(self.directory):
                    self._file.write(part)
                self._left -= len(part)
                view = view[len(part) :]
                self.progress(len(part))
                self._end_if_whole()

    def lacks(self, name: str) -> bool:
        """Whether a file is not here in its full length."""
        return size_here(self.directory / name) < self.files[name].size_bytes

    def _begin(self, name: str, offset: int, size: int) -> None:
        if name not in self.files or self.files[name].size_bytes != size:
            raise changed(name)
        path = self.directory / name
        with storing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab", buffering=0)
            self._file.truncate(offset)
        self._left = size - offset
        self._end_if_whole()

    def _end_if_whole(self) -> None:
        if self._left == 0:
            self.close()

    def close(self) -> None:
        """Close what is open, and forget half a line; what came of a file stays."""
        self._head.clear()
        if self._file is not None:
            self._file.close()
            self._file = None


def _parsed(head_line: bytes) -> tuple[str, int, int]:
    """What the agent says of the file that comes next: its path, from which byte on it comes, its size."""
    try:
        name, offset, size = json.loads(head_line)
        return str(name), int(offset), int(size)
    except (TypeError, ValueError) as error:
        raise RemoteError(
            f"among the results there comes {head_line[:40]!r}",
            remedy="see what prints that there: the login shell must print nothing when it ends",
        ) from error


def changed(name: str) -> RemoteError:
    """The error for results that are not what they were."""
    return RemoteError(
        f"{name} is not what the other machine said it is", remedy="run it again; see that its disk is sound"
    )


def size_here(path: Path) -> int:
    """Bytes of a file that are here; -1 if there is none."""
    return path.stat().st_size if path.is_file() else -1


def is_whole(path: Path, wanted: Wanted) -> bool:
    """Whether a file is here, every bit of it."""
    return (
        path.is_file() and path.stat().st_size == wanted.size_bytes and state_of(path).sha256 == wanted.sha256
    )


def place(source: Path, final: Path) -> None:
    """Give what was fetched its name: a directory at once where there is none, else what is in it."""
    with storing(final):
        if not final.exists():
            final.parent.mkdir(parents=True, exist_ok=True)
            source.rename(final)
        elif source.is_dir() and final.is_dir():
            for entry in sorted(source.iterdir()):
                place(entry, final / entry.name)
            source.rmdir()
        elif source.is_dir() or final.is_dir():
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        else:
            source.replace(final)
