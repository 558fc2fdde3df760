"""docs/json.md names every field that a verb's --json prints, and no other."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from testbed.analysis.failures import FailureEvent, Outage
from testbed.analysis.inband import HopTelemetry, InBand
from testbed.analysis.recovery import Recovery
from testbed.analysis.sensitivity import LeftOut
from testbed.analysis.sflow import FLOW_DTYPE, Agent, Sampled, datagrams
from testbed.analysis.summary import RunSummary
from testbed.cli import bench, clean, privilege, run
from testbed.cli.ping import ping_json
from testbed.cli.results import read_summary
from testbed.cli.sensitivity import sensitivity_json
from testbed.cli.sflow import sflow_json
from testbed.cli.vm import machines as vm_machines
from testbed.cli.vm import run as vm_run
from testbed.report.tail import tail_json
from testbed.run.assemble import RunOutcome
from testbed.run.benchmark import BenchRow
from testbed.run.sensitivity import SensitivityOutcome
from testbed.run.sflow import Collector, Export
from testbed.spec.codec import to_dict
from testbed.vm.machines import Machine
from tests.unit.remote_runs import folder_of, run_on
from tests.unit.samples import run_of
from tests.unit.test_report_tail import explained
from tests.unit.test_sensitivity import sample

Tb = Callable[..., Result]


def documented(repository: Path) -> dict[str, set[str]]:
    """Field paths by command."""
    sections = re.split(
        r"^## ", (repository / "docs" / "json.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    return {
        section.partition("\n")[0].strip("`"): set(re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE))
        for section in sections[1:]
    }


def paths(
    value: Any,
    path: str = "",
    *,
    named: tuple[str, ...] = (
        "percentiles",
        "benchmarks",
        "events",
        "variants",
        "places",
        "control",
        "packages",
    ),
) -> Iterator[str]:
    """The paths of all leaves; the keys of a table by name count as NAME."""
    if isinstance(value, dict):
        by_name = path.rpartition(".")[2] in named
        for key, item in value.items():
            yield from paths(item, f"{path}.{'NAME' if by_name else key}".lstrip("."), named=named)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from paths(item, f"{path}[]", named=named)
    else:
        yield path


def outcome(seed: int = 1) -> RunOutcome:
    summary: RunSummary = run_of(n=200_000, seed=seed, variants={"a": "switch=ideal"})[0]
    recovery = Recovery(messages=1, median_ps=2, p99_ps=3, max_ps=4)
    hop = HopTelemetry(
        node="l1",
        port=1,
        peer="c1",
        tier=0,
        packets=1,
        p50_ns=2,
        p99_ns=None,
        max_ns=3,
        queue_p50_bytes=0,
        queue_p99_bytes=None,
        queue_max_bytes=64,
    )
    inband = InBand(interval=1, packets=1, hops=(hop,))
    cells = tuple(
        replace(
            cell,
            events={"discards": 1},
            recovery=recovery,
            inband=inband,
            failures=(FailureEvent(time_ps=1, kind="begins", text="l1<>s1@1us:down"),),
            outage=Outage(hit=1, slowest_ps=2, stated_ps=None),
        )
        for cell in summary.cells
    )
    summary = replace(summary, cells=cells, control={"failover": "on"})
    return RunOutcome(directory=Path("results/sample/x"), summary=summary, text="")


def test_run_json_is_documented(repository: Path) -> None:
    assert set(paths(run.run_json(outcome()))) == documented(repository)["run"]


def test_sflow_json_is_documented(repository: Path) -> None:
    agent = Agent(entity=3, name="l1", interval=10, ports={1: 10**10})
    sampled = Sampled(samples=np.zeros(0, FLOW_DTYPE), agents=(agent,), end_ps=7)
    export = Export("cell", sampled, datagrams(sampled, {}))
    found = sflow_json(export, result="r", collector=Collector("::1", 6343), out=None)
    assert set(paths(found)) == documented(repository)["sflow RESULT"]
    assert (found["to"], found["out"], found["agents"][0]["counters_samples"]) == ("[::1]:6343", None, 1)


def test_ping_json_is_documented(repository: Path) -> None:
    found = ping_json(4, 0.0)
    assert found["pairs"] == 12
    assert set(paths(found)) == documented(repository)["ping TOPOLOGY"]


def test_repeats_json_is_documented(repository: Path) -> None:
    found = run.repeats_json([outcome(1), outcome(5)])
    assert [one["seed"] for one in found["runs"]] == [1, 5]
    assert set(paths({**found, "runs": []})) == documented(repository)["run --repeat N"]


@pytest.mark.parametrize(
    ("command", "section"),
    [
        (("list",), "list"),
        (("show", "switch", "ideal"), "show KIND NAME"),
        (("show", "nic", "rdma", "--set", "post=inline"), "show nic NAME"),
        (("check",), "check"),
    ],
)
def test_verb_s_json_is_documented(
    tb: Tb, repository: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], section: str
) -> None:
    monkeypatch.setattr(privilege, "can_be_root", lambda: False)  # `check` would go on as another process
    found = json.loads(tb(*command, "--json").stdout)
    if "settings" in found:
        found["settings"] = None
    assert set(paths(found)) == documented(repository)[section]


def test_show_topology_json_is_documented(tb: Tb, repository: Path) -> None:
    fabric = json.loads(tb("show", "leaf_spine", "--set", "faults=l1>s1:1%", "--json").stdout)
    assert set(paths({**fabric, "parameters": None})) == documented(repository)["show TOPOLOGY"]


def test_assumptions_json_is_documented(tb: Tb, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(to_dict(outcome().summary)), encoding="utf-8")
    assert read_summary(tmp_path)
    found = json.loads(tb("assumptions", str(tmp_path), "--json").stdout)
    assert set(paths(found)) == documented(repository)["assumptions RESULT"]


def test_tail_json_is_documented(repository: Path) -> None:
    found = tail_json(explained(), result="results/x", figures=[Path("a.png")])
    assert set(paths(found)) == documented(repository)["tail RESULT"]


def test_sensitivity_json_is_documented(repository: Path) -> None:
    found = replace(sample(), left_out=(LeftOut(path="a.y", mark="E", reason="zero"),))
    done = SensitivityOutcome(directory=Path("x"), found=found, text="", figures=(Path("a.png"),))
    listed = paths(sensitivity_json(done), named=("base_ps", "values_ps", "swings_ps"))
    assert {path for path in listed if not path.endswith((".values_ps", ".flips"))} == documented(repository)[
        "sensitivity EXPERIMENT"
    ]


def test_bench_and_clean_json_are_documented(repository: Path) -> None:
    row = BenchRow(name="x", unit="M/s", median=1.0, low=1.0, high=1.0)
    assert set(paths(bench.bench_json({"twin": [row]}, quick=True))) == documented(repository)["bench"]
    assert set(asdict(row)) | {"met"} == set(row.to_dict())
    assert set(paths(clean.clean_json([], dry_run=True))) == documented(repository)["clean"]


def test_vm_runs_json_is_documented(repository: Path, tmp_path: Path) -> None:
    found = vm_run.runs_json([folder_of(tmp_path, run_on("tb1", "tb2"))])
    assert set(paths(found)) == documented(repository)["vm runs"]


def test_machines_json_is_documented(repository: Path) -> None:
    machine = Machine(name="tb1", provider="libvirt", state="halted", target=None)
    found = [vm_machines.machine_json(machine)]
    assert set(paths(found)) == documented(repository)["vm list"]
