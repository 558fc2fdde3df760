"""The controller as a process of a run, in the control namespace: the other end of `testbed/controller/serve.py`."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from testbed.controller.app_setup import Setup
from testbed.errors import FabricError
from testbed.fabric.namespaces import listening
from testbed.fabric.ovs_instance import inside
from testbed.fabric.state import RunState
from testbed.process_table import stat_of
from testbed.spec.codec import to_dict

ROOT = Path(__file__).resolve().parents[2]
PORT = 6653
TARGET = f"tcp:127.0.0.1:{PORT}"
_READY_DEADLINE_S = 600.0
_END_DEADLINE_S = 2.0
_DEATH_DEADLINE_S = 10.0
_LOG_LINES = 12


class ControllerProcess:
    """A running controller."""

    def __init__(
        self,
        *,
        framework: str,
        app: str,
        setup: Setup,
        netns_pids: Sequence[int],
        directory: Path,
        state: RunState,
    ) -> None:
        """It listens at `TARGET` in the namespaces of `netns_pids`, and lives in the first."""
        self._log_path = directory / "controller.log"
        config = directory / "controller.json"
        config.write_text(json.dumps(to_dict(setup)), encoding="utf-8")
        arguments = ["--framework", framework, "--app", app, "--config", str(config)]
        with ExitStack() as stack:
            log = stack.enter_context(self._log_path.open("ab"))
            others = [stack.enter_context(listening(pid, PORT)).fileno() for pid in netns_pids[1:]]
            arguments += ["--listening", *map(str, others)]
            self._process = subprocess.Popen(
                [*inside(netns_pids[0]), sys.executable, "-P", "-m", "testbed.controller.serve", *arguments],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                pass_fds=others,
                start_new_session=True,
            )
        self._unread = b""
        state.record_child("controller", self._process.pid)
        try:
            self.is_ours: bool = self.wait_for("ready", _READY_DEADLINE_S)["fabric"]
            """Whether its application is a `FabricApp`, which answers `send`."""
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def send(self, request: Mapping[str, Any]) -> None:
        """Ask for something."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
        except BrokenPipeError as error:
            raise self._death() from error

    def wait_for(self, key: str, deadline_s: float) -> dict[str, Any]:
        """The next message that has this key; others are skipped, but an error is raised."""
        until = time.monotonic() + deadline_s
        while (message := self.next_message(until - time.monotonic())) is not None:
            if key in message:
                return message
        raise self.failure(f"it did not say '{key}' within {deadline_s:.0f} s")

    def next_message(self, timeout_s: float) -> dict[str, Any] | None:
        """The next message; None if there is none in time."""
        assert self._process.stdout is not None
        until = time.monotonic() + timeout_s
        while b"\n" not in self._unread:
            if not select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            chunk = self._process.stdout.read(1 << 16)
            if not chunk:
                raise self._death()
            self._unread += chunk
        line, _, self._unread = self._unread.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        if "error" in message:
            raise self.failure(message["error"])
        return message

    def stop(self) -> None:
        """End it. The switches keep their rules."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        try:
            self._process.wait(_END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _death(self) -> FabricError:
        """Its pipes are closed: it has died, or will in a moment."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_DEATH_DEADLINE_S)
        return self.failure("it died")

    def failure(self, problem: str) -> FabricError:
        """An error with the last lines of its log."""
        end = "" if stat_of(self.pid) else f" (exit code {self._process.wait()})"
        lines = self._log_path.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
        return FabricError(
            "\n".join([f"controller (pid {self.pid}){end}: {problem}", *lines]),
            remedy="see the log lines above; an application of one's own must import and not raise",
        )
