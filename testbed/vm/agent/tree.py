"""What of a tree goes from one machine to another, and what of it is there."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from typing import Any

from testbed.vm.agent.files import STATE, read_json, sha256, write_json

WHEELS = "build/wheels"
WHEELS_COMPLETE = WHEELS + "/complete"
ENGINE = "testbed/engine/_engine*.so*"
CODE = ("testbed/", "nic_emulator/")
# What of a tree stays where it is: at its top, and anywhere.
_TOP = frozenset({".git", ".vagrant", ".venv", "build", "dist", "results"})
_ANYWHERE = frozenset(
    {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".cache", ".vm"}
)
_PATTERNS = ("*.pyc", "*.egg-info", "._engine*", ".#*", ".*.partial")
_RESULT = "summary.json"
"""Is in every result, and a result stays wherever `--out` has put it."""


def walk(root: str) -> Iterator[tuple[str, str]]:
    """All files and links of a tree that deploying cares for: (path below `root` with slashes, path)."""
    yield from _walk(root, "")
    wheels = os.path.join(root, WHEELS)
    if os.path.isdir(wheels):
        yield from _walk(wheels, WHEELS + "/")


def _walk(directory: str, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        name = entry.name
        if (not prefix and name in _TOP) or name in _ANYWHERE:
            continue
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in _PATTERNS):
            continue
        if entry.is_dir(follow_symlinks=False):
            if os.path.exists(os.path.join(entry.path, _RESULT)):
                continue
            yield from _walk(entry.path, f"{prefix}{name}/")
        elif entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield prefix + name, entry.path


def mode_of(status: os.stat_result) -> int:
    """What is kept of a file's mode: whether it is a program."""
    return 0o755 if status.st_mode & stat.S_IXUSR else 0o644


def manifest_of(tree: str) -> dict[str, list[Any]]:
    """[size, mode, SHA-256] of each file there; a link has no SHA-256, so that it differs from every file."""
    cache = _Hashes(tree)
    found: dict[str, list[Any]] = {}
    for path, where in walk(tree) if os.path.isdir(tree) else ():
        status = os.lstat(where)
        known = "" if stat.S_ISLNK(status.st_mode) else cache.sha256(where, status)
        found[path] = [status.st_size, mode_of(status), known]
    cache.save()
    return found


class _Hashes:
    """Remembers the SHA-256 of files as long as their size, times and inode are the same."""

    def __init__(self, tree: str) -> None:
        name = hashlib.sha256(os.fsencode(tree)).hexdigest()[:32]
        self._file = os.path.join(STATE, "hashes", name + ".json")
        self._old: dict[str, list[Any]] = read_json(self._file) or {}
        self._new: dict[str, list[Any]] = {}

    def sha256(self, path: str, status: os.stat_result) -> str:
        key = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._old.get(path)
        value = known[1] if known and known[0] == key else sha256(path)
        if time.time_ns() - status.st_ctime_ns > 2 * 10**9:  # else it may change again within one tick
            self._new[path] = [key, value]
        return str(value)

    def save(self) -> None:
        if self._new != self._old:
            with contextlib.suppress(OSError):  # only time is lost
                os.makedirs(os.path.dirname(self._file), exist_ok=True)
                write_json(self._file, self._new)


def is_stale(path: str, earlier: set[str], wanted: dict[str, list[Any]]) -> bool:
    """Whether a file that is not wanted goes: one that came this way before, or one among the code.

    What the machine made for itself stays: its engine, and its wheels unless a whole set of them comes.
    """
    if path.startswith(WHEELS + "/"):
        return WHEELS_COMPLETE in wanted
    return not fnmatch.fnmatchcase(path, ENGINE) and (path in earlier or path.startswith(CODE))
