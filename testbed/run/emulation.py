"""One cell on real frames: a process for each node of a standing fabric, under the virtual clock.

The orchestrator makes the clock's memory and the result files (memfds, so nothing has a name to be left behind),
starts the processes, gives the token, and watches: a process that dies, an error, a clock that stands still. What the
NICs are to do comes to them from their host agents (`host_agents.py`), by their control sockets.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_emulator.control.nics import without_workloads, workloads_of
from testbed.analysis.records import Records
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import FabricError, MeasurementError, TestbedError
from testbed.fabric.build import LiveFabric
from testbed.fabric.processes import Supervisor
from testbed.fabric.state import RunState
from testbed.run.engine_errors import engine_error
from testbed.run.holds import Control, Punt, read_punts
from testbed.run.host_agents import PATIENCE_S, HostAgents
from testbed.run.join import is_lossy, join_records
from testbed.run.stillness import STOPPED_S, Stillness, patience_s

ROOT = Path(__file__).resolve().parents[2]
FIFO_PRIORITY = 10
NO_SNAP = 0xFFFFFFFF
_START_DEADLINE_S = 300.0
_POLL_MS = 10
_END_MS = 120_000
_TOGETHER_MS = 100
_GRACE_MS = 500
_REPORT_MS = 30_000
_PARENTS = frozenset({"launcher", "namespaces", "namespaces of the control plane"})
"""Processes with which others die."""


Report = Callable[[int, int], None]
"""Called with virtual time in ps and messages completed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulated:
    """What a cell on real frames gave."""

    records: Records
    counters: dict[str, dict[str, int]]
    hops: int
    """Frames over one link each."""
    wakes: int
    """Times the token changed hands."""
    foreign_frames: int
    wall_s: float
    """From the first event to the last."""
    policy: str
    """How the processes were scheduled."""
    agents_lost: tuple[str, ...]
    """NICs whose host agent died while the clock ran. No NIC waits for it, so the records do not show it."""
    disturbed_at_ps: int | None
    """Virtual time at which host agents were stopped, starved or killed; None if nobody asked for it."""
    punts: tuple[Punt, ...] = ()
    """Those that came too late for `control` to see them."""


def emulate(
    live: LiveFabric,
    plan_data: Mapping[str, Any],
    *,
    state: RunState,
    snap_bytes: int | None = None,
    report: Report | None = None,
    groups: Sequence[Sequence[str]] | None = None,
    host_agents: str = "",
    control: Control | None = None,
) -> Emulated:
    """Run one cell's plan on a standing fabric.

    Each node has a process of its own unless `groups` says which nodes share one; frames between nodes of a group
    stay inside it. Together the groups name every node once. The records do not depend on them.

    Nor do they depend on the host agents once the clock has started: with `host_agents` all of these are "stopped"
    (SIGSTOP), "starved" (of processor time) or "killed" then.

    With `control` the clock is held at each of its times; what it then orders takes effect later.
    """
    apart = [[name] for name in live.fabric.node_names()]
    with ExitStack() as stack:
        snap = NO_SNAP if snap_bytes is None else snap_bytes
        run = _Run(live, plan_data, snap, groups or apart, stack, host_agents, control)
        run.start(state)
        return run.finish(report or (lambda _virtual_ps, _messages: None))


class _Run:
    """The processes of one cell, from start to end."""

    def __init__(
        self,
        live: LiveFabric,
        plan_data: Mapping[str, Any],
        snap_bytes: int,
        groups: Sequence[Sequence[str]],
        stack: ExitStack,
        host_agents: str = "",
        control: Control | None = None,
    ) -> None:
        self._live = live
        self._control = control
        nodes = live.fabric.node_names()
        self._groups = [sorted(group, key=nodes.index) for group in groups]
        self._names = [group[0] for group in self._groups]
        group_of = {name: number for number, group in enumerate(self._groups) for name in group}
        self._group_of = [group_of[name] for name in nodes]
        self._data = plan_data
        self._snap_bytes = snap_bytes
        self._stack = stack
        plan = build_plan(plan_data)
        self._clock_fd = self._memory("tb-clock")
        self._clock = _engine.Clock(self._clock_fd, plan, self._group_of, True)
        self._results = [self._memory(f"tb-result-{name}") for name in self._names]
        self._orders_fd = self._memory("tb-orders")
        self._orders = 0
        self._punts_fd = self._memory("tb-punts")
        self._punts_read = 0
        self._supervisor = stack.enter_context(Supervisor())
        self._own = stack.enter_context(Supervisor())
        self._launchers: list[subprocess.Popen[bytes]] = []
        stack.callback(self._end)
        self._agents = HostAgents(stack, host_agents)
        loads = [load for node in plan_data["nodes"] if node["kind"] == "nic" for load in workloads_of(node)]
        self._disturb_ps = max((load.get("measure_until_ps", 0) for load in loads), default=0) // 2
        self._cpu = max(os.sched_getaffinity(0))
        self._sockets = Path()
        self._pids: dict[str, int] = {}
        self._control_pids: dict[str, int] = {}

    def _memory(self, name: str) -> int:
        fd = os.memfd_create(name, 0)
        self._stack.callback(os.close, fd)
        return fd

    def start(self, state: RunState) -> None:
        """Start the launchers, learn the processes, wait until each has its socket and each NIC its work."""
        self._sockets = self._stack.enter_context(state.sockets())
        self._agents.launch()
        self._state = state
        launcher = self._launch(self._job())
        self._agents.start(self._agent_jobs(), state)  # they and the processes come to be side by side
        self._learn(launcher)
        for name, pid in self._live.processes().items():
            self._supervisor.add(name, pid)
        self._watch_control()
        self._wait_ready()

    def _watch_control(self) -> None:
        """Watch the processes of the control plane that there are now, and no longer those that it has ended."""
        now = self._control.processes() if self._control else {}
        for name in self._control_pids.keys() - now.keys():
            self._supervisor.forget(name)
        for name, pid in now.items():
            if self._control_pids.get(name) != pid:
                self._supervisor.forget(name)
                self._supervisor.add(name, pid)
        self._control_pids = now

    def _launch(self, job: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """Start a process that forks those of a job."""
        launcher = subprocess.Popen(
            [sys.executable, "-P", "-m", "nic_emulator.process_main"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._clock_fd, self._orders_fd, self._punts_fd, *self._results),
            process_group=0,  # a Ctrl-C at the terminal is for the orchestrator, which ends it
        )
        self._launchers.append(launcher)
        self._state.record_child("launcher", launcher.pid)
        assert launcher.stdin is not None
        launcher.stdin.write(json.dumps(job).encode() + b"\n")
        launcher.stdin.close()
        return launcher

    def _learn(self, launcher: subprocess.Popen[bytes], name: str = "launcher") -> None:
        """Which processes it has forked."""
        assert launcher.stdout is not None
        line = launcher.stdout.readline()
        if not line:
            raise FabricError(
                "the launcher ended before it started a process", remedy="see its message above"
            )
        pids = json.loads(line)
        self._pids |= pids
        self._state.record_children(pids)
        self._supervisor.add(name, launcher.pid)
        for group, pid in pids.items():
            self._supervisor.add(group, pid)
            self._own.add(group, pid)

    def _job(self, only: int | None = None) -> dict[str, Any]:
        """For the processes of all groups, or of one."""
        return {
            "plan": without_workloads(self._data),
            "sockets": str(self._sockets),
            "patience_s": PATIENCE_S,
            "clock_fd": self._clock_fd,
            "orders_fd": self._orders_fd,
            "punts_fd": self._punts_fd,
            "cpu": self._cpu,
            "priority": FIFO_PRIORITY,
            "snap_bytes": self._snap_bytes,
            "group_of": self._group_of,
            "groups": [
                {
                    "name": group[0],
                    "number": number,
                    "places": [self._place(name) for name in group],
                    "result_fd": fd,
                }
                for number, (group, fd) in enumerate(zip(self._groups, self._results, strict=True))
                if only in (None, number)
            ],
        }

    def _agent_jobs(self) -> list[dict[str, Any]]:
        """What each host agent is to do, and where."""
        return [
            {
                "name": node["name"],
                "netns": f"/proc/{self._live.netns_pid(node['name'])}/ns/net",
                "socket": str(self._sockets / f"{node['name']}.sock"),
                "workloads": workloads_of(node),
            }
            for node in self._data["nodes"]
            if node["kind"] == "nic"
        ]

    def _place(self, name: str) -> dict[str, Any]:
        """Where a node lives."""
        netns = f"/proc/{self._live.netns_pid(name)}/ns/net"
        return {"netns": netns, "interfaces": self._interfaces(name)}

    def _interfaces(self, name: str) -> list[str]:
        """By port; empty where nothing is plugged in."""
        used = {link.a_port if link.a == name else link.b_port for link in self._live.fabric.links_of(name)}
        return [self._live.interface(name, port) if port in used else "" for port in range(max(used) + 1)]

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + _START_DEADLINE_S
        while not self._clock.ready:
            self._check_alive(timeout_ms=2)
            self._agents.check_before_start()
            if time.monotonic() > deadline:
                raise FabricError(
                    f"the processes of the fabric were not ready after {_START_DEADLINE_S:.0f} s",
                    remedy="the machine may be out of memory or very loaded; try fewer endpoints",
                )

    def _check_alive(self, timeout_ms: int) -> None:
        """An error that names the process if one has died while the run was on."""
        dead = self._supervisor.poll(timeout_ms)
        quit_code = self._clock.progress()["quit"]
        if quit_code == _engine.Quit.ERROR.value:
            raise self._reported_error()
        if dead is not None and quit_code == _engine.Quit.RUNNING.value:
            name, pid = self._blamed(dead)
            self._clock.quit(_engine.Quit.STOPPED)
            raise FabricError(
                f"process '{name}' (pid {pid}) died in mid-run, at {self._where()}; the run is void",
                remedy="look at `dmesg | tail` (out of memory?), then run again",
            )

    def _blamed(self, first: tuple[str, int]) -> tuple[str, int]:
        """Of those that died together, the one that the others died with."""
        dead = [first]
        while more := self._supervisor.poll(_TOGETHER_MS):
            dead.append(more)
        return next((one for one in dead if one[0] in _PARENTS), first)

    def _where(self) -> str:
        progress = self._clock.progress()
        return f"virtual time {progress['virtual_ps'] / 1e6:.3f} us, token at '{self._names[progress['holder']]}'"

    def _reported_error(self) -> TestbedError:
        """What the failing process left; it says that there is an error before it has written which."""
        self._own.wait(_REPORT_MS)
        for name, fd in zip(self._names, self._results, strict=True):
            about, _ = _read_result(fd)
            if "error" in about:
                text = f"'{name}' stopped the run: {about['error']}"
                if about.get("fault") == "host agent":
                    return FabricError(text, remedy="the machine may be very loaded; try fewer endpoints")
                return engine_error(text, about["error"]) or MeasurementError(
                    text, remedy="the run cannot be trusted; run again, and report it if it repeats"
                )
        return FabricError(
            "a process ended the run without saying why", remedy="run again; report it if it repeats"
        )

    def finish(self, report: Report) -> Emulated:
        """Let the clock run; collect when it is over."""
        began = time.monotonic()
        if self._control:
            self._clock.set_punt_latency_ps(self._control.punt_latency_ps)
        self._clock.release(self._next_hold_ps(), 0)
        self._clock.start()
        self._watch(report)
        wall_s = time.monotonic() - began
        if self._clock.progress()["quit"] == _engine.Quit.DEADLOCK.value:
            raise MeasurementError(
                f"no process has anything left to do, but messages are missing, at {self._where()}",
                remedy="a model is at fault; please report the spec of this run",
            )
        self._wait_for_results()
        self._agents.see_off()
        return self._collect(wall_s)

    def _wait_for_results(self) -> None:
        """Every process leaves its records, then ends."""
        left = self._own.wait(_END_MS)
        if left:
            names = ", ".join(f"'{name}' (pid {pid}, state {_state_of(pid)})" for name, pid in left.items())
            raise FabricError(
                f"the run was over, but did not end within {_END_MS // 1000} s: {names}",
                remedy="do not stop or trace processes of a run; run again",
            )

    def _watch(self, report: Report) -> None:
        """Until the clock says that the run is over."""
        stillness = Stillness()
        while True:
            self._check_alive(timeout_ms=_POLL_MS)
            dead_agents = self._agents.newly_dead()
            progress = self._clock.progress()
            if progress["quit"] == _engine.Quit.RUNNING.value:  # later they end by themselves
                self._agents.lost += dead_agents
            report(progress["virtual_ps"], progress["messages"])
            if progress["quit"] == _engine.Quit.ERROR.value:
                raise self._reported_error()
            if progress["quit"] != _engine.Quit.RUNNING.value:
                return
            if self._clock.held:
                self._act()
                stillness = Stillness()
            now = (progress["beat"], progress["virtual_ps"], progress["hops"])
            self._check_stopped(progress["holder"], stillness.seen_s(now, time.monotonic()))

    def _act(self) -> None:
        """Virtual time stands still: do what is due, and let it go on."""
        now_ps = self._clock.barrier_ps
        if self._agents.to_be_disturbed and now_ps >= self._disturb_ps:
            self._agents.disturb(cpu=self._cpu, virtual_ps=now_ps)
        orphaned = self._obey(self._control, now_ps) if self._control else False
        self._clock.release(self._next_hold_ps(), self._orders)
        if orphaned:
            self._clock.start()

    def _obey(self, control: Control, now_ps: int) -> bool:
        """Let the control plane act, and tell the processes what it has decided; whether nobody has the token now."""
        try:
            acts = control.act(now_ps, self._new_punts())
        except TestbedError:
            self._watch_control()
            self._check_alive(timeout_ms=_GRACE_MS)  # whose death it is, if it is one
            raise
        self._watch_control()
        orders = acts.orders
        lines = "".join(json.dumps(order) + "\n" for order in orders)
        os.pwrite(self._orders_fd, lines.encode(), os.fstat(self._orders_fd).st_size)
        self._orders += len(orders)
        nodes = self._live.fabric.node_names()
        for order in orders:
            self._clock.lower(self._group_of[nodes.index(order["node"])], order["time_ps"])
        orphaned = [self._replace(name, now_ps) for name in acts.processes]
        return any(orphaned)

    def _next_hold_ps(self) -> int:
        """When the control plane acts next, or the host agents are disturbed: half-way."""
        control_ps = self._control.next_ps() if self._control else _engine.NEVER_PS
        return min(control_ps, self._disturb_ps) if self._agents.to_be_disturbed else control_ps

    def _new_punts(self) -> list[Punt]:
        """What switches have handed to their CPUs since the last time."""
        size = os.fstat(self._punts_fd).st_size
        data = os.pread(self._punts_fd, size - self._punts_read, self._punts_read)
        self._punts_read = size
        return read_punts(data, self._live.fabric.node_names())

    def _replace(self, name: str, now_ps: int) -> bool:
        """End the process of a NIC, and start another that comes to the same state; whether it had the token."""
        number = self._group_of[self._live.fabric.node_names().index(name)]
        had_token = self._clock.progress()["holder"] == number
        waiting = self._clock.ready_count
        launcher_name = f"launcher of {name}"  # it ends with its only child
        for supervisor in (self._supervisor, self._own):
            supervisor.forget(name)
            supervisor.forget(launcher_name)
        os.kill(self._pids[name], signal.SIGKILL)
        launcher = self._launch({**self._job(number), "resume_ps": now_ps, "plan": dict(self._data)})
        self._learn(launcher, launcher_name)
        deadline = time.monotonic() + _START_DEADLINE_S
        while self._clock.ready_count == waiting:
            self._check_alive(timeout_ms=2)
            if time.monotonic() > deadline:
                raise FabricError(
                    f"the new process of '{name}' was not ready after {_START_DEADLINE_S:.0f} s",
                    remedy="the machine may be out of memory or very loaded; try fewer records",
                )
        return had_token

    def _check_stopped(self, holder: int, still_s: float) -> None:
        """A clock that stands still is an error if its holder is stopped, or sleeps for long; a busy one may go on."""
        if still_s <= STOPPED_S:
            return
        name = self._names[holder]
        process_state = _state_of(self._pids[name])
        if still_s > patience_s(process_state):
            raise FabricError(
                f"the clock has stood still for {still_s:.0f} s, at {self._where()}: process '{name}'"
                f" (pid {self._pids[name]}) is in state {process_state}",
                remedy="do not stop or trace processes of a run; run again",
            )

    def _collect(self, wall_s: float) -> Emulated:
        """Read what every process left."""
        tx, rx, counters, hops, policy = [], [], {}, 0, ""
        for name, fd in zip(self._names, self._results, strict=True):
            about, body = _read_result(fd)
            if not about or len(body) != about["tx_bytes"] + about["rx_bytes"]:
                raise FabricError(
                    f"process '{name}' left no whole result", remedy="look at `dmesg | tail`, then run again"
                )
            tx.append(body[: about["tx_bytes"]])
            rx.append(body[about["tx_bytes"] :])
            counters.update(about["counters"])
            hops += about["hops"]
            policy = about["policy"]
        progress = self._clock.progress()
        return Emulated(
            records=join_records(tx, rx, lossy=is_lossy(self._data)),
            counters=counters,
            hops=hops,
            wakes=progress["wakes"],
            foreign_frames=progress["foreign_frames"],
            wall_s=wall_s,
            policy=policy,
            agents_lost=tuple(self._agents.lost),
            disturbed_at_ps=self._agents.disturbed_at_ps,
            punts=tuple(self._new_punts()),
        )

    def _end(self) -> None:
        """Whatever happened, no process of this cell outlives it."""
        self._clock.quit(_engine.Quit.STOPPED)
        if self._own.wait(_GRACE_MS):
            self._own.kill_all()
        for launcher in self._launchers:
            launcher.kill()
            launcher.wait()
            if launcher.stdout is not None:
                launcher.stdout.close()


def _read_result(fd: int) -> tuple[dict[str, Any], bytes]:
    """What a process left: its line of JSON, and the rest."""
    size = os.fstat(fd).st_size
    head, whole, body = os.pread(fd, size, 0).partition(b"\n")
    return (json.loads(head) if whole else {}), body


def _state_of(pid: int) -> str:
    """The kernel's letter for a process's state; X if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return "X"
    return stat.rsplit(")", 1)[1].split()[0]
