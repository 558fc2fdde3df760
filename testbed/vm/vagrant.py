"""Machines of Vagrant in this tree: what is there, how it is reached, which host key it has.

Vagrant takes seconds to answer, so it is asked only where it has made a machine before.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.errors import PreflightError, RemoteError
from testbed.vm import settings
from testbed.vm.host_keys import (
    known_hosts_text,
    public_keys,
    remove_others,
    shown_fingerprint,
    write_private,
)
from testbed.vm.places import pins_directory, vagrant_directory
from testbed.vm.target import VM_TREE, Target

PACKAGES = "apt-get install vagrant vagrant-libvirt libvirt-daemon-system"
_KEYS_COMMAND = "cat /etc/ssh/ssh_host_*_key.pub"
_RUNNING, _ABSENT = "running", "not_created"
_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A machine that Vagrant has made here, as its directory tells."""

    name: str
    provider: str
    identifier: str
    """Another one for each machine that is made, whatever its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """What `vagrant status` says of a machine."""

    provider: str
    state: str
    """As Vagrant writes it: running, not_created, shutoff, poweroff, saved, ..."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What `vagrant ssh-config` says of a machine."""

    host: str
    user: str
    port: int
    identity_files: tuple[Path, ...]


def installed() -> bool:
    """Whether there is a Vagrant here."""
    return shutil.which("vagrant") is not None


def folder_of(box: str) -> str:
    """What Vagrant calls the directory of a box."""
    return box.replace("/", "-VAGRANTSLASH-")


def boxes_directory() -> Path:
    """Where Vagrant keeps this user's boxes, `FOLDER/VERSION/PROVIDER` for each."""
    return Path(os.environ.get("VAGRANT_HOME") or "~/.vagrant.d").expanduser() / "boxes"


def made(root: Path) -> dict[str, Made]:
    """Machines that Vagrant has made in this tree and not destroyed; costs no call of Vagrant."""
    found: dict[str, Made] = {}
    for path in sorted(vagrant_directory(root).glob("*/*/id")):
        identifier = path.read_text(encoding="utf-8", errors="replace").strip()
        if identifier:
            name, provider = path.parts[-3:-1]
            found[name] = Made(name=name, provider=provider, identifier=identifier)
    return found


def environment(root: Path) -> dict[str, str]:
    """This process's, such that the Vagrantfile defines every machine that was made, whatever the count was then.

    A relative path in TB_VM_BOX, which is meant from where the user stands, is made absolute: Vagrant runs in `root`.
    """
    numbers = [int(name[2:]) for name in made(root) if re.fullmatch(r"tb[1-9][0-9]*", name)]
    kept = {key: value for key, value in os.environ.items() if key != "VAGRANT_CWD"}
    count = max([settings.number("TB_VM_COUNT"), *numbers])
    return {**kept, "TB_VM_COUNT": str(count), "TB_VM_BOX": settings.box() or ""}


def statuses(root: Path) -> dict[str, Status]:
    """What Vagrant says of the machines of this tree; none where it made none."""
    if not made(root):
        return {}
    return parse_status(_ask(root, ["status", "--machine-readable"]))


def parse_status(printed: str) -> dict[str, Status]:
    """Read `vagrant status --machine-readable`: rows of time, machine, kind, values."""
    provider: dict[str, str] = {}
    state: dict[str, str] = {}
    for row in rows(printed):
        if len(row) >= 4 and row[1]:
            if row[2] == "provider-name":
                provider[row[1]] = row[3]
            elif row[2] == "state":
                state[row[1]] = row[3]
    return {name: Status(provider=provider.get(name, ""), state=value) for name, value in state.items()}


def rows(printed: str) -> list[list[str]]:
    """The rows of Vagrant's machine-readable output, its escapes undone; other lines are left out."""
    found = []
    for line in printed.splitlines():
        fields = line.split(",")
        if len(fields) >= 3 and fields[0].isdecimal():
            found.append(
                [
                    field.replace("%!(VAGRANT_COMMA)", ",").replace("\\n", "\n").replace("\\r", "\r")
                    for field in fields
                ]
            )
    return found


def state_word(status: Status | None) -> Literal["running", "halted", "absent"]:
    """The state in the three words that all providers share; a machine that the Vagrantfile no longer has is absent."""
    if status is None or status.state == _ABSENT:
        return "absent"
    return "running" if status.state == _RUNNING else "halted"


def access(root: Path, names: Sequence[str] = ()) -> dict[str, Access]:
    """How running machines are reached; all of them without names."""
    return parse_ssh_config(_ask(root, ["ssh-config", *names]))


def parse_ssh_config(printed: str) -> dict[str, Access]:
    """Read `vagrant ssh-config`: OpenSSH's form, values with blanks in quotes."""
    blocks: dict[str, dict[str, list[str]]] = {}
    current: dict[str, list[str]] = {}
    for line in printed.splitlines():
        words = shlex.split(line)
        if len(words) < 2 or line.lstrip().startswith("#"):
            continue
        keyword = words[0].lower()
        if keyword == "host":
            current = blocks.setdefault(words[1], {})
        else:
            current.setdefault(keyword, []).append(" ".join(words[1:]))
    return {name: _access(name, block) for name, block in blocks.items()}


def _access(name: str, block: dict[str, list[str]]) -> Access:
    for keyword in ("proxycommand", "proxyjump"):
        if keyword in block:
            raise PreflightError(
                f"Vagrant reaches {name} through something else: {keyword} {block[keyword][0]}",
                remedy="use a libvirt on this machine, or `./tb vm up --qemu`",
            )
    if "hostname" not in block:
        raise PreflightError(
            f"`vagrant ssh-config` names no address of {name}",
            remedy="look at `vagrant ssh-config` in this tree",
        )
    return Access(
        host=block["hostname"][0],
        user=block.get("user", ["vagrant"])[0],
        port=int(block.get("port", ["22"])[0]),
        identity_files=tuple(Path(value) for value in block.get("identityfile", [])),
    )


def target(root: Path, machine: Made, way: Access) -> Target:
    """A machine as a target; its key is pinned by `pin`, in the one file that is named here."""
    return Target(
        name=machine.name,
        host=way.host,
        user=way.user,
        port=way.port,
        identity_files=way.identity_files,
        known_hosts=(pin_file(root, machine),),
        key_alias=machine.name,
        tree=VM_TREE,
    )


def pin_file(root: Path, machine: Made) -> Path:
    """The known_hosts file of this very machine: one that is made anew has another."""
    made_as = hashlib.sha256(f"{machine.provider}\0{machine.identifier}".encode()).hexdigest()[:16]
    return pins_directory(root) / f"{machine.name}-{made_as}.known_hosts"


def pin(root: Path, machine: Made, note: Callable[[str], None]) -> None:
    """At first contact, take the machine's host keys over Vagrant's own connection; later ones change nothing."""
    path = pin_file(root, machine)
    if path.is_file():
        return
    keys = public_keys(_ask(root, ["ssh", machine.name, "-c", _KEYS_COMMAND, "--", "-T"]))
    if not keys:
        raise RemoteError(
            f"{machine.name} does not tell its host keys",
            remedy=f"look at `vagrant ssh {machine.name} -c '{_KEYS_COMMAND}'`",
        )
    write_private(path, known_hosts_text(machine.name, keys))
    remove_others(pins_directory(root).glob(pins_pattern(machine.name)), path)
    note(
        f"{machine.name}: host key {shown_fingerprint(keys)}, taken over Vagrant's connection; "
        "from now on it must be this one"
    )


def pins_pattern(name: str) -> str:
    """The known_hosts files of all machines that ever had a name."""
    return f"{glob.escape(name)}-{'?' * 16}.known_hosts"


def require() -> None:
    """Raise `PreflightError` if there is no Vagrant."""
    if not installed():
        raise PreflightError(
            "there is no Vagrant here", remedy=f"{PACKAGES}, or without Vagrant: ./tb vm up --qemu"
        )


def _ask(root: Path, arguments: Sequence[str]) -> str:
    """What Vagrant prints; its error, told as ours, if it fails."""
    require()
    try:
        done = subprocess.run(
            ["vagrant", *arguments],
            cwd=root,
            env=environment(root),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise PreflightError(
            f"`vagrant {arguments[0]}` did not answer within {_TIMEOUT_S} s",
            remedy=f"look at `vagrant {arguments[0]}` in this tree; is libvirtd running?",
        ) from error
    if done.returncode != 0:
        raise PreflightError(
            f"`vagrant {' '.join(arguments)}` failed: {_failure(done.stdout, done.stderr)}",
            remedy="correct what Vagrant says; `vagrant global-status --prune` forgets machines that are gone",
        )
    return done.stdout


def _failure(stdout: str, stderr: str) -> str:
    """What Vagrant says went wrong, in its own words."""
    told = [row[4] for row in rows(stdout) if row[2] == "error-exit" and len(row) > 4]
    return " ".join("\n".join(told or stderr.splitlines()[:12]).split()) or "it says nothing"
