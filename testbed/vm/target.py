"""What is known of a machine before the first connection to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SSH_PORT = 22
VM_TREE = "/vagrant"
"""Where the project's tree is in a virtual machine."""
HOST_TREE = "transparent-nic-testbed"
"""Where it is on any other host, below the home directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A machine that experiments can run on."""

    name: str
    """What the user calls it, e.g. `tb1` or `ann@lab3:2222`."""
    host: str
    user: str
    port: int = SSH_PORT
    identity_files: tuple[Path, ...] = ()
    """Private keys to try; none means the agent's and those in ~/.ssh."""
    known_hosts: tuple[Path, ...] = ()
    """Files that may name its host key, read in this order; a key that is accepted is appended to the last."""
    key_alias: str = ""
    """Under what name these files know it, where that is not its address (OpenSSH's HostKeyAlias)."""
    tree: str = HOST_TREE
    """The project's tree there; a relative path is below the home directory."""
