"""sFlow datagrams as Wireshark and nfdump read them, which share no code with the testbed; and `./tb sflow`."""

from __future__ import annotations

import csv
import json
import shutil
import socket
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from testbed.analysis.sflow import (
    FLOW_DTYPE,
    MOST_BYTES,
    NO_EGRESS,
    Agent,
    Sampled,
    datagrams,
    interface_counters,
)
from testbed.errors import SpecError
from testbed.run.execute import execute
from testbed.run.progress import NullProgress
from testbed.run.sflow import Collector, Export, load_export, parse_collector, send, write
from testbed.run.store import LoadedResult, load_result
from testbed.spec.experiment import Experiment, Scenario

Tb = Callable[..., Result]
SAMPLED = Experiment(
    name="sampled",
    question="Who talks to whom?",
    topology="leaf_spine",
    topology_parameters={"leaves": 2, "spines": 2, "cards": 8},
    switch="tomahawk5",
    switch_settings={"sflow": 20},
    nics=("rdma",),
    sizes_bytes=(4096,),
    scenarios=(
        Scenario(name="load", kind="poisson", load_permille=500),
        Scenario(name="incast", kind="incast", fan_in=6, load_permille=500),
    ),
    records=4_000,
    emulated_records=0,
)
CELL = "load-4KiB-rdma"
_RUNS_OUT_S = 20
tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
collector = pytest.mark.skipif(
    shutil.which("sfcapd") is None,
    reason="nfdump-sflow is not installed: tools/setup.sh fuzzer installs it",
)


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.run.assemble.write_figures", lambda *_: [])
        patch.setattr("testbed.run.assemble.write_cell_figures", lambda *_: [])
        out = tmp_path_factory.mktemp("sampled")
        yield load_result(execute(SAMPLED, engine="twin", out=out, progress=NullProgress()).directory)


# ------------------------------------------------------------------------------------------------- tshark

FLOW_FIELDS = (
    "sflow.enterprise",
    "sflow_245.sampletype",
    "sflow.flow_sample.sequence_number",
    "sflow.flow_sample.source_id_class",
    "sflow.flow_sample.index",
    "sflow.flow_sample.sampling_rate",
    "sflow.flow_sample.sample_pool",
    "sflow.flow_sample.dropped_packets",
    "sflow.flow_sample.input_interface",
    "sflow.flow_sample.output_interface",
    "sflow.flow_sample.flow_record",
)
HEADER_FIELDS = (
    "sflow.enterprise",
    "sflow_245.flow_record_format",
    "sflow_245.header_protocol",
    "sflow_245.header.frame_length",
    "sflow_245.header.payload_stripped",
    "sflow_245.header.sampled_header_length",
)
COUNTER_FIELDS = (
    *("ifindex", "iftype", "ifspeed", "ifdirection", "ifadmin_status", "ifoper_status", "ifinoct", "ifinpkt"),
    *("ifinmcast", "ifinbcast", "ifindisc", "ifinerr", "ifinunk", "ifoutoct", "ifoutpkt", "ifoutmcast"),
    *("ifoutbcast", "ifoutdisc", "ifouterr", "ifpromisc"),
)
"""Of `sflow_245.`, as Wireshark calls those of if_counters."""


def dissected(path: Path) -> list[dict[str, Any]]:
    """The layers of every packet of a capture."""
    command = ["tshark", "-n", "-r", str(path), "-T", "json", "--no-duplicate-keys"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [packet["_source"]["layers"] for packet in json.loads(done.stdout)]


def samples_in(layer: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The samples of a datagram; Wireshark names them `Flow sample, seq 3` and `Counters sample, seq 1`."""
    found = [item for key, item in layer.items() if key.startswith(kind)]
    return [one for item in found for one in (item if isinstance(item, list) else [item])]


def numbers(layer: dict[str, Any], names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(int(layer[name], 0) for name in names)


@tshark
def test_tshark_finds_every_field_of_every_sample(result: LoadedResult, tmp_path: Path) -> None:
    export = load_export(result, CELL)
    path = tmp_path / "samples.pcap"
    write(export, path, Collector("192.0.2.9", 6343))
    packets = dissected(path)
    assert len(packets) == len(export.datagrams)
    times = [float(packet["frame"]["frame.time_epoch"]) for packet in packets]
    assert times == sorted(times)
    for agent in export.sampled.agents:
        own = [packet for packet in packets if packet["ip"]["ip.src"] == agent.address]
        layers = [packet["sflow"] for packet in own]
        assert [int(layer["sflow_245.sequence_number"]) for layer in layers] == list(range(1, len(own) + 1))
        assert {packet["ip"]["ip.dst"] for packet in own} == {"192.0.2.9"}
        for packet, layer in zip(own, layers, strict=True):
            ms = int(float(packet["frame"]["frame.time_epoch"]) * 1e9) // 10**6
            assert numbers(layer, ("sflow_245.version", "sflow_245.agenttype", "sflow_245.sub_agent_id")) == (
                5,
                1,
                0,
            )
            assert (layer["sflow_245.agent"], int(layer["sflow_245.sysuptime"])) == (agent.address, ms)
            held = samples_in(layer, "Flow sample") + samples_in(layer, "Counters sample")
            assert int(layer["sflow_245.numsamples"]) == len(held)
            assert len(bytes.fromhex(packet["udp"]["udp.payload"].replace(":", ""))) <= MOST_BYTES
        compare_flows(agent, export, [one for layer in layers for one in samples_in(layer, "Flow sample")])
        counters = [one for layer in layers for one in samples_in(layer, "Counters sample")]
        compare_counters(agent, json.loads((result.directory / "counters.json").read_text())[CELL], counters)
    assert sum(agent.interval == 20 for agent in export.sampled.agents) == 4


def compare_flows(agent: Agent, export: Export, found: list[dict[str, Any]]) -> None:
    samples = export.sampled.samples[export.sampled.samples["switch"] == agent.entity]
    assert len(samples) > 100
    sent: Counter[int] = Counter()
    expected = []
    for sample in samples:
        port, egress = int(sample["ingress_port"]), int(sample["egress_port"])
        sent[port] += 1
        header = bytes(sample["header"])[: int(sample["header_bytes"])]
        flow = (0, 1, sent[port], 0, port, agent.interval, int(sample["sequence"]), 0, port, egress, 1)
        padded = header + bytes(-len(header) % 4)  # Wireshark shows XDR's padding, too
        expected.append((flow, (0, 1, 1, int(sample["frame_bytes"]), 4, len(header)), padded.hex(":")))
    records = [one["Raw packet header"] for one in found]
    told = [
        (numbers(one, FLOW_FIELDS), numbers(record, HEADER_FIELDS), record["sflow_245.header"])
        for one, record in zip(found, records, strict=True)
    ]
    assert sorted(told) == sorted(expected)


def compare_counters(agent: Agent, counters: dict[str, dict[str, int]], found: list[dict[str, Any]]) -> None:
    counts = counters[agent.name]
    told = {}
    for one in found:
        record = next(item for key, item in one.items() if isinstance(item, dict))
        values = numbers(record, tuple(f"sflow_245.{name}" for name in COUNTER_FIELDS))
        told[values[0]] = values[1:]
        assert int(one["sflow.counters_sample.source_id_index"]) == values[0]
        assert numbers(
            one, ("sflow.counters_sample.sequence_number", "sflow.counters_sample.source_id_type")
        ) == (1, 0)
    expected = {}
    for port, rate_bps in agent.ports.items():
        of = f"port{port}."
        expected[port] = (
            *(6, rate_bps, 1, 1, 1),
            *(counts[of + "in_octets"], counts[of + "in_frames"], 0, 0, 2**32 - 1, 0, 0),
            *(counts[of + "out_octets"], counts[of + "out_frames"], 0, 0, counts[of + "out_discards"], 0, 2),
        )
    assert told == expected
    assert sum(values[6] for values in told.values()) > 1000


@tshark
def test_frame_that_goes_nowhere_is_a_discard_without_a_route(tmp_path: Path) -> None:
    row = np.zeros(1, FLOW_DTYPE)
    row["switch"], row["ingress_port"], row["egress_port"], row["header_bytes"] = 5, 1, NO_EGRESS, 61
    agent = Agent(entity=5, name="s1", interval=10, ports={1: 10**10})
    sampled = Sampled(samples=row, agents=(agent,), end_ps=3 * 10**12)
    made = datagrams(sampled, {})
    assert [one.time_ps for one in made] == [0, 3 * 10**12]
    path = tmp_path / "discard.pcap"
    write(Export("cell", sampled, made), path, None)
    first, second = dissected(path)
    flow = samples_in(first["sflow"], "Flow sample")[0]
    tree = flow["sflow.flow_sample.output_interface_tree"]
    assert tree["sflow.flow_sample.output_interface_format"] == "1"
    assert tree["sflow.flow_sample.output_interface_value"] == "0"
    assert flow["Raw packet header"]["sflow_245.header.sampled_header_length"] == "61"
    assert second["sflow"]["sflow_245.sysuptime"] == "3000"


def test_datagram_waits_at_most_a_second_of_virtual_time() -> None:
    rows = np.zeros(4, FLOW_DTYPE)
    rows["time_ps"] = [0, 4 * 10**11, 12 * 10**11, 50 * 10**11]
    rows["switch"], rows["ingress_port"], rows["header_bytes"] = 5, 1, 60
    agent = Agent(entity=5, name="s1", interval=10, ports={})
    made = datagrams(Sampled(samples=rows, agents=(agent,), end_ps=6 * 10**12), {})
    assert [(one.time_ps, one.flow_samples) for one in made] == [
        (10**12, 2),
        (22 * 10**11, 1),
        (50 * 10**11, 1),
    ]


def test_counters_of_a_port_tell_control_frames_apart_and_start_again() -> None:
    counts = {"in_frames": 2**32 + 10, "pause_frames_rx": 4, "out_frames": 9, "pause_frames_tx": 2}
    counts |= {"credit_frames_tx": 1, "fcs_errors": 7, "in_octets": 2**40}
    data = interface_counters(3, 400 * 10**9, {f"port3.{name}": value for name, value in counts.items()})
    assert len(data) == 88
    assert struct.unpack(">Q", data[24:32]) == (2**40,)
    assert struct.unpack(">6I", data[32:56]) == (6, 4, 0, 2**32 - 1, 7, 0)
    assert struct.unpack(">3I", data[64:76]) == (6, 3, 0)


# ------------------------------------------------------------------------------------------------- a collector


@collector
def test_collector_counts_what_the_samples_say(result: LoadedResult, tmp_path: Path, tb: Tb) -> None:
    """nfdump's sfcapd, by UDP: frames and bytes of every pair of addresses, and no gap in any sequence."""
    export = load_export(result, CELL)
    port = free_port()
    flows, log = tmp_path / "flows", tmp_path / "log"
    flows.mkdir()
    command = ["sfcapd", "-4", "-b", "127.0.0.1", "-p", str(port), "-w", str(flows), "-t", "3600"]
    with log.open("w") as file, subprocess.Popen(command, stdout=file, stderr=file) as daemon:
        try:
            wait_bound(port)
            done = tb("sflow", str(result.directory), CELL, "--to", f"127.0.0.1:{port}")
            assert done.exit_code == 0, done.stderr
            wait_read(port)
        finally:
            daemon.terminate()
    told = log.read_text()
    samples = export.sampled.samples
    assert f"Flows: {len(samples)}, Packets: {20 * len(samples)}" in told
    assert "Sequence Errors: 0, Bad Packets: 0" in told
    listed = subprocess.run(
        [
            "nfdump",
            "-q",
            "-r",
            str(next(flows.glob("nfcapd.2*"))),
            "-o",
            "fmt:%sa,%da,%in,%out,%pkt,%byt",
            "-N",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [tuple(item.strip() for item in row) for row in csv.reader(listed.stdout.splitlines()) if row]
    expected = [
        (
            *(f"10.{card >> 8}.{card & 255}.1" for card in (int(one["src"]), int(one["dst"]))),
            str(one["ingress_port"]),
            str(one["egress_port"]),
            "20",
            str(20 * int(one["frame_bytes"])),
        )
        for one in samples
    ]
    assert Counter(rows) == Counter(expected)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def queue_of(port: int) -> int | None:
    """Bytes that wait in a bound UDP socket of this network namespace; None where there is none."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        local, queues = line.split()[1], line.split()[4]
        if int(local.rpartition(":")[2], 16) == port:
            return int(queues.partition(":")[2], 16)
    return None


def wait_bound(port: int) -> None:
    deadline = time.monotonic() + _RUNS_OUT_S
    while queue_of(port) is None:
        assert time.monotonic() < deadline, "the collector does not listen"
        time.sleep(0.01)


def wait_read(port: int) -> None:
    deadline = time.monotonic() + _RUNS_OUT_S
    while queue_of(port):
        assert time.monotonic() < deadline, "the collector does not read"
        time.sleep(0.01)


# ------------------------------------------------------------------------------------------------- the verb


def test_sflow_sends_the_datagrams_in_their_order(result: LoadedResult, tb: Tb) -> None:
    export = load_export(result, CELL)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(_RUNS_OUT_S)
        port = listener.getsockname()[1]
        few = Export(export.cell, export.sampled, export.datagrams[:100])
        send(few, Collector("127.0.0.1", port), NullProgress())
        assert [listener.recv(2048) for _ in few.datagrams] == [one.data for one in few.datagrams]


def test_sflow_paces_by_virtual_time_and_never_too_fast(result: LoadedResult) -> None:
    export = load_export(result, CELL)
    few = Export(export.cell, export.sampled, export.datagrams[:50])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        to = Collector("127.0.0.1", listener.getsockname()[1])
        for speed in (None, 1.0, 1e-6):
            now = [0.0]
            at: list[float] = []

            def sleep(seconds: float, now: list[float] = now) -> None:
                now[0] += seconds

            def clock(now: list[float] = now, at: list[float] = at) -> float:
                at.append(now[0])
                return now[0]

            send(few, to, NullProgress(), speed=speed, clock=clock, sleep=sleep)
            least = 49 / 5000
            assert now[0] == pytest.approx(max(least, few.datagrams[-1].time_ps / 1e12 / (speed or 1e9)))


def test_sflow_writes_datagrams_behind_their_lengths(result: LoadedResult, tmp_path: Path, tb: Tb) -> None:
    path = tmp_path / "made" / "samples.bin"
    path.parent.mkdir()
    done = tb("sflow", str(result.directory), CELL, "--out", str(path), "--json")
    assert done.exit_code == 0, done.stderr
    told = json.loads(done.stdout)
    data, found = path.read_bytes(), []
    while data:
        (size,) = struct.unpack(">I", data[:4])
        found.append(data[4 : 4 + size])
        data = data[4 + size :]
    assert found == [one.data for one in load_export(result, CELL).datagrams]
    assert told["datagrams"] == len(found) == sum(agent["datagrams"] for agent in told["agents"])
    assert told["bytes"] == sum(map(len, found))
    assert [agent["address"] for agent in told["agents"]] == [f"198.18.0.{entity}" for entity in range(8, 12)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "where to?"),
        (("--to", "127.0.0.1:99999"), "no address"),
        (("--to", ":6343"), "no address"),
        (("--to", "127.0.0.1", "--speed", "0"), "--speed is more than 0"),
        (("--out", "x.pcap", "--speed", "1"), "--speed is more than 0"),
        (("--out", "x.txt"), "neither .pcap nor .bin"),
        (("--out", "/dev/null/x.pcap"), "cannot be written"),
        (("--to", "127.0.0.1"), "which of 2 cells?"),
        (("lod-4KiB-rdma", "--to", "127.0.0.1"), "unknown cell"),
    ],
)
def test_sflow_refuses(result: LoadedResult, tb: Tb, arguments: tuple[str, ...], message: str) -> None:
    done = tb("sflow", str(result.directory), *arguments)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "remedy: " in done.stderr


def test_sflow_says_when_nobody_listens(result: LoadedResult, tb: Tb) -> None:
    done = tb("sflow", str(result.directory), CELL, "--to", f"127.0.0.1:{free_port()}")
    assert done.exit_code == 2
    assert "nobody listens" in done.stderr


def test_sflow_of_a_result_without_samples_says_how_to_get_them(tmp_path: Path) -> None:
    plain = replace(SAMPLED, name="plain", switch_settings={}, records=100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.run.assemble.write_figures", lambda *_: [])
        patch.setattr("testbed.run.assemble.write_cell_figures", lambda *_: [])
        made = execute(plain, engine="twin", out=tmp_path, progress=NullProgress())
    with pytest.raises(SpecError, match="not asked for any") as error:
        load_export(load_result(made.directory), None)
    assert "switch.sflow" in error.value.remedy


def test_parse_collector_knows_both_kinds_of_address() -> None:
    assert parse_collector("127.0.0.1") == ("127.0.0.1", 6343)
    assert parse_collector("[::1]:99") == ("::1", 99)
    assert str(parse_collector("[::1]:99")) == "[::1]:99"
