"""The CPU ports of all switches as the control namespace has them: frames go in to the bridges, and come out of them.

A frame that is sent on `s1-cpu3` reaches bridge s1 by its port 3; what the bridge sends out of port 3 arrives there.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Mapping
from types import TracebackType
from typing import TypeAlias

from testbed.errors import FabricError
from testbed.fabric.packet_socket import packet_socket

CpuFrame: TypeAlias = tuple[str, int, bytes]
"""Switch, port and bytes."""

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_IGNORE_OUTGOING = 263, 6, 23
"""linux/if_packet.h."""
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
"""asm-generic/socket.h."""
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
"""linux/filter.h: BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ | BPF_K, BPF_RET | BPF_K."""
_CARDS = 0x02544E00
"""The first bytes of every card's address (`rules.card_mac`)."""
_LARGEST_BYTES = 1 << 16
_RECEIVE_BYTES = 64 << 20


class CpuPorts:
    """A context in which frames for cards are kept as they come out of bridges."""

    def __init__(self, control_pid: int, ports: Mapping[str, tuple[str, int]]) -> None:
        """`ports` has switch and port by interface."""
        self._control_pid = control_pid
        self._ports = ports
        self._interface = {port: name for name, port in ports.items()}

    def __enter__(self) -> CpuPorts:
        self._socket = packet_socket(self._control_pid, _ETH_P_ALL)
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BYTES)
        self._socket.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        _attach(self._socket)
        self.receive()  # what came before the filter was there
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, switch: str, port: int, frame: bytes) -> None:
        """Let a frame reach a bridge by a port."""
        self._socket.sendto(frame, (self._interface[switch, port], 0))

    def receive(self) -> list[CpuFrame]:
        """The frames for cards that have come out of bridges since the last time, in order."""
        found = []
        while True:
            try:
                frame, (interface, *_) = self._socket.recvfrom(_LARGEST_BYTES)
            except BlockingIOError:
                break
            if interface in self._ports:
                found.append((*self._ports[interface], frame))
        _, drops = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        if drops:
            raise FabricError(
                f"the kernel dropped {drops} frames that a controller had sent",
                remedy="let the application send fewer at a time; the machine may be short of memory",
            )
        return found


def _attach(receiver: socket.socket) -> None:
    """Keep frames for cards only: the controller's own traffic is in the same namespace."""
    lines = [
        (_LOAD_WORD, 0, 0, 0),
        (_JUMP_IF_EQUAL, 0, 1, _CARDS),
        (_RETURN, 0, 0, _LARGEST_BYTES),
        (_RETURN, 0, 0, 0),
    ]
    code = bytearray(b"".join(struct.pack("HBBI", *line) for line in lines))
    place = (ctypes.c_char * len(code)).from_buffer(code)
    program = struct.pack("HP", len(lines), ctypes.addressof(place))
    receiver.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
