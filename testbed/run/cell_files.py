"""The files of one cell: its records and its counters over time as Parquet, its latencies as an HdrHistogram log.

Plain functions of (directory, cell id, records), so that workers in other processes can write cells of one
result side by side.

Parquet: one column per field of a record, delta-coded and compressed with zstd: about 16 bytes per record.
The schema's metadata name the unit of each column.

HdrHistogram log: the standard format (version 1.2) with one interval, which lasts from the first intended
to the last completed time of the cell in virtual seconds. Values are **picoseconds**, from 1 ps to 1 hour,
with 3 significant digits; the column Interval_Max is in picoseconds too.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader, HistogramLogWriter

from testbed.analysis.counter_meaning import Place
from testbed.analysis.counter_names import meaning_of, place_of
from testbed.analysis.counter_series import Series, SeriesTable
from testbed.analysis.records import RECORD_DTYPE, Records, canonical_order, latencies_ps
from testbed.errors import MeasurementError, SpecError
from testbed.run.files import storing
from testbed.units import PS_PER_S

RECORDS_DIR = "records"
HDR_DIR = "hdr"
SERIES_DIR = "series"
SCHEMA_VERSION = 1

HDR_LOWEST_PS = 1
HDR_HIGHEST_PS = 3600 * PS_PER_S
HDR_DIGITS = 3
_HDR_EXACT_BITS = 11
"""Three digits take 2 * 10^3 sub-buckets, rounded up to 2^11: values keep their top 11 bits."""

_FIELDS: tuple[str, ...] = RECORD_DTYPE.names or ()
_UNITS = {
    "message_bytes": "bytes",
    "retransmits": "count",
    "marks": "count",
    "src": "entity",
    "dst": "entity",
}


def write_table(path: Path, table: pa.Table, **encoding: object) -> None:
    """Write a Parquet file of a result; its directory is made."""
    with storing(path):
        path.parent.mkdir(exist_ok=True)
        pq.write_table(table, path, compression="zstd", compression_level=1, **encoding)


def records_path(directory: Path, cell_id: str) -> Path:
    """Where a cell's records are."""
    return directory / RECORDS_DIR / f"{cell_id}.parquet"


def hdr_path(directory: Path, cell_id: str) -> Path:
    """Where a cell's histogram log is."""
    return directory / HDR_DIR / f"{cell_id}.hlog"


def write_cell(directory: Path, cell_id: str, records: Records) -> None:
    """Write both files of a cell below a result's directory, records in canonical order."""
    ordered = canonical_order(records)
    log = histogram_log(ordered, cell_id)
    write_table(
        records_path(directory, cell_id),
        _table(ordered, cell_id),
        use_dictionary=False,
        column_encoding=dict.fromkeys(_FIELDS, "DELTA_BINARY_PACKED"),
    )
    with storing(hdr_path(directory, cell_id)) as path:
        path.parent.mkdir(exist_ok=True)
        path.write_text(log, encoding="utf-8")


def series_path(directory: Path, cell_id: str) -> Path:
    """Where a cell's counters over time are."""
    return directory / SERIES_DIR / f"{cell_id}.parquet"


def write_series(directory: Path, cell_id: str, samples: SeriesTable) -> None:
    """Write the counters of a cell over time: a row for each counter and time, by counter, then by time."""
    times, places = len(samples.time_ps), [place_of(key)[0] for _, key in samples.counters]
    meanings = [meaning_of(key) for _, key in samples.counters]
    columns = {
        "time_ps": pa.array(np.tile(samples.time_ps, len(places))),
        "node": _repeated([node for node, _ in samples.counters], times),
        "port": pa.array([place.port for place in places for _ in range(times)], pa.int16()),
        "queue": pa.array([place.traffic_class for place in places for _ in range(times)], pa.int8()),
        "counter": _repeated([meaning.name for meaning in meanings], times),
        "value": pa.array(samples.values.ravel()),
    }
    units = {meaning.name: meaning.unit for meaning in meanings}
    metadata = {
        "schema_version": str(SCHEMA_VERSION),
        "cell": cell_id,
        "sample_interval_ps": str(samples.interval_ps),
        "units": ", ".join(f"{name}: {unit}" for name, unit in sorted(units.items())),
        "gauges": ", ".join(sorted({meaning.name for meaning in meanings if meaning.gauge})),
    }
    write_table(series_path(directory, cell_id), pa.table(columns).replace_schema_metadata(metadata))


def _repeated(names: Sequence[str], times: int) -> pa.DictionaryArray:
    """Each name so many times, as places in the list of those that differ."""
    known = {name: number for number, name in enumerate(dict.fromkeys(names))}
    codes = np.repeat(np.array([known[name] for name in names], np.int32), times)
    return pa.DictionaryArray.from_arrays(codes, pa.array(list(known), pa.string()))


def read_series(directory: Path, cell_id: str, node: str, place: Place) -> list[Series]:
    """All counters of one place over time; none if nothing was ever counted there."""
    path = series_path(directory, cell_id)
    if not path.exists():
        raise SpecError(
            f"{directory.name} has no counters over time of cell {cell_id}",
            remedy="run it again without sample_interval=off",
        )
    here = [("node", "==", node)]
    try:
        table = pq.read_table(path, filters=here)
        names = table["counter"].to_pylist()
        ports, queues = table["port"].to_pylist(), table["queue"].to_pylist()
        times, values = table["time_ps"].to_numpy(), table["value"].to_numpy()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise SpecError(f"{path} cannot be read: {error}", remedy="give another result") from error
    rows: dict[str, list[int]] = {}
    for row, (name, port, queue) in enumerate(zip(names, ports, queues, strict=True)):
        if (port, queue) == (place.port, place.traffic_class):
            rows.setdefault(name, []).append(row)
    prefix = "" if place.traffic_class is None else f"c{place.traffic_class}."
    return [
        Series(
            node=node,
            place=place,
            meaning=meaning_of(f"{'' if place.port is None else f'port{place.port}.'}{prefix}{name}"),
            time_ps=times[chosen],
            value=values[chosen],
        )
        for name, chosen in rows.items()
    ]


def read_records(directory: Path, cell_id: str) -> Records:
    """The records of a cell, as they were written."""
    path = records_path(directory, cell_id)
    try:
        table = pq.read_table(path)
        records: Records = np.empty(table.num_rows, RECORD_DTYPE)
        for name in _FIELDS:
            records[name] = table[name].to_numpy()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise SpecError(
            f"{path} holds no records that can be read: {error}",
            remedy="give another result, or run the experiment again",
        ) from error
    return records


def histogram_log(records: Records, cell_id: str) -> str:
    """The latencies of a cell as the text of an HdrHistogram log."""
    histogram = histogram_of(latencies_ps(records), cell_id)
    start = float(records["intended_ps"].min()) / PS_PER_S if len(records) else 0.0
    end = float(records["completed_ps"].max()) / PS_PER_S if len(records) else 0.0
    histogram.set_start_time_stamp(start * 1000)
    histogram.set_end_time_stamp(end * 1000)
    text = io.StringIO()
    writer = HistogramLogWriter(text)
    writer.output_comment(f"[latency of cell {cell_id}; values and Interval_Max in picoseconds]")
    writer.output_log_format_version()
    # The package's own output_start_time fails; virtual time starts at 0.
    writer.output_comment("[StartTime: 0.000000 (seconds since epoch), virtual time]")
    writer.output_legend()
    writer.output_interval_histogram(histogram, max_value_unit_ratio=1)
    return text.getvalue()


def read_histogram(directory: Path, cell_id: str) -> HdrHistogram:
    """A cell's histogram, values in picoseconds, as any HdrHistogram reader sees it."""
    reader = HistogramLogReader(str(hdr_path(directory, cell_id)), _empty_histogram())
    try:
        return reader.get_next_interval_histogram()
    finally:
        reader.close()


def histogram_of(latencies: npt.NDArray[np.uint64], cell_id: str) -> HdrHistogram:
    """A histogram of latencies in picoseconds; values are grouped by bucket before they are recorded."""
    histogram = _empty_histogram()
    if len(latencies) == 0:
        return histogram
    if int(latencies.max()) > HDR_HIGHEST_PS:
        raise MeasurementError(
            f"cell {cell_id} has a latency of {int(latencies.max())} ps, more than an hour",
            remedy="no message should take that long: lower the load, or report a bug of the model",
        )
    values, counts = np.unique(_bucket_floor(latencies), return_counts=True)
    # The histogram keeps the exact extremes, so they are recorded as they are.
    exact = values.tolist()
    exact[0] = int(latencies.min())
    exact[-1] = int(latencies.max())
    for value, count in zip(exact, counts.tolist(), strict=True):
        histogram.record_value(value, count)
    if len(exact) == 1 and counts[0] > 1:  # one bucket: its minimum would be lost
        histogram.min_value = int(latencies.min())
    return histogram


def _bucket_floor(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Each value with all but its top 11 bits cleared: the lowest value of its histogram bucket."""
    _, bits = np.frexp(values.astype(np.float64))  # exact: an hour is less than 2^53 ps
    shift = np.maximum(bits - _HDR_EXACT_BITS, 0).astype(np.uint64)
    floor: npt.NDArray[np.uint64] = (values >> shift) << shift
    return floor


def _empty_histogram() -> HdrHistogram:
    return HdrHistogram(HDR_LOWEST_PS, HDR_HIGHEST_PS, HDR_DIGITS)


def _table(records: Records, cell_id: str) -> pa.Table:
    """One column per field, with its unit."""
    columns = [np.ascontiguousarray(records[name]) for name in _FIELDS]
    schema = pa.schema(
        [
            pa.field(name, pa.from_numpy_dtype(column.dtype), False, {"unit": _unit(name)})
            for name, column in zip(_FIELDS, columns, strict=True)
        ],
        metadata={
            "schema_version": str(SCHEMA_VERSION),
            "cell": cell_id,
            "units": ", ".join(f"{name}: {_unit(name)}" for name in _FIELDS),
            "order": "intended_ps, src, seq",
        },
    )
    return pa.table(columns, schema=schema)


def _unit(name: str) -> str:
    return "ps" if name.endswith("_ps") else _UNITS.get(name, "count")
