"""Writing files so that a full or unwritable disk becomes one clear error with a remedy."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import MeasurementError, SpecError, TestbedError

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def storing(path: Path) -> Iterator[Path]:
    """Turn what the operating system says against writing `path` into an error with a remedy."""
    try:
        yield path
    except OSError as error:
        raise storage_error(path, error) from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write a new file beside `path`, whose place it takes at the end; after an error nothing has changed."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.new")
    with storing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield partial
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def storage_error(path: Path, error: OSError) -> TestbedError:
    """A full disk spoils a measurement; anything else is a directory that the user should not have named."""
    reason = error.strerror or str(error)
    if error.errno in _FULL:
        return MeasurementError(f"{path} cannot be written: {reason}{_space(path)}", remedy=_FULL_REMEDY)
    return SpecError(
        f"{path} cannot be written: {reason}",
        remedy="give a directory that can be written, e.g. --out ~/results",
    )


_FULL_REMEDY = "free space on that disk, lower `records`, or give another directory with --out"


def _space(path: Path) -> str:
    """How much is free where the path should have gone."""
    existing = next((p for p in (path, *path.parents) if p.exists()), None)
    return f" ({shutil.disk_usage(existing).free:,} bytes free)" if existing else ""


def sync_tree(directory: Path) -> None:
    """Force a directory, with all below it, to the disk."""
    for path in (*sorted(directory.rglob("*")), directory):
        sync(path)


def sync(path: Path) -> None:
    """Force one file or directory to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
