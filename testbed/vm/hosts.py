"""From what the user writes for a host, `[user@]host[:port]` or an alias of ~/.ssh/config, to a `Target`.

OpenSSH itself is asked what its files say (`ssh -G`), so that Include, Match, patterns and defaults mean the same here.
"""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import socket
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import SpecError
from testbed.registry import nearest
from testbed.vm.openssh import no_openssh
from testbed.vm.target import Target

FORM = "[user@]host[:port], e.g. ann@lab3, lab3:2222 or ann@[::1]:22"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_USER = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.@+-]*\$?")
_DEFAULT_KEYS = frozenset(
    f"id_{kind}" for kind in ("rsa", "dsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "xmss")
)
"""What OpenSSH tries by itself [ssh(1), -i]; a target without identity files means these, too."""
_NEXT_FILE = re.compile(r" (?=[/~]|none$)")
"""Where a list of files, which OpenSSH prints without quotes, goes on: a path may have spaces."""
_OPENSSH_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class HostText:
    """What the user wrote, in its parts."""

    host: str
    user: str | None = None
    port: int | None = None

    def is_bare_word(self) -> bool:
        """Whether it could as well be a machine's name that is mistyped."""
        return self.user is None and self.port is None and "." not in self.host and ":" not in self.host


def parse_host(text: str, machines: Iterable[str] = ()) -> HostText:
    """Take `[user@]host[:port]` apart; a `SpecError` with the nearest machine's name if it is none."""
    near = nearest(text, machines)
    remedy = (
        f"write '{near}', or {FORM}" if near else f"write the name of a machine of ./tb vm list, or {FORM}"
    )

    def bad(why: str) -> SpecError:
        return SpecError(f"'{text}' is no host: {why}", remedy=remedy)

    user, at, address = text.rpartition("@")
    if at and not _USER.fullmatch(user):
        raise bad("what is before the @ is no user's name")
    host, port_text = _host_and_port(address, bad("the bracket is not closed, or something follows it"))
    if not _is_address(host) and not _NAME.fullmatch(host):
        raise bad("it has no name or address" if not host else f"'{host}' is no name and no address")
    port = None
    if port_text is not None:
        if not re.fullmatch(r"[0-9]{1,5}", port_text) or not 1 <= int(port_text) <= 65535:
            raise bad("a port is a number from 1 to 65535")
        port = int(port_text)
    return HostText(host=host, user=user if at else None, port=port)


def _host_and_port(address: str, unclosed: SpecError) -> tuple[str, str | None]:
    """Host and the text of the port; an IPv6 address has brackets if a port follows it."""
    if address.startswith("["):
        inner, closed, rest = address[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")) or ":" not in inner:
            raise unclosed
        return inner, rest[1:] if rest else None
    if address.count(":") > 1:
        return address, None
    host, colon, port = address.partition(":")
    return host, port if colon else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def openssh_command(text: HostText, config: Path | None) -> list[str]:
    """The command that prints what OpenSSH would do with this host."""
    command = ["ssh", "-G"]
    command += ["-F", str(config)] if config else []
    command += ["-p", str(text.port)] if text.port else []
    command += ["-l", text.user] if text.user else []
    return [*command, "--", text.host]


def parse_openssh(printed: str) -> dict[str, list[str]]:
    """What `ssh -G` prints, `keyword value` on each line, as values by keyword."""
    values: dict[str, list[str]] = {}
    for line in printed.splitlines():
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value.strip())
    return values


def host_target(text: str, *, machines: Iterable[str] = (), config: Path | None = None) -> Target:
    """The target that a host's text names.

    Args:
        text: what the user wrote.
        machines: names of machines that are known here, to suggest one.
        config: read instead of the user's and the system's files.

    Raises:
        SpecError: it is no host, or one that is only reached through another.
        PreflightError: there is no OpenSSH client here.
    """
    names = list(machines)
    parsed = parse_host(text, names)
    settings = parse_openssh(_ask_openssh(parsed, config or _config_of_home()))
    for keyword in ("proxyjump", "proxycommand"):
        way = settings.get(keyword, ["none"])[0]
        if way != "none":
            raise _not_direct(text, keyword, way)
    host = settings.get("hostname", [parsed.host])[0]
    if parsed.is_bare_word() and host == parsed.host and not _resolves(host):
        raise _unknown(text, names)
    return Target(
        name=text,
        host=host,
        user=settings["user"][0],
        port=int(settings["port"][0]),
        identity_files=_identity_files(settings),
        known_hosts=_known_hosts(settings),
        key_alias=settings.get("hostkeyalias", [""])[0],
    )


def _account_home() -> Path | None:
    """The home directory that OpenSSH takes for `~`; None if that is what HOME says, which all else here follows."""
    with suppress(KeyError):
        home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        return home if home != Path.home() else None
    return None


def _config_of_home() -> Path | None:
    """`~/.ssh/config`, if OpenSSH looks for it elsewhere."""
    if _account_home() is None:
        return None
    path = Path.home() / ".ssh" / "config"
    return path if path.is_file() else None


def _ask_openssh(text: HostText, config: Path | None) -> str:
    command = openssh_command(text, config)
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_OPENSSH_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise no_openssh() from error
    except subprocess.TimeoutExpired as error:
        raise SpecError(
            f"`{' '.join(command)}` did not end within {_OPENSSH_TIMEOUT_S} s",
            remedy="look for a `Match exec` in ~/.ssh/config that waits",
        ) from error
    if done.returncode != 0:
        raise SpecError(
            f"OpenSSH refuses '{text.host}': {done.stderr.strip()}",
            remedy="correct ~/.ssh/config or the name",
        )
    return done.stdout


def _identity_files(settings: dict[str, list[str]]) -> tuple[Path, ...]:
    """Keys that the files name: those that exist and are not OpenSSH's defaults anyway."""
    own = Path("~/.ssh").expanduser()
    named = [Path(value).expanduser() for value in settings.get("identityfile", []) if value != "none"]
    chosen = [path for path in named if not (path.parent == own and path.name in _DEFAULT_KEYS)]
    return tuple(path for path in chosen if path.is_file())


def _known_hosts(settings: dict[str, list[str]]) -> tuple[Path, ...]:
    """The files that may name the host's key; OpenSSH appends to the user's first, which is the last here."""
    files = {
        keyword: [
            _below_home(Path(word).expanduser())
            for word in _NEXT_FILE.split(settings.get(keyword, [""])[0])
            if word not in ("", "none")
        ]
        for keyword in ("globalknownhostsfile", "userknownhostsfile")
    }
    first, *others = files["userknownhostsfile"] or [Path("/dev/null")]
    read_only = [path for path in (*files["globalknownhostsfile"], *others) if path.is_file()]
    return (*read_only, first)


def _below_home(path: Path) -> Path:
    """A file in `~/.ssh`, wherever OpenSSH looks for that."""
    account = _account_home()
    return Path.home() / ".ssh" / path.name if account and path.parent == account / ".ssh" else path


def _not_direct(text: str, keyword: str, way: str) -> SpecError:
    written = {"proxyjump": "ProxyJump", "proxycommand": "ProxyCommand"}[keyword]
    return SpecError(
        f"'{text}' is reached through something else ({written} {way} in OpenSSH's files), which is not supported",
        remedy=f"open a tunnel, `ssh -N -L 2222:localhost:22 {text}`, and use localhost:2222 as the host",
    )


def _resolves(host: str) -> bool:
    try:
        socket.getaddrinfo(host, None)
    except (OSError, UnicodeError):
        return False
    return True


def _unknown(text: str, machines: list[str]) -> SpecError:
    near = nearest(text, machines)
    known = f"; machines here: {', '.join(machines)}" if machines else "; there are no machines here"
    suggested = f"; did you mean '{near}'?" if near else ""
    return SpecError(
        f"'{text}' is no machine here, no alias of ~/.ssh/config and no host that is found{suggested}{known}",
        remedy=f"write '{near}'" if near else f"make a machine with ./tb vm up, or write {FORM}",
    )
