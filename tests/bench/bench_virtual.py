"""The virtual clock on real frames, beside bare AF_PACKET forwarders over veth, quiet and with every CPU kept busy.

The reference has no clock and no model: as many processes, frames of the same size on the veth, one CPU. Its runs and
ours take turns. Also the memory (PSS) of a NIC process and of a switch process in mid-run.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from testbed.fabric.build import LiveFabric, build_fabric
from testbed.fabric.state import RunState
from testbed.run.benchmark import BenchRow
from testbed.run.emulation import emulate
from testbed.run.plan import cell_plan
from testbed.run.resolve import Resolved, resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Experiment, Scenario

ON_VETH_BYTES = 4162
"""A 4 KiB packet of the transparent NIC: headers 22, payload 4096, trailer 40 (the veth carries no FCS) and 4 spare."""
BUSY = "import ctypes, signal\nctypes.CDLL(None).prctl(1, signal.SIGKILL)\nwhile True: pass"


def run(quick: bool) -> list[BenchRow]:
    """Ping-pong and permutation, their speed under noise, and memory."""
    repeats, scale = (3, 1) if quick else (7, 3)
    with RunState.create(f"bench-{os.getpid()}") as state:
        rows = _compare(state, _PING_PONG, 20_000 * scale, repeats=repeats)
        rows += _compare(state, _PERMUTATION, 60_000 * scale, repeats=repeats)
    return rows


def _experiment(kind: Any, topology: str, parameters: dict[str, int | str]) -> Experiment:
    return Experiment(
        name="bench",
        question="How fast?",
        topology=topology,
        topology_parameters=parameters,
        switch="tomahawk5",
        nics=("transparent",),
        sizes_bytes=(4096,),
        scenarios=(Scenario(name=kind, kind=kind),),
        records=1,
        emulated_records=1,
    )


_PING_PONG = (
    _experiment("pingpong", "single_switch", {"cards": 2}),
    {"shape": "chain", "processes": 3, "window_pkts": 1},
    "ratio >= 0.8",
)
_PERMUTATION = (
    _experiment("permutation", "leaf_spine", {}),
    {"shape": "ring", "processes": 22, "window_pkts": 128},
    "ratio >= 0.6",
)


def _compare(
    state: RunState, what: tuple[Experiment, dict[str, Any], str], records: int, *, repeats: int
) -> list[BenchRow]:
    """Ours, the reference and ours under noise, in turns."""
    experiment, shape, target = what
    bare = _bare_chain()
    chain = bare.Chain(frame_bytes=ON_VETH_BYTES, **shape)
    resolved = resolve(experiment)
    plan = _plan(resolved, records)
    cpu = max(os.sched_getaffinity(0))
    ours, reference, noisy = [], [], []
    memory: dict[str, float] = {}
    with build_fabric(resolved.fabric, state=state) as live:
        for _ in range(repeats):
            reference.append(bare.measure_once(chain, cpu=cpu, milliseconds=500)[0])
            ours.append(_speed(live, plan, state, _memory_probe(state, memory)))
            with busy_cpus():
                noisy.append(_speed(live, plan, state))
    name = experiment.scenarios[0].name
    rows = [
        _row(f"virtual, {name}", ours, f"bare chain of {shape['processes']}", reference, target),
        _row(f"virtual, {name}, all CPUs busy", noisy, "itself, quiet", ours, "ratio >= 0.8"),
    ]
    return rows + [
        BenchRow(name=f"memory of a {kind} process, {name}", unit="MiB PSS", median=mib, low=mib, high=mib,
                 target="median <= 20" if kind == "NIC" else None)
        for kind, mib in memory.items()
    ]  # fmt: skip


def _row(
    name: str, speeds: Sequence[float], against: str, reference: Sequence[float], target: str
) -> BenchRow:
    median, other = statistics.median(speeds), statistics.median(reference)
    ratio = statistics.median(a / b for a, b in zip(speeds, reference, strict=True))
    return BenchRow(
        name=name,
        unit="k packet-hops/s",
        median=median / 1e3,
        low=min(speeds) / 1e3,
        high=max(speeds) / 1e3,
        reference_name=against,
        reference_median=other / 1e3,
        ratio=ratio,
        target=target,
    )


def _plan(resolved: Resolved, records: int) -> dict[str, Any]:
    cell, network = resolved.cells[0], resolved.networks[0]
    schedule = schedule_of(cell, network.fabric)
    until_ps = schedule.measure_until_ps(records)
    return cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=until_ps)


def _speed(
    live: LiveFabric, plan: dict[str, Any], state: RunState, report: Callable[[int, int], None] | None = None
) -> float:
    done = emulate(live, plan, state=state, report=report)
    return done.hops / done.wall_s


def _memory_probe(state: RunState, memory: dict[str, float]) -> Callable[[int, int], None]:
    """Looks once, in mid-run, at one process of each kind."""

    def probe(_virtual_ps: int, messages: int) -> None:
        if memory or messages < 1000:
            return
        from testbed.fabric.state import read_state

        latest = {child.name: child.pid for child in read_state(state.path).children}
        memory["NIC"] = _pss_mib(latest["c1"])
        memory["switch"] = _pss_mib(
            next(pid for name, pid in latest.items() if name[0] in "ls" and name[1:].isdigit())
        )

    return probe


def _pss_mib(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@contextmanager
def busy_cpus() -> Iterator[None]:
    """Two busy loops on every CPU."""
    loops = []
    try:
        for cpu in sorted(os.sched_getaffinity(0)) * 2:
            loop = subprocess.Popen([sys.executable, "-S", "-c", BUSY])
            loops.append(loop)
            os.sched_setaffinity(loop.pid, {cpu})
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def _bare_chain() -> ModuleType:
    """The reference, which lies beside this file."""
    spec = importlib.util.spec_from_file_location("bare_chain", Path(__file__).with_name("bare_chain.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bare_chain"] = module
    spec.loader.exec_module(module)
    return module
