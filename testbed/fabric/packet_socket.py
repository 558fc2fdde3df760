"""An AF_PACKET socket in the network namespace of another process."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

from testbed.fabric.namespaces import enter_network


def packet_socket(pid: int, protocol: int) -> socket.socket:
    """One that does not block, for frames of an EtherType of every interface there. Raises OSError."""
    with ThreadPoolExecutor(1) as thread:  # of its own, because it changes its network namespace
        return thread.submit(_open, pid, protocol).result()


def _open(pid: int, protocol: int) -> socket.socket:
    enter_network(pid)
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(protocol))
    opened.setblocking(False)
    return opened
