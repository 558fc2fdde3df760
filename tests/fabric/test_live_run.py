"""Runs whose switches a live controller programs: its tables are kept and run again; what befalls it is told."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.errors import FabricError
from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState
from testbed.run.cell_run import CellRun, cell_runs
from testbed.run.live_cell import LiveCells
from testbed.run.loader import load_experiment
from testbed.run.progress import NullProgress
from testbed.run.resolve import resolve
from testbed.spec.fabric import Fabric
from testbed.spec.overrides import apply_overrides
from tests.fabric.command_line import LONG, SMALL, Ended, Place, Running, finished, running
from tests.fabric.conftest import Traces, wait_for_nothing_left

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

QUICK = (*SMALL, "control.detection=1us", "control.control_latency=10us", "control.rule_install=1us")
SHORT = (*QUICK, "records=1000", "emulated_records=300")
DOWN = "failures=l1<>s1@5us-30us:down"
FLAPS = (*LONG, *QUICK, "control.link_up=1us", "failures=l1<>s1@5us-10us/20us*1000:down")
"""The clock is held all the time."""
DEADLINE_S = 5.0

SINGLE_PATH = """
from dataclasses import replace

from testbed.controller.app import FabricApp
from testbed.controller.rules import switch_tables


class SinglePath(FabricApp):
    def tables(self, down):
        setup = self.setup
        rules = replace(setup.rules, paths="single")
        return switch_tables(setup.fabric, rules, cards_per_nic=setup.cards_per_nic, down=down)
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.below(tmp_path)


@pytest.fixture
def app(tmp_path: Path) -> str:
    path = tmp_path / "single_path.py"
    path.write_text(SINGLE_PATH, encoding="utf-8")
    return str(path)


def result_of(place: Place, overrides: tuple[str, ...], *options: str) -> Path:
    """A run that must end well; its result is the newest."""
    before = set((place.out / "quickstart").glob("*"))
    ended = finished(place.run_command(overrides, *options))
    assert ended.code == 0, ended.stderr
    (made,) = set((place.out / "quickstart").glob("*")) - before
    return made


def digest_of(result: Path) -> str:
    return str(json.loads((result / "summary.json").read_text(encoding="utf-8"))["records_digest"])


@pytest.mark.parametrize("nics", ["transparent", "transparent,rdma"])
def test_live_tables_of_an_application_run_again_in_both_engines(place: Place, app: str, nics: str) -> None:
    overrides = (*SHORT, DOWN, f"nics={nics}")
    result = result_of(place, overrides, "--controller", app)
    control = json.loads((result / "metadata.json").read_text(encoding="utf-8"))["control"]
    assert control.keys() == {
        "controller",
        "framework",
        "framework_version",
        "datapath",
        "open_vswitch_version",
    }
    assert (control["controller"], control["framework"]) == (app, "ryu")
    tables = str(result / "tables.json")
    twin = result_of(place, overrides, "--engine", "twin", "--controller", tables)
    frames = result_of(place, overrides, "--controller", tables)
    assert digest_of(result) == digest_of(twin) == digest_of(frames)
    assert (twin / "tables.json").read_bytes() == (result / "tables.json").read_bytes()
    own = result_of(place, overrides, "--engine", "twin")
    assert digest_of(own) != digest_of(result)
    assert not (own / "tables.json").exists()


def test_live_tables_of_other_controllers_are_those_of_the_rules(place: Place) -> None:
    """By os-ken, and by nobody; with another class for frames, which the bridges and the model agree about."""
    overrides = (*SHORT, DOWN, "control.class_of_pcp=0-7:5", "control.class_of_dscp=0-63:6")
    results = [
        result_of(place, overrides, "--controller", controller) for controller in ("os-ken", "static", "ryu")
    ]
    assert len({digest_of(result) for result in results}) == 1
    assert not any((result / "tables.json").exists() for result in results)


def test_live_rules_are_shown_and_dumped_and_run(place: Place, app: str, tmp_path: Path) -> None:
    dump = tmp_path / "dump.json"
    topology = ("leaf_spine", "--set", "leaves=2", "--set", "cards=4", "--controller", app)
    shown = finished(place.command("show", "rules", *topology, "--dump", str(dump)))
    assert shown.code == 0, shown.stderr
    assert "control plane: bridges" in shown.stderr
    assert "by 12 of 20 shortest paths" in shown.stdout
    live = result_of(place, SHORT, "--controller", app)
    again = result_of(place, SHORT, "--engine", "twin", "--controller", str(dump))
    assert digest_of(live) == digest_of(again)


def run_of(fabric: Fabric) -> tuple[LiveCells, CellRun]:
    """The first cell of a small experiment, as if its plan had this fabric."""
    experiment = apply_overrides(load_experiment("quickstart"), SHORT)
    run = cell_runs(resolve(experiment), emulated=True)[0]
    cells = LiveCells(experiment, RunState.create(f"live-{os.getpid()}"), NullProgress())
    return cells, replace(run, network=replace(run.network, fabric=fabric))


def test_live_control_plane_refuses_a_fabric_with_swapped_cables() -> None:
    planned = resolve(apply_overrides(load_experiment("quickstart"), SHORT)).fabric
    switches = {switch.name for switch in planned.switches}
    one, other = (i for i, link in enumerate(planned.links) if link.a == "l1" and link.b in switches)
    links = list(planned.links)
    links[one] = replace(links[one], b=planned.links[other].b, b_port=planned.links[other].b_port)
    links[other] = replace(links[other], b=planned.links[one].b, b_port=planned.links[one].b_port)
    cells, run = run_of(planned)
    with (
        cells.state,
        build_fabric(replace(planned, links=tuple(links)), state=cells.state) as live,
        pytest.raises(FabricError, match="l1-eth3 should lead to s1-eth1, but leads to s2-eth1") as caught,
        cells.control_plane(live, run),
    ):
        pytest.fail("it stood")
    assert "l2" not in str(caught.value)


# ------------------------------------------------------------------------------------------ while it is held


def held(run: Running) -> None:
    """Wait until virtual time passes, from one hold to the next."""
    run.await_stage("virtual ")


def assert_one_error(ended: Ended, code: int, words: str) -> None:
    assert ended.code == code, ended.stderr
    (error,) = ended.errors()
    assert words in error
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("victim", ["controller", "ovsdb-server", "ovs-vswitchd"])
def test_live_process_killed_while_the_clock_is_held_is_named(place: Place, victim: str) -> None:
    with running(place, FLAPS) as run:
        held(run)
        pid = place.children()[victim]
        ended = run.strike(pid, signal.SIGKILL)
    assert_one_error(ended, 4, f"process '{victim}' (pid {pid}) died in mid-run")
    assert ended.after_s < DEADLINE_S
    assert place.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_live_signal_while_the_clock_is_held_ends_with_130_and_nothing_left(
    place: Place, number: signal.Signals
) -> None:
    with running(place, FLAPS) as run:
        held(run)
        ended = run.strike_group(number)
    assert_one_error(ended, 130, "")
    assert ended.after_s < DEADLINE_S
    assert place.left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", ["start the control plane", "look for the cables"])
def test_live_signal_while_the_control_plane_starts_leaves_nothing(
    place: Place, number: signal.Signals, stage: str
) -> None:
    with running(place, FLAPS) as run:
        run.await_stage(stage)
        ended = run.strike_group(number)
    assert_one_error(ended, 130, "")
    assert place.left() == []


def test_live_orchestrator_killed_while_the_clock_is_held_leaves_no_process(
    place: Place, before: Traces
) -> None:
    with running(place, FLAPS) as run:
        held(run)
        run.strike(run.process.pid, signal.SIGKILL)
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)
    assert finished(place.command("clean")).code == 0
    assert [path for path in place.left() if "/state/" in path] == []


def test_live_controller_that_the_experiment_loses_is_no_error(place: Place) -> None:
    lost = "failures=l1<>s1@5us-60us:down,controller@3us-20us:lost,controller@40us-50us:lost"
    live = result_of(place, (*SHORT, lost))
    twin = result_of(place, (*SHORT, lost), "--engine", "twin")
    assert digest_of(live) == digest_of(twin)


def test_live_capture_has_the_control_plane_and_the_failures_of_a_run(place: Place, tmp_path: Path) -> None:
    """The same messages as the run."""
    words = [word for one in (*QUICK, DOWN) for word in ("--set", one)]
    path = str(tmp_path / "x.pcapng")
    command = place.command(
        "capture", "quickstart", "--port", "l1-eth3", "--records", "300", "--json", *words
    )
    ended = finished([*command, "--out", path])
    assert ended.code == 0, ended.stderr
    assert "start the control plane" in ended.stderr
    captured = json.loads(ended.stdout)
    same = (f"records={captured['records']}", "emulated_records=1")
    assert captured["records_digest"] == digest_of(
        result_of(place, (*QUICK, DOWN, *same), "--engine", "twin")
    )
