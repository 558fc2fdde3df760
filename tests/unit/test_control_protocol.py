"""The control plane without a socket: framing, every command in every state, and what is no message."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nic_emulator.control.card import MOST_UNREAD_BYTES, State
from nic_emulator.control.commands import COMMANDS
from nic_emulator.control.protocol import (
    MAX_MESSAGE_BYTES,
    ControlError,
    Message,
    Splitter,
    decode,
    encode,
)
from tests.unit.control_plan import COUNTERS, Talk, control, workload

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=10), inner, max_size=5),
    max_leaves=10,
)
VALID: dict[str, dict[str, Any]] = {
    "hello": {"version": 1},
    "status": {},
    "open_stream": {"card": 0, "peers": [1]},
    "close_stream": {"card": 0, "peers": [1]},
    "load_workload": {"card": 0, "workload": workload(1)},
    "start": {},
    "stop": {},
    "counters": {},
    "set_log_level": {"level": "debug"},
    "subscribe": {"events": ["state", "log"]},
    "unsubscribe": {"events": ["log"]},
}


def framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


def test_every_command_has_a_sample() -> None:
    assert VALID.keys() == COMMANDS.keys()


# ------------------------------------------------------------------------------------------------ framing


@given(st.lists(st.dictionaries(st.text(max_size=5), st.integers(), max_size=3), max_size=5), st.data())
def test_splitter_any_cut_gives_the_messages_back(messages: list[Message], data: st.DataObject) -> None:
    stream = b"".join(map(encode, messages))
    splitter, found = Splitter(), []
    while stream:
        count = data.draw(st.integers(1, len(stream)))
        splitter.feed(stream[:count])
        stream = stream[count:]
        while (body := splitter.next()) is not None:
            found.append(decode(body))
    assert found == messages
    assert len(splitter) == 0


def test_splitter_length_at_the_limit_is_taken_and_beyond_it_refused() -> None:
    splitter = Splitter()
    splitter.feed(framed(b"x" * MAX_MESSAGE_BYTES))
    assert splitter.next() == b"x" * MAX_MESSAGE_BYTES
    splitter.feed(struct.pack(">I", MAX_MESSAGE_BYTES + 1))
    with pytest.raises(ControlError, match="announced") as caught:
        splitter.next()
    assert caught.value.code == "bad_length"


def test_encode_too_long_is_refused() -> None:
    with pytest.raises(ControlError) as caught:
        encode({"x": "y" * MAX_MESSAGE_BYTES})
    assert caught.value.code == "bad_length"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "bad_length"),
        (b"{", "bad_json"),
        (b"\xff\xfe{}", "bad_json"),
        (b'{"id": 1.5}', "bad_json"),
        (b'{"id": NaN}', "bad_json"),
        (b'{"id": 1, "id": 2}', "bad_json"),
        (b'{"id": ' + b"9" * 5000 + b"}", "bad_json"),
        (b"[" * 30_000, "bad_json"),
        (b"[" * 30_000 + b"]" * 30_000, "bad_json"),
        (b"[1]", "bad_message"),
        (b"null", "bad_message"),
        (b"{}", "bad_message"),
        (b'{"id": -1, "command": "status"}', "bad_message"),
        (b'{"id": true, "command": "status"}', "bad_message"),
        (b'{"id": 9007199254740992, "command": "status"}', "bad_message"),
        (b'{"id": 1}', "unknown_command"),
        (b'{"id": 1, "command": []}', "unknown_command"),
        (b'{"id": 1, "command": "_advance"}', "unknown_command"),
        (b'{"id": 1, "command": "\\ud800"}', "unknown_command"),
        (b'{"id": 1, "command": "status", "more": 1}', "bad_argument"),
        (b'{"id": 1, "command": "open_stream", "card": 0}', "bad_argument"),
        (b'{"id": 1, "command": "open_stream", "card": 4, "peers": [1]}', "bad_argument"),
        (b'{"id": 1, "command": "open_stream", "card": true, "peers": [1]}', "bad_argument"),
        (b'{"id": 1, "command": "open_stream", "card": 0, "peers": []}', "bad_argument"),
        (b'{"id": 1, "command": "open_stream", "card": 0, "peers": [65536]}', "bad_argument"),
        (b'{"id": 1, "command": "set_log_level", "level": "loud"}', "bad_argument"),
        (b'{"id": 1, "command": "subscribe", "events": ["state", 1]}', "bad_argument"),
        (b'{"id": 1, "command": "load_workload", "card": 0, "workload": {"__class__": 1}}', "bad_argument"),
        (b'{"id": 1, "command": "load_workload", "card": 0, "workload": {"window": null}}', "bad_argument"),
    ],
)
def test_message_malformed_gets_one_error_and_changes_nothing(body: bytes, code: str) -> None:
    card = control()
    talk = Talk(card)
    before = talk.ask("status")["result"]
    (reply,) = talk.send(framed(body))
    assert reply["ok"] is False
    assert reply["error"]["code"] == code
    assert talk.ask("status")["result"] == before
    assert talk.connection.wants_input


def test_message_too_long_gets_one_error_and_the_connection_ends() -> None:
    talk = Talk(control())
    (reply,) = talk.send(struct.pack(">I", MAX_MESSAGE_BYTES + 1) + b"{}")
    assert (reply["id"], reply["error"]["code"]) == (None, "bad_length")
    assert talk.connection.finished
    assert talk.send(encode({"id": 1, "command": "status"})) == []


# ------------------------------------------------------------------------------------------------ commands


def test_hello_comes_first_and_with_our_version() -> None:
    talk = Talk(control(), greet=False)
    for command, arguments in VALID.items():
        if command != "hello":
            assert talk.refused(command, **arguments) == "no_hello"
    assert talk.refused("hello", version=2) == "bad_version"
    assert talk.refused("status") == "no_hello"
    assert talk.ask("hello", version=1)["result"] == {"version": 1, "name": "c1", "state": "idle"}


SETS_UP = ("open_stream", "close_stream", "load_workload", "start", "stop")
REFUSED = {
    State.IDLE: {
        "close_stream": "bad_argument",
        "load_workload": "no_stream",
        "start": "wrong_state",
        "stop": "wrong_state",
    },
    State.LOADED: {"close_stream": "stream_in_use"},
    State.RUNNING: dict.fromkeys(SETS_UP, "too_late"),
    State.ENDED: dict.fromkeys(SETS_UP, "wrong_state"),
}


def in_state(state: State) -> Talk:
    card = control()
    talk = Talk(card)
    if state is not State.IDLE:
        talk.load_and_start()
    if state is State.LOADED:
        card.state = State.LOADED
    if state is State.ENDED:
        card.end("DONE")
    assert card.state is state
    return talk


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("command", VALID)
def test_command_in_every_state_does_what_the_table_says(state: State, command: str) -> None:
    talk = in_state(state)
    expected = REFUSED[state].get(command)
    if expected:
        assert talk.refused(command, **VALID[command]) == expected
    else:
        assert talk.ask(command, **VALID[command])["ok"]


def test_start_waits_for_a_workload_of_each_card() -> None:
    talk = Talk(control(cards=2, checked=False))
    assert talk.ask("open_stream", card=0, peers=[1, 2, 3])["result"] == {"streams": 3}
    assert talk.ask("load_workload", card=0, workload=workload(3))["result"] == {"loaded": [True, False]}
    assert talk.refused("start") == "wrong_state"
    assert talk.ask("load_workload", card=1, workload={"arrivals": "NONE"})["ok"]
    assert talk.ask("start")["ok"]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (workload(1, message_bytes=0), "bad_argument"),
        (workload(1, interval_ps=0), "bad_argument"),
        (workload(1, nonsense=1), "bad_argument"),
        (workload(1, message_bytes="many"), "bad_argument"),
        (workload(1, arrivals="SOMETIMES"), "bad_argument"),
        (workload(1, arrivals=3), "bad_argument"),
        (workload(1, others_of=1 << 32), "bad_argument"),
        (workload(1, others_of=3), "bad_argument"),
        (workload(0), "no_stream"),
        (workload(2), "no_stream"),
    ],
)
def test_workload_that_no_card_can_have_is_refused(fields: Message, code: str) -> None:
    talk = Talk(control())
    assert talk.ask("open_stream", card=0, peers=[1])["ok"]
    assert talk.refused("load_workload", card=0, workload=fields) == code


@pytest.mark.parametrize("peers", [[0], [2], [1, 0]])
def test_stream_to_itself_or_to_nobody_is_refused(peers: list[int]) -> None:
    assert Talk(control()).refused("open_stream", card=0, peers=peers) == "bad_argument"


def test_stop_withdraws_and_frees_the_streams() -> None:
    talk = in_state(State.LOADED)
    assert talk.ask("stop")["result"] == {"state": "idle"}
    assert talk.ask("close_stream", card=0, peers=[1])["result"] == {"streams": 0}


def test_client_that_comes_back_finds_the_card_as_it_was() -> None:
    card = control()
    first = Talk(card)
    first.load_and_start()
    first.connection.close()
    again = Talk(card)
    status = again.ask("status")["result"]
    assert (status["state"], status["streams"], status["clients"]) == ("running", [1], 1)
    assert again.ask("counters")["result"] == {"virtual_ps": 5, "messages": 7, "counters": COUNTERS}


# ------------------------------------------------------------------------------------------------ events


def test_events_reach_those_who_asked_for_them() -> None:
    card = control()
    watcher, other = Talk(card), Talk(card)
    assert watcher.ask("subscribe", events=["state"])["result"] == {"events": ["state"]}
    other.load_and_start()
    card.end("DONE")
    told = [(event["event"], event["state"], event["reason"]) for event in watcher.read()]
    assert told == [("state", "loaded", ""), ("state", "running", ""), ("state", "ended", "DONE")]
    assert other.read() == []


@pytest.mark.parametrize(("level", "count"), [("error", 0), ("warning", 1), ("info", 1), ("debug", 2)])
def test_log_level_decides_what_is_told(level: str, count: int) -> None:
    card = control()
    watcher, other = Talk(card), Talk(card)
    watcher.ask("subscribe", events=["log"])
    watcher.ask("set_log_level", level=level)
    watcher.read()
    other.refused("start")
    assert len(watcher.read()) == count


def test_events_of_a_client_that_does_not_read_are_lost_and_counted() -> None:
    card = control()
    slow, busy = Talk(card), Talk(card)
    slow.ask("subscribe", events=["log"])
    slow.ask("set_log_level", level="debug")
    for _ in range(10_000):
        busy.ask("status")
    assert slow.connection.held_bytes < MOST_UNREAD_BYTES + 1000
    kept = len(slow.read())
    busy.ask("status")
    (event,) = slow.read()
    assert event["lost"] == 10_000 - kept > 0


def test_requests_of_a_client_that_does_not_read_wait_and_are_all_answered() -> None:
    connection = Talk(control()).connection
    chunk = encode({"id": 1, "command": "status"}) * 1000
    fed = 0
    while connection.wants_input:
        connection.receive(chunk)
        fed += 1000
        assert connection.held_bytes < MOST_UNREAD_BYTES + len(chunk) + 1000
    assert fed > 1000
    splitter, answered = Splitter(), 0
    while output := connection.output:
        splitter.feed(output)
        connection.written(len(output))
        while splitter.next() is not None:
            answered += 1
    assert answered == fed


# ------------------------------------------------------------------------------------------------ anything


@settings(max_examples=300)
@given(JSON, st.sampled_from([*VALID, ""]), st.booleans())
def test_any_json_gets_one_reply(anything: Any, command: str, whole: bool) -> None:
    message = {"id": 1, "command": command, **VALID.get(command, {})}
    if not whole and isinstance(anything, dict):
        message.update(anything)
    elif message.keys() - {"id", "command"}:
        message[[*message][-1]] = anything
    talk = Talk(control())
    (reply,) = talk.send(framed(json.dumps(message).encode()))
    assert reply["ok"] or reply["error"]["remedy"]


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=5))
def test_any_bytes_get_errors_only(chunks: list[bytes]) -> None:
    talk = Talk(control(), greet=False)
    for chunk in chunks:
        assert all(reply["ok"] is False for reply in talk.send(chunk))
