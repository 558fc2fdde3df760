"""A TCP proxy on loopback that fails on demand: it resets connections, forwards nothing, or refuses."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["up", "down"]
"""`up` is from the client to the server."""
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_CHUNK_BYTES = 16384
_TICK_S = 0.02


@dataclass(eq=False)
class _Pair:
    """A client's connection and the one to the server that belongs to it."""

    client: socket.socket
    server: socket.socket
    ended: threading.Event = field(default_factory=threading.Event)

    def end(self, *, reset: bool) -> None:
        """Close both; with a reset (RST) or in order (FIN)."""
        self.ended.set()
        for one in (self.client, self.server):
            with contextlib.suppress(OSError):
                if reset:
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
                else:
                    one.shutdown(socket.SHUT_RDWR)
            one.close()


class Proxy:
    """Forwards 127.0.0.1:`port` to 127.0.0.1:`server_port`; `stop()` it, or use it as a context manager.

    `connections` counts those that were accepted; `forwarded_bytes` what went through in each direction, in all.
    """

    def __init__(self, server_port: int) -> None:
        self.server_port = server_port
        self.connections = 0
        self.forwarded_bytes: dict[Direction, int] = {"up": 0, "down": 0}
        self._flow = threading.Event()
        self._flow.set()
        self._cut_at: dict[Direction, int] = {}
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.accept()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def cut_after(self, bytes_: int, direction: Direction = "down") -> None:
        """Reset the connection that carries the n-th byte from now in this direction, once; 0 resets all now."""
        if bytes_ == 0:
            self.reset()
            return
        with self._lock:
            self._cut_at[direction] = self.forwarded_bytes[direction] + bytes_

    def reset(self) -> None:
        """Reset every connection (RST) now."""
        for pair in self._take_pairs():
            pair.end(reset=True)

    def stall(self) -> None:
        """Forward nothing more, and close nothing: as if the network dropped every packet."""
        self._flow.clear()

    def resume(self) -> None:
        """Forward again, what has been held back too; and accept connections again."""
        self._flow.set()
        self.accept()

    def refuse(self) -> None:
        """Refuse new connections; those that stand go on."""
        if self._listener is not None:
            listener, self._listener = self._listener, None
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            listener.close()

    def accept(self) -> None:
        """Accept connections, at the same port as before."""
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self.port = self._listener.getsockname()[1]
            self._spawn(self._serve, self._listener)

    def stop(self) -> None:
        """Close everything and end every thread."""
        self.refuse()
        self._flow.set()
        self.reset()
        for thread in self._threads:
            thread.join(timeout=10)

    def _take_pairs(self) -> list[_Pair]:
        with self._lock:
            pairs, self._pairs = self._pairs, []
        return pairs

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.server_port), 5)
            except OSError:
                _Pair(client, client).end(reset=True)
                continue
            for one in (client, server):
                one.settimeout(_TICK_S)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pair = _Pair(client, server)
            with self._lock:
                self.connections += 1
                self._pairs.append(pair)
            self._spawn(self._pump, pair, client, server, "up")
            self._spawn(self._pump, pair, server, client, "down")

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := self._take(pair, source):
                allowed, cut = self._admit(len(data), direction)
                self._give(pair, sink, data[:allowed])
                if cut:
                    pair.end(reset=True)
        if self._flows(pair):
            pair.end(reset=False)

    def _take(self, pair: _Pair, source: socket.socket) -> bytes:
        """What comes next; nothing at the end. Never waits long: a socket is closed only when nobody waits for it."""
        while self._flows(pair):
            with contextlib.suppress(TimeoutError):
                return source.recv(_CHUNK_BYTES)
        return b""

    def _give(self, pair: _Pair, sink: socket.socket, data: bytes) -> None:
        while data and self._flows(pair):
            with contextlib.suppress(TimeoutError):
                data = data[sink.send(data) :]

    def _flows(self, pair: _Pair) -> bool:
        """Wait while stalled; whether the connection still stands."""
        while not self._flow.wait(_TICK_S) and not pair.ended.is_set():
            pass
        return not pair.ended.is_set()

    def _admit(self, bytes_: int, direction: Direction) -> tuple[int, bool]:
        """How much of a chunk goes through, and whether its connection is cut behind that."""
        with self._lock:
            left = self._cut_at.get(direction, self.forwarded_bytes[direction] + bytes_ + 1)
            left -= self.forwarded_bytes[direction]
            cut = left <= bytes_
            if cut:
                del self._cut_at[direction]
            allowed = min(left, bytes_)
            self.forwarded_bytes[direction] += allowed
            return allowed, cut
