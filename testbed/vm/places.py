"""Where the tree keeps what it knows of machines."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The project's tree."""


def qemu_directory(root: Path) -> Path:
    """One directory for each machine that was made without Vagrant."""
    return root / ".vm" / "qemu"


def pins_directory(root: Path) -> Path:
    """Host keys of Vagrant's machines, one known_hosts file for each machine that ever was."""
    return root / ".vm" / "vagrant"


def images_directory(root: Path) -> Path:
    """Images that were taken out of boxes."""
    return root / ".vm" / "images"


def box_directory(root: Path) -> Path:
    """Boxes that were built here."""
    return root / "build" / "box"


def vagrant_directory(root: Path) -> Path:
    """Where Vagrant keeps its machines of this tree, a directory for each: `NAME/PROVIDER/id`."""
    return root / (os.environ.get("VAGRANT_DOTFILE_PATH") or ".vagrant") / "machines"
