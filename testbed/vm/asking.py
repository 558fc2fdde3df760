"""Asks another machine, or this one, to do what `testbed/vm/agent` does: the agent goes along with each question."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from testbed.errors import RemoteError
from testbed.vm import agent
from testbed.vm.agent.verbs import REFUSED
from testbed.vm.ssh import Connection

MODULES = ("files", "tree", "processes", "jobs", "deploy", "start", "results", "verbs")
"""Those of the agent, each after those that it imports."""
_ANSWER_S = 600.0
_SIGNALS = range(129, 193)
"""Exit codes of what a signal has ended."""
_LOAD = """\
import json, sys, types
for name, text in {modules}:
    sys.modules[name] = types.ModuleType(name)
    exec(compile(text, name, "exec"), sys.modules[name].__dict__)
"""
_BEGIN = b"\0tb\0\n"
"""What the agent says first: what came before was the log-in's, e.g. of a .bashrc that prints."""
_MAIN = """\
sys.stdout.write("\\0tb\\0\\n")
sys.stdout.flush()
sys.exit(sys.modules["testbed.vm.agent.verbs"].main(sys.argv[1], json.loads(sys.argv[2])))
"""


@cache
def loader() -> str:
    """A program that defines the agent's modules, without a file of them."""
    directory = Path(agent.__path__[0])
    texts = [(f"{agent.__name__}.{name}", (directory / f"{name}.py").read_text("utf-8")) for name in MODULES]
    return _LOAD.format(modules=ascii(texts))


def command(verb: str, **request: object) -> list[str]:
    """What runs the agent, which it reads from stdin."""
    # Even between quotes csh has its own mind about `!`, and fish about backslashes.
    words = json.dumps(request).replace("\\\\", "\\u005c").replace("!", "\\u0021")
    # Isolated: no module that lies in the home directory there is taken for one of the library.
    return ["python3", "-I", "-X", "utf8", "-", verb, words]


def ask(connection: Connection, verb: str, **request: object) -> dict[str, Any]:
    """The agent's answer; what it refuses is a RemoteError."""
    done = connection.run(command(verb, **request), stdin=_program(), timeout_s=_ANSWER_S)
    if done.exit_code == 127:
        raise error_of(
            connection, "there is no python3", remedy="install it there: sudo apt-get install python3"
        )
    if done.exit_code in _SIGNALS:
        raise error_of(
            connection,
            f"python3 was ended there by signal {done.exit_code - 128}",
            remedy="see that machine's log: it may lack memory; try again",
        )
    try:
        answer: dict[str, Any] = json.loads(done.stdout.partition(_BEGIN)[2].splitlines()[0])
    except (IndexError, ValueError):
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        reason = said[-1] if said else f"exit code {done.exit_code}"
        raise error_of(
            connection,
            f"it does not answer: {reason}",
            remedy="Python 3.9 or later must be there, and a login shell that runs commands",
        ) from None
    if done.exit_code == REFUSED:
        raise error_of(connection, str(answer["error"]), remedy=str(answer["remedy"]))
    return answer


def listen(connection: Connection, words: Sequence[str], sink: Callable[[bytes], None]) -> int:
    """Pass on what the agent streams; what it refuses is a RemoteError."""
    said = bytearray()
    code = connection.stream(words, stdin=_program(), on_output=_from_the_agent(sink), on_error=said.extend)
    for line in said.splitlines() if code == REFUSED else ():
        if line.startswith(b'{"error"'):
            answer = json.loads(line)
            raise error_of(connection, str(answer["error"]), remedy=str(answer["remedy"]))
    return code


def _from_the_agent(sink: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Passes on what comes after `_BEGIN`."""
    before: bytearray | None = bytearray()

    def take(data: bytes) -> None:
        nonlocal before
        if before is not None:
            before += data
            _, began, rest = before.partition(_BEGIN)
            if not began:
                return
            before, data = None, bytes(rest)
        if data:
            sink(data)

    return take


def error_of(connection: Connection, message: str, *, remedy: str) -> RemoteError:
    """An error that names the machine."""
    return RemoteError(f"{connection.target.name}: {message}", remedy=remedy)


def _program() -> bytes:
    return (loader() + _MAIN).encode("ascii")
