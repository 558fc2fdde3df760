"""The TCP connection below SSH: how it is made, and why it ended."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress

from testbed.errors import RemoteError
from testbed.vm.target import Target

_REASONS = {
    errno.ECONNRESET: "reset by peer",
    errno.EPIPE: "closed by peer",
    errno.ETIMEDOUT: "no answer",
}
_NOT_CONNECTED = "check that it is on and in reach, and that its SSH server runs"


class ConnectionLost(RemoteError):  # noqa: N818 - what has happened to it
    """The connection dropped, was reset or timed out, or could not be made: worth another try.

    `reason` is the same in a few words.
    """

    def __init__(self, message: str, *, remedy: str = _NOT_CONNECTED, reason: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.reason = reason


class Wire(socket.socket):
    """A connected TCP socket that remembers how much it has heard, and why it ended."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(connected.family, connected.type, connected.proto, connected.detach())
        self.heard_bytes = 0
        self.heard_s = time.monotonic()
        """When something was heard last, by the monotonic clock."""
        self.first = b""
        """The first bytes that were heard: an SSH server says who it is."""
        self.lost = ""
        """Why no more can be heard or said; empty while all is well, and when it was closed by this side."""
        self.error: OSError | None = None
        """What the operating system said then, if anything."""

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        """As a socket does."""
        try:
            data = super().recv(bufsize, flags)
        except OSError as error:
            self._note(error)
            raise
        if not data:
            self.lost = self.lost or "closed by peer"
        self.heard_bytes += len(data)
        self.heard_s = time.monotonic() if data else self.heard_s
        if len(self.first) < 4:
            self.first += data
        return data

    def send(self, data: object, flags: int = 0, /) -> int:
        """As a socket does."""
        try:
            return super().send(data, flags)  # type: ignore[arg-type]
        except OSError as error:
            self._note(error)
            raise

    def give_up(self, reason: str) -> None:
        """End a connection on which nothing comes any more; whoever waits for it wakes up."""
        self.lost = self.lost or reason
        with suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)

    def _note(self, error: OSError) -> None:
        """Remember why; a time-out is only a pause, and a bad descriptor is one that was closed here."""
        if error.errno not in (None, errno.EAGAIN, errno.EBADF):
            self.lost = self.lost or reason_of(error)
            self.error = self.error or error


def reason_of(error: OSError) -> str:
    """Why, in a few words."""
    if isinstance(error, TimeoutError) and error.errno is None:
        return "timed out"
    return _REASONS.get(error.errno or 0, (error.strerror or str(error)).lower())


def open_wire(target: Target, *, timeout_s: float) -> Wire:
    """Connect to a machine's SSH port; `ConnectionLost` says why that did not work."""
    where = f"{target.name} ({target.host}, port {target.port})"
    try:
        addresses = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConnectionLost(
            f"{where} cannot be reached: the name '{target.host}' is not known",
            remedy="check the name, or give the address instead",
            reason="its name is not known",
        ) from error
    until_s = time.monotonic() + timeout_s
    failed = OSError("no address")
    for family, kind, protocol, _, address in addresses:
        raw = socket.socket(family, kind, protocol)
        try:
            raw.settimeout(max(until_s - time.monotonic(), 0.1))
            raw.connect(address)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return Wire(raw)
        except OSError as error:
            failed = error
            raw.close()
        except BaseException:
            raw.close()
            raise
    raise _unreachable(where, failed, timeout_s=timeout_s) from failed


def _unreachable(where: str, error: OSError, *, timeout_s: float) -> ConnectionLost:
    reason = reason_of(error)
    if isinstance(error, ConnectionRefusedError):
        return ConnectionLost(
            f"{where} refuses the connection",
            remedy="start its SSH server, or give the port that it listens on (host:port)",
            reason=reason,
        )
    if isinstance(error, TimeoutError):
        return ConnectionLost(f"{where} does not answer within {timeout_s:g} s", reason="no answer")
    return ConnectionLost(f"{where} cannot be reached: {reason}", reason=reason)
