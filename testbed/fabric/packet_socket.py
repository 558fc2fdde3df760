"""An AF_PACKET socket in the network namespace of another process."""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor

_CLONE_NEWNET = 0x40000000


def packet_socket(pid: int, protocol: int) -> socket.socket:
    """One that does not block, for frames of an EtherType of every interface there. Raises OSError."""
    with ThreadPoolExecutor(1) as thread:  # of its own, because it changes its network namespace
        return thread.submit(_open, pid, protocol).result()


def _open(pid: int, protocol: int) -> socket.socket:
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"setns: {os.strerror(code)}")
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.setblocking(False)
    return opened
