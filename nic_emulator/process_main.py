"""The processes of an emulation: one that forks, and under it one for each card and each switch.

Started by `testbed.run.emulation` with a job on standard input (JSON: plan, clock_fd, group_of, groups with the
namespaces and interfaces of their nodes and a result_fd, cpu, priority, snap_bytes). It answers with one line, the pids
by name, and ends when its children have. Each child enters its node's namespace, builds the node's entity from the
plan, runs it under the virtual clock (several, where nodes are grouped), and leaves its records, or its error, in its
result file: a line of JSON, then the raw records. Kept small: it imports the extension and nothing else of the
project, so that a card costs a few MiB.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from testbed.engine import _engine
from testbed.engine.plan import build_plan


def main() -> int:
    """Fork one process for each group of the job; wait for all of them."""
    job = json.loads(sys.stdin.buffer.readline())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator, which ends us
    _engine.prepare_process("tb-launcher", -1, 0)
    plan = build_plan(job["plan"])
    pids: dict[str, int] = {}
    for number, group in enumerate(job["groups"]):
        pid = os.fork()
        if pid == 0:
            os._exit(_child(plan, job, number, group))
        pids[group["name"]] = pid
    print(json.dumps(pids), flush=True)
    for pid in pids.values():
        os.waitpid(pid, 0)
    return 0


def _child(plan: _engine.Plan, job: Mapping[str, Any], number: int, about_group: Mapping[str, Any]) -> int:
    """Run one group; 0 when the run ended for everybody, 1 when it failed here."""
    group_of, result_fd = job["group_of"], about_group["result_fd"]
    clock = _engine.Clock(job["clock_fd"], plan, group_of, False)
    try:
        policy = _engine.prepare_process(f"tb-{about_group['name']}", job["cpu"], job["priority"])
        places = [_engine.MemberPlace(place["netns"], place["interfaces"]) for place in about_group["places"]]
        group = _engine.VirtualGroup(plan, group_of, number, clock, places, job["snap_bytes"])
        quit_reason = group.run()
    except (_engine.ClockError, _engine.StreamError, OSError, RuntimeError, ValueError) as error:
        clock.quit(_engine.Quit.ERROR)
        _write(result_fd, {"error": f"{type(error).__name__}: {error}"}, b"", b"")
        return 1
    tx, rx = group.tx_records(), group.rx_records()
    about = {
        "quit": quit_reason.name,
        "policy": policy,
        "hops": group.hops,
        "tx_bytes": len(tx),
        "rx_bytes": len(rx),
        "counters": group.counters(),
    }
    _write(result_fd, about, tx, rx)
    return 0


def _write(fd: int, about: Mapping[str, Any], tx: bytes, rx: bytes) -> None:
    """Leave a result."""
    with os.fdopen(fd, "wb") as file:
        file.write(json.dumps(about).encode() + b"\n")
        file.write(tx)
        file.write(rx)


if __name__ == "__main__":
    sys.exit(main())
