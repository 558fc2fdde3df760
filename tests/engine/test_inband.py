"""In-band telemetry as the report has it: exact against records and traced packets, and spread over a long run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from testbed.analysis.hops import network_of
from testbed.analysis.inband import INT_DTYPE, inband_of
from testbed.run.execute import execute
from testbed.run.progress import NullProgress
from testbed.run.store import LoadedResult, load_result
from testbed.run.tail import explain_tail
from testbed.run.telemetry_files import telemetry_path
from testbed.units import PREAMBLE_BYTES, PS_PER_NS
from testbed.validate.plans import card, closed, finished, leaf_spine, poisson, records_of
from tests.engine.test_tail import INCAST

SHIM_BYTES, HOP_BYTES, THIN_BYTES = 4, 16, 26
KEPT_HOPS = 1 << 17
TOLD = replace(
    INCAST,
    name="told",
    nics=("transparent",),
    switch_settings={"lossless": "none", "int": "on"},
)
CELL = "incast-20000B-transparent"


def packets_of(samples: npt.NDArray[np.void]) -> Iterator[npt.NDArray[np.void]]:
    """The hops of each packet."""
    begins = np.flatnonzero(samples["place"] == 0).tolist()
    for begin, end in pairwise([*begins, len(samples)]):
        yield samples[begin:end]


def network_ps(hops: npt.NDArray[np.void], plan: dict[str, Any], frame_bytes: int) -> int:
    """From the first bit at the sender, of a packet of so many bytes there, to the last bit at the receiver.

    True for latencies in whole ns; those of INT are rounded down, so this is up to, but not, 1 ns per hop too little.
    """
    wires = network_of(plan).wires
    links = [wires[int(hops["switch"][0]), int(hops["ingress_port"][0])]]
    links += [wires[int(hop["switch"]), int(hop["egress_port"])] for hop in hops]
    whole = frame_bytes + HOP_BYTES * len(hops) + PREAMBLE_BYTES
    latency_ns = int(hops["latency_ns"].sum())
    return sum(link.latency_ps for link in links) + PS_PER_NS * latency_ns + whole * links[-1].byte_time_ps


@pytest.mark.parametrize("cut", [True, False], ids=["cut_through", "stored"])
def test_hops_and_wires_add_up_to_the_network_time_of_single_packet_messages(cut: bool) -> None:
    payload = 3001
    loads = [
        poisson([0, (n + 1) % 6], payload, interval_ps=15 * 10**4, until_ps=4 * 10**7) for n in range(1, 6)
    ]
    cards = [card(load, int_enabled=True) for load in loads]
    data = leaf_spine(
        [card(int_enabled=True), *cards],
        leaves=2,
        spines=2,
        cut_through=cut,
        int_enabled=True,
        pipeline_latency_ps=300_123,
    )
    twin = finished(data)
    records = {}
    streams: dict[tuple[int, int], int] = {}
    for record in records_of(twin):
        flow = int(record["src"]), int(record["dst"])
        records[*flow, streams.get(flow, 0)] = record
        streams[flow] = streams.get(flow, 0) + 1
    rounded = waited = 0
    for hops in packets_of(np.frombuffer(twin.int_samples(), INT_DTYPE)):
        key = int(hops["src"][0]), int(hops["dst"][0]), int(hops["psn"][0])
        if key not in records:
            continue  # sent behind the end of the measurement
        record = records[key]
        assert record["retransmits"] == 0
        true_ps = int(record["delivered_ps"]) - int(record["first_byte_ps"])
        short_ps = true_ps - network_ps(hops, data, payload + THIN_BYTES + SHIM_BYTES)
        assert 0 <= short_ps < PS_PER_NS * len(hops)
        rounded += short_ps > 0
        waited += int((hops["queue_occupancy"] & 0xFFFFFF).any())
    assert rounded > 300
    assert waited > 100


def test_report_of_hops_is_that_of_their_samples_by_hand() -> None:
    data = leaf_spine(
        [card(), *[card(closed(0, 9000, until_ps=10**7), int_enabled=True) for _ in range(5)]],
        leaves=2,
        spines=2,
        int_enabled=True,
    )
    twin = finished(data)
    samples = np.frombuffer(twin.int_samples(), INT_DTYPE)
    found = inband_of(samples, data, twin.int_interval)
    assert found is not None
    assert found.interval == 1
    assert found.packets == len(list(packets_of(samples)))
    assert sum(hop.packets for hop in found.hops) == len(samples)
    assert [hop.tier for hop in found.hops] == sorted(hop.tier for hop in found.hops)
    names = [node["name"] for node in data["nodes"]]
    for hop in found.hops:
        switch = names.index(hop.node)
        rows = samples[(samples["switch"] == switch) & (samples["egress_port"] == hop.port)]
        ordered = sorted(rows["latency_ns"].tolist())
        queue = sorted(64 * (one & 0xFFFFFF) for one in rows["queue_occupancy"].tolist())
        assert hop.packets == len(rows)
        assert (hop.p50_ns, hop.max_ns) == (ordered[-(-len(rows) // 2) - 1], ordered[-1])
        assert (hop.queue_p50_bytes, hop.queue_max_bytes) == (queue[-(-len(rows) // 2) - 1], queue[-1])
        rank = -(-99 * len(rows) // 100)
        stated = len(rows) - rank >= 10
        assert hop.p99_ns == (ordered[rank - 1] if stated else None)
        assert hop.queue_p99_bytes == (queue[rank - 1] if stated else None)
    assert inband_of(samples[:0], data, 1) is None


def test_hops_of_a_long_run_are_of_one_packet_in_so_many_all_over_it() -> None:
    cards = [card(closed([(n + 3) % 6], 4096, until_ps=4 * 10**9), int_enabled=True) for n in range(6)]
    data = leaf_spine(cards, leaves=2, spines=2, int_enabled=True)
    twin = finished(data)
    samples = np.frombuffer(twin.int_samples(), INT_DTYPE)
    assert twin.int_interval == 2 ** (twin.int_interval.bit_length() - 1) > 1
    assert KEPT_HOPS // 4 < len(samples) <= KEPT_HOPS
    packets = list(packets_of(samples))
    assert all(hops["place"].tolist() == list(range(len(hops))) for hops in packets)
    sent = len(records_of(twin))
    share = 1 / twin.int_interval
    assert abs(len(packets) - sent * share) < 5 * (sent * share * (1 - share)) ** 0.5
    arrived = np.array([hops["arrived_ps"][0] for hops in packets])
    expected = len(packets) / 20
    slices, _ = np.histogram(arrived, 20)
    assert np.abs(slices - expected).max() < 5 * expected**0.5


# ------------------------------------------------------------------------------------------------- in results


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> LoadedResult:
    out = tmp_path_factory.mktemp("told")
    return load_result(execute(TOLD, engine="twin", out=out, progress=NullProgress()).directory)


def test_result_has_the_hops_as_table_text_figure_and_summary(told: LoadedResult) -> None:
    inband = told.summary.cells[0].inband
    assert inband is not None
    rows = pq.read_table(telemetry_path(told.directory, CELL, "hops")).to_pylist()
    assert [(row["node"], row["port"], row["p50_ns"], row["p99_ns"]) for row in rows] == [
        (hop.node, hop.port, hop.p50_ns, hop.p99_ns) for hop in inband.hops
    ]
    report = (told.directory / "report.txt").read_text()
    worst = max(inband.hops, key=lambda hop: hop.p99_ns or 0)
    assert worst.peer == "c1"
    line = next(line for line in report.splitlines() if worst.name in line)
    assert f"{worst.packets:,}" in line
    assert f"{worst.max_ns / 1000:.2f}" in line
    assert (told.directory / "figures" / f"hops-{CELL}.png").stat().st_size > 10_000


def test_hops_of_a_slow_message_are_those_that_tail_traced(told: LoadedResult) -> None:
    found = explain_tail(told, CELL, 20_000, NullProgress())
    table = pq.read_table(telemetry_path(told.directory, CELL, "int"))
    kept = np.zeros(table.num_rows, INT_DTYPE)
    for name in table.column_names:
        kept[name] = table[name].to_numpy()
    by_packet = {(int(h["src"][0]), int(h["dst"][0]), int(h["psn"][0])): h for h in packets_of(kept)}
    compared = 0
    wires = found.network.wires
    for one in found.slowest:
        card_hop, *stops = one.path
        hops = by_packet[card_hop.src, card_hop.dst, card_hop.psn]
        assert hops["switch"].tolist() == [stop.entity for stop in stops]
        assert hops["egress_port"].tolist() == [stop.port for stop in stops]
        for before, stop, hop in zip(one.path, stops, hops, strict=False):
            first_bit_ps = before.started_ps + wires[before.entity, before.port].latency_ps
            assert int(hop["latency_ns"]) == (stop.started_ps - first_bit_ps) // PS_PER_NS
            compared += stop.wait_ps > 0
    assert compared > 30
