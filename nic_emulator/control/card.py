"""A NIC as its control plane sees it: a state machine and its clients. Pure: bytes in, bytes out.

    idle ──load_workload of the last card──► loaded ──start──► running ──the run is over──► ended
      ◄──────────────stop───────────────────┘

Rules.
 1. Streams, workloads, start and stop are for the time before `running`. From then on virtual time goes on and waits
    for no host: when such a command would take effect would depend on this machine, so it is refused.
 2. What is only read (status, counters, events) may be asked for at any time, by any number of clients, and a client
    that comes back finds everything as it was.
 3. Every message gets exactly one reply. One that is wrong gets an error and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from nic_emulator.control.commands import (
    Level,
    Topic,
    bad_argument,
    parse_request,
    peers_of,
    request_id,
)
from nic_emulator.control.protocol import VERSION, ControlError, Message, Splitter, decode, encode

MOST_UNREAD_BYTES = 256 * 1024
"""Of a client that does not read: events beyond it are lost, and its requests wait."""

Snapshot = tuple[int, int, Mapping[str, int]]
"""Virtual time [ps], messages completed in this process, and the NIC's counters, of one instant."""


class State(StrEnum):
    """Where a NIC is."""

    IDLE = "idle"
    LOADED = "loaded"
    RUNNING = "running"
    ENDED = "ended"


_BEFORE = frozenset({State.IDLE, State.LOADED})
ALLOWED: Mapping[str, frozenset[State]] = {
    "open_stream": _BEFORE,
    "close_stream": _BEFORE,
    "load_workload": _BEFORE,
    "start": frozenset({State.LOADED}),
    "stop": frozenset({State.LOADED}),
}
"""Commands that are not for every state."""


class CardControl:
    """One NIC with the cards behind it.

    Args:
        name: of the NIC.
        first_card: number of its first card.
        cards: how many are behind it.
        fabric_cards: how many the fabric has.
        check_workload: raises ValueError for a workload (local card, fields) that no card can have.
        read_counters: the NIC now; called for every `counters` and `status`.
    """

    def __init__(
        self,
        name: str,
        *,
        first_card: int,
        cards: int,
        fabric_cards: int,
        check_workload: Callable[[int, Message], None],
        read_counters: Callable[[], Snapshot],
    ) -> None:
        self.name = name
        self.first_card = first_card
        self.cards = cards
        self.fabric_cards = fabric_cards
        self.state = State.IDLE
        self.log_level = Level.WARNING
        self.reason = ""
        """Why it has ended."""
        self.connections: list[Connection] = []
        self._check_workload = check_workload
        self._read_counters = read_counters
        self._streams: list[set[int]] = [set() for _ in range(cards)]
        self._workloads: list[Message | None] = [None] * cards

    @property
    def workloads(self) -> list[Message]:
        """What each card was given, in order; whole once the NIC is loaded."""
        return [workload for workload in self._workloads if workload is not None]

    def end(self, reason: str) -> None:
        """The run is over, for this reason."""
        self.reason = reason
        self._enter(State.ENDED)

    def do(self, command: str, arguments: Mapping[str, Any]) -> Message:
        """Obey one command of those that are the NIC's; its result, or ControlError."""
        allowed = ALLOWED.get(command, frozenset(State))
        if self.state not in allowed:
            raise self._not_now(command)
        result: Message = getattr(self, f"_{command}")(**arguments)
        if command in ALLOWED:
            self.log(Level.INFO, f"{command} done")
        return result

    def log(self, level: Level, text: str) -> None:
        """Tell those who want to know."""
        if self.log_level.includes(level):
            self._emit(Topic.LOG, {"level": level, "text": text})

    def _not_now(self, command: str) -> ControlError:
        if self.state is State.RUNNING:
            return ControlError(
                f"{self.name} is running, and '{command}' would change its records: virtual time does not wait for"
                " a host, so when it took effect would depend on this machine",
                remedy="say it before 'start'; what is to happen in the run belongs into the workload",
                code="too_late",
            )
        wanted = " or ".join(f"'{state}'" for state in State if state in ALLOWED[command])
        return ControlError(
            f"{self.name} is '{self.state}', and '{command}' is for {wanted}",
            remedy="load a workload for each card, then start; see docs/host-agent.md",
            code="wrong_state",
        )

    def _enter(self, state: State) -> None:
        if state is self.state:
            return
        self.state = state
        self._emit(Topic.STATE, {"state": state, "reason": self.reason})

    def _emit(self, topic: Topic, event: Message) -> None:
        for connection in self.connections:
            connection.tell(topic, event)

    def _local(self, card: int) -> int:
        if card >= self.cards:
            raise bad_argument(f"{self.name} has {self.cards} card(s), counted from 0", "name one of these")
        return card

    # ------------------------------------------------------------------------------------------ commands

    def _status(self) -> Message:
        now_ps, messages, _ = self._read_counters()
        return {
            "name": self.name,
            "state": self.state,
            "reason": self.reason,
            "first_card": self.first_card,
            "cards": self.cards,
            "fabric_cards": self.fabric_cards,
            "streams": [len(streams) for streams in self._streams],
            "loaded": [workload is not None for workload in self._workloads],
            "virtual_ps": now_ps,
            "messages": messages,
            "log_level": self.log_level,
            "clients": len(self.connections),
        }

    def _open_stream(self, card: int, peers: tuple[int, ...]) -> Message:
        streams = self._streams[self._local(card)]
        own = self.first_card + card
        if own in peers or max(peers) >= self.fabric_cards:
            raise bad_argument(
                f"card {own} has streams to other cards, of 0 to {self.fabric_cards - 1}", "name such cards"
            )
        streams.update(peers)
        return {"streams": len(streams)}

    def _close_stream(self, card: int, peers: tuple[int, ...]) -> Message:
        streams = self._streams[self._local(card)]
        if not streams.issuperset(peers):
            raise bad_argument(
                f"card {self.first_card + card} has no stream to one of these", "open it first"
            )
        workload = self._workloads[card]
        if workload is not None and not peers_of(workload, own=self.first_card + card).isdisjoint(peers):
            raise ControlError(
                f"the workload of card {self.first_card + card} needs such a stream",
                remedy="withdraw the workload with 'stop', or load another one",
                code="stream_in_use",
            )
        streams.difference_update(peers)
        return {"streams": len(streams)}

    def _load_workload(self, card: int, workload: Message) -> Message:
        self._local(card)
        try:
            self._check_workload(card, workload)
        except ValueError as error:
            raise bad_argument(
                f"no workload: {str(error)[:200]}", "see WorkloadConfig in _engine.pyi"
            ) from error
        if workload.get("others_of", 0) > self.fabric_cards:
            raise bad_argument(f"the fabric has {self.fabric_cards} cards", "lower 'others_of'")
        missing = peers_of(workload, own=self.first_card + card) - self._streams[card]
        if missing:
            raise ControlError(
                f"card {self.first_card + card} has no stream to {len(missing)} of the workload's cards, e.g. to"
                f" card {min(missing)}",
                remedy="open the streams first, with 'open_stream'",
                code="no_stream",
            )
        self._workloads[card] = workload
        if None not in self._workloads:
            self._enter(State.LOADED)
        return {"loaded": [given is not None for given in self._workloads]}

    def _start(self) -> Message:
        self._enter(State.RUNNING)
        return {"state": self.state}

    def _stop(self) -> Message:
        self._workloads = [None] * self.cards
        self._enter(State.IDLE)
        return {"state": self.state}

    def _counters(self) -> Message:
        now_ps, messages, counters = self._read_counters()
        return {"virtual_ps": now_ps, "messages": messages, "counters": dict(counters)}

    def _set_log_level(self, level: Level) -> Message:
        self.log_level = level
        return {"log_level": level}


class Connection:
    """One client of a NIC: bytes that have come in, bytes that are to go out.

    `receive` takes what was read, `output` is what to write next, `written` says how much of it was. Read only while
    `wants_input`; close once `finished`.
    """

    def __init__(self, card: CardControl) -> None:
        self._card = card
        self._splitter = Splitter()
        self._output = bytearray()
        self._greeted = False
        self._topics: frozenset[Topic] = frozenset()
        self._closing = False
        self._lost = 0
        card.connections.append(self)
        card.log(Level.INFO, "a client has come")

    def close(self) -> None:
        """The client is gone."""
        self._closing = True
        self._output.clear()
        if self in self._card.connections:
            self._card.connections.remove(self)
            self._card.log(Level.INFO, "a client has gone")

    @property
    def wants_input(self) -> bool:
        """Whether more bytes may be received: its replies so far are read in time, and it is not to be closed."""
        return not self._closing and len(self._output) < MOST_UNREAD_BYTES

    @property
    def finished(self) -> bool:
        """Everything is said, and nothing more is heard."""
        return self._closing and not self._output

    @property
    def held_bytes(self) -> int:
        """Memory that the client takes, about."""
        return len(self._output) + len(self._splitter)

    @property
    def output(self) -> bytes:
        """What is to be sent."""
        return bytes(self._output)

    def written(self, count: int) -> None:
        """So many bytes of `output` are sent; requests that had to wait go on."""
        del self._output[:count]
        self._advance()

    def receive(self, data: bytes) -> None:
        """Take bytes of the client, and answer."""
        self._splitter.feed(data)
        self._advance()

    def refuse(self, error: ControlError) -> None:
        """Say why, then close."""
        self._output += encode(_error_reply(None, error))
        self._closing = True

    def tell(self, topic: Topic, event: Message) -> None:
        """Send an event if the client asked for its kind and reads what it gets; else count it as lost."""
        if topic not in self._topics or self._closing:
            return
        if len(self._output) >= MOST_UNREAD_BYTES:
            self._lost += 1
            return
        self._output += encode({"event": topic, "lost": self._lost, **event})

    def _advance(self) -> None:
        while self.wants_input:
            try:
                body = self._splitter.next()
            except ControlError as error:
                self.refuse(error)
                return
            if body is None:
                return
            self._output += self._reply(body)

    def _reply(self, body: bytes) -> bytes:
        """The one answer to one message."""
        number = None
        try:
            message = decode(body)
            number = request_id(message)
            command, arguments = parse_request(message)
            self._card.log(Level.DEBUG, command)
            return encode({"id": number, "ok": True, "result": self._obey(command, arguments)})
        except ControlError as error:
            self._card.log(Level.WARNING, f"{error.code}: {error}")
            return encode(_error_reply(number, error))

    def _obey(self, command: str, arguments: Mapping[str, Any]) -> Message:
        if command == "hello":
            return self._hello(**arguments)
        if not self._greeted:
            raise ControlError(
                "the first command is 'hello'", remedy=f"say hello with version {VERSION}", code="no_hello"
            )
        if command == "subscribe":
            self._topics |= arguments["events"]
            return {"events": sorted(self._topics)}
        if command == "unsubscribe":
            self._topics -= arguments["events"]
            return {"events": sorted(self._topics), "lost": self._lost}
        return self._card.do(command, arguments)

    def _hello(self, version: int) -> Message:
        if version != VERSION:
            raise ControlError(
                f"this NIC speaks version {VERSION}, not {version}",
                remedy="use the client of the same release",
                code="bad_version",
            )
        self._greeted = True
        return {"version": VERSION, "name": self._card.name, "state": self._card.state}


def _error_reply(number: int | None, error: ControlError) -> Message:
    return {
        "id": number,
        "ok": False,
        "error": {"code": error.code, "message": str(error), "remedy": error.remedy},
    }
