"""Whole runs on real frames through the command line: same outcome as the twin alone, plain output, small processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from testbed.fabric.build import build_fabric
from testbed.fabric.state import RunState, read_state
from testbed.run.emulation import emulate
from tests.fabric.command_line import Place, finished
from tests.fabric.emulated import Once, cell_data
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

PSS_LIMIT_KIB = 20 * 1024
SPEC = (
    "topology.leaves=2",
    "topology.cards=4",
    "sizes=9000B",
    "scenarios=incast",
    "incast.fan_in=3",
    "records=400",
    "emulated_records=400",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place.below(tmp_path_factory.mktemp("runs"))


def run_json(place: Place, *options: str) -> dict[str, Any]:
    """What `run --json` prints: nothing but JSON."""
    ended = finished(place.run_command(SPEC, "--json", *options))
    assert ended.code == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


@pytest.fixture(scope="module")
def emulated(place: Place) -> dict[str, Any]:
    """A run on real frames."""
    return run_json(place)


def test_virtual_run_json_holds_digest_clock_and_directory(emulated: dict[str, Any]) -> None:
    assert len(emulated["records_digest"]) == 64
    assert emulated["clock"]["clock"] == "virtual"
    assert emulated["clock"]["equal"] is True
    assert emulated["clock"]["emulated_records"] >= 400
    saved = json.loads((Path(emulated["directory"]) / "summary.json").read_text())
    assert {**saved, "directory": emulated["directory"]} == emulated


def test_virtual_run_has_the_digest_of_the_twin_alone(place: Place, emulated: dict[str, Any]) -> None:
    twin = run_json(place, "--engine", "twin")
    assert twin["clock"]["clock"] == "twin"
    assert twin["records_digest"] == emulated["records_digest"]
    assert [cell["n"] for cell in twin["cells"]] == [400] * 2


def test_virtual_run_with_snap_has_the_same_digest(place: Place, emulated: dict[str, Any]) -> None:
    assert run_json(place, "--snap", "64")["records_digest"] == emulated["records_digest"]


def test_virtual_run_repeat_runs_one_seed_after_the_other(place: Place, emulated: dict[str, Any]) -> None:
    runs = run_json(place, "--engine", "twin", "--repeat", "2")["runs"]
    assert [run["seed"] for run in runs] == [1, 2]
    assert runs[0]["records_digest"] == emulated["records_digest"] != runs[1]["records_digest"]
    assert len({run["directory"] for run in runs}) == 2


def test_virtual_run_of_two_results_plots_both(
    place: Place, emulated: dict[str, Any], tmp_path: Path
) -> None:
    other = run_json(place, "--seed", "7", "--engine", "twin")
    figures = tmp_path / "figures"
    command = place.command("plot", emulated["directory"], other["directory"], "--out", str(figures))
    ended = finished(command)
    assert ended.code == 0, ended.stderr
    made = [Path(line) for line in ended.stdout.splitlines()]
    assert {path.suffix for path in made} == {".png", ".svg"}
    assert all(path.stat().st_size > 1000 and path.parent == figures for path in made)


def test_virtual_run_leaves_whole_results_and_no_state(place: Place, emulated: dict[str, Any]) -> None:
    assert list(place.state.iterdir()) == []
    directory = Path(emulated["directory"])
    assert sorted(path.name for path in directory.iterdir()) == [
        "counters.json",
        "figures",
        "hdr",
        "metadata.json",
        "queue_depth.parquet",
        "records",
        "report.txt",
        "series",
        "spec.json",
        "summary.json",
    ]
    assert len(emulated["cells"]) == 2
    assert all(len(list((directory / folder).iterdir())) == 2 for folder in ("hdr", "records", "series"))


def pss_kib(pid: int) -> int:
    """The share of the machine's memory that is a process's own."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise AssertionError("no Pss in smaps_rollup")


@pytest.mark.parametrize(("nic", "cards"), [("transparent", 2), ("rdma", 2), ("rdma", 16)])
def test_virtual_run_processes_have_at_most_20_mib_of_their_own(
    state: RunState, capsys: pytest.CaptureFixture[str], nic: str, cards: int
) -> None:
    """What processes share counts in part, so the fewer there are, the more each has."""
    fabric = fabric_of("single_switch", {"cards": cards})
    data = cell_data(fabric, kind="poisson", size_bytes=65_536, nic=nic, records=3_000)
    found: dict[str, int] = {}

    def look() -> None:
        pids = {child.name: child.pid for child in read_state(state.path).children}
        found.update({name: pss_kib(pids[name]) for name in fabric.node_names()})

    with build_fabric(fabric, state=state) as live:
        emulate(live, data, state=state, report=Once(look, after_messages=1_500))
    of_card = max(found[endpoint.name] for endpoint in fabric.endpoints)
    of_switch = max(found[switch.name] for switch in fabric.switches)
    with capsys.disabled():
        print(
            f" [PSS, {cards} cards: {nic} process {of_card:,} KiB, switch process {of_switch:,} KiB]", end=""
        )
    assert 0 < of_card <= PSS_LIMIT_KIB
    assert 0 < of_switch <= PSS_LIMIT_KIB
