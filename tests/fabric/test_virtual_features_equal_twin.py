"""Everything that switches and links can do, on real frames: the twin's records, bit for bit.

Each case says which counters must not be zero, so that a feature that never acts proves nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import TestbedError
from testbed.fabric.build import build_fabric
from testbed.fabric.capture import start_capture
from testbed.fabric.state import RunState
from testbed.run.emulation import emulate
from testbed.run.engine_errors import engine_error
from testbed.spec.experiment import Kind
from tests.fabric.emulated import FAR_PS, captured_frames, cell_data, run_both
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

Data = dict[str, Any]
Changes = dict[str, Any]
ONE = 1 << 64
PORTS = 80

PFC: Changes = {
    "lossless_classes": 0xFF,
    "lossless_alpha_log2": -2,
    "headroom_bytes": [400_000] * PORTS,
    "buffer_bytes": 300_000,
    "pause_quanta": 1000,
    "pfc_generation_ps": 50_000,
    "pause_reaction_ps": 100_000,
    "xon_offset_bytes": 2_000,
}
ECN: Changes = {"ecn": [[20_000, 80_000, 300_000]] * 8}
TRIM: Changes = {"buffer_bytes": 60_000, "reserved_bytes": 0, "trim_bytes": 128, "trim_class": 6}
SPRAY: Changes = {"path_choice": "SPRAY"}
FLOWLET: Changes = {"path_choice": "FLOWLET", "flowlet_gap_ps": 300_000, "flowlet_entries": 64}
LEAST: Changes = {"path_choice": "LEAST_LOADED", "load_quantum_bytes": 512, "flowlet_gap_ps": 0}
ROUND: Changes = {"path_choice": "ROUND_ROBIN"}
INT: Changes = {"int_enabled": True}
DWRR: Changes = {
    "dwrr_quantum_bytes": [2_000, 1_000, 1_500, 9_000, 4_000, 3_000, 0, 0],
    "shaper_ps_per_kib": [0, 0, 0, 41_000, 0, 0, 0, 0],
    "shaper_burst_bytes": [0, 0, 0, 20_000, 0, 0, 0, 0],
}
CREDITS: Changes = {"credit_bytes": 32_768, "buffer_bytes": 4_000_000, "pfc_generation_ps": 20_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fabric and what is switched on in it."""

    topology: str
    parameters: Changes
    switches: Changes = field(default_factory=dict)
    cards: Changes = field(default_factory=dict)
    links: Changes = field(default_factory=dict)
    nics: Sequence[str] = ("transparent", "rdma")
    kinds: Sequence[tuple[Kind, int]] = (("incast", 65_536), ("poisson", 8_999))
    fan_in: int = 3
    fired: Sequence[str] = ()
    """Ends of counters' names whose sum over both kinds is above zero."""
    nothing: Sequence[str] = ()
    """And those of which it is zero."""


def features(data: Data, case: Case) -> Data:
    """The plan of a cell with everything of a case switched on."""
    for node in data["nodes"]:
        node["config"] |= case.switches if node["kind"] == "switch" else case.cards
    if case.links:
        data["links"] = [[*link[:6], dict(case.links)] for link in data["links"]]
    return data


LEAF_SPINE: Changes = {"spines": 2, "leaves": 2, "cards": 6}
FAULT = [[0, 2_000_000, 9_000_000, ONE // 3], [1, 5_000_000, 6_000_000, ONE - 1]]

CASES: dict[str, Case] = {
    "pause and marks, one switch": Case(
        topology="single_switch",
        parameters={"cards": 5},
        switches=PFC | ECN,
        cards={"pause_reaction_ps": 70_000},
        fired=("pause_frames_tx", "rx_pause_frames", "ecn_marked"),
        nothing=("out_discards", "tx_retransmits"),
    ),
    "pause over a slow trunk": Case(
        topology="dumbbell",
        parameters={"left": 4, "right": 4, "rate": "100Gbps", "trunk_length": "100m"},
        switches=PFC,
        fan_in=7,
        fired=("pause_frames_tx", "pause_frames_rx", "rx_pause_frames"),
        nothing=("out_discards", "tx_retransmits"),
    ),
    "pause, marks and spray": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        switches=PFC | ECN | SPRAY | {"ecn_at_enqueue": True},
        fan_in=5,
        fired=("pause_frames_tx", "pause_frames_rx", "ecn_marked"),
        nothing=("out_discards",),
    ),
    "trimming and least loaded": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        switches=TRIM | LEAST | ECN,
        fan_in=5,
        fired=("trimmed", "rx_trimmed", "tx_retransmits", "ecn_marked"),
    ),
    "telemetry, flowlets and trimming": Case(
        topology="fat_tree",
        parameters={"k": 2},
        switches=INT | FLOWLET | TRIM,
        cards=INT,
        nics=("transparent",),
        fan_in=1,
        kinds=(("incast", 65_536), ("permutation", 20_000), ("poisson", 64)),
    ),
    "telemetry, trimming and round robin": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        switches=INT | ROUND | TRIM | {"sflow_interval": 7},
        cards=INT,
        nics=("transparent",),
        fan_in=5,
        fired=("trimmed", "rx_trimmed"),
    ),
    "rails with loss and faults": Case(
        topology="rail_optimized",
        parameters={"servers": 3, "rails": 2, "spines": 2},
        switches=DWRR,
        links={"loss_base_2p64": ONE // 1000, "loss_per_byte_2p64": ONE // 2_000_000, "faults": FAULT},
        cards={"rto_ps": 30_000_000, "retry_limit": 1000},
        fired=("fcs_errors", "rx_fcs_errors", "tx_retransmits"),
    ),
    "credits and link-level retry": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        switches=CREDITS,
        links={"cbfc": True, "llr": True, "llr_latency_ps": 40_000, "loss_base_2p64": ONE // 200},
        fan_in=5,
        fired=("credit_frames_tx", "llr_replays"),
        nothing=("out_discards", "tx_retransmits", "rx_fcs_errors"),
    ),
    "credits over rails": Case(
        topology="rail_optimized",
        parameters={"servers": 3, "rails": 2, "spines": 2},
        switches=CREDITS | ECN | DWRR,
        links={"cbfc": True},
        fired=("credit_frames_tx", "ecn_marked"),
        nothing=("out_discards", "tx_retransmits"),
    ),
    "pause in switches that store": Case(
        topology="squadrack",
        parameters={"servers": 2, "cards": 8, "switches": 2},
        switches=PFC | {"cut_through": False},
        fired=("pause_frames_tx",),
        nothing=("out_discards", "tx_retransmits"),
    ),
    "everything": Case(
        topology="leaf_spine",
        parameters=LEAF_SPINE,
        switches=PFC
        | ECN
        | SPRAY
        | INT
        | DWRR
        | {
            "lossless_classes": 1 << 3,
            "trim_bytes": 128,
            "trim_class": 6,
            "sflow_interval": 5,
            "assert_lossless": False,
            "watchdog_detection_ps": 20_000_000,
            "watchdog_restoration_ps": 1_000_000,
        },
        cards=INT | {"rto_ps": 50_000_000, "retry_limit": 1000},
        links={"llr": True, "llr_latency_ps": 40_000, "loss_base_2p64": ONE // 500, "faults": FAULT[:1]},
        nics=("transparent",),
        fan_in=5,
        fired=("pause_frames_tx", "ecn_marked", "llr_replays"),
    ),
}


def total(counters: Mapping[str, Mapping[str, int]], name: str) -> int:
    """A counter over all nodes, ports and classes."""
    return sum(
        value for node in counters.values() for key, value in node.items() if key.split(".")[-1] == name
    )


@pytest.mark.parametrize("name", CASES)
def test_virtual_with_features_equals_twin(state: RunState, name: str) -> None:
    case = CASES[name]
    fabric = fabric_of(case.topology, dict(case.parameters))
    with build_fabric(fabric, state=state) as live:
        for nic in case.nics:
            sums = dict.fromkeys([*case.fired, *case.nothing], 0)
            for kind, size in case.kinds:
                data = cell_data(fabric, kind=kind, size_bytes=size, nic=nic, fan_in=case.fan_in, records=80)
                emulated, _ = run_both(live, state, features(data, case), what=(name, nic, kind))
                for counter in sums:
                    sums[counter] += total(emulated.counters, counter)
            assert all(sums[counter] > 0 for counter in case.fired), (nic, sums)
            assert not any(sums[counter] for counter in case.nothing), (nic, sums)


@pytest.mark.parametrize("groups", [[["l1", "c1", "c2", "c3"], ["l2", "c4", "c5", "c6"], ["s1", "s2"]], None])
@pytest.mark.parametrize("snap_bytes", [0, 40])
def test_virtual_with_everything_cut_and_grouped_equals_twin(
    state: RunState, groups: list[list[str]] | None, snap_bytes: int
) -> None:
    fabric = fabric_of("leaf_spine", dict(LEAF_SPINE))
    with build_fabric(fabric, state=state) as live:
        for name, fired in (
            ("everything", "pause_frames_tx"),
            ("telemetry, trimming and round robin", "trimmed"),
        ):
            data = cell_data(
                fabric, kind="incast", size_bytes=65_536, nic="transparent", fan_in=5, records=60
            )
            data = features(data, CASES[name])
            emulated, _ = run_both(live, state, data, groups=groups, snap_bytes=snap_bytes, what=name)
            assert total(emulated.counters, fired) > 0


# ------------------------------------------------------------------------------------------ telemetry in real frames

INT_HOP: np.dtype[np.void] = np.dtype(
    [("node", ">u4"), ("ingress", ">u2"), ("egress", ">u2"), ("latency_ns", ">u4"), ("occupancy", ">u4")]
)
"""Metadata of INT v2.1, bits 0 to 3, as one switch writes them."""
INT_SAMPLE: np.dtype[np.void] = np.dtype(
    [
        ("time_ps", "<u8"),
        ("src", "<u2"),
        ("dst", "<u2"),
        ("psn", "<u4"),
        ("place", "<u4"),
        ("hop", INT_HOP.newbyteorder("<")),
        ("reserved", "<u4"),
    ]
)
"""Layout of `IntSample` in testbed/engine/telemetry.hpp."""
Hop = tuple[int, ...]


def hops_in(data: bytes) -> tuple[tuple[int, int, int], list[Hop]]:
    """Source, destination and packet number of a thin frame with telemetry, and its hops."""
    version, count, left, words = data[14:18]
    assert (version, count + left, words) == (1, 8, 4)
    thin = 18 + 16 * count
    about = (
        data[11] | data[10] << 8,
        data[5] | data[4] << 8,
        int.from_bytes(data[thin + 1 : thin + 4], "big"),
    )
    return about, [tuple(hop) for hop in np.frombuffer(data[18:thin], INT_HOP).tolist()]


@pytest.mark.skipif(shutil.which("tcpdump") is None, reason="tcpdump is not installed")
def test_telemetry_in_real_frames_is_that_of_the_twin(state: RunState, tmp_path: Path) -> None:
    fabric = fabric_of("leaf_spine", dict(LEAF_SPINE))
    case = CASES["telemetry, trimming and round robin"]
    with build_fabric(fabric, state=state) as live:
        path = tmp_path / "c1.pcap"
        data = cell_data(fabric, kind="incast", size_bytes=20_000, nic="transparent", fan_in=5, records=30)
        data = features(data, case)
        pid = live.netns_pid("c1")
        with start_capture(
            netns_pid=pid, interface="c1-eth0", path=path, state=state, direction="in"
        ) as capture:
            run_both(live, state, data)
            capture.stop()
    twin = _engine.Twin(build_plan(data))
    twin.run(FAR_PS)
    samples = np.frombuffer(twin.int_samples(), INT_SAMPLE)
    expected: list[tuple[tuple[int, int, int], Hop]] = [
        ((int(line["src"]), int(line["dst"]), int(line["psn"])), tuple(line["hop"].tolist()))
        for line in samples[samples["dst"] == 0]
    ]
    frames = [frame for frame in captured_frames(path) if frame[12:14] == b"\x88\xb6"]
    found = [(about, hop) for frame in frames for about, hops in [hops_in(frame)] for hop in hops]
    assert len(expected) > 100
    assert found[: len(expected)] == expected
    assert {len(hops_in(frame)[1]) for frame in frames} == {1, 3}


# ------------------------------------------------------------------------------------------------ what must not be


def test_virtual_lossless_drop_is_the_twins_error(state: RunState) -> None:
    fabric = fabric_of("single_switch", {"cards": 5})
    case = CASES["pause and marks, one switch"]
    with build_fabric(fabric, state=state) as live:
        data = features(
            cell_data(fabric, kind="incast", size_bytes=65_536, nic="transparent", fan_in=4), case
        )
        for node in data["nodes"]:
            if node["kind"] == "switch":
                node["config"]["headroom_bytes"] = [10_000] * PORTS
        twin = _engine.Twin(build_plan(data))
        with pytest.raises(_engine.LosslessDropError) as dropped:
            twin.run(FAR_PS)
        with pytest.raises(TestbedError) as error:
            emulate(live, data, state=state)
        by_twin = engine_error(str(dropped.value), "LosslessDropError")
        assert str(by_twin) in str(error.value)
        assert "l1 dropped a frame of lossless class" in str(dropped.value)
