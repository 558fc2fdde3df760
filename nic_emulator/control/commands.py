"""What may be said to a NIC: commands, their arguments and their types. Pure: it knows no state."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from nic_emulator.control.protocol import MAX_ID, ControlError, Message

MAX_CARDS = 1 << 16
"""A card's number has 16 bits on the wire."""
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MOST_FIELDS = 64
_MOST_U64 = (1 << 64) - 1


class Level(StrEnum):
    """How much a NIC tells of itself, least first."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"
    DEBUG = "debug"

    def includes(self, other: Level) -> bool:
        """Whether a NIC at this level tells what is of the other."""
        order = list(Level)
        return order.index(other) <= order.index(self)


class Topic(StrEnum):
    """What a client can be told of unasked."""

    STATE = "state"
    LOG = "log"


def bad_argument(what: str, remedy: str) -> ControlError:
    """An argument that no NIC could take."""
    return ControlError(what, remedy=remedy, code="bad_argument")


def _number(name: str, value: Any, most: int) -> int:  # noqa: ANN401 - anything may come
    if type(value) is not int or not 0 <= value <= most:
        raise bad_argument(f"'{name}' is no integer of 0 to {most}", "see docs/host-agent.md")
    return value


def _card(name: str, value: Any) -> int:  # noqa: ANN401
    return _number(name, value, 3)


def _version(name: str, value: Any) -> int:  # noqa: ANN401
    return _number(name, value, MAX_ID)


def _peers(name: str, value: Any) -> tuple[int, ...]:  # noqa: ANN401
    if not isinstance(value, list) or not value:
        raise bad_argument(f"'{name}' is no list of card numbers", "name at least one card, e.g. [1]")
    return tuple(_number(name, peer, MAX_CARDS - 1) for peer in value)


def _level(name: str, value: Any) -> Level:  # noqa: ANN401
    if not isinstance(value, str) or value not in set(Level):
        raise bad_argument(f"'{name}' is no log level", f"one of {', '.join(Level)}")
    return Level(value)


def _topics(name: str, value: Any) -> frozenset[Topic]:  # noqa: ANN401
    if not isinstance(value, list) or not value:
        raise bad_argument(f"'{name}' is no list of kinds of events", f"some of {', '.join(Topic)}")
    for item in value:
        if not isinstance(item, str) or item not in set(Topic):
            raise bad_argument(f"'{name}' holds what is no kind of events", f"some of {', '.join(Topic)}")
    return frozenset(Topic(item) for item in value)


def _workload(name: str, value: Any) -> Message:  # noqa: ANN401
    """Names and types only; what the values mean is for the engine to check."""
    if not isinstance(value, dict) or len(value) > _MOST_FIELDS:
        raise bad_argument(f"'{name}' is no object of workload fields", "see WorkloadConfig in _engine.pyi")
    for field, item in value.items():
        if not _FIELD.fullmatch(field):
            raise bad_argument(
                f"'{name}' has a field whose name is none", "see WorkloadConfig in _engine.pyi"
            )
        if isinstance(item, list):
            for number in item:
                _number(f"{name}.{field}", number, MAX_CARDS - 1)
        elif type(item) is int:
            _number(f"{name}.{field}", item, _MOST_U64)
        elif not isinstance(item, (bool, str)):
            raise bad_argument(f"'{name}.{field}' has no value of a workload", "an integer, a word or a list")
    return value


Check = Callable[[str, Any], Any]

COMMANDS: Mapping[str, Mapping[str, Check]] = {
    "hello": {"version": _version},
    "status": {},
    "open_stream": {"card": _card, "peers": _peers},
    "close_stream": {"card": _card, "peers": _peers},
    "load_workload": {"card": _card, "workload": _workload},
    "start": {},
    "stop": {},
    "counters": {},
    "set_log_level": {"level": _level},
    "subscribe": {"events": _topics},
    "unsubscribe": {"events": _topics},
}
"""Every command with its arguments; all of them must be there."""


def peers_of(workload: Mapping[str, Any], *, own: int) -> frozenset[int]:
    """The cards to which a workload sends from card `own`."""
    if workload.get("arrivals", "NONE") == "NONE":
        return frozenset()
    others: int = workload.get("others_of", 0)
    if others > 1:
        return frozenset(range(others)) - {own}
    return frozenset(workload.get("destinations", ()))


def request_id(message: Message) -> int | None:
    """The id of a request; None if it has none that can be echoed."""
    number = message.get("id")
    return number if type(number) is int and 0 <= number <= MAX_ID else None


def parse_request(message: Message) -> tuple[str, dict[str, Any]]:
    """The command of a request and its arguments, checked; ControlError for what is no request."""
    if request_id(message) is None:
        raise ControlError(
            f"a request has no 'id', an integer of 0 to {MAX_ID}",
            remedy="number your requests; the reply has the same id",
            code="bad_message",
        )
    command = message.get("command")
    if not isinstance(command, str) or command not in COMMANDS:
        raise ControlError(
            f"no command is {command[:40]!r}" if isinstance(command, str) else "'command' is no text",
            remedy=f"one of {', '.join(COMMANDS)}",
            code="unknown_command",
        )
    wanted = COMMANDS[command]
    given = message.keys() - {"id", "command"}
    if given != wanted.keys():
        names = ", ".join(wanted) or "none"
        raise bad_argument(f"the arguments of {command} are: {names}", "give each of them, and no other")
    return command, {name: check(name, message[name]) for name, check in wanted.items()}
