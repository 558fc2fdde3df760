"""The control plane's part of a NIC process: a thread that serves the sockets of the process's NICs.

It never runs on the data path: its thread has the machine's ordinary scheduling, whatever the process's first thread
has; it writes without waiting; and what it reads of a model it reads between two of the model's turns.
"""

from __future__ import annotations

import os
import selectors
import socket
import threading
from collections.abc import Sequence
from types import TracebackType

from nic_emulator.control.card import CardControl, Connection, State
from nic_emulator.control.protocol import ControlError
from nic_emulator.control.sockets import peer_uid

MOST_CLIENTS = 8
"""Of one NIC at one time."""
_CHUNK_BYTES = 64 * 1024


class _Client:
    """A connection with its socket."""

    def __init__(self, socket_: socket.socket, connection: Connection) -> None:
        self.socket = socket_
        self.connection = connection
        self.events = 0

    def wanted_events(self) -> int:
        """What to wait for."""
        reads = selectors.EVENT_READ if self.connection.wants_input else 0
        return reads | (selectors.EVENT_WRITE if self.connection.output else 0)

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(_CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.connection.receive(data)
        else:
            self.connection.close()

    def write(self) -> None:
        """Send what the other end takes now."""
        try:
            while output := self.connection.output:
                self.connection.written(self.socket.send(output))
        except BlockingIOError:
            return
        except OSError:
            self.connection.close()


class ControlServer:
    """Serves NICs, each at a listening socket, until it is closed."""

    def __init__(self, cards: Sequence[tuple[socket.socket, CardControl]]) -> None:
        self._cards = [card for _, card in cards]
        self._listeners = [listener for listener, _ in cards]
        self._clients: list[_Client] = []
        self._lock = threading.Lock()
        """Of everything but the selector, which is the thread's alone."""
        self._started = threading.Event()
        self._over = False
        self._selector = selectors.DefaultSelector()
        for listener, card in cards:
            self._selector.register(listener, selectors.EVENT_READ, card)
        self._wake_out, self._wake_in = socket.socketpair()
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()

    def wait_started(self, timeout_s: float) -> bool:
        """Wait until every NIC has been told to start; False if that takes longer."""
        return self._started.wait(timeout_s)

    def not_started(self) -> list[str]:
        """The NICs that nobody has told to start so far."""
        with self._lock:
            return [card.name for card in self._cards if card.state in (State.IDLE, State.LOADED)]

    def end(self, reason: str) -> None:
        """Tell every client that the run is over; does not wait for one that does not read."""
        with self._lock:
            for card in self._cards:
                card.end(reason)
            self._flush()

    def close(self) -> None:
        """Serve no longer."""
        with self._lock:
            self._over = True
            self._wake_out.send(b"!")
        self._thread.join()
        for client in self._clients:
            client.socket.close()
        for each in (*self._listeners, self._wake_in, self._wake_out):
            each.close()
        self._selector.close()

    def __enter__(self) -> ControlServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ the thread

    def _serve(self) -> None:
        _be_ordinary()
        while not self._over:
            ready = self._selector.select()
            with self._lock:
                for key, events in ready:
                    self._handle(key, events)
                self._flush()
                self._settle()

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        if isinstance(key.data, CardControl):
            assert isinstance(key.fileobj, socket.socket)
            self._accept(key.fileobj, key.data)
        elif isinstance(key.data, _Client) and events & selectors.EVENT_READ:
            key.data.read()

    def _accept(self, listener: socket.socket, card: CardControl) -> None:
        try:
            connected, _ = listener.accept()
        except OSError:  # it has gone again
            return
        connected.setblocking(False)
        client = _Client(connected, Connection(card))
        self._clients.append(client)
        if peer_uid(connected) != os.geteuid():
            client.connection.refuse(_not_owner(card))
        elif len(card.connections) > MOST_CLIENTS:
            client.connection.refuse(_too_many(card))

    def _flush(self) -> None:
        """Send what has been said to anybody."""
        for client in self._clients:
            client.write()

    def _settle(self) -> None:
        """Wait for each client as it needs it; let go of those that are done."""
        for client in [*self._clients]:
            if client.connection.finished:
                self._let_go(client)
                continue
            wanted = client.wanted_events()
            if wanted == client.events:
                continue
            if client.events:
                self._selector.unregister(client.socket)
            if wanted:
                self._selector.register(client.socket, wanted, client)
            client.events = wanted
        if all(card.state is State.RUNNING for card in self._cards):
            self._started.set()

    def _let_go(self, client: _Client) -> None:
        client.connection.close()
        if client.events:
            self._selector.unregister(client.socket)
        client.socket.close()
        self._clients.remove(client)


def _be_ordinary() -> None:
    """This thread alone: scheduled as any other of the machine, even where the process is not."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) < 0:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 0)


def _not_owner(card: CardControl) -> ControlError:
    return ControlError(
        f"{card.name} belongs to another user", remedy="ask as the user who started the run", code="not_owner"
    )


def _too_many(card: CardControl) -> ControlError:
    return ControlError(
        f"{card.name} has {MOST_CLIENTS} clients already", remedy="close one of them", code="too_many_clients"
    )
