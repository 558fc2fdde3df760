"""How a script, or a host agent, talks to a NIC: `CardClient`. Reference and an example: docs/host-agent.md."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from nic_emulator.control.protocol import (
    VERSION,
    ControlError,
    Message,
    Splitter,
    decode,
    encode,
)
from nic_emulator.control.sockets import connect_to

_CHUNK_BYTES = 64 * 1024
_PEERS_AT_ONCE = 4096
ENDED = "ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A NIC at one instant."""

    name: str
    state: str
    """`idle`, `loaded`, `running` or `ended`."""
    reason: str
    """Why it has ended: DONE, or what went wrong."""
    first_card: int
    """Number of the first card behind it."""
    cards: int
    fabric_cards: int
    """Cards of the whole fabric; they are numbered from 0."""
    streams: list[int]
    """Open, by card."""
    loaded: list[bool]
    """Whether a workload is loaded, by card."""
    virtual_ps: int
    messages: int
    """Completed in the NIC's process."""
    log_level: str
    clients: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSnapshot:
    """All counters of a NIC at one instant of virtual time."""

    virtual_ps: int
    messages: int
    """Completed in the NIC's process."""
    counters: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a NIC said unasked."""

    topic: str
    """`state` or `log`."""
    lost: int
    """Events that this client has lost so far because it did not read."""
    fields: Message
    """Of `state`: state, reason; of `log`: level, text."""


class CardClient:
    """A connection to a NIC; a context manager that closes it. Not for several threads at once.

    Every method raises `ControlError`: with the NIC's code if it refuses, `lost` if the connection is gone, `timeout`
    if no answer has come in time.
    """

    def __init__(self, path: Path | str, *, timeout_s: float = 5.0) -> None:
        """Connect and say hello.

        Args:
            path: the NIC's socket.
            timeout_s: how long to wait for each answer, in seconds.
        """
        self._timeout_s = timeout_s
        self._splitter = Splitter()
        self._events: deque[Event] = deque()
        self._next_id = 1
        try:
            self._socket = connect_to(Path(path), timeout_s)
        except OSError as error:
            raise ControlError(
                f"no NIC listens at {path}: {error}",
                remedy="a NIC listens from the start of its process to the end of its cell",
                code="lost",
            ) from error
        try:
            self._ask("hello", version=VERSION)
        except BaseException:
            self._socket.close()
            raise

    def status(self) -> Status:
        """Where the NIC is."""
        return Status(**self._ask("status"))

    def open_streams(self, peers: Sequence[int], *, card: int = 0) -> int:
        """Open streams from a card (0 to 3, counted behind this NIC) to others (card numbers); how many it has."""
        count = 0
        for first in range(0, len(peers), _PEERS_AT_ONCE):
            some = [*peers[first : first + _PEERS_AT_ONCE]]
            count = self._ask("open_stream", card=card, peers=some)["streams"]
        return count

    def close_streams(self, peers: Sequence[int], *, card: int = 0) -> int:
        """Close streams; how many the card still has."""
        count: int = self._ask("close_stream", card=card, peers=[*peers])["streams"]
        return count

    def load_workload(self, workload: Mapping[str, Any], *, card: int = 0) -> None:
        """Give a card its work: fields of the engine's WorkloadConfig. Its streams must be open."""
        self._ask("load_workload", card=card, workload=dict(workload))

    def start(self) -> None:
        """Let the NIC begin, as soon as the clock does; every card of it has a workload."""
        self._ask("start")

    def stop(self) -> None:
        """Withdraw the workloads of a NIC that has not been started."""
        self._ask("stop")

    def counters(self) -> CounterSnapshot:
        """All counters, of one instant, also in mid-run."""
        return CounterSnapshot(**self._ask("counters"))

    def set_log_level(self, level: str) -> None:
        """How much the NIC tells subscribers of `log`: error, warning, info or debug."""
        self._ask("set_log_level", level=level)

    def subscribe(self, *topics: str) -> None:
        """Be told of `state`, `log`, or both."""
        self._ask("subscribe", events=[*topics])

    def unsubscribe(self, *topics: str) -> None:
        """Be told no longer."""
        self._ask("unsubscribe", events=[*topics])

    def next_event(self, *, timeout_s: float | None = None) -> Event:
        """The next event, waiting so long at most [s]; without end if None."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not self._events:
            self._take_event(self._receive(deadline_s))
        return self._events.popleft()

    def wait_ended(self, *, timeout_s: float | None = None) -> str:
        """Wait until the NIC has ended, so long at most [s]; why it has."""
        self.subscribe("state")
        status = self.status()
        return status.reason if status.state == ENDED else self.wait_end_event(timeout_s=timeout_s)

    def wait_end_event(self, *, timeout_s: float | None = None) -> str:
        """As `wait_ended`, of a client that subscribed to `state` before the NIC was started: it asks nothing more."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            left_s = None if deadline_s is None else max(0.0, deadline_s - time.monotonic())
            event = self.next_event(timeout_s=left_s)
            if event.topic == "state" and event.fields["state"] == ENDED:
                reason: str = event.fields["reason"]
                return reason

    def close(self) -> None:
        """Leave; the NIC goes on."""
        self._socket.close()

    def __enter__(self) -> CardClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------ messages

    def _ask(self, command: str, **arguments: Any) -> Message:  # noqa: ANN401
        """One request and its reply."""
        number, self._next_id = self._next_id, self._next_id + 1
        deadline_s = time.monotonic() + self._timeout_s
        try:
            self._socket.settimeout(self._timeout_s)
            self._socket.sendall(encode({"id": number, "command": command, **arguments}))
        except TimeoutError as error:
            raise self._late() from error
        except OSError as error:
            self._take_last_words()
            raise _lost() from error
        while True:
            message = self._receive(deadline_s)
            if "event" in message:
                self._take_event(message)
            elif message.get("id") in (number, None):
                return _result(message)

    def _take_last_words(self) -> None:
        """A NIC that refuses a client says why before it closes."""
        while "ok" not in (message := self._receive(time.monotonic() + self._timeout_s)):
            self._take_event(message)
        _result(message)

    def _receive(self, deadline_s: float | None) -> Message:
        """The next message, by a time of the monotonic clock."""
        while (body := self._splitter.next()) is None:
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise self._late()
            self._socket.settimeout(left_s)
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError as error:
                raise self._late() from error
            except OSError as error:
                raise _lost() from error
            if not data:
                raise _lost()
            self._splitter.feed(data)
        return decode(body)

    def _take_event(self, message: Message) -> None:
        if "event" not in message:
            return  # the late reply to a request that was given up
        topic, lost = message.pop("event"), message.pop("lost")
        self._events.append(Event(topic=topic, lost=lost, fields=message))

    def _late(self) -> ControlError:
        return ControlError(
            "nothing has come from the NIC in time",
            remedy="allow more time; a NIC whose machine is busy answers late",
            code="timeout",
        )


def _lost() -> ControlError:
    return ControlError(
        "the connection to the NIC is lost",
        remedy="connect again; if nobody listens, its cell is over",
        code="lost",
    )


def _result(reply: Message) -> Message:
    """What a reply holds; ControlError if it is a refusal."""
    if reply.get("ok") is True:
        result: Message = reply["result"]
        return result
    error = reply["error"]
    raise ControlError(error["message"], remedy=error["remedy"], code=error["code"])
