"""Whose the files are that the testbed makes as root under sudo: the caller's, where he could have made them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_WRITABLE_BY_ALL = 0o002


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A user and a group, by their numbers."""

    user: int
    group: int


def heir_at(path: Path) -> Owner | None:
    """Who is to own what root makes at a path; None: nobody but who makes it.

    That is the caller of sudo, if the nearest directory that exists is his, or everybody's as /tmp is.
    """
    user = _number("SUDO_UID")
    if os.geteuid() != 0 or not user:
        return None
    whole = path.absolute()
    about = next(above for above in (whole, *whole.parents) if above.is_dir()).stat()
    if about.st_uid != user and not about.st_mode & _WRITABLE_BY_ALL:
        return None
    return Owner(user=user, group=_number("SUDO_GID") or user)


def hand_over(path: Path, heir: Owner | None) -> None:
    """Give a file, or a directory with all below it, to its heir; symbolic links are not followed."""
    if heir is None:
        return
    os.chown(path, heir.user, heir.group, follow_symlinks=False)
    if path.is_dir() and not path.is_symlink():
        for child in path.iterdir():
            hand_over(child, heir)


def _number(variable: str) -> int:
    """0, which is root, for what is no number."""
    text = os.environ.get(variable, "")
    return int(text) if text.isdigit() else 0
