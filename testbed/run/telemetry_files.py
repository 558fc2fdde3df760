"""The files of a cell's telemetry, below `telemetry/` of a result; only where switches are asked for it.

CELL-int.parquet    a row for each hop that a packet brought along (in-band telemetry)
CELL-hops.parquet   a row for each egress port that they tell of: packets, latency, queue
CELL-sflow.parquet  a row for each frame that a switch sampled, with its first bytes
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from testbed.analysis.inband import InBand
from testbed.analysis.sflow import FLOW_DTYPE, Agent, Sampled
from testbed.errors import SpecError
from testbed.run.cell_files import write_table

TELEMETRY_DIR = "telemetry"
_SFLOW, _INT, _HOPS = "sflow", "int", "hops"
_ABOUT = b"sflow"
"""Key of the schema's metadata: the agents and the end of the run, as JSON."""
_HEADER = "header"


def telemetry_path(directory: Path, cell_id: str, kind: str) -> Path:
    """Where a table of a cell is."""
    return directory / TELEMETRY_DIR / f"{cell_id}-{kind}.parquet"


def telemetry_paths(directory: Path, cell_id: str) -> list[Path]:
    """Where all tables of a cell would be."""
    return [telemetry_path(directory, cell_id, kind) for kind in (_INT, _HOPS, _SFLOW)]


def write_inband(directory: Path, cell_id: str, hops: npt.NDArray[np.void], inband: InBand) -> None:
    """Write the hops of packets (`INT_DTYPE`), and what they say of each egress port."""
    write_table(telemetry_path(directory, cell_id, _INT), pa.table(_columns(hops)))
    about = {"interval": str(inband.interval), "units": "latency: ns, queue: bytes"}
    table = pa.Table.from_pylist([asdict(hop) for hop in inband.hops])
    write_table(telemetry_path(directory, cell_id, _HOPS), table.replace_schema_metadata(about))


def write_sampled(directory: Path, cell_id: str, sampled: Sampled) -> None:
    """Write what switches sampled, and who they are."""
    about = {
        "end_ps": sampled.end_ps,
        "agents": [asdict(agent) | {"ports": list(agent.ports.items())} for agent in sampled.agents],
    }
    columns = _columns(sampled.samples)
    headers = np.ascontiguousarray(sampled.samples[_HEADER]).tobytes()
    width = FLOW_DTYPE[_HEADER].itemsize
    columns[_HEADER] = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(sampled.samples), [None, pa.py_buffer(headers)]
    )
    table = pa.table(columns).replace_schema_metadata({_ABOUT: json.dumps(about)})
    write_table(telemetry_path(directory, cell_id, _SFLOW), table)


def sampled_cells(directory: Path) -> list[str]:
    """The cells of a result whose switches sampled frames, by name."""
    ending = f"-{_SFLOW}.parquet"
    return sorted(path.name.removesuffix(ending) for path in (directory / TELEMETRY_DIR).glob(f"*{ending}"))


def read_sampled(directory: Path, cell_id: str) -> Sampled:
    """What the switches of a cell sampled, by time."""
    path = telemetry_path(directory, cell_id, _SFLOW)
    try:
        table = pq.read_table(path)
        about = json.loads(table.schema.metadata[_ABOUT])
        samples = np.zeros(table.num_rows, FLOW_DTYPE)
        for name in table.column_names:
            samples[name] = _read_column(table, name)
        agents = tuple(_agent(agent) for agent in about["agents"])
        order = np.argsort(samples["time_ps"], kind="stable")
        return Sampled(samples=samples[order], agents=agents, end_ps=int(about["end_ps"]))
    except (OSError, KeyError, TypeError, ValueError, pa.ArrowException) as error:
        raise SpecError(
            f"{path} holds no samples that can be read: {error}",
            remedy="run the experiment again with this version",
        ) from error


def _read_column(table: pa.Table, name: str) -> npt.NDArray[Any]:
    if name != _HEADER:
        return np.asarray(table[name].to_numpy())
    return np.frombuffer(b"".join(table[name].to_pylist()), FLOW_DTYPE[_HEADER])


def _agent(stored: Mapping[str, Any]) -> Agent:
    return Agent(**{**stored, "ports": {int(port): int(rate) for port, rate in stored["ports"]}})


def _columns(rows: npt.NDArray[np.void]) -> dict[str, Any]:
    """A column for each field that holds numbers."""
    names = [name for name in rows.dtype.names or () if name not in ("reserved", _HEADER)]
    return {name: np.ascontiguousarray(rows[name]) for name in names}
