"""The C++ core under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from testbed.engine import _engine
from testbed.run.plan import cell_plan
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


WITH_FEATURES: tuple[dict[str, Any], ...] = (
    {},
    {
        "lossless_classes": 0xFF,
        "lossless_alpha_log2": -3,
        "headroom_bytes": [500_000] * 16,
        "pause_quanta": 500,
        "path_choice": "FLOWLET",
        "flowlet_gap_ps": 100_000,
        "ecn": [[10_000, 50_000, 200_000]] * 8,
        "dwrr_quantum_bytes": [1000, 2000, 3000, 4000, 0, 0, 0, 0],
        "watchdog_detection_ps": 10**9,
        "watchdog_restoration_ps": 10**6,
        "int_enabled": True,
    },
    {
        "trim_bytes": 128,
        "trim_class": 6,
        "path_choice": "LEAST_LOADED",
        "ingress_alpha_log2": 0,
        "shaper_ps_per_kib": [0, 0, 0, 11_000, 0, 0, 0, 0],
        "shaper_burst_bytes": [9000] * 8,
        "sflow_interval": 3,
        "int_enabled": True,
    },
    {"credit_bytes": 20_000, "path_choice": "SPRAY", "ecn_at_enqueue": True, "buffer_bytes": 10**8},
)
"""What the switches of every plan are set to, one after the other; the last has credits on its links."""
NICS: tuple[tuple[str, Any, dict[str, int | str]], ...] = (
    ("transparent", "put_signal", {"cards": 4, "batch": "1KiB:200ns", "tlp": "20us"}),
    ("transparent", "get", {"udp": "on", "paths": 8, "ordered": "on", "congestion": "dctcp"}),
    ("rdma", "send", {"receive_depth": 4, "congestion": "dcqcn", "retransmission_timeout": "50us"}),
    ("rdma", "get", {"post": "blueflame", "completion": "interrupt", "retransmission_timeout": "50us"}),
    ("kernel", "send", {"retransmission_timeout": "1ms", "tlp": "100us"}),
    ("kernel", "send", {"protocol": "udp", "retransmission_timeout": "100us"}),
    ("uec", "put", {"retransmission_timeout": "1ms"}),
    ("uec", "get", {"mode": "rod", "retransmission_timeout": "50us", "tlp": "off"}),
    ("sue", "put", {"cards": 2, "retransmission_timeout": "50us"}),
    ("ualink", "get", {"retransmission_timeout": "50us"}),
)
RESTARTS = [[2 * 10**6, 5 * 10**6], [8 * 10**6, 9 * 10**6]]
"""Of the first two NICs of a plan."""
SLOW = {
    "slow": [
        [way, 10**6 * at, 10**6 * at + 700_000, 1000 * at, 400_000] for at in range(1, 9) for way in (0, 1)
    ]
}
DARK = {
    "dark": [[way, 10**7 + 10**6 * at, 10**7 + 10**6 * at + 100_000] for at in range(5) for way in (0, 1)]
}
BIT_ERRORS = {"faults": [[0, 10**6, 2 * 10**6, 2**63], [1, 3 * 10**6, 4 * 10**6, 2**54, 2**44]]}
LOSSY = {"loss_base_2p64": 2**64 // 1000, "faults": [[0, 10**6, 2 * 10**6, 2**63]]}


@pytest.fixture(scope="module")
def extension() -> Path:
    """The extension with sanitizers; built once, then only when its sources change."""
    commands = (
        ["cmake", "-S", str(ROOT), "-B", str(BUILD), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
         "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 -g1",  # compiles in two thirds of the time
         "-DTB_SANITIZE=address,undefined", f"-DPython_EXECUTABLE={sys.executable}"],
        ["cmake", "--build", str(BUILD)],
    )  # fmt: skip
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return next(BUILD.glob("_engine*.so"))


def plans() -> list[dict[str, Any]]:
    """Both kinds of switches, with buffers so small that frames are dropped."""
    shared = [featured(plan, features) for plan in plans_with("tomahawk5") for features in WITH_FEATURES]
    voq = [featured(plan, {}) for plan in plans_with("jericho2c_plus", rate="400Gbps")]
    failing = [with_failures(plan) for plan in (*shared[1::4], *voq)]
    return shared + voq + failing + nic_plans()


def nic_plans() -> list[dict[str, Any]]:
    """Every NIC as it can be set, on links that lose, reorder and repeat frames, into a small buffer."""
    found: list[dict[str, Any]] = []
    for nic, op, settings in NICS:
        experiment = Experiment(
            name="sanitize",
            question="Is the core sound?",
            topology="single_switch",
            topology_parameters={"cards": 6, "reorder": "1e-3", "duplicate": "1e-3"},
            switch="tomahawk6",
            switch_settings={"ecn": "20KB:60KB:20%", "buffer": "150KB", "trim": "64B:6"},
            nics=(nic,),
            nic_settings=settings,
            sizes_bytes=(100, 20_000),
            scenarios=tuple(
                Scenario(name=kind, kind=kind, load_permille=load, op=op, batch=batch)
                for kind, load, batch in (("poisson", 700, 5), ("permutation", 0, 1))
            ),
            records=100,
            emulated_records=0,
        )
        resolved = resolve(experiment)
        for cell in resolved.cells:
            network = resolved.network(cell)
            schedule = schedule_of(cell, resolved.fabric, cards_per_nic=network.nics[nic].cards)
            until_ps = schedule.measure_until_ps(100)
            plan = cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=until_ps)
            plan["links"] = [[*link[:6], link[6] | LOSSY] for link in plan["links"]]
            found += [plan, failing(plan)]
    return found


def failing(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan with NICs that restart, slow links, no carrier and bit errors for a while."""
    own: dict[str, Any] = json.loads(json.dumps(plan))
    for node in [node for node in own["nodes"] if node["kind"] == "nic"][:2]:
        node["config"] |= {"restarts": RESTARTS, "retry_limit": 1000}
    own["links"] = [[*link[:6], link[6] | SLOW | BIT_ERRORS | DARK] for link in own["links"]]
    return own


def plans_with(switch: str, **parameters: str) -> list[dict[str, Any]]:
    """Every kind of workload and both NICs."""
    experiment = Experiment(
        name="sanitize",
        question="Is the core sound?",
        topology="leaf_spine",
        topology_parameters={"cards": 8, "leaves": 4, "spines": 2, **parameters},
        switch=switch,
        nics=("transparent", "rdma"),
        sizes_bytes=(100, 9000, 65536),
        scenarios=tuple(KINDS.values()),
        records=300,
        emulated_records=0,
    )
    resolved = resolve(experiment)
    found: list[dict[str, Any]] = []
    for cell in resolved.cells:
        schedule = schedule_of(cell, resolved.fabric)
        until_ps = schedule.measure_until_ps(300)
        found.append(
            cell_plan(cell, resolved.networks[0], schedule=schedule, seed=1, measure_until_ps=until_ps)
        )
    return found


def featured(plan: dict[str, Any], features: dict[str, Any]) -> dict[str, Any]:
    """The plan with a small buffer and these features, on links that lose frames."""
    own: dict[str, Any] = json.loads(json.dumps(plan))
    for node in own["nodes"]:
        if node["kind"] == "switch":
            node["config"] |= {"buffer_bytes": 150_000} | features
        elif node["kind"] == "voq_switch":
            node["config"]["voq_limit_bytes"] = 60_000
        else:
            node["config"]["retry_limit"] = (
                1000  # streams that time out together lose to each other for a while
            )
            if features.get("int_enabled") and node["config"]["format"] == "THIN":
                node["config"]["int_enabled"] = True
    options = LOSSY | ({"cbfc": True, "llr": True} if "credit_bytes" in features else {})
    own["links"] = [[*link[:6], options] if features else link for link in own["links"]]
    return own


def with_failures(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan with switches whose first port goes down, whose tables change, and which restart."""
    own: dict[str, Any] = json.loads(json.dumps(plan))
    for node in own["nodes"]:
        config = node["config"]
        if node["kind"] == "nic":
            continue
        plain = {name: config[name] for name in ("groups", "route")}
        tables = plain | {"watched": [1] * len(plain["groups"])}
        fewer = {"groups": [group[:1] for group in plain["groups"]], "watched": [2] * len(plain["groups"])}
        refused = [[1, [_engine.CPU_ROUTE, _engine.DROP_ROUTE, *[_engine.NO_ROUTE] * 3]]]
        config |= tables | {"punt_latency_ps": 10**6, "assert_lossless": False}
        if node["kind"] == "voq_switch":
            del config["assert_lossless"]
        config["port_states"] = [[10**6, 1, 0], [5 * 10**6, 1, 1]]
        config["restarts"] = [[2 * 10**6, 3 * 10**6], [7 * 10**6, 8 * 10**6]]
        config["updates"] = [
            {"time_ps": 4 * 10**6, **plain, **fewer, "ingress_routes": refused},
            {"time_ps": 6 * 10**6, **tables},
        ]
    return own


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
