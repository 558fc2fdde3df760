"""Whether a directory can take output, found out before any work is done for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from testbed.errors import SpecError


def ensure_writable(directory: Path, *, option: str) -> None:
    """Raise `SpecError` unless files can be made below a directory; leave nothing there."""
    made: list[Path] = []
    whole = directory.absolute()
    try:
        for step in [*reversed(whole.parents), whole]:
            if not step.exists():
                step.mkdir()
                made.append(step)
        with tempfile.NamedTemporaryFile(dir=whole, prefix=".probe-"):
            pass
    except OSError as error:
        raise SpecError(
            f"{option} {directory}: cannot be written: {error.strerror}",
            remedy="give a directory that can be written",
        ) from error
    finally:
        for step in reversed(made):
            step.rmdir()
