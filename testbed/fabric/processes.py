"""Watches the processes of a run through pidfds, which tell of a death at once, and of no other process.

The processes may be anybody's children. Imports nothing of Mininet.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import signal
import time
from collections.abc import Mapping
from types import TracebackType

from testbed.errors import FabricError

_PR_SET_PDEATHSIG = 1


class Supervisor:
    """Watches processes by name; ends them, and no others."""

    def __init__(self, pids: Mapping[str, int] | None = None) -> None:
        self._selector = selectors.DefaultSelector()
        self._alive: dict[int, tuple[str, int]] = {}
        self._dead: list[tuple[str, int]] = []
        for name, pid in (pids or {}).items():
            self.add(name, pid)

    def add(self, name: str, pid: int) -> None:
        """Watch one more; one that is gone already is reported by the next `poll`."""
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            self._dead.append((name, pid))
            return
        self._alive[pidfd] = (name, pid)
        self._selector.register(pidfd, selectors.EVENT_READ)

    def forget(self, name: str) -> None:
        """Watch a process no longer, whatever becomes of it."""
        for pidfd in [pidfd for pidfd, (known, _) in self._alive.items() if known == name]:
            self._selector.unregister(pidfd)
            os.close(pidfd)
            del self._alive[pidfd]

    def poll(self, timeout_ms: int = 0) -> tuple[str, int] | None:
        """Name and pid of the first process found dead; each is reported once, None if there is no news."""
        if not self._dead:
            self._collect(timeout_ms)
        return self._dead.pop(0) if self._dead else None

    def alive(self) -> dict[str, int]:
        """Those not found dead so far."""
        return dict(self._alive.values())

    def wait(self, deadline_ms: int) -> dict[str, int]:
        """Wait until all have ended, at most so long; those that still live. Deaths in it are no news."""
        until = time.monotonic() + deadline_ms / 1000
        while self._alive and (left_s := until - time.monotonic()) > 0:
            self._collect(int(left_s * 1000) + 1)
        self._collect(0)
        self._dead.clear()
        return self.alive()

    def send_all(self, number: signal.Signals) -> None:
        """Send a signal to those that live."""
        for pidfd in self._alive:
            with contextlib.suppress(ProcessLookupError):  # it has died, and its parent has waited for it
                signal.pidfd_send_signal(pidfd, number)

    def kill_all(self, deadline_ms: int = 60_000) -> None:
        """SIGKILL those that live, and wait until they are dead."""
        self.send_all(signal.SIGKILL)
        left = self.wait(deadline_ms)
        if left:
            names = ", ".join(f"{name} (pid {pid})" for name, pid in left.items())
            raise FabricError(
                f"{names} did not end on SIGKILL", remedy="look at `cat /proc/PID/stack`; reboot if stuck"
            )

    def close(self) -> None:
        """Stop watching; the processes live on."""
        for pidfd in self._alive:
            os.close(pidfd)
        self._alive.clear()
        self._selector.close()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _collect(self, timeout_ms: int) -> None:
        if not self._alive:
            return
        for key, _ in self._selector.select(timeout_ms / 1000):
            self._selector.unregister(key.fd)
            os.close(key.fd)
            self._dead.append(self._alive.pop(key.fd))


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """To be called in a new child: it ends as soon as the thread that forked it does.

    Args:
        parent_pid: the parent, asked for before the fork; if it has died since, the caller ends at once.
        signal_number: what the kernel sends.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
        raise FabricError(
            f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}",
            remedy="allow prctl in this container",
        )
    if os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGKILL)
