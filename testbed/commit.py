"""Which commit a tree is of: told by its repository or, where the tree was sent to, by a file that came with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

COMMIT_FILE = ".commit"
"""In a tree that came from another machine: what `tree_commit` said there."""
_TIMEOUT_S = 30


def tree_commit(root: Path) -> str | None:
    """The commit, with `+` if files differ from it; None where nothing tells it, never guessed."""
    commit = git(root, "rev-parse", "HEAD")
    if commit is None:
        return _told(root / COMMIT_FILE)
    changed = git(root, "status", "--porcelain")
    return None if changed is None else f"{commit}{'+' if changed else ''}"


def git(root: Path, *arguments: str) -> str | None:
    """What git says of a work tree whose root this is; None without git, and inside someone else's tree."""
    if not (root / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "-c", f"safe.directory={root}", "-C", str(root), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _told(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
