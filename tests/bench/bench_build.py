"""Building and tearing down 128 cards with their processes, beside plain Mininet with 128 hosts.

Ours is a leaf-spine fabric of 128 cards and 12 switches, each in a namespace of its own, with one process in
each; plain Mininet is its Python interface with one Open vSwitch bridge (user-space datapath). Runs of the
two take turns, each in an interpreter of its own; neither is charged for starting it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from testbed.errors import FabricError
from testbed.run.benchmark import BenchRow

CARDS = 128
TARGET = "ratio <= 1.5"
ROOT = Path(__file__).parents[2]

OURS = """
import json, subprocess, sys, tempfile, time
from pathlib import Path
from testbed.fabric import mininet_nodes
from testbed.fabric.build import build_fabric
from testbed.fabric.processes import Supervisor
from testbed.fabric.state import RunState
from topologies.leaf_spine import build

fabric = build(spines=4, leaves=8, cards=int(sys.argv[1]))
with tempfile.TemporaryDirectory() as directory:
    began = time.perf_counter()
    with RunState.create("bench", directory=Path(directory)) as state:
        with build_fabric(fabric, state=state) as live:
            command = [sys.executable, "-I", "-S", sys.argv[2], *map(str, live.pids.values())]
            launcher = subprocess.Popen(command, stdout=subprocess.PIPE)
            pids = json.loads(launcher.stdout.readline())
            state.record_children({f"emulator {i}": pid for i, pid in enumerate(pids)})
            built = time.perf_counter()
            with Supervisor(dict(zip(live.pids, pids, strict=True))) as supervisor:
                supervisor.kill_all()
            launcher.wait()
    print(json.dumps([built - began, time.perf_counter() - built]))
"""

LAUNCHER = """
import ctypes, json, os, signal, sys
libc = ctypes.CDLL(None)
me, pids = os.getpid(), []
for holder in sys.argv[1:]:
    pid = os.fork()
    if pid == 0:
        libc.prctl(1, signal.SIGKILL)
        if os.getppid() != me or libc.setns(os.open(f"/proc/{holder}/ns/net", os.O_RDONLY), 0x40000000) != 0:
            os._exit(1)
        os.close(1)
        while True:
            signal.pause()
    pids.append(pid)
print(json.dumps(pids), flush=True)
for pid in pids:
    os.waitpid(pid, 0)
"""

PLAIN = """
import json, sys, time
from functools import partial
from mininet.net import Mininet
from mininet.node import OVSSwitch
from mininet.topo import SingleSwitchTopo

Mininet.inited = True  # its init() raises kernel limits for the whole machine
began = time.perf_counter()
switch = partial(OVSSwitch, datapath="user")
net = Mininet(topo=SingleSwitchTopo(int(sys.argv[1])), switch=switch, controller=None)
try:
    net.start()
    built = time.perf_counter()
finally:
    net.stop()
print(json.dumps([built - began, time.perf_counter() - built]))
"""


def run(quick: bool) -> list[BenchRow]:
    """The rows: both times and their sum, and what plain Mininet takes if Open vSwitch runs here."""
    ours: list[tuple[float, float]] = []
    plain: list[tuple[float, float]] = []
    launcher = ROOT / "build" / "bench" / "launcher.py"
    launcher.parent.mkdir(parents=True, exist_ok=True)
    launcher.write_text(LAUNCHER, encoding="utf-8")
    for _ in range(2 if quick else 5):
        ours.append(_times(OURS, str(CARDS), str(launcher)))
        if open_vswitch_runs():
            plain.append(_times(PLAIN, str(CARDS)))
    return [
        _row("build and tear down", [sum(times) for times in ours], [sum(times) for times in plain], TARGET),
        _row("build", [times[0] for times in ours], [times[0] for times in plain]),
        _row("tear down", [times[1] for times in ours], [times[1] for times in plain]),
    ]


def open_vswitch_runs() -> bool:
    """Whether plain Mininet's switch can be started here."""
    if shutil.which("ovs-vsctl") is None:
        return False
    return (
        subprocess.run(["ovs-vsctl", "--timeout=5", "show"], capture_output=True, check=False).returncode == 0
    )


def _times(script: str, *arguments: str) -> tuple[float, float]:
    """Seconds to build and seconds to tear down."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        problem = done.stderr.strip().rpartition("\n")[2]
        raise FabricError(
            f"the benchmark could not build: {problem}", remedy="run it as root; see ./tb check"
        )
    build_s, teardown_s = json.loads(done.stdout.strip().rpartition("\n")[2])
    return build_s, teardown_s


def _row(what: str, ours: list[float], plain: list[float], target: str | None = None) -> BenchRow:
    median = statistics.median(ours)
    reference = statistics.median(plain) if plain else None
    return BenchRow(
        name=f"{what}: {CARDS} cards, 12 switches",
        unit="s",
        median=median,
        low=min(ours),
        high=max(ours),
        reference_name=f"plain Mininet, {CARDS} hosts, 1 switch" if plain else None,
        reference_median=reference,
        ratio=median / reference if reference else None,
        target=target if plain else None,
    )
