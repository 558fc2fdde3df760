"""The host agents of one cell: started, watched, on request disturbed, and ended, whatever happened.

Until the clock starts the run needs them: an agent that dies is an error that names it. From then on it does not: one
that dies is noted, and that is all.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Literal, get_args

from testbed.errors import FabricError, SpecError
from testbed.fabric.processes import Supervisor
from testbed.fabric.state import RunState

ROOT = Path(__file__).resolve().parents[2]
Disturbance = Literal["", "stopped", "starved", "killed"]
"""What is done to all host agents in mid-run: nothing; SIGSTOP; the lowest scheduling class there is, on the CPU that
the clock keeps busy; SIGKILL."""
PATIENCE_S = 300.0
_GRACE_MS = 1000


def agent_name(nic: str) -> str:
    """The name of a NIC's host agent among the processes of a run."""
    return f"host agent of {nic}"


class HostAgents:
    """One agent for each NIC of a cell. Ends them at the end of `stack`."""

    def __init__(self, stack: ExitStack, how: str) -> None:
        if how not in get_args(Disturbance):
            raise SpecError(
                f"host agents cannot be {how!r}",
                remedy=f"one of {', '.join(repr(each) for each in get_args(Disturbance))}",
            )
        self._how = how
        self._faults_fd = os.memfd_create("tb-agent-faults", 0)
        stack.callback(os.close, self._faults_fd)
        self._supervisor = stack.enter_context(Supervisor())
        self._launcher: subprocess.Popen[bytes] | None = None
        self._pids: dict[str, int] = {}
        stack.callback(self._end)
        self.lost: list[str] = []
        """NICs whose agent has died since the clock was started."""
        self.disturbed_at_ps: int | None = None

    def launch(self) -> None:
        """Start the process that will fork them; it does nothing before `start`."""
        self._launcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "nic_emulator.host_agent_main"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._faults_fd,),
            process_group=0,  # a Ctrl-C at the terminal is for the orchestrator, which ends it
        )

    def start(self, agents: Sequence[Mapping[str, Any]], state: RunState) -> None:
        """Let the agents go: name, netns, socket and workloads of each."""
        assert self._launcher is not None
        assert self._launcher.stdin is not None
        assert self._launcher.stdout is not None
        state.record_child("host agents", self._launcher.pid)
        job = {
            "parent": os.getpid(),
            "patience_s": PATIENCE_S,
            "faults_fd": self._faults_fd,
            "agents": agents,
        }
        with suppress(BrokenPipeError):  # it has died; its answer is missing, then
            self._launcher.stdin.write(json.dumps(job).encode() + b"\n")
            self._launcher.stdin.close()
        line = self._launcher.stdout.readline()
        if not line:
            raise FabricError("the launcher of the host agents ended", remedy="see its message above")
        self._pids = json.loads(line)
        state.record_children({agent_name(nic): pid for nic, pid in self._pids.items()})
        for nic, pid in self._pids.items():
            self._supervisor.add(nic, pid)

    def check_before_start(self) -> None:
        """An error that names the agent if one has died; the clock does not run yet."""
        dead = self._supervisor.poll()
        if dead is None:
            return
        nic, pid = dead
        fault = self._faults().get(nic, "")
        raise FabricError(
            f"the host agent of '{nic}' (pid {pid}) died before the run began{fault and ': '}{fault}",
            remedy="look at `dmesg | tail` (out of memory?), then run again",
        )

    def newly_dead(self) -> list[str]:
        """The NICs whose agents have ended since the last call, for whatever reason."""
        found = []
        while dead := self._supervisor.poll():
            found.append(dead[0])
        return found

    @property
    def to_be_disturbed(self) -> bool:
        """Whether something is still to be done to them."""
        return bool(self._how) and self.disturbed_at_ps is None

    def disturb(self, *, cpu: int, virtual_ps: int) -> None:
        """Do to all of them what was asked for; `cpu` is the clock's, `virtual_ps` is now."""
        self.disturbed_at_ps = virtual_ps
        if self._how == "killed":
            self.lost.extend(self._supervisor.alive())
            self._supervisor.kill_all()
        elif self._how == "stopped":
            self._supervisor.send_all(signal.SIGSTOP)
        else:
            for pid in self._supervisor.alive().values():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(pid, {cpu})
                    os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))

    def see_off(self) -> None:
        """The run is over: let them end by themselves, for a moment, if they can."""
        if not self._how:
            self._supervisor.wait(_GRACE_MS)

    def _faults(self) -> dict[str, str]:
        """What agents that failed have left, by NIC."""
        text = os.pread(self._faults_fd, os.fstat(self._faults_fd).st_size, 0)
        return {entry["name"]: entry["fault"] for entry in map(json.loads, text.splitlines())}

    def _end(self) -> None:
        """Whatever happened, no agent outlives its cell."""
        if self._launcher is None:
            return
        self._supervisor.kill_all()
        if self._pids:
            with suppress(subprocess.TimeoutExpired):  # it waits for them, then ends
                self._launcher.wait(_GRACE_MS / 1000)
        self._launcher.kill()
        self._launcher.wait()
        for stream in (self._launcher.stdin, self._launcher.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
