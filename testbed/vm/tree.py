"""What of the project's tree goes to another machine."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from testbed.errors import SpecError
from testbed.vm.agent.files import sha256
from testbed.vm.agent.tree import CODE, ENGINE, WHEELS, WHEELS_COMPLETE, mode_of, walk

_PROGRAM = (*CODE, "topologies/", "requirements.lock")
"""What of a tree decides on the results of an experiment; the engine is made of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileState:
    """What a file must be like to be the same."""

    size_bytes: int
    mode: int
    sha256: str


def tree_files(root: Path) -> dict[str, Path]:
    """The files of a tree that another machine needs: path below `root`, with slashes, to where it is here.

    All but what is made or kept on each machine by itself (`.venv`, `build`, `results`, caches, ...), with the
    compiled engine, and with `build/wheels` if that is a whole set for the present requirements. A link to a file is
    sent as the file; any other link is a `SpecError`.
    """
    found: dict[str, Path] = {}
    wheels = wheels_are_complete(root)
    try:
        listed = list(walk(str(root)))
    except OSError as error:
        raise _unreadable(Path(error.filename), error) from error
    for name, where in listed:
        path = Path(where)
        if name.startswith(WHEELS + "/") and not wheels:
            continue
        if not path.is_file():
            raise SpecError(
                f"{path} is a link to no file", remedy="remove it, or put what it points to in its place"
            )
        found[name] = path
    return found


def wheels_are_complete(root: Path) -> bool:
    """Whether `build/wheels` holds all that the present requirements.lock names."""
    marker, requirements = root / WHEELS_COMPLETE, root / "requirements.lock"
    if not marker.is_file() or not requirements.is_file():
        return False
    return sha256(str(requirements)) in marker.read_text(encoding="utf-8")


def state_of(path: Path) -> FileState:
    """Reads the whole file; a `SpecError` if that cannot be."""
    try:
        status = path.stat()
        return FileState(size_bytes=status.st_size, mode=mode_of(status), sha256=sha256(str(path)))
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> SpecError:
    return SpecError(
        f"{path} cannot be read: {error.strerror}",
        remedy="make it readable; if it was just being written, do the same again",
    )


def program_digest(root: Path) -> str:
    """What two trees have in common that give the same experiment the same results."""
    digest = hashlib.sha256()
    for name, path in sorted(tree_files(root).items()):
        if name.startswith(_PROGRAM) and not fnmatchcase(name, ENGINE):
            digest.update(f"{name}\0{state_of(path).sha256}\n".encode())
    return digest.hexdigest()
