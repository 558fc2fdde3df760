"""The host agents of an emulation: one process that forks, and under it one for each NIC.

Started by `testbed.run.host_agents` with a job on standard input (JSON: parent, patience_s, faults_fd, agents with
name, netns, socket and workloads). It answers with one line, the pids by name, and ends when its children have. Each
child enters its host's namespace, has the ordinary scheduling of the machine, and sees its NIC through the run
(`nic_emulator.control.agent`); one that cannot leaves a line of JSON in the file of faults. Kept small: the standard
library and the control plane's client.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nic_emulator.control.agent import attend
from testbed.errors import TestbedError

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    """Fork one process for each agent of the job; wait for all of them."""
    job = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator, which ends us
    _tie_to(job["parent"], "tb-host-agents")
    gc.freeze()  # what is shared stays shared
    pids: dict[str, int] = {}
    for agent in job["agents"]:
        own_pid = os.getpid()
        pid = os.fork()
        if pid == 0:
            os._exit(_child(job, agent, own_pid))
        pids[agent["name"]] = pid
    print(json.dumps(pids), flush=True)
    for pid in pids.values():
        os.waitpid(pid, 0)
    return 0


def _child(job: Mapping[str, Any], agent: Mapping[str, Any], parent: int) -> int:
    """One agent; 0 when its NIC has ended, 1 when it could not see to that."""
    try:
        _tie_to(parent, f"tb-agent-{agent['name']}")
        _enter(agent["netns"])
        attend(Path(agent["socket"]), agent["workloads"], patience_s=job["patience_s"])
    except (TestbedError, OSError) as error:
        fault = {"name": agent["name"], "fault": f"{type(error).__name__}: {error}"}
        os.write(job["faults_fd"], json.dumps(fault).encode() + b"\n")
        return 1
    return 0


def _tie_to(parent: int, name: str) -> None:
    """End when the parent does."""
    _libc.prctl(_PR_SET_NAME, name.encode())
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(1)


def _enter(netns: str) -> None:
    """Go into a network namespace."""
    descriptor = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _checked(_libc.setns(descriptor, _CLONE_NEWNET), f"enter network namespace {netns}")
    finally:
        os.close(descriptor)


def _checked(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


if __name__ == "__main__":
    sys.exit(main())
