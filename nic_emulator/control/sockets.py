"""Unix sockets by path, however long the path: the kernel takes 107 bytes, a run's directory may be deeper."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_CREDENTIALS = struct.Struct("3i")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """The same place, by way of a descriptor of its directory."""
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def listen_at(path: Path) -> socket.socket:
    """A listening socket that only its owner may connect to; OSError if the path is taken."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listener.fileno(), 0o600)  # before it has a name, so nobody else ever finds it open
        with _short(path) as address:
            listener.bind(address)
        listener.listen()
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def connect_to(path: Path, timeout_s: float) -> socket.socket:
    """A connected socket; OSError if nobody listens there."""
    connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connected.settimeout(timeout_s)
        with _short(path) as address:
            connected.connect(address)
    except OSError:
        connected.close()
        raise
    return connected


def peer_uid(connected: socket.socket) -> int:
    """The user of the process at the other end, as the kernel noted it on connecting."""
    packed = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(packed)
    return int(uid)
