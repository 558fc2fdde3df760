"""The processes of an emulation: one that forks, and under it one for each NIC and each switch.

Started by `testbed.run.emulation` with a job on standard input (JSON: plan, sockets, clock_fd, group_of, groups with
the namespaces and interfaces of their nodes and a result_fd, cpu, priority, snap_bytes, patience_s). It answers with
one line, the pids by name, and ends when its children have. Each child enters its node's namespace, builds the node's
entity from the plan, runs it under the virtual clock (several, where nodes are grouped), and leaves its records, or
its error, in its result file: a line of JSON, then the raw records. Kept small: it imports the extension, the control
plane and nothing else of the project, so that a NIC costs a few MiB.

The plan says nothing of what a NIC is to send: its host agent does, by the NIC's socket, and a NIC is not ready for
the clock before it has been told to start. From then on nothing waits for the agent.

While the clock is held the orchestrator may append orders to `orders_fd`, one line of JSON each: {"node", "time_ps",
"tables"} gives a switch new tables from a time on, {"node", "time_ps", "port", "frame"} lets its CPU send a frame (in
hexadecimal) then. Each process reads them when it next has the token. What a switch hands to its CPU is appended to
`punts_fd` (`PuntHead` in virtual_clock.hpp).

A job with `resume_ps` starts one process in the place of one that was ended while the clock was held at that time. Its
plan has the workloads, since no agent tells it again.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nic_emulator.control.nics import NicControls
from nic_emulator.control.sockets import listen_at
from testbed.engine import _engine
from testbed.engine.plan import build_plan


class _NotStartedError(RuntimeError):
    """Nobody has told a NIC to start."""


def main() -> int:
    """Fork one process for each group of the job; wait for all of them."""
    job = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator, which ends us
    _engine.prepare_process("tb-launcher", -1, 0)
    plan = build_plan(job["plan"])
    pids: dict[str, int] = {}
    for group in job["groups"]:
        number = group["number"]
        # Before the fork: an agent that knows the pids finds the sockets; closed after it, they end with their NIC.
        listeners = {} if "resume_ps" in job else _listen(job, number)
        pid = os.fork()
        if pid == 0:
            os._exit(_child(plan, job, number, group, listeners))
        for listener in listeners.values():
            listener.close()
        pids[group["name"]] = pid
    print(json.dumps(pids), flush=True)
    for pid in pids.values():
        os.waitpid(pid, 0)
    return 0


def _listen(job: Mapping[str, Any], number: int) -> dict[int, socket.socket]:
    """A socket for each NIC of a group, by entity."""
    nodes = job["plan"]["nodes"]
    return {
        entity: listen_at(Path(job["sockets"]) / f"{nodes[entity]['name']}.sock")
        for entity, group in enumerate(job["group_of"])
        if group == number and nodes[entity]["kind"] == "nic"
    }


def _child(
    plan: _engine.Plan,
    job: Mapping[str, Any],
    number: int,
    about_group: Mapping[str, Any],
    listeners: Mapping[int, socket.socket],
) -> int:
    """Run one group; 0 when the run ended for everybody, 1 when it failed here."""
    group_of, result_fd = job["group_of"], about_group["result_fd"]
    clock = _engine.Clock(job["clock_fd"], plan, group_of, False)
    name = f"tb-{about_group['name']}"
    nics = None
    try:
        _engine.prepare_process(name, -1, 0)
        if listeners:  # its thread comes before this one is given its CPU and its priority
            nics = NicControls(job["plan"], listeners)
            plan = _plan_of_agents(nics, clock, job["patience_s"])
        policy = _engine.prepare_process(name, job["cpu"], job["priority"])
        places = [_engine.MemberPlace(**place) for place in about_group["places"]]
        group = _engine.VirtualGroup(
            plan, group_of, number, clock, places, job["snap_bytes"], job["punts_fd"]
        )
        if nics:
            nics.read_from(group.snapshot)
        orders = _Orders(job["orders_fd"], _names_of(job, number))
        if "resume_ps" in job:
            group.resume(plan, job["resume_ps"], orders.give)
        while (quit_reason := group.run()) == _engine.Quit.RUNNING:
            orders.carry_out(group)
    except (_engine.ClockError, _engine.StreamError, OSError, RuntimeError, ValueError) as error:
        clock.quit(_engine.Quit.ERROR)
        fault = "host agent" if isinstance(error, _NotStartedError) else "group"
        _write(result_fd, {"error": f"{type(error).__name__}: {error}", "fault": fault}, [])
        if nics:
            nics.end("ERROR")
        return 1
    about = {
        "quit": quit_reason.name,
        "policy": policy,
        "hops": group.hops,
        "counters": group.counters(),
    }
    _write(result_fd, about, [group.tx_records(), group.rx_records()])
    if nics:
        nics.end(quit_reason.name)
    return 0


def _names_of(job: Mapping[str, Any], number: int) -> frozenset[str]:
    """The nodes of a group."""
    nodes = job["plan"]["nodes"]
    return frozenset(nodes[entity]["name"] for entity, group in enumerate(job["group_of"]) if group == number)


class _Orders:
    """What the orchestrator has written for the nodes here."""

    def __init__(self, fd: int, names: frozenset[str]) -> None:
        self._fd = fd
        self._names = names
        self._offset = 0

    def give(self, group: _engine.Group) -> None:
        """All that were ever written, for all nodes."""
        for order in map(json.loads, os.pread(self._fd, os.fstat(self._fd).st_size, 0).splitlines()):
            _apply(group, order)

    def carry_out(self, group: _engine.VirtualGroup) -> None:
        """Those that are new, for the nodes here."""
        text = os.pread(self._fd, os.fstat(self._fd).st_size - self._offset, self._offset)
        self._offset += len(text)
        for order in map(json.loads, text.splitlines()):
            if order["node"] in self._names:
                _apply(group, order)


def _apply(group: _engine.Group | _engine.VirtualGroup, order: Mapping[str, Any]) -> None:
    if "frame" in order:
        frame = bytes.fromhex(order["frame"])
        group.apply_packet_out(order["node"], order["time_ps"], order["port"], frame)
    else:
        group.apply_update(order["node"], order["time_ps"], order["tables"])


def _plan_of_agents(nics: NicControls, clock: _engine.Clock, patience_s: float) -> _engine.Plan:
    """Wait until every NIC here has been told to start; the plan with what they are to do."""

    def over() -> bool:
        return clock.progress()["quit"] != int(_engine.Quit.RUNNING.value)

    data = nics.wait_started(patience_s, over)
    if data is None:
        names = ", ".join(f"'{name}'" for name in nics.not_started())
        raise _NotStartedError(f"no host agent has started {names} within {patience_s:.0f} s")
    return build_plan(data)


def _write(fd: int, about: Mapping[str, Any], records: Sequence[bytes]) -> None:
    """Leave a result."""
    if records:
        about = {**about, "tx_bytes": len(records[0]), "rx_bytes": len(records[1])}
    with os.fdopen(fd, "wb") as file:
        file.write(json.dumps(about).encode() + b"\n")
        for part in records:
            file.write(part)


if __name__ == "__main__":
    sys.exit(main())
