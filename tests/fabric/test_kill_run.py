"""A process of a run is killed or stopped: the run ends at once, names it, and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from testbed.errors import FabricError
from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState, read_state
from testbed.process_table import stat_of
from testbed.run.emulation import emulate
from tests.fabric.command_line import LONG, SMALL, Ended, Place, finished, running
from tests.fabric.conftest import Traces, wait_for_nothing_left
from tests.fabric.emulated import Once, cell_data, run_both
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

DEADLINE_S = 5.0
STOPPED_DEADLINE_S = 6.0
"""A clock must stand still for 3 s before anybody asks why."""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.below(tmp_path)


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "300"]) as process:
        yield process
        process.kill()


def own_memories() -> list[str]:
    """The run's anonymous files that this process holds."""
    links = (Path(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd"))
    targets = [os.readlink(link) for link in links if link.is_symlink()]
    return [target for target in targets if "memfd:tb-" in target]


@pytest.mark.parametrize("victim", ["c2", "l1", "launcher", "namespace of c1", "namespaces"])
def test_kill_process_of_the_fabric_ends_the_cell_and_is_named(state: RunState, victim: str) -> None:
    fabric = fabric_of("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma", records=300_000)

    def kill() -> None:
        pids = {child.name: child.pid for child in read_state(state.path).children}
        os.kill(pids[victim], signal.SIGKILL)

    report = Once(kill)
    with build_fabric(fabric, state=state) as live:
        with pytest.raises(
            FabricError, match=rf"process '{victim}' \(pid \d+\) died in mid-run, at virtual time"
        ):
            emulate(live, data, state=state, report=report)
        assert report.acted_at_s is not None
        assert time.monotonic() - report.acted_at_s < DEADLINE_S
    assert own_memories() == []


def test_kill_process_of_one_cell_leaves_the_fabric_fit_for_the_next(state: RunState) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent", records=300_000)
    with build_fabric(fabric, state=state) as live:
        report = Once(lambda: os.kill(_newest(state, "c1"), signal.SIGKILL))
        with pytest.raises(FabricError, match="'c1'"):
            emulate(live, data, state=state, report=report)
        run_both(live, state, cell_data(fabric, kind="poisson", size_bytes=4096, nic="transparent"))


@pytest.mark.parametrize("victim", ["c1", "l1"])
def test_kill_stopped_process_ends_the_cell_and_is_named(state: RunState, victim: str) -> None:
    fabric = fabric_of("single_switch", {"cards": 3})
    data = cell_data(fabric, kind="poisson", size_bytes=4096, nic="rdma", records=300_000)
    report = Once(lambda: os.kill(_newest(state, victim), signal.SIGSTOP))
    with build_fabric(fabric, state=state) as live:
        with pytest.raises(FabricError, match=rf"clock has stood still .*process '{victim}' .*is in state T"):
            emulate(live, data, state=state, report=report)
        assert report.acted_at_s is not None
        assert time.monotonic() - report.acted_at_s < STOPPED_DEADLINE_S


def _newest(state: RunState, name: str) -> int:
    return [child.pid for child in read_state(state.path).children if child.name == name][-1]


# ------------------------------------------------------------------------------------------ the command line


def assert_one_error(ended: Ended, code: int, words: str) -> None:
    assert ended.code == code, ended.stderr
    assert len(ended.errors()) == 1, ended.stderr
    assert words in ended.errors()[0]
    assert "\nremedy: " in ended.stderr
    assert "Traceback" not in ended.stderr


CONTROL_PLANE = (
    "controller",
    "ovsdb-server",
    "ovs-vswitchd",
    "namespace 'control'",
    "namespaces of the control plane",
)


@pytest.mark.parametrize("victim", ["c1", "s2", "launcher", *CONTROL_PLANE])
def test_kill_process_of_a_run_is_named_and_nothing_is_left(place: Place, victim: str) -> None:
    with running(place, LONG) as run:
        run.await_frames()
        pids = place.children()
        ended = run.strike(pids[victim], signal.SIGKILL)
    assert ended.after_s < DEADLINE_S
    assert_one_error(ended, 4, f"process '{victim}' (pid {pids[victim]}) died in mid-run")
    assert place.left() == []
    assert [name for name, pid in pids.items() if stat_of(pid)] == []


def test_kill_twin_worker_is_named_and_nothing_is_left(place: Place) -> None:
    with running(place, LONG, "--engine", "twin") as run:
        victim = run.await_workers_busy()[0]
        ended = run.strike(victim, signal.SIGKILL)
    assert ended.after_s < DEADLINE_S
    assert_one_error(ended, 4, f"a twin process (pid {victim}, SIGKILL) died in mid-run")
    assert place.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_kill_signal_during_real_frames_ends_with_130_and_nothing_left(
    place: Place, number: signal.Signals
) -> None:
    with running(place, LONG) as run:
        run.await_frames()
        ended = run.strike_group(number)
    assert ended.after_s < DEADLINE_S
    assert_one_error(ended, 130, "interrupted" if number == signal.SIGINT else f"ended by {number.name}")
    assert place.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_kill_signal_during_the_build_ends_with_130_and_nothing_left(
    place: Place, number: signal.Signals
) -> None:
    with running(place, (*LONG, "topology.cards=32")) as run:
        run.await_stage("build the fabric")
        ended = run.strike_group(number)
    assert ended.after_s < DEADLINE_S
    assert_one_error(ended, 130, "")
    assert place.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("at_once", [True, False])
def test_kill_signal_during_the_twin_ends_with_130_and_nothing_left(
    place: Place, number: signal.Signals, at_once: bool
) -> None:
    with running(place, (*LONG, "nics=transparent,rdma"), "--engine", "twin") as run:
        if at_once:
            run.await_stage("twin")
        else:
            run.await_workers_busy()
        ended = run.strike_group(number)
    assert ended.after_s < DEADLINE_S
    assert_one_error(ended, 130, "")
    assert place.left() == []


def wait_until_dead(pids: Mapping[str, int]) -> None:
    """A process that is on its way out has no environment any more, but still a name."""
    deadline = time.monotonic() + DEADLINE_S
    while alive := [name for name, pid in pids.items() if stat_of(pid)]:
        assert time.monotonic() < deadline, f"still there: {alive}"
        time.sleep(0.01)


@pytest.fixture
def killed(place: Place, before: Traces) -> tuple[str, ...]:
    """What is left of a run whose orchestrator was killed, once its processes are gone."""
    with running(place, LONG) as run:
        run.await_frames()
        pids = place.children()
        assert len(pids) >= 4 + 4 + 2
        assert {f"host agent of c{number}" for number in range(1, 5)} < pids.keys()
        run.strike(run.process.pid, signal.SIGKILL)
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)
    wait_until_dead(pids)
    left = place.left()
    assert any(".partial" in path for path in left)
    assert any(path.endswith(".json") and "/state/" in path for path in left)
    assert any(path.endswith(".sockets") for path in left)
    return tuple(left)


def bystanders_things(place: Place, pid: int) -> list[str]:
    """A live run's state file, and a result and a directory that no run has noted."""
    (place.out / "quickstart" / ".someone.partial").mkdir(parents=True)
    (place.out / "quickstart" / "20260101T000000Z-00000000").mkdir()
    other = RunState.create("living", directory=place.state)
    other.record_child("bystander", pid)
    return ["living.json", ".someone.partial", "20260101T000000Z-00000000"]


@pytest.mark.usefixtures("killed")
def test_kill_orchestrator_clean_removes_the_rest_and_only_ours(
    place: Place, bystander: subprocess.Popen[bytes]
) -> None:
    kept = bystanders_things(place, bystander.pid)
    dry = finished(place.command("clean", "--dry-run"))
    assert dry.code == 0
    assert "would remove partial result" in dry.stdout
    ended = finished(place.command("clean"))
    assert ended.code == 0, ended.stderr
    assert dry.stdout == ended.stdout.replace("removed ", "would remove ")
    names = [Path(path).name for path in place.left() if Path(path).name != "quickstart"]
    assert sorted(names) == sorted(kept)
    assert bystander.poll() is None
    assert finished(place.command("clean")).stdout == "nothing was left\n"


@pytest.mark.usefixtures("killed")
def test_kill_orchestrator_the_next_run_removes_the_rest(place: Place) -> None:
    ended = finished(place.run_command((*SMALL, "records=100", "emulated_records=100")))
    assert ended.code == 0, ended.stderr
    assert list(place.state.iterdir()) == []
    (result,) = (place.out / "quickstart").iterdir()
    assert (result / "summary.json").is_file()


# ------------------------------------------------------------------------------------------ the disk is full


@pytest.mark.parametrize(
    ("engine", "disk", "records"),
    [("emulation", "100k", 20_000), ("emulation", "1m", 100_000), ("twin", "400k", 50_000)],
)
def test_kill_full_disk_is_one_error_and_nothing_is_left(
    place: Place, engine: str, disk: str, records: int
) -> None:
    small = Place(state=place.state, out=place.out, disk=disk)
    sizes = (
        f"records={records}",
        f"emulated_records={records}" if disk == "100k" else "emulated_records=100",
    )
    ended = finished(small.run_command((*SMALL, *sizes), "--engine", engine))
    assert_one_error(ended, 6, "No space left on device")
    assert "free space on that disk" in ended.stderr
    assert list(place.state.iterdir()) == []
