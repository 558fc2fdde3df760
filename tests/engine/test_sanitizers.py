"""The C++ core under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nic_emulator import NICS
from testbed.run.plan import plan_data
from testbed.run.resolve import resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Experiment, Scenario

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build" / "sanitize"
KINDS = {
    "idle": Scenario(name="idle", kind="idle"),
    "load": Scenario(name="load", kind="poisson", load_permille=800),
    "incast": Scenario(name="incast", kind="incast", fan_in=6, load_permille=900),
    "permutation": Scenario(name="permutation", kind="permutation"),
    "pingpong": Scenario(name="pingpong", kind="pingpong"),
}


@pytest.fixture(scope="module")
def extension() -> Path:
    """The extension with sanitizers; built once, then only when its sources change."""
    commands = (
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
         "-DTB_SANITIZE=address,undefined", f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", str(BUILD)],
    )  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return next(BUILD.glob("_engine*.so"))


def plans() -> list[dict[str, Any]]:
    """Every kind of workload and both NICs, with a buffer so small that frames are dropped."""
    experiment = Experiment(
        name="sanitize",
        question="Is the core sound?",
        topology="leaf_spine",
        topology_parameters={"cards": 8, "leaves": 4, "spines": 2},
        switch="tomahawk5",
        nics=("transparent", "rdma"),
        sizes_bytes=(100, 9000, 65536),
        scenarios=tuple(KINDS.values()),
        records=300,
        emulated_records=0,
    )
    resolved = resolve(experiment)
    found = []
    for cell in resolved.cells:
        schedule = schedule_of(cell, resolved.fabric)
        plan = plan_data(
            resolved.fabric,
            switch=resolved.switch_profile,
            nic=NICS.get(cell.nic),
            schedule=schedule,
            seed=1,
            measure_until_ps=schedule.measure_until_ps(300),
        )
        for node in plan["nodes"]:
            if node["kind"] == "switch":
                node["config"]["buffer_bytes"] = 150_000
        found.append(plan)
    return found


@pytest.mark.slow
def test_core_under_sanitizers_reports_nothing(extension: Path, tmp_path: Path) -> None:
    stored = tmp_path / "plans.json"
    stored.write_text(json.dumps(plans()), encoding="utf-8")
    library = subprocess.run(
        ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    ).stdout.strip()
    environment = {
        **os.environ,
        "LD_PRELOAD": library,
        "PYTHONPATH": str(ROOT),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter keeps memory to its end
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    done = subprocess.run(
        [
            sys.executable,
            "-P",
            str(Path(__file__).with_name("sanitized_main.py")),
            str(extension),
            str(stored),
        ],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert result["messages"] > 5_000
    assert result["frames"] > 1_000
