"""Whether a host key is to be trusted: known_hosts files, a pinned fingerprint, the user's own word. No network here.

The files are OpenSSH's [sshd(8), SSH_KNOWN_HOSTS FILE FORMAT]: names with `*`, `?`, `!` and `[host]:port`, hashed
names, `@revoked`. Certificates of hosts (`@cert-authority`) are not used.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.errors import RemoteError, SpecError
from testbed.vm.target import SSH_PORT, Target

USER_FILE = Path("~/.ssh/known_hosts")
"""Read and appended to where a target names no files of its own."""
GLOBAL_FILE = Path("/etc/ssh/ssh_known_hosts")
"""Read for every target."""
_PIN = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What makes an unknown host key a trusted one; with neither it is refused. A `SpecError` if it is no pin."""

    host_key: str | None = None
    """The only fingerprint to accept, `SHA256:…` as `ssh-keygen -lf` prints it, also of a host that is known."""
    confirm: Callable[[str], bool] | None = None
    """Asks the user a question, with the fingerprint in it, that is answered by yes or no."""

    def __post_init__(self) -> None:
        if self.host_key is not None and not _PIN.fullmatch(self.host_key):
            raise SpecError(
                f"'{self.host_key}' is no fingerprint of a host key",
                remedy="give it as `ssh-keygen -lf FILE` prints it: SHA256: and 43 characters",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """A public key of a host."""

    type: str
    """E.g. `ssh-ed25519`."""
    blob: bytes
    """As it goes over the wire, and in base64 in files."""

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -lf` prints it."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.fingerprint} ({self.type})"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """A line of a known_hosts file that holds for a host."""

    key: HostKey
    revoked: bool
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}"


def name_of(target: Target) -> str:
    """Under what name known_hosts files know a host."""
    if target.key_alias:
        return target.key_alias
    host = target.host.lower()
    return host if target.port == SSH_PORT else f"[{host}]:{target.port}"


def known_keys(target: Target) -> list[KnownKey]:
    """Every line that holds for this host, in the order of the files; a `SpecError` if one cannot be read."""
    name = name_of(target)
    return [known for path in (*_files(target), GLOBAL_FILE) for known in _lines_for(name, path)]


def verify(target: Target, trust: Trust, offered: HostKey) -> str:
    """Return if the key that the host offers is to be trusted, else raise a `RemoteError` with the remedy.

    A key that is newly trusted is appended to the target's last known_hosts file; the answer then says so in a
    sentence for the user, else it is empty.
    """
    known = known_keys(target)
    _refuse_revoked(target, known, offered)
    _refuse_other_than_pinned(target, trust, offered)
    if any(one.key == offered and not one.revoked for one in known):
        return ""
    _refuse_changed(target, known, offered)
    if trust.host_key is None:
        _ask(target, trust, offered)
    path = _files(target)[-1]
    remember(path, name_of(target), offered)
    return f"the host key of {target.name}, {offered}, is now in {path}"


def remember(path: Path, name: str, key: HostKey) -> None:
    """Append one line to a known_hosts file, which is made (0600, in a directory of 0700) if there is none."""
    line = f"{name} {key.type} {base64.b64encode(key.blob).decode()}\n".encode()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            size = os.fstat(descriptor).st_size
            whole_lines = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            os.write(descriptor, line if whole_lines else b"\n" + line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SpecError(
            f"the host key cannot be kept in {path}: {error.strerror}",
            remedy="make the file writable, or add this line to it by hand: " + line.decode().strip(),
        ) from error


def _files(target: Target) -> tuple[Path, ...]:
    return tuple(path.expanduser() for path in target.known_hosts or (USER_FILE,))


def _lines_for(name: str, path: Path) -> Iterator[KnownKey]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SpecError(
            f"the host keys in {path} cannot be read: {error.strerror}", remedy="make the file readable"
        ) from error
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        marker = words.pop(0) if words and words[0].startswith("@") else ""
        if len(words) < 3 or words[0].startswith("#") or marker not in ("", "@revoked"):
            continue
        names, key_type, encoded = words[:3]
        if _matches(names.split(","), name):
            try:
                blob = base64.b64decode(encoded, validate=True)
            except ValueError:
                continue  # as OpenSSH does: a line that is no key makes no host known
            key = HostKey(type=key_type, blob=blob)
            yield KnownKey(key=key, revoked=bool(marker), path=path, line=number)


def _matches(patterns: Iterable[str], name: str) -> bool:
    """Whether a line's list of names holds for a host: one that fits, and none that fits with `!` before it."""
    found = False
    for pattern in patterns:
        if _fits(pattern.removeprefix("!"), name):
            if pattern.startswith("!"):
                return False
            found = True
    return found


def _fits(pattern: str, name: str) -> bool:
    if pattern.startswith("|1|"):
        return _is_hash_of(pattern, name)
    expression = re.escape(pattern.lower()).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, name.lower()) is not None


def _is_hash_of(hashed: str, name: str) -> bool:
    """`|1|salt|HMAC-SHA1 of the name`, both in base64."""
    try:
        salt, digest = (base64.b64decode(part, validate=True) for part in hashed.split("|")[2:4])
    except (ValueError, binascii.Error):
        return False
    return hmac.compare_digest(hmac.new(salt, name.encode(), hashlib.sha1).digest(), digest)


def _refuse_revoked(target: Target, known: Iterable[KnownKey], offered: HostKey) -> None:
    for one in known:
        if one.revoked and one.key == offered:
            raise RemoteError(
                f"{target.name} has a host key that was revoked: {offered}, in {one}",
                remedy="do not use that machine before its owner has given it another host key",
            )


def _refuse_other_than_pinned(target: Target, trust: Trust, offered: HostKey) -> None:
    if trust.host_key is not None and trust.host_key != offered.fingerprint:
        raise RemoteError(
            f"{target.name} has the host key {offered}, not the one that was given, {trust.host_key}",
            remedy=f"compare it with that of `ssh-keygen -lf` over there ({_file_there(offered)}); "
            "if they differ, another machine answers",
        )


def _refuse_changed(target: Target, known: Iterable[KnownKey], offered: HostKey) -> None:
    others = [one for one in known if not one.revoked]
    if not others:
        return
    one = next((other for other in others if other.key.type == offered.type), others[0])
    raise RemoteError(
        f"the host key of {target.name} has changed: it is {offered}, but {one}, has {one.key}",
        remedy="another machine may be answering; if it was set up anew, forget the old key: "
        f"ssh-keygen -f '{one.path}' -R '{name_of(target)}'",
    )


def _ask(target: Target, trust: Trust, offered: HostKey) -> None:
    """Have the user confirm a key that nothing is known of."""
    where = f"{target.host}, port {target.port}"
    if trust.confirm is None:
        raise RemoteError(
            f"the host key of {target.name} ({where}) is not known: {offered}",
            remedy=f"compare it with that of `ssh-keygen -lf` over there ({_file_there(offered)}); "
            f"if they are equal, add --host-key {offered.fingerprint}",
        )
    question = f"The host key of {target.name} ({where}) is not known. It is {offered}. Trust it from now on?"
    if not trust.confirm(question):
        raise RemoteError(
            f"the host key of {target.name} was not trusted: {offered}",
            remedy=f"compare it with that of `ssh-keygen -lf` over there ({_file_there(offered)})",
        )


def _file_there(key: HostKey) -> str:
    kind = "ecdsa" if key.type.startswith("ecdsa") else key.type.removeprefix("ssh-")
    return f"/etc/ssh/ssh_host_{kind}_key.pub"
