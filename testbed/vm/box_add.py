"""Giving a box to Vagrant, as the user who calls: Vagrant keeps boxes by user."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PreflightError
from testbed.vm import vagrant

_POOL = ("virsh", "-c", "qemu:///system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The user who called, under sudo not root."""

    name: str
    home: Path
    by_sudo: bool

    def command(self, *argv: str) -> list[str]:
        """A command line that runs as that user."""
        return ["sudo", "-u", self.name, "-H", *argv] if self.by_sudo else list(argv)


def caller() -> Caller:
    """Who called; the user behind sudo where there is one."""
    name = os.environ.get("SUDO_USER", "") if os.geteuid() == 0 else ""
    if name and name != "root":
        return Caller(name=name, home=Path(pwd.getpwnam(name).pw_dir), by_sudo=True)
    return Caller(name=pwd.getpwuid(os.geteuid()).pw_name, home=Path.home(), by_sudo=False)


def box_directory(name: str, user: Caller) -> Path:
    """Where Vagrant keeps a box that has no version."""
    boxes = user.home / ".vagrant.d" / "boxes" if user.by_sudo else vagrant.boxes_directory()
    return boxes / vagrant.folder_of(name) / "0" / "libvirt"


def volume_name(name: str, image_mtime_s: int) -> str:
    """What vagrant-libvirt calls the copy in libvirt's pool of the image of a box that has no version."""
    return f"{vagrant.folder_of(name)}_vagrant_box_image_0_{image_mtime_s}_box.img"


def add_box(name: str, box: Path) -> str | None:
    """Add a box to Vagrant in place of the one of that name.

    Returns the name of the volume in libvirt's pool that was copied from the box before, if it is still there.
    """
    user = caller()
    before = box_directory(name, user) / "box.img"
    before_s = int(before.stat().st_mtime) if before.exists() else None
    argv = user.command(
        "vagrant", "box", "add", "--force", "--provider", "libvirt", "--name", name, str(box.absolute())
    )
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        raise PreflightError(f"the box is made, but Vagrant does not take it:\n{last}", remedy=" ".join(argv))
    after_s = int((box_directory(name, user) / "box.img").stat().st_mtime)
    if before_s is None or before_s == after_s:
        return None
    stale = volume_name(name, before_s)
    return stale if _has_volume(stale) else None


def _has_volume(name: str) -> bool:
    try:
        done = subprocess.run(
            [*_POOL, "vol-info", "--pool", "default", name], capture_output=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
