"""The tables of a cell's telemetry, written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import pytest

from testbed.analysis.inband import INT_DTYPE, inband_of
from testbed.analysis.sflow import FLOW_DTYPE, Agent, Sampled
from testbed.errors import SpecError
from testbed.run.telemetry_files import (
    read_sampled,
    sampled_cells,
    telemetry_path,
    write_inband,
    write_sampled,
)
from testbed.validate.plans import card, leaf_spine

AGENTS = (
    Agent(entity=4, name="l1", interval=100, ports={1: 400 * 10**9, 2: 800 * 10**9}),
    Agent(entity=5, name="s1", interval=10, ports={1: 400 * 10**9}),
)


def some_samples(count: int) -> npt.NDArray[np.void]:
    rows = np.zeros(count, FLOW_DTYPE)
    rows["time_ps"] = np.arange(count)[::-1] * 10**9
    rows["egress_port"], rows["header_bytes"], rows["payload_bytes"] = 3, 128, 77
    for number in range(count):
        rows["header"][number] = np.void(bytes([number]) * 127 + b"\0")
    return rows


def test_samples_come_back_by_time_with_their_headers_and_agents(tmp_path: Path) -> None:
    write_sampled(tmp_path, "idle", Sampled(samples=some_samples(5), agents=AGENTS, end_ps=12))
    assert sampled_cells(tmp_path) == ["idle"]
    found = read_sampled(tmp_path, "idle")
    assert (found.agents, found.end_ps) == (AGENTS, 12)
    assert found.samples.tobytes() == some_samples(5)[::-1].tobytes()
    columns = pq.read_table(telemetry_path(tmp_path, "idle", "sflow")).column_names
    assert columns == [name for name in FLOW_DTYPE.names or () if name != "reserved"]


def test_a_cell_that_sampled_nothing_still_has_its_agents(tmp_path: Path) -> None:
    write_sampled(tmp_path, "idle", Sampled(samples=some_samples(0), agents=AGENTS, end_ps=12))
    found = read_sampled(tmp_path, "idle")
    assert (len(found.samples), found.agents) == (0, AGENTS)


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_samples_that_cannot_be_read_are_an_error_with_a_remedy(tmp_path: Path, damage: str) -> None:
    write_sampled(tmp_path, "idle", Sampled(samples=some_samples(2), agents=AGENTS, end_ps=12))
    path = telemetry_path(tmp_path, "idle", "sflow")
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:50])
    else:
        pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)
    with pytest.raises(SpecError, match="holds no samples") as error:
        read_sampled(tmp_path, "idle")
    assert error.value.remedy


def test_hops_are_a_table_of_packets_and_one_of_ports(tmp_path: Path) -> None:
    plan = leaf_spine([card(), card()], leaves=2, spines=1, int_enabled=True)
    rows = np.zeros(3, INT_DTYPE)
    rows["switch"], rows["egress_port"] = 2, 1
    rows["latency_ns"], rows["queue_occupancy"] = (600, 601, 602), (3 << 24) | 64
    inband = inband_of(rows, plan, 4)
    assert inband is not None
    write_inband(tmp_path, "idle", rows, inband)
    hops = pq.read_table(telemetry_path(tmp_path, "idle", "int"))
    assert hops["latency_ns"].to_pylist() == [600, 601, 602]
    assert [*hops.column_names, "reserved"] == list(INT_DTYPE.names or ())
    ports = pq.read_table(telemetry_path(tmp_path, "idle", "hops"))
    assert ports.schema.metadata[b"interval"] == b"4"
    assert (ports["packets"].to_pylist(), ports["p50_ns"].to_pylist()) == ([3], [601])
    assert ports["queue_max_bytes"].to_pylist() == [64 * 64]
    assert sampled_cells(tmp_path) == []
