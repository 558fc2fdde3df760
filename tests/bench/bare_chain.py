"""Compiles and runs `bare_chain.cpp`: what forwarding over veth costs here with no clock and no model.

The reference for the virtual clock's speed; to be measured in the same run as what is compared with it.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from testbed.errors import FabricError, PreflightError

SOURCE = Path(__file__).with_suffix(".cpp")
BINARY = Path(__file__).parents[2] / "build" / "bench" / "bare_chain"
_GRACE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """What to run."""

    shape: Literal["ring", "chain"]
    processes: int
    window_pkts: int
    """How many frames circulate."""
    frame_bytes: int
    """Without FCS: what the socket sees."""


PINGPONG = Chain(shape="chain", processes=3, window_pkts=1, frame_bytes=4096)
"""Two cards and a switch, one frame."""
PERMUTATION = Chain(shape="ring", processes=22, window_pkts=128, frame_bytes=4096)
"""As many processes as 16 cards with 6 switches, many frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainResult:
    """Packet-hops per second over several runs."""

    median: float
    low: float
    high: float
    fifo: bool
    """Whether the processes ran under SCHED_FIFO."""


def compile_command(source: Path = SOURCE, binary: Path = BINARY) -> list[str]:
    """How the executable is made."""
    return ["g++", "-std=c++20", "-O2", "-Wall", "-Wextra", "-o", str(binary), str(source)]


def run_command(chain: Chain, *, milliseconds: int, cpu: int, binary: Path = BINARY) -> list[str]:
    """How it is run."""
    numbers = (chain.processes, chain.window_pkts, chain.frame_bytes, milliseconds, cpu)
    return [str(binary), chain.shape, *map(str, numbers)]


def compile_chain() -> Path:
    """The executable, made anew if its source is younger."""
    if not BINARY.exists() or BINARY.stat().st_mtime < SOURCE.stat().st_mtime:
        BINARY.parent.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(compile_command(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise PreflightError(f"g++ failed: {done.stderr.strip()}", remedy="install g++ 12 or newer")
    return BINARY


def measure(chain: Chain, *, cpu: int, repeats: int = 5, milliseconds: int = 1000) -> ChainResult:
    """Run it `repeats` times on one CPU, and so in turn with whatever else the caller measures."""
    runs = [measure_once(chain, cpu=cpu, milliseconds=milliseconds) for _ in range(repeats)]
    speeds = [speed for speed, _ in runs]
    return ChainResult(
        median=statistics.median(speeds),
        low=min(speeds),
        high=max(speeds),
        fifo=all(fifo for _, fifo in runs),
    )


def measure_once(chain: Chain, *, cpu: int, milliseconds: int = 1000) -> tuple[float, bool]:
    """Packet-hops per second of one run, and whether it ran under SCHED_FIFO."""
    compile_chain()
    command = run_command(chain, milliseconds=milliseconds, cpu=cpu)
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=milliseconds / 1000 + _GRACE_S, check=False
    )
    if done.returncode != 0:
        raise FabricError(f"the bare chain failed: {done.stderr.strip()}", remedy="run the benchmark as root")
    result = json.loads(done.stdout)
    if result["lost_pkts"] != 0:
        raise FabricError(
            f"the bare chain lost {result['lost_pkts']} frames", remedy="make its window smaller"
        )
    return float(result["hops_per_s"]), bool(result["fifo"])
