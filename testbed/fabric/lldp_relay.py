"""Carries LLDP frames between the CPU ports of the control namespace and the ports of the fabric's switches.

A switch's CPU sends and receives LLDP through its ASIC; here this thread stands in for that while links are looked for.
Its sockets take EtherType 0x88CC alone, so that other frames cost nothing.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType

from testbed.errors import FabricError
from testbed.fabric.packet_socket import packet_socket

LLDP = 0x88CC
_LARGEST_BYTES = 1 << 14
_POLL_S = 0.05
_RECEIVE_BYTES = 1 << 22


class LldpRelay:
    """A context in which LLDP frames travel; `carried` counts those that reached a CPU port."""

    def __init__(self, *, control_pid: int, switch_pids: Mapping[str, int]) -> None:
        self._control_pid = control_pid
        self._switch_pids = switch_pids
        self._stack = ExitStack()
        self._over = threading.Event()
        self._error: OSError | None = None
        self.sent = 0
        """Frames that CPU ports have sent into the fabric."""
        self.carried = 0

    def __enter__(self) -> LldpRelay:
        opened = threading.Event()
        # A daemon, and told to end here, too: a signal may come before the context is entered.
        self._thread = threading.Thread(target=self._run, args=(opened,), name="lldp relay", daemon=True)
        self._thread.start()
        try:
            opened.wait()
        except BaseException:
            self._over.set()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._error is not None and error is None:
            raise FabricError(
                f"LLDP frames could not be carried: {self._error}", remedy="run as root, and run again"
            ) from self._error

    def _run(self, opened: threading.Event) -> None:
        """In a thread of its own, until the context ends."""
        try:
            with self._stack, selectors.DefaultSelector() as selector:
                try:
                    control = self._open(self._control_pid)
                    switches = {name: self._open(pid) for name, pid in self._switch_pids.items()}
                finally:
                    opened.set()
                selector.register(control, selectors.EVENT_READ, "")
                for name, of in switches.items():
                    selector.register(of, selectors.EVENT_READ, name)
                while not self._over.is_set():
                    for key, _ in selector.select(_POLL_S):
                        self._carry(key.fileobj, key.data, control, switches)  # type: ignore[arg-type]
        except OSError as error:
            self._error = error

    def _open(self, pid: int) -> socket.socket:
        """A socket for LLDP frames of every interface in a process's network namespace."""
        opened = self._stack.enter_context(packet_socket(pid, LLDP))
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
        return opened

    def _carry(
        self, ready: socket.socket, name: str, control: socket.socket, switches: Mapping[str, socket.socket]
    ) -> None:
        """One frame: from a CPU port to the port of the same number in the fabric, or back."""
        frame, (interface, *_rest) = ready.recvfrom(_LARGEST_BYTES)
        switch, kind, port = _parts(interface)
        if not name and kind == "cpu":
            switches[switch].sendto(frame, (f"{switch}-eth{port}", LLDP))
            self.sent += 1
        elif name and kind == "eth":
            control.sendto(frame, (f"{switch}-cpu{port}", LLDP))
            self.carried += 1


def _parts(interface: str) -> tuple[str, str, str]:
    """`s1-cpu3` as s1, cpu, 3."""
    switch, _, end = interface.partition("-")
    return switch, end[:3], end[3:]
