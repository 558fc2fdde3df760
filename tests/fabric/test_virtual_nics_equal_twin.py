"""Every NIC model in its modes, over links in disorder, on real frames: the twin's records, and bytes as sent.

Each case says which counters must not be zero, so that a feature that never acts proves nothing. The receiver of an
emulation checks the CRC of every payload, whatever packet it came in: a wrong one ends the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.fabric.build import LiveFabric, build_fabric
from testbed.fabric.state import RunState
from testbed.run.emulation import Emulated, emulate
from testbed.run.join import is_lossy, join_records
from testbed.validate.delivery_runs import ENDPOINTS, Delivery, Disorder, delivery_plan
from tests.fabric.emulated import FAR_PS, TwinRun, assert_equal, captured_frames
from tests.fabric.test_capture_run import captures
from tests.tshark import tshark_fields
from topologies import build_fabric as fabric_of

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

ONE = 1 << 64
LINKS: dict[str, Any] = {
    "loss_base_2p64": ONE // 200,
    "reorder_2p64": ONE // 50,
    "reorder_delay_ps": 1_000_000,
    "duplicate_2p64": ONE // 50,
}
DISORDER = Disorder(name="disorder", links=LINKS)
MARKED = Disorder(name="marks", links=LINKS, switch_settings={"ecn": "5KB:20KB:50%"}, incast=True)
TRIMMED = Disorder(
    name="trimming",
    links=LINKS,
    switch="spectrum4",
    switch_settings={"trim": "128B:6", "buffer": "100KB", "ecn": "5KB:20KB:50%"},
    incast=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One NIC in one mode."""

    nic: str
    settings: dict[str, Any] = field(default_factory=dict)
    disorder: Disorder = DISORDER
    ops: Sequence[str] = ("put",)
    sizes: Sequence[int] = (64, 20_000)
    window: int = 6
    until_ps: int = 30_000_000
    nodes: dict[str, Any] = field(default_factory=dict)
    """What the configuration of the NICs has beside."""
    fired: Sequence[str] = ("tx_retransmits", "rx_duplicates", "rx_out_of_order", "rx_fcs_errors")
    """Counters of cards that are above zero over all runs of the case."""


KERNEL_PS = 300_000_000
GETS = ("put", "get")
CASES: dict[str, Case] = {
    "transparent": Case(nic="transparent", ops=("put", "put_signal", "get")),
    "transparent, batches in order, four cards": Case(
        nic="transparent",
        settings={"batch": "1KiB:300ns", "ordered": "on", "cards": 4},
        sizes=(40, 9_000),
        fired=("tx_shared_packets", "tx_retransmits"),
    ),
    "transparent, sprayed, with probes": Case(
        nic="transparent",
        settings={"udp": "on", "paths": 8, "tlp": "8us", "congestion": "dctcp"},
        disorder=MARKED,
        ops=GETS,
        fired=("tx_probes", "tx_retransmits", "rx_duplicates"),
    ),
    "rdma": Case(nic="rdma", ops=("put", "put_signal", "send", "get")),
    "rdma, receives": Case(
        nic="rdma",
        settings={"receive_depth": 1},
        ops=("send",),
        nodes={"rnr_timer_ps": 3_000_000},
        fired=("tx_not_ready", "rx_not_ready", "tx_retransmits"),
    ),
    "rdma, notifications": Case(
        nic="rdma",
        settings={"congestion": "dcqcn", "initiator": "device", "cards": 2},
        disorder=MARKED,
        ops=GETS,
        fired=("tx_cnps", "rx_cnps", "tx_retransmits"),
    ),
    "kernel": Case(nic="kernel", disorder=MARKED, ops=("put", "send"), until_ps=KERNEL_PS),
    "kernel, cubic": Case(nic="kernel", settings={"congestion": "cubic"}, until_ps=KERNEL_PS),
    "kernel, unreliable": Case(
        nic="kernel",
        settings={"protocol": "udp"},
        until_ps=KERNEL_PS,
        fired=("rx_duplicates", "rx_out_of_order", "rx_fcs_errors"),
    ),
    "uec": Case(nic="uec", disorder=MARKED, ops=("put", "send", "get")),
    "uec, trimmed": Case(
        nic="uec",
        disorder=TRIMMED,
        sizes=(65_536,),
        settings={"cards": 2},
        fired=("rx_trimmed", "tx_retransmits"),
    ),
    "uec, ordered": Case(nic="uec", settings={"mode": "rod"}, ops=GETS),
    "uec, idempotent": Case(nic="uec", settings={"mode": "rudi"}, fired=("tx_probes", "tx_retransmits")),
    "uec, unreliable": Case(
        nic="uec", settings={"mode": "uud"}, until_ps=5_000_000, fired=("rx_duplicates", "rx_out_of_order")
    ),
    "sue": Case(
        nic="sue",
        ops=GETS,
        window=80,
        until_ps=10_000_000,
        nodes={"tx_depth_pkts": 4},  # so that messages wait for each other
        fired=("tx_shared_packets", "tx_retransmits", "rx_duplicates"),
    ),
    "sue, standard header, four cards": Case(
        nic="sue",
        settings={"header": "standard", "cards": 4},
        window=120,
        until_ps=1_500_000,
        nodes={"tx_depth_pkts": 4},
        fired=("tx_shared_packets", "tx_retransmits"),
    ),
    "ualink": Case(
        nic="ualink",
        ops=GETS,
        window=80,
        until_ps=10_000_000,
        fired=("tx_shared_packets", "tx_retransmits", "rx_duplicates"),
    ),
}


def plans_of(case: Case) -> list[dict[str, Any]]:
    """One plan for each operation and size."""
    found = []
    for op in case.ops:
        for size_bytes in case.sizes:
            one = Delivery(
                nic=case.nic,
                disorder=case.disorder,
                settings=case.settings,
                op=op,
                size_bytes=size_bytes,
                window=case.window,
            )
            data = delivery_plan(one, until_ps=case.until_ps, seed=len(found) + 1)
            for node in data["nodes"][:ENDPOINTS]:
                node["config"] |= {"rto_ps": min(node["config"]["rto_ps"], 50_000_000)} | case.nodes
                if "tlp_ps" in node["config"]:
                    node["config"]["tlp_ps"] = min(node["config"]["tlp_ps"], 25_000_000)
            found.append(data)
    return found


def both(live: LiveFabric, state: RunState, data: dict[str, Any]) -> tuple[Emulated, TwinRun]:
    """A cell on real frames and in the twin, and equal; what an unreliable transport has lost is lost in both."""
    emulated = emulate(live, data, state=state)
    twin = _engine.Twin(build_plan(data))
    twin.run(FAR_PS)
    assert twin.done
    records = join_records([twin.tx_records()], [twin.rx_records()], lossy=is_lossy(data))
    again = TwinRun(records=records, counters=twin.counters(), hops=twin.hops)
    assert_equal(emulated, again)
    return emulated, again


@pytest.mark.parametrize("name", CASES)
def test_virtual_nic_over_links_in_disorder_equals_twin(state: RunState, name: str) -> None:
    case = CASES[name]
    sums = dict.fromkeys(case.fired, 0)
    with build_fabric(fabric_of("single_switch", {"cards": ENDPOINTS}), state=state) as live:
        for data in plans_of(case):
            emulated, _ = both(live, state, data)
            for counters in emulated.counters.values():
                for counter in sums:
                    sums[counter] += counters.get(counter, 0)
    assert all(sums.values()), sums


RESTARTED: Sequence[str] = (
    "transparent",
    "transparent, batches in order, four cards",
    "rdma",
    "rdma, receives",
    "kernel",
    "kernel, unreliable",
    "uec",
    "uec, ordered",
    "uec, unreliable",
    "sue",
    "ualink",
)


@pytest.mark.parametrize("name", RESTARTED)
def test_virtual_nic_that_restarts_equals_twin(state: RunState, name: str) -> None:
    """Two of three restart, at different times; links are in disorder beside."""
    case, discards = CASES[name], 0
    with build_fabric(fabric_of("single_switch", {"cards": ENDPOINTS}), state=state) as live:
        for data in plans_of(case)[-2:]:
            for endpoint, node in enumerate(data["nodes"][: ENDPOINTS - 1]):
                times = [at * case.until_ps // 10 + 777_777 * endpoint for at in (1, 2, 5, 6, 8)]
                rows = [[times[0], times[1]], [times[2], times[3]], [times[4], times[4] + 1]]
                node["config"] |= {"restarts": rows, "retry_limit": 1000}
            emulated, _ = both(live, state, data)
            discards += sum(counters.get("restart_discards", 0) for counters in emulated.counters.values())
    assert discards > 0


LUA = Path(__file__).resolve().parents[2] / "testbed" / "engine" / "wireshark" / "tnic.lua"
PROTOCOLS: dict[str, str] = {
    "transparent": "eth:ethertype:tnic",
    "transparent, sprayed, with probes": "eth:ethertype:ip:udp:tnic",
    "rdma, notifications": "eth:ethertype:ip:udp:infiniband",
    "kernel": "eth:ethertype:ip:tcp",
    "kernel, unreliable": "eth:ethertype:ip:udp",
    "uec, trimmed": "eth:ethertype:ip:udp",
    "sue": "eth:ethertype",
    "sue, standard header, four cards": "eth:ethertype:ip:udp",
    "ualink": "eth:ethertype",
}
"""How tshark calls the frames of a case."""


def decoded(path: Path) -> list[list[str]]:
    """Protocols, malformed marks and complaints of every frame, with checksums verified."""
    fields = ("frame.protocols", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message")
    options = ["-X", f"lua_script:{LUA}", "-o", "ip.check_checksum:TRUE", "-E", "occurrence=a"]
    # Segments that are lost, late and doubled are what these runs are about, and no fault of a frame; and payload may
    # look like anything.
    options += ["-o", "tcp.check_checksum:TRUE", "-o", "tcp.analyze_sequence_numbers:FALSE"]
    options += ["-d", "tcp.port==34998,data"]
    return tshark_fields(path, fields, *options)


@pytest.mark.skipif(
    shutil.which("tcpdump") is None or shutil.which("tshark") is None,
    reason="tcpdump or tshark is not installed",
)
@pytest.mark.parametrize("name", PROTOCOLS)
def test_capture_of_a_nic_in_disorder_tshark_finds_nothing_wrong(
    state: RunState, tmp_path: Path, name: str
) -> None:
    fabric = fabric_of("single_switch", {"cards": ENDPOINTS})
    with build_fabric(fabric, state=state) as live, captures(live, state, tmp_path) as running:
        for data in plans_of(CASES[name])[:2]:
            both(live, state, data)
        counts = {interface: capture.stop() for interface, capture in running.items()}
    assert sum(count.captured_pkts for count in counts.values()) > 500
    for interface, capture in running.items():
        rows = decoded(capture.path)
        assert len(rows) == len(captured_frames(capture.path))
        for number, (protocols, malformed, severity, complaint) in enumerate(rows, start=1):
            where = (interface, number, protocols, complaint)
            assert protocols.startswith(PROTOCOLS[name]), where
            assert not malformed, where
            assert "malformed" not in protocols, where
            assert severity == complaint == "", where
