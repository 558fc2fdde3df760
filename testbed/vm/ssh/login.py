"""From a TCP connection to a session that both sides trust: SSH's handshake, the host's key, the user's key."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import paramiko

from testbed.errors import RemoteError, SpecError
from testbed.vm.ssh.trust import HostKey, Trust, known_keys, verify
from testbed.vm.ssh.wire import ConnectionLost, Wire
from testbed.vm.target import Target

DEFAULT_KEYS = tuple(Path("~/.ssh") / name for name in ("id_ed25519", "id_ecdsa", "id_rsa"))
"""Tried, after the agent's, for a target that names none."""
_ALGORITHMS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
"""By what a key of a type may sign, where that is not the type itself [RFC 8332]; the first of them is the best."""
_UNREADABLE = (ValueError, TypeError, OSError, paramiko.SSHException, paramiko.pkey.UnknownKeyType)

AgentsKeys = Callable[[], dict[bytes, paramiko.AgentKey]]
"""Asks the agent for its keys, by their public halves."""

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # else its errors go to stderr, beside ours


@dataclass(frozen=True, slots=True, kw_only=True)
class UserKey:
    """A private key of the user, to be tried."""

    key: paramiko.PKey
    where: str
    """A file, or the agent."""

    def __str__(self) -> str:
        return f"{self.where} ({self.key.fingerprint})"


def log_in(target: Target, trust: Trust, wire: Wire, *, timeout_s: float) -> tuple[paramiko.Transport, str]:
    """A session over a wire, and what `verify` says of a host key that is new.

    Raises `ConnectionLost` if the wire ends, `RemoteError` if one side refuses the other, `SpecError` without a key.
    """
    with ExitStack() as stack:
        keys, unusable = user_keys(target, cache(lambda: _agents_keys(stack)))
        transport = paramiko.Transport(wire)
        try:
            _shake_hands(target, transport, wire, timeout_s=timeout_s)
            host_key = transport.get_remote_server_key()
            learned = verify(target, trust, HostKey(type=host_key.get_name(), blob=host_key.asbytes()))
            transport.auth_timeout = timeout_s
            _authenticate(target, transport, wire, keys=keys, unusable=unusable)
        except BaseException:
            transport.packetizer.complete_handshake()  # ends its timer, a thread that would hold up the exit
            transport.close()
            raise
    return transport, learned


def _shake_hands(target: Target, transport: paramiko.Transport, wire: Wire, *, timeout_s: float) -> None:
    transport.banner_timeout = transport.handshake_timeout = timeout_s
    transport.get_security_options().key_types = preferred_algorithms(
        transport.get_security_options().key_types, [known.key.type for known in known_keys(target)]
    )
    try:
        transport.start_client(timeout=timeout_s)
        transport.get_remote_server_key()  # there is none if the time has passed
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise _no_handshake(target, transport, wire, error, timeout_s=timeout_s) from error


def preferred_algorithms(algorithms: tuple[str, ...], known_types: list[str]) -> tuple[str, ...]:
    """Those of the host's known keys first, so that a host with several keys shows one that can be compared."""
    known = {algorithm for name in known_types for algorithm in _ALGORITHMS.get(name, (name,))}
    return tuple(sorted(algorithms, key=lambda algorithm: algorithm not in known))


def _no_handshake(
    target: Target, transport: paramiko.Transport, wire: Wire, error: Exception, *, timeout_s: float
) -> RemoteError:
    where = f"{target.name} ({target.host}, port {target.port})"
    if wire.heard_bytes and not transport.remote_version and not b"SSH-".startswith(wire.first[:4]):
        return RemoteError(
            f"{where} is not an SSH server: it says {wire.first[:20]!r}",
            remedy="give the port that its SSH server listens on (host:port)",
        )
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        return RemoteError(
            f"{where} and this side have no algorithm in common: {error}",
            remedy="use an SSH server of the last ten years there, with its usual algorithms",
        )
    if wire.lost:
        return ConnectionLost(
            f"{where} ended the connection before anybody was let in ({wire.lost})",
            remedy="it may still be starting: try again; else see the log of its SSH server",
            reason=wire.lost,
        )
    if not transport.initial_kex_done and transport.saved_exception is None:
        what = "does not end the handshake" if wire.heard_bytes else "accepts connections but says nothing"
        return ConnectionLost(f"{where} {what} within {timeout_s:g} s", reason="no answer")
    return RemoteError(f"the handshake with {where} failed: {error}", remedy="see the log of its SSH server")


def _authenticate(
    target: Target, transport: paramiko.Transport, wire: Wire, *, keys: list[UserKey], unusable: list[str]
) -> None:
    """Try the keys in their order until one is let in."""
    tried: list[str] = []
    for candidate in keys:
        tried.append(str(candidate))
        try:
            more = transport.auth_publickey(target.user, candidate.key)
        except paramiko.BadAuthenticationType as error:
            offered = ", ".join(error.allowed_types)
            raise _not_let_in(target, tried, unusable, f"it takes no keys, only: {offered}") from error
        except (paramiko.SSHException, EOFError, OSError) as error:
            if wire.lost:
                raise ConnectionLost(
                    f"{target.name} ended the connection at the log-in ({wire.lost})", reason=wire.lost
                ) from error
            if transport.is_active():
                if str(error) == "Authentication timeout.":
                    raise ConnectionLost(
                        f"{target.name} has not answered to a key within {transport.auth_timeout:g} s",
                        reason="no answer",
                    ) from error
                continue
            raise _not_let_in(target, tried, unusable, "it tries no more keys") from error
        if not more:
            return
        raise _not_let_in(target, tried, unusable, f"after the key it wants {', '.join(more)}, too")
    raise _not_let_in(target, tried, unusable, "")


def _not_let_in(target: Target, tried: list[str], unusable: list[str], reason: str) -> RemoteError:
    message = f"{target.name} does not let {target.user} in with {', '.join(tried)}"
    notes = [*([reason] if reason else []), *unusable]
    return RemoteError(
        message + (f" ({'; '.join(notes)})" if notes else ""),
        remedy="give another key with --identity FILE, or let this one in: "
        f"ssh-copy-id -p {target.port} {target.user}@{target.host}",
    )


def user_keys(target: Target, held: AgentsKeys) -> tuple[list[UserKey], list[str]]:
    """The keys to try, and why others cannot be: the target's files, else the agent's keys and those in ~/.ssh.

    A file that is encrypted stands for the agent's key with its public half (FILE.pub); the agent is not asked
    otherwise. A `SpecError` if there is no key.
    """
    keys: list[UserKey] = []
    unusable: list[str] = []
    if not target.identity_files:
        keys += [UserKey(key=key, where=f"the agent's key '{key.comment}'") for key in held().values()]
    for path in target.identity_files or [path for path in DEFAULT_KEYS if path.expanduser().exists()]:
        try:
            keys.append(_key_of(path.expanduser(), held))
        except SpecError as error:
            unusable.append(f"{error}: {error.remedy}")
    if not keys:
        raise SpecError(
            f"there is no key to log in to {target.name} with" + "".join(f"; {line}" for line in unusable),
            remedy="give a private key with --identity FILE, or add one to the agent: ssh-add FILE",
        )
    return list({bytes(one.key): one for one in reversed(keys)}.values())[::-1], unusable


def _agents_keys(stack: ExitStack) -> dict[bytes, paramiko.AgentKey]:
    """The agent's keys by their public halves; it stays at hand as long as the stack. One that is dead has none."""
    with suppress(paramiko.SSHException, OSError):
        agent = stack.enter_context(closing(paramiko.Agent()))
        return {bytes(key): key for key in agent.get_keys()}
    return {}


def _key_of(path: Path, held: AgentsKeys) -> UserKey:
    """The key in a file; a `SpecError` says why there is none."""
    if not path.is_file():
        raise SpecError(f"{path} is no file", remedy="check the path")
    try:
        return UserKey(key=paramiko.PKey.from_path(path), where=str(path))
    except (TypeError, paramiko.PasswordRequiredException) as error:
        key = held().get(_public_half(path))
        if key is not None:
            return UserKey(key=key, where=f"{path}, by the agent")
        raise SpecError(f"{path} is encrypted", remedy=f"add it to the agent: ssh-add {path}") from error
    except _UNREADABLE as error:
        raise SpecError(
            f"{path} is no private key that can be used ({error})",
            remedy="name the private key, of type Ed25519, ECDSA or RSA, in OpenSSH's or PEM format",
        ) from error


def _public_half(path: Path) -> bytes:
    with suppress(OSError, ValueError):
        blob = paramiko.pkey.PublicBlob.from_file(f"{path}.pub").key_blob
        return bytes(blob)
    return b""
