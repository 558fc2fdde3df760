"""The bytes between a NIC and who controls it: a length of 4 bytes, big-endian, then that many bytes of JSON.

Pure: no socket, no clock. Reference with every command: docs/host-agent.md. Numbers are integers; an object may not
name a field twice.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from testbed.errors import NicError

VERSION = 1
"""History. 1: hello, status, open_stream, close_stream, load_workload, start, stop, counters, set_log_level,
subscribe, unsubscribe; events state and log."""
MAX_MESSAGE_BYTES = 64 * 1024
"""Of one message, without its length: room for the streams of a card to ten thousand others."""
MAX_ID = (1 << 53) - 1
"""The largest whole number that every reader of JSON keeps exact."""

_LENGTH = struct.Struct(">I")
LENGTH_BYTES = _LENGTH.size

Message = dict[str, Any]


class ControlError(NicError):
    """A NIC refused a command, or its socket gave up; `code` is one of those in docs/host-agent.md."""

    def __init__(self, message: str, *, remedy: str, code: str) -> None:
        super().__init__(message, remedy=remedy)
        self.code = code


def _refuse_float(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is no integer")


def _unique(pairs: Sequence[tuple[str, Any]]) -> Message:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a field is there twice")
    return found


_DECODER = json.JSONDecoder(
    parse_float=_refuse_float, parse_constant=_refuse_float, object_pairs_hook=_unique
)


def encode(message: Mapping[str, Any]) -> bytes:
    """A message with its length in front; ControlError if it is too long."""
    body = json.dumps(message, separators=(",", ":")).encode()
    if len(body) > MAX_MESSAGE_BYTES:
        raise ControlError(
            f"the message has {len(body)} bytes, and the most is {MAX_MESSAGE_BYTES}",
            remedy="split it, e.g. open streams in several commands",
            code="bad_length",
        )
    return _LENGTH.pack(len(body)) + body


def decode(body: bytes) -> Message:
    """The message in these bytes; ControlError for what is none."""
    if not body:
        raise ControlError(
            "a message of 0 bytes", remedy="a message is at least the 2 bytes of an object", code="bad_length"
        )
    try:
        message = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ControlError(
            f"the message is not JSON as it is written here: {str(error)[:100]}",
            remedy="send one object in UTF-8; integers only, each field once",
            code="bad_json",
        ) from error
    if not isinstance(message, dict):
        raise ControlError(
            f"the message is {type(message).__name__}, not an object",
            remedy='send {"id": 1, "command": ...}',
            code="bad_message",
        )
    return message


class Splitter:
    """Cuts a stream of bytes into messages; it holds no more than one of them and what was fed last."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._bytes += data

    def next(self) -> bytes | None:
        """The next whole message without its length; None if there is none yet.

        Raises:
            ControlError: the length is beyond the limit. Where the next message would start is not known then.
        """
        if len(self._bytes) < LENGTH_BYTES:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        if length > MAX_MESSAGE_BYTES:
            raise ControlError(
                f"a message of {length} bytes is announced, and the most is {MAX_MESSAGE_BYTES}",
                remedy="a message starts with its length, 4 bytes, big-endian; connect again",
                code="bad_length",
            )
        if len(self._bytes) < LENGTH_BYTES + length:
            return None
        body = bytes(self._bytes[LENGTH_BYTES : LENGTH_BYTES + length])
        del self._bytes[: LENGTH_BYTES + length]
        return body

    def __len__(self) -> int:
        """Bytes held."""
        return len(self._bytes)
