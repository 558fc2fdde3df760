"""The tree, brought into a machine of plain QEMU and set up there by the same script that Vagrant runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from testbed.errors import RemoteError
from testbed.vm import openssh
from testbed.vm.remote import Remote
from testbed.vm.ssh import Link, Trust
from testbed.vm.target import Target

PROVISION = "tools/provision.sh"
_INSTALL_S = 3600
_STDERR = 2
# Some boxes lack Python, and what brings the tree there needs it; the tree is the user's.
_PREPARE = (
    'set -e; sudo install -d -o "$(id -un)" -g "$(id -gn)" "$1"; '
    "command -v python3 >/dev/null || "
    "{ sudo apt-get -qq update; sudo DEBIAN_FRONTEND=noninteractive apt-get -qq install -y python3-minimal; } >&2"
)
# As Vagrant does; in /etc/hosts first, since sudo looks its own host up.
_NAME = (
    'set -e; grep -qw -- "$1" /etc/hosts || echo "127.0.1.1 $1" | sudo tee -a /etc/hosts; '
    'echo "$1" | sudo tee /etc/hostname; sudo hostname "$1"'
)


def bring_tree(target: Target, root: Path, note: Callable[[str], None]) -> None:
    """Make the tree there equal to the one here; a second time only what differs is sent."""
    openssh.must_run(target, ["sh", "-c", _PREPARE, "sh", target.tree], timeout_s=_INSTALL_S)
    with Link(target, Trust(), note=note) as link:
        done = Remote(link, target.tree).deploy(root, lambda _done, _total: None)
    note(f"{target.name}: {done.files:,} files ({done.sent_bytes:,} bytes) brought to {target.tree}")


def provision(target: Target, note: Callable[[str], None]) -> None:
    """Set the tree up there; what the script prints goes to stderr as it comes."""
    note(f"{target.name}: setting up")
    openssh.must_run(target, ["sh", "-c", _NAME, "sh", target.name])
    command = openssh.ssh_command(target, ["bash", f"{target.tree}/{PROVISION}"], batch=True)
    sys.stderr.flush()
    # However this is ended, it does not wait for the script.
    code = subprocess.call(command, stdin=subprocess.DEVNULL, stdout=_STDERR, stderr=_STDERR)
    if code != 0:
        raise RemoteError(
            f"{target.name}: setting up failed ({code}); the machine runs",
            remedy=f"look above, and at ./tb vm ssh {target.name}; then repeat ./tb vm up --qemu {target.name}",
        )
    openssh.must_run(target, ["sync"], timeout_s=_INSTALL_S)
