"""A connection that is made again when it drops."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from testbed.vm.ssh.connection import SILENCE_S, Connection, connect
from testbed.vm.ssh.trust import Trust
from testbed.vm.ssh.wire import ConnectionLost
from testbed.vm.target import Target

T = TypeVar("T")
BACK_OFF_S = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Pauses before the first, second, … new try; the last one is kept."""


class Link:
    """A machine, with a connection to it that is made when it is needed, and again when it was lost.

    Patience counts from the first loss. It starts anew when work is done, when work says `progress()`, and when a
    connection is lost on which there was life for as long as the patience itself. A first connection that cannot be
    made is an error at once. `note` gets sentences for the user. For one thread at a time.
    """

    def __init__(
        self,
        target: Target,
        trust: Trust,
        *,
        note: Callable[[str], None],
        patience_s: float = 120,
        timeout_s: float = 15,
        silence_s: float = SILENCE_S,
        back_off_s: Sequence[float] = BACK_OFF_S,
    ) -> None:
        self.target = target
        self._trust = trust
        self._note = note
        self._patience_s = patience_s
        self._timeout_s = timeout_s
        self._silence_s = silence_s
        self._back_off_s = tuple(back_off_s)
        self._connection: Connection | None = None
        self._connected_s: float | None = None
        """When the connection was made last; None before the first."""
        self._lost_s: float | None = None
        self._tries = 0

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection, if there is one; the next `attempt` makes another."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def progress(self) -> None:
        """Say, from within work, that it has got somewhere: patience starts anew."""
        self._lost_s = None
        self._tries = 0

    def attempt(self, work: Callable[[Connection], T]) -> T:
        """Run work with a connection; after a loss again, from its start, on a new connection.

        Raises `ConnectionLost` when patience is over; every other error of connecting or of the work at once.
        """
        while True:
            try:
                connection = self._connected()
                with connection.guard():
                    done = work(connection)
            except ConnectionLost as lost:
                self._wait(lost)
            else:
                self.progress()
                return done

    def _connected(self) -> Connection:
        if self._connection is None:
            connection = connect(
                self.target, self._trust, timeout_s=self._timeout_s, silence_s=self._silence_s
            )
            self._connection, self._connected_s = connection, time.monotonic()
            if connection.learned:
                self._note(connection.learned)
            if self._lost_s is not None:
                self._note(f"connected to {self.target.name} again")
        return self._connection

    def _wait(self, lost: ConnectionLost) -> None:
        """Pause before the next try, or raise what was lost when there is none."""
        now_s = time.monotonic()
        if self._connected_s is None:
            raise lost
        if self._connection is not None:
            if self._connection.heard_s - self._connected_s >= self._patience_s:
                self.progress()
            self.close()
        if self._lost_s is None:
            self._lost_s = now_s
            reason = f" ({lost.reason})" if lost.reason else ""
            self._note(
                f"connection to {self.target.name} lost{reason}; trying again for {self._patience_s:g} s"
            )
        pause_s = self._back_off_s[min(self._tries, len(self._back_off_s) - 1)]
        self._tries += 1
        left_s = self._lost_s + self._patience_s - now_s
        if left_s <= 0:
            raise self._given_up(lost) from lost
        time.sleep(min(pause_s, left_s))

    def _given_up(self, lost: ConnectionLost) -> ConnectionLost:
        return ConnectionLost(
            f"{self.target.name} has not come back for {self._patience_s:g} s: {lost}",
            remedy=f"{lost.remedy}; then try again",
            reason=lost.reason,
        )
