"""Starts the process that holds a fabric's namespaces, and talks to it: the other end of `holder_main.py`.

Imports nothing of Mininet.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from testbed.errors import FabricError
from testbed.process_table import kill_if_same, start_time_of

_ANSWER_DEADLINE_S = 600.0
_END_DEADLINE_S = 20.0


def holder_command(python: str = sys.executable) -> list[str]:
    """The command of the holder: the standard library alone (-I -S), whatever the environment says."""
    return [python, "-I", "-S", str(Path(__file__).with_name("holder_main.py"))]


class Holders:
    """One sleeping process per node, which holds the node's network and mount namespaces."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            holder_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            bufsize=0,
        )
        self._kept: dict[int, int] = {}
        self._unread = b""

    @property
    def pid(self) -> int:
        """The parent of all holders."""
        return self._process.pid

    def start(self, names: Sequence[str]) -> dict[str, int]:
        """Make the namespaces; the pid of the process that holds each."""
        pids = self._ask("namespaces", {"names": list(names), "parent": os.getpid()}, "pids")
        self._kept = {pid: start_time_of(pid) or 0 for pid in pids}
        return dict(zip(names, pids, strict=True))

    def configure(self, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """Bring up every interface that is in a namespace; their names by node."""
        found = self._ask("interfaces", {"configure": True}, "interfaces")
        return {name: tuple(interfaces) for name, interfaces in zip(names, found, strict=True)}

    def stop(self) -> None:
        """End the holders and wait for them; by their recorded pids if they do not end by themselves."""
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(_END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pid, start_time_ticks in self._kept.items():
            kill_if_same(pid, start_time_ticks)
        if self._process.stdout:
            self._process.stdout.close()

    def _ask(self, step: str, request: Mapping[str, object], key: str) -> list:  # type: ignore[type-arg]
        """One request and its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._failure(step, "the process that holds the namespaces died") from error
        answer = json.loads(self._read_line(step))
        if "error" in answer:
            raise self._failure(step, answer["error"])
        found: list[object] = answer[key]
        return found

    def _read_line(self, step: str) -> bytes:
        """The next answer, by the deadline."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + _ANSWER_DEADLINE_S
        while b"\n" not in self._unread:
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._process.stdout], [], [], left_s)[0]:
                raise self._failure(step, f"no answer for {_ANSWER_DEADLINE_S:.0f} s")
            chunk = self._process.stdout.read(1 << 16)
            if not chunk:
                raise self._failure(step, "the process that holds the namespaces died")
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        return line

    @staticmethod
    def _failure(step: str, problem: str) -> FabricError:
        return FabricError(
            f"could not build the fabric: step '{step}': {problem}",
            remedy="run as root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: --privileged), "
            "and look at `dmesg | tail` for a lack of memory",
        )
