"""The orchestrator is killed with SIGKILL: what ends by itself, and what `clean` removes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed.fabric.build import build_fabric
from testbed.fabric.clean import clean
from testbed.fabric.processes import Supervisor
from testbed.fabric.state import RunState, read_state
from testbed.process_table import stat_of
from tests.fabric.conftest import Traces, wait_for_nothing_left
from topologies.single_switch import build

pytestmark = pytest.mark.fabric

ROOT = Path(__file__).parents[2]
DEADLINE_S = 5.0

ORCHESTRATOR = """
import os, signal, subprocess, sys
from pathlib import Path
from testbed.fabric.build import build_fabric
from testbed.fabric.processes import Supervisor
from testbed.fabric.state import RunState
from topologies.leaf_spine import build

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # by which shells of hosts end their jobs; under nohup it is ignored
directory, stop_at = Path(sys.argv[1]), sys.argv[2]
state = RunState.create("killed", directory=directory)

def progress(step):
    if step == stop_at:
        print(step, flush=True)
        signal.pause()

with build_fabric(build(spines=2, leaves=2, cards=4), state=state, progress=progress) as live:
    live.net["c1"].cmd("sleep 300 &")
    enter = ["nsenter", f"--net=/proc/{live.netns_pid('c2')}/ns/net", "sleep", "300"]
    emulator = subprocess.Popen(enter)
    state.record_child("nic c2", emulator.pid)
    (directory / ".result.partial").mkdir()
    state.record_partial(directory / ".result.partial")
    print("inside", flush=True)
    signal.pause()
"""


def killed_at(step: str, directory: Path) -> None:
    """Start an orchestrator, and SIGKILL it when it is at a step."""
    command = [sys.executable, "-c", ORCHESTRATOR, str(directory), step]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as orchestrator:
        assert orchestrator.stdout is not None
        assert orchestrator.stdout.readline().strip() == step
        orchestrator.kill()


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


@pytest.mark.parametrize("step", ["namespaces", "links", "interfaces", "ready"])
def test_orchestrator_killed_while_building_leaves_nothing_within_5_s(
    before: Traces, tmp_path: Path, step: str
) -> None:
    killed_at(step, tmp_path)
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)
    assert clean(directory=tmp_path)[-1] == f"state file {tmp_path / 'killed.json'}"


def test_orchestrator_killed_in_a_run_clean_removes_the_rest_and_only_ours(
    bystander: subprocess.Popen[bytes], before: Traces, tmp_path: Path
) -> None:
    killed_at("inside", tmp_path)
    (nic,) = [child for child in read_state(tmp_path / "killed.json").children if child.name == "nic c2"]
    assert nic.is_alive()  # it is nobody's child, and asked for no death signal
    other = RunState.create("other", directory=tmp_path)
    other.record_child("bystander", bystander.pid)

    removed = clean(directory=tmp_path)

    assert any("nic c2" in line for line in removed)
    assert not nic.is_alive()
    assert not (tmp_path / ".result.partial").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["other.json"]
    assert bystander.poll() is None
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)


def test_holders_killed_in_a_run_end_the_fabric_and_are_named(before: Traces, tmp_path: Path) -> None:
    with (
        RunState.create("r", directory=tmp_path) as state,
        build_fabric(build(cards=2), state=state) as live,
        Supervisor(live.processes()) as supervisor,
    ):
        assert supervisor.poll() is None
        os.kill(live.holder_pid, signal.SIGKILL)
        first = supervisor.poll(int(DEADLINE_S * 1000))
        assert first is not None
        assert first[0].startswith("namespace")
        assert supervisor.wait(int(DEADLINE_S * 1000)) == {}
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)
    assert stat_of(live.netns_pid("c1")) is None
