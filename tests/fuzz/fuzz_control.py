"""Throws bytes at the control plane of a NIC: `python -m tests.fuzz.fuzz_control --inputs 1000000`.

Each input is what one client sends, from its first byte to its last, to a NIC that others use as well. Half of the
inputs are mutations of conversations that make sense (the kept corpus, in `corpus/control`, one file each); the rest
are made of whole messages with wrong values, and of noise. A NIC serves 100 inputs, then the next one does. Everything
is drawn from the seed and the input's number, so an input that fails can be made again: `--seed S --first N`.

Checked for every input: no exception; one reply for each whole message, in order, with its id, until the NIC lets go;
every refusal with a known code and a remedy; a NIC that is where a second one is, which was sent only the messages that
the first one accepted; memory held for the client below its bound; less than `SLOW_S` of time. At the end: no more
memory than after the first tenth.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import struct
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nic_emulator.control.card import MOST_UNREAD_BYTES, CardControl, Connection
from nic_emulator.control.commands import COMMANDS
from nic_emulator.control.protocol import MAX_MESSAGE_BYTES, ControlError, Splitter, decode, encode
from tests.unit.control_plan import control, workload

CORPUS = Path(__file__).parent / "corpus" / "control"
SLOW_S = 1.0
"""Of processor time; an input of 64 KiB takes a few ms."""
MOST_GROWTH_BYTES = 8 << 20
"""Of the process, over nine tenths of a run; a leak of ten bytes for each input would be more in a million."""
_LENGTH = struct.Struct(">I")
_INPUTS_PER_CARD = 100
CODES = frozenset(
    {"bad_length", "bad_json", "bad_message", "no_hello", "bad_version", "unknown_command", "bad_argument"}
    | {"wrong_state", "too_late", "no_stream", "stream_in_use"}
)
WORDS: tuple[Any, ...] = (
    *COMMANDS,
    *("version", "card", "peers", "workload", "level", "events", "id", "command", "state", "log", "debug"),
    *(
        "arrivals",
        "POISSON",
        "NONE",
        "CLOSED",
        "destinations",
        "others_of",
        "window",
        "__class__",
        "\ud800",
        "é" * 40,
    ),
    *(0, 1, -1, 3, 4, 255, 65535, 65536, 1 << 31, 1 << 53, (1 << 64) - 1, 1 << 64, 10**400, 0.5, 1e308),
    *(None, True, False, float("nan"), [], {}, [1], [[1]], {"a": 1}, [0] * 300, "x" * 5000),
)
TOKENS = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b":",
    b",",
    b"\\u0000",
    b"\x00",
    b"\xff",
    b"1e9",
    b"NaN",
    b"[" * 500,
    b"9" * 5000,
)


@dataclass(slots=True)
class Tally:
    """What the inputs were answered with."""

    inputs: int = 0
    replies: int = 0
    accepted: int = 0
    closed: int = 0
    slowest_s: float = 0.0
    codes: set[str] = field(default_factory=set)
    """Of the refusals."""


def corpus() -> list[bytes]:
    """The kept conversations."""
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.bin"))]


# ------------------------------------------------------------------------------------------------ inputs


def make_input(rng: random.Random, seeds: Sequence[bytes]) -> bytes:
    """What one client sends."""
    kind = rng.random()
    if kind < 0.5:
        return mutated(rng, rng.choice(seeds))
    if kind < 0.9:
        return b"".join(_message(rng) for _ in range(rng.randrange(1, 8)))
    if kind < 0.95:
        return rng.randbytes(rng.randrange(200))
    body = rng.randbytes(rng.choice((1, 10, 1000, 60_000))) if rng.random() < 0.5 else rng.choice(TOKENS) * 50
    return _hello() + _LENGTH.pack(len(body)) + body


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A conversation with a few changes of bytes, or of the values of its messages."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 16))):
        place = rng.randrange(len(found) + 1)
        what = rng.randrange(7)
        if what == 0 and place < len(found):
            found[place] = rng.randrange(256)
        elif what == 1:
            found[place:place] = rng.choice(TOKENS)
        elif what == 2:
            del found[place : place + rng.choice((1, 4, 40))]
        elif what == 3:
            found[place:place] = found[place : place + rng.randrange(1, 100)]
        elif what == 4 and place < len(found):
            found[place] ^= 1 << rng.randrange(8)
        elif what == 5:
            found[place : place + 4] = _LENGTH.pack(
                rng.choice((0, 1, 2, 100, MAX_MESSAGE_BYTES, 0xFFFFFFFF, rng.getrandbits(32)))
            )
        else:
            found = bytearray(_revalued(rng, bytes(found)))
    return bytes(found)


def _revalued(rng: random.Random, data: bytes) -> bytes:
    """The same messages, one of them with another value somewhere; whatever is no message stays."""
    splitter, bodies = Splitter(), []
    splitter.feed(data)
    try:
        while (body := splitter.next()) is not None:
            bodies.append(body)
    except ControlError:
        return data
    if not bodies:
        return data
    chosen = rng.randrange(len(bodies))
    try:
        bodies[chosen] = _body(_changed(rng, decode(bodies[chosen])))
    except ControlError:
        return data
    return b"".join(_LENGTH.pack(len(body)) + body for body in bodies)


def _changed(rng: random.Random, value: Any) -> Any:
    """A value with another one somewhere in it."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice([*value])
        if rng.random() < 0.1:
            return {each: item for each, item in value.items() if each != name}
        if rng.random() < 0.1:
            return value | {str(rng.choice(WORDS))[:50]: rng.choice(WORDS)}
        return value | {name: _changed(rng, value[name])}
    if isinstance(value, list) and value and rng.random() < 0.5:
        return [*value, rng.choice(WORDS)]
    return rng.choice(WORDS)


def _message(rng: random.Random) -> bytes:
    """A whole message, right in parts."""
    command = rng.choice([*COMMANDS])
    arguments: dict[str, Any] = {name: _argument(rng, name) for name in COMMANDS[command]}
    message: dict[str, Any] = {"id": rng.randrange(1 << 10), "command": command, **arguments}
    if rng.random() < 0.3:
        message = _changed(rng, message)
    return _framed(_body(message))


def _argument(rng: random.Random, name: str) -> Any:
    right: dict[str, tuple[Any, ...]] = {
        "version": (1, 1, 1, 2),
        "card": (0, 0, 1, 2),
        "peers": ([1], [2, 3], [1, 2, 3], [0], [4]),
        "level": ("error", "warning", "info", "debug"),
        "events": (["state"], ["log"], ["state", "log"]),
        "workload": (
            workload(1),
            workload(2, arrivals="CLOSED", window=4),
            workload(3, arrivals="POISSON", others_of=4, destinations=[]),
            {"arrivals": "NONE"},
            {"arrivals": "NONE", "reply": True},
            {},
        ),
    }
    return rng.choice(right[name])


def _body(message: Any) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def _framed(body: bytes) -> bytes:
    return _LENGTH.pack(len(body)) + body


def _hello() -> bytes:
    return encode({"id": 1, "command": "hello", "version": 1})


# ------------------------------------------------------------------------------------------------ checks


class Pair:
    """A NIC, and a second one that is sent only what the first one accepted."""

    def __init__(self) -> None:
        self.card = control(cards=2)
        self._shadow = control(cards=2)

    def end(self) -> None:
        """The run is over for both."""
        self.card.end("DONE")
        self._shadow.end("DONE")

    def feed(self, data: bytes, rng: random.Random, tally: Tally) -> None:
        """Feed one input in pieces, as a socket would, and look at what comes of it; AssertionError if it is wrong."""
        connection, splitter = Connection(self.card), Splitter()
        replies: list[dict[str, Any]] = []
        fed, left = b"", data
        began = time.process_time()
        while left and connection.wants_input:
            count = len(left) if rng.random() < 0.7 else rng.randrange(1, len(left) + 1)
            piece, left = left[:count], left[count:]
            fed += piece
            connection.receive(piece)
            assert connection.held_bytes <= MOST_UNREAD_BYTES + 3 * MAX_MESSAGE_BYTES + len(piece)
            _read(connection, splitter, replies)
        took_s = time.process_time() - began
        assert took_s < SLOW_S, f"{took_s:.2f} s for {len(data)} bytes"
        closed = connection.finished
        connection.close()
        accepted = _check_replies(fed, replies, closed)
        self._follow(accepted)
        tally.inputs += 1
        tally.replies += len(replies)
        tally.accepted += len(accepted)
        tally.closed += closed
        tally.codes.update(reply["error"]["code"] for reply in replies if not reply["ok"])
        tally.slowest_s = max(tally.slowest_s, took_s)

    def _follow(self, accepted: Sequence[bytes]) -> None:
        connection = Connection(self._shadow)
        for body in accepted:
            connection.receive(_framed(body))
        connection.close()
        assert _state_of(self.card) == _state_of(self._shadow), "a refused message changed the NIC"


def _read(connection: Connection, splitter: Splitter, replies: list[dict[str, Any]]) -> None:
    while output := connection.output:
        splitter.feed(output)
        connection.written(len(output))
    while (body := splitter.next()) is not None:
        message = decode(body)
        if "event" not in message:
            replies.append(message)
        else:
            assert message.keys() in (
                {"event", "lost", "state", "reason"},
                {"event", "lost", "level", "text"},
            )


def _state_of(card: CardControl) -> dict[str, Any]:
    return card.do("status", {}) | {"workloads": card.workloads}


def _check_replies(data: bytes, replies: list[dict[str, Any]], closed: bool) -> list[bytes]:
    """One reply for each message of `data`, in order; the messages that were accepted."""
    bodies, too_long = _bodies_of(data)
    assert [reply["id"] for reply in replies] == [*map(_id_of, bodies), *([None] if too_long else [])]
    assert closed == too_long
    for reply in replies:
        if reply["ok"] is True:
            assert reply.keys() == {"id", "ok", "result"}
        else:
            assert reply.keys() == {"id", "ok", "error"}
            assert reply["error"].keys() == {"code", "message", "remedy"}
            assert reply["error"]["code"] in CODES
            assert reply["error"]["remedy"]
    return [body for body, reply in zip(bodies, replies, strict=False) if reply["ok"]]


def _bodies_of(data: bytes) -> tuple[list[bytes], bool]:
    """The messages in a stream, by another reading of it than the NIC's; whether one that is too long follows."""
    bodies, place = [], 0
    while len(data) - place >= 4:
        length = int.from_bytes(data[place : place + 4], "big")
        if length > 65536:
            return bodies, True
        if len(data) < place + 4 + length:
            break
        bodies.append(data[place + 4 : place + 4 + length])
        place += 4 + length
    return bodies, False


def _id_of(body: bytes) -> int | None:
    try:
        number = decode(body).get("id")
    except ControlError:
        return None
    return number if type(number) is int and 0 <= number < 1 << 53 else None


# ------------------------------------------------------------------------------------------------ the whole


def fuzz(*, inputs: int, seed: int, first: int = 0) -> Tally:
    """Make and feed inputs `first` to `first + inputs - 1` of a seed."""
    seeds, tally = corpus(), Tally()
    assert seeds, f"no corpus in {CORPUS}"
    first -= first % _INPUTS_PER_CARD
    at_first_tenth = 0
    pair = Pair()
    for number in range(first, first + inputs):
        rng = random.Random(f"{seed}/{number}")
        if number % _INPUTS_PER_CARD == 0:
            pair = Pair()
        elif pair.card.state == "running" and rng.random() < 0.05:
            pair.end()
        data = make_input(rng, seeds)
        try:
            pair.feed(data, rng, tally)
        except BaseException:
            print(f"--seed {seed} --first {number}: {data!r}", file=sys.stderr)
            raise
        if number == first + inputs // 10:
            at_first_tenth = _most_memory_bytes()
    grown = _most_memory_bytes() - at_first_tenth
    assert grown < MOST_GROWTH_BYTES, f"{grown} bytes more than after the first tenth"
    return tally


def _most_memory_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> int:
    """Fuzz from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    tally = fuzz(inputs=options.inputs, seed=options.seed, first=options.first)
    print(f"{tally} in {time.monotonic() - began:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
