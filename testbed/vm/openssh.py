"""Command lines of OpenSSH's client for a target: never with a host key that is not known."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import PreflightError, RemoteError
from testbed.vm.target import Target

PACKAGE = "apt-get install openssh-client"
CONNECT_S = 60
"""How long a machine may take until a connection stands, in seconds; an emulated one is slow."""
ANSWER_S = 120.0
"""How long a command that does nothing lasting may take, with its connection, in seconds."""
LOST = 255
"""ssh's own exit code, when the connection rather than the command failed [ssh(1)]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a command on the other machine did."""

    exit_code: int
    stdout: str
    stderr: str


def ssh_command(target: Target, command: Sequence[str] = (), *, batch: bool = False) -> list[str]:
    """`ssh` to a target.

    Args:
        target: where to.
        command: words for the shell there, as the user writes them after `--`; none is a login.
        batch: never ask anything.
    """
    options = {
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": " ".join(_value(path) for path in target.known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "ConnectTimeout": str(CONNECT_S),
        "ServerAliveInterval": "15",
    }
    if target.key_alias:
        options["HostKeyAlias"] = target.key_alias
    if target.identity_files:
        options["IdentitiesOnly"] = "yes"
    if batch:
        options["BatchMode"] = "yes"
        options["LogLevel"] = "ERROR"
    return [
        *("ssh", "-F", "none"),
        *(word for key, value in options.items() if value for word in ("-o", f"{key}={value}")),
        *(word for path in target.identity_files for word in ("-o", f"IdentityFile={_value(path)}")),
        *("-p", str(target.port), "-l", target.user, "--", target.host, *command),
    ]


def _value(path: Path) -> str:
    """A path as ssh_config(5) reads it: quoted, no tokens."""
    return '"' + str(path).replace("%", "%%") + '"'


def run(target: Target, argv: Sequence[str], *, stdin: str = "", timeout_s: float = ANSWER_S) -> Said:
    """Run a command there, its words kept apart; exit code 255 if it could not be reached."""
    command = ssh_command(target, [shlex.join(argv)], batch=True)
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=timeout_s,
        )
    except FileNotFoundError as error:
        raise no_openssh() from error
    except subprocess.TimeoutExpired:
        return Said(exit_code=LOST, stdout="", stderr=f"no answer within {timeout_s:g} s")
    return Said(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr)


def must_run(target: Target, argv: Sequence[str], *, stdin: str = "", timeout_s: float = ANSWER_S) -> str:
    """Run a command there that must succeed; what it printed."""
    said = run(target, argv, stdin=stdin, timeout_s=timeout_s)
    if said.exit_code != 0:
        raise RemoteError(
            f"{target.name}: `{shlex.join(argv)}` failed ({said.exit_code}): {said.stderr.strip()}",
            remedy=f"look at ./tb vm ssh {target.name}",
        )
    return said.stdout


def no_openssh() -> PreflightError:
    """The error where there is no client."""
    return PreflightError("there is no OpenSSH client here", remedy=PACKAGE)
