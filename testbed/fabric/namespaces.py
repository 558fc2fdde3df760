"""Network namespaces of other processes, for a thread of this one."""

from __future__ import annotations

import ctypes
import os
import socket
from concurrent.futures import ThreadPoolExecutor

_CLONE_NEWNET = 0x40000000


def enter_network(pid: int) -> None:
    """Move the calling thread, which is to end soon, into the network namespace of a process."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/proc/{pid}/ns/net", "rb") as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"setns: {os.strerror(code)}")


def listening(pid: int, port: int) -> socket.socket:
    """A socket that takes connections to 127.0.0.1 in the network namespace of a process, where it stays."""

    def listen() -> socket.socket:
        enter_network(pid)
        return socket.create_server(("127.0.0.1", port), backlog=socket.SOMAXCONN)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(listen).result()
