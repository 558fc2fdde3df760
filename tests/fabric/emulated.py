"""Cells for the tests of real frames: plan data from a few words, the twin's answer, and a run beside it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nic_emulator import NICS
from nic_emulator.setup import configured as configured_nic
from testbed.analysis.records import Records, first_difference
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.fabric.build import LiveFabric
from testbed.fabric.capture import frame_places
from testbed.fabric.state import RunState
from testbed.run.emulation import Emulated, emulate
from testbed.run.holds import Acts, Punt
from testbed.run.join import join_records
from testbed.run.plan import plan_data
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Cell, Kind, Scenario
from testbed.spec.fabric import Fabric
from testbed.switches import SWITCHES
from testbed.switches.setup import configured

LOAD_PERMILLE: dict[str, int] = {"poisson": 600, "incast": 500}
FAR_PS = 1 << 61
"""Later than any run of these tests ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TwinRun:
    """What the twin makes of a cell."""

    records: Records
    counters: dict[str, dict[str, int]]
    hops: int


def scenario_of(kind: Kind, *, fan_in: int = 2) -> Scenario:
    return Scenario(
        name=kind,
        kind=kind,
        load_permille=LOAD_PERMILLE.get(kind, 0),
        fan_in=fan_in if kind == "incast" else 0,
    )


def cell_data(
    fabric: Fabric,
    *,
    kind: Kind,
    size_bytes: int,
    nic: str,
    records: int = 60,
    switch: str = "tomahawk5",
    fan_in: int = 2,
    seed: int = 1,
) -> dict[str, Any]:
    """The plan of one cell, sized for so many records."""
    cell = Cell(scenario=scenario_of(kind, fan_in=fan_in), size_bytes=size_bytes, nic=nic)
    schedule = schedule_of(cell, fabric)
    return plan_data(
        fabric,
        switch=configured(SWITCHES.get(switch), {}),
        nic=configured_nic(NICS.get(nic), {}),
        schedule=schedule,
        seed=seed,
        measure_until_ps=schedule.measure_until_ps(records),
    )


def with_buffer(data: dict[str, Any], buffer_bytes: int) -> dict[str, Any]:
    """The same plan with switches of another buffer."""
    nodes = [
        {**node, "config": {**node["config"], "buffer_bytes": buffer_bytes, "reserved_bytes": 0}}
        if node["kind"] == "switch"
        else node
        for node in data["nodes"]
    ]
    return {**data, "nodes": nodes}


def twin_run(data: dict[str, Any]) -> TwinRun:
    twin = _engine.Twin(build_plan(data))
    twin.run(FAR_PS)
    assert twin.done
    records = join_records([twin.tx_records()], [twin.rx_records()])
    return TwinRun(records=records, counters=twin.counters(), hops=twin.hops)


def settled(counters: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Without what NICs have sent: when the last message is in, its acknowledgement may be about to leave."""
    return {
        node: {key: value for key, value in of_node.items() if key not in ("tx_frames", "tx_octets")}
        for node, of_node in counters.items()
    }


def assert_equal(emulated: Emulated, twin: TwinRun, what: object = "") -> None:
    """Every field of every record, and every counter and frame of a run that both took to its end."""
    assert len(emulated.records) > 0, what
    difference = first_difference(emulated.records, twin.records, names=("real frames", "the twin"))
    assert difference is None, f"{what}: {difference}"
    assert emulated.records.tobytes() == twin.records.tobytes(), what


def run_both(
    live: LiveFabric,
    state: RunState,
    data: dict[str, Any],
    *,
    what: object = "",
    snap_bytes: int | None = None,
    groups: Sequence[Sequence[str]] | None = None,
) -> tuple[Emulated, TwinRun]:
    """A cell on real frames and in the twin, and equal."""
    emulated = emulate(live, data, state=state, snap_bytes=snap_bytes, groups=groups)
    twin = twin_run(data)
    assert_equal(emulated, twin, what)
    return emulated, twin


class Idle:
    """Holds the clock at given times, and notes when it was."""

    def __init__(
        self, times_ps: Sequence[int], *, pause_s: float = 0.0, processes: Sequence[str] = ()
    ) -> None:
        self._left = list(times_ps)
        self._pause_s = pause_s
        self._processes = processes
        self.held_ps: list[int] = []

    punt_latency_ps = 0

    def processes(self) -> dict[str, int]:
        return {}

    def next_ps(self) -> int:
        return self._left[0] if self._left else _engine.NEVER_PS

    def act(self, now_ps: int, punts: Sequence[Punt]) -> Acts:
        assert not punts
        self.held_ps.append(now_ps)
        time.sleep(self._pause_s)
        self._left.pop(0)
        return Acts(processes=self._processes)


class Once:
    """A `report` for `emulate` that acts one time, when the run is well under way."""

    def __init__(self, act: Callable[[], None], *, after_messages: int = 200) -> None:
        self._act = act
        self._after = after_messages
        self.acted_at_s: float | None = None

    def __call__(self, virtual_ps: int, messages: int) -> None:
        if self.acted_at_s is None and messages >= self._after:
            self.acted_at_s = time.monotonic()
            self._act()


def in_namespace(live: LiveFabric, name: str, *command: str) -> str:
    """Run a command in a node's network namespace; its output."""
    enter = ["nsenter", f"--net=/proc/{live.netns_pid(name)}/ns/net", "--"]
    return subprocess.run([*enter, *command], capture_output=True, text=True, check=True).stdout


_SEND = """
import socket, sys
sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
sender.bind((sys.argv[1], 0))
for text in sys.argv[2:]:
    sender.send(bytes.fromhex(text))
"""


def inject(live: LiveFabric, name: str, interface: str, *frames: bytes) -> None:
    """Send frames out of an interface as a stranger in the node's namespace would."""
    in_namespace(live, name, sys.executable, "-c", _SEND, interface, *(frame.hex() for frame in frames))


def captured_frames(path: Path) -> list[bytes]:
    """The frames of a pcap file, which this machine wrote."""
    data = path.read_bytes()
    return [data[place] for place in frame_places(data)]
