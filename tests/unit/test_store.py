from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hdrh.log import HistogramLogReader

from testbed.analysis.percentiles import QUANTILES_PPM, nearest_rank
from testbed.analysis.records import RECORD_DTYPE, latencies_ps
from testbed.errors import MeasurementError, SpecError
from testbed.run import cell_files
from testbed.run.store import ResultWriter, abandoned_partials, load_result, remove_abandoned
from testbed.spec.codec import to_dict
from tests.unit.samples import random_records, records_of, run_of

SPEC = {"schema_version": 1, "name": "sample"}
DEPTH = {
    "cell": ["a", "a"],
    "time_ps": [0, 5],
    "entity": [3, 3],
    "node": ["l1", "l1"],
    "tier": [0, 0],
    "port": [1, 1],
    "peer_entity": [0, 0],
    "peer": ["c1", "c1"],
    "traffic_class": [0, 0],
    "kind": [4, 4],
    "depth_bytes": [0, 254],
}


def write_whole(out: Path) -> Path:
    summary, records = run_of(n=500)
    with ResultWriter(out, "sample", SPEC) as writer:
        for cell_id, cell in records.items():
            writer.write_cell(cell_id, cell)
        writer.write_json("summary.json", to_dict(summary))
        writer.write_json("metadata.json", {"utc": "x"})
        writer.write_queue_depth(DEPTH)
    return writer.final


def everything_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_result_whole_is_read_back_equal(tmp_path: Path) -> None:
    summary, records = run_of(n=500)
    loaded = load_result(write_whole(tmp_path))
    assert loaded.summary == summary
    assert loaded.spec == SPEC
    assert loaded.metadata == {"utc": "x"}
    for cell_id, cell in records.items():
        assert np.array_equal(loaded.records(cell_id), cell)
    depth = loaded.queue_depth()
    assert depth is not None
    assert {name: column.tolist() for name, column in depth.items()} == DEPTH


def test_result_directory_has_the_documented_name_and_files(tmp_path: Path) -> None:
    final = write_whole(tmp_path)
    assert final.parent == tmp_path / "sample"
    stamp, number = final.name.split("-")
    assert len(stamp) == len("20261123T101500Z")
    assert len(number) == 8
    assert int(number, 16) >= 0
    names = everything_below(final)
    assert {"spec.json", "records/idle-4KiB-rdma.parquet", "hdr/idle-4KiB-rdma.hlog", "figures"} <= set(names)
    assert not any(name.startswith(".") for name in names)
    assert [path.name for path in final.parent.iterdir()] == [final.name]


def test_results_of_one_second_have_different_ids(tmp_path: Path) -> None:
    assert len({ResultWriter(tmp_path, "sample", SPEC).result_id for _ in range(50)}) == 50


@pytest.mark.parametrize("error", [KeyboardInterrupt, MeasurementError("x", remedy="y"), SystemExit])
def test_result_interrupted_leaves_nothing(
    tmp_path: Path, error: BaseException | type[BaseException]
) -> None:
    out = tmp_path / "deep" / "results"

    def interrupted() -> None:
        with ResultWriter(out, "s", SPEC) as writer:
            writer.write_cell("c", records_of(n=10))
            assert writer.directory.is_dir()
            raise error

    with pytest.raises((KeyboardInterrupt, MeasurementError, SystemExit)):
        interrupted()
    assert everything_below(tmp_path) == []


def test_result_interrupted_keeps_what_others_have_put_there(tmp_path: Path) -> None:
    kept = write_whole(tmp_path)
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, "sample", SPEC):
        raise KeyboardInterrupt
    assert list((tmp_path / "sample").iterdir()) == [kept]


def test_result_not_whole_is_not_visible_under_its_name(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "sample", SPEC) as writer:
        assert not writer.final.exists()
        assert writer.directory.name == f".{writer.result_id}.partial"
    assert writer.final.is_dir()
    assert not writer.directory.exists()


def test_result_directory_that_is_a_file_is_a_spec_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot be written: Not a directory") as caught:
        ResultWriter(tmp_path / "file", "s", SPEC).__enter__()
    assert "--out" in caught.value.remedy
    assert everything_below(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a directory that nobody can write")
def test_result_unwritable_directory_is_a_spec_error() -> None:
    with pytest.raises(SpecError, match="cannot be written"):
        ResultWriter(Path("/proc"), "s", SPEC).__enter__()


@pytest.mark.parametrize("name", ["report.txt", "records/c.parquet", "hdr/c.hlog", "queue_depth.parquet"])
def test_result_disk_full_is_a_measurement_error_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    def fill() -> None:
        with ResultWriter(tmp_path, "s", SPEC) as writer:
            (writer.directory / name).symlink_to("/dev/full")
            writer.write_cell("c", random_records(20_000, 1))
            writer.write_queue_depth(DEPTH)
            writer.write_text("report.txt", "x" * 100_000)

    with pytest.raises(MeasurementError, match="No space left") as caught:
        fill()
    assert "free space" in caught.value.remedy
    assert everything_below(tmp_path) == []


def test_write_cell_from_another_process_goes_into_the_same_result(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from testbed.run.cell_files import write_cell\n"
        "from tests.unit.samples import records_of\n"
        "write_cell(pathlib.Path(sys.argv[1]), 'other', records_of(n=7))\n"
    )
    with ResultWriter(tmp_path, "s", SPEC) as writer:
        subprocess.run([sys.executable, "-c", code, str(writer.directory)], check=True, cwd=Path.cwd())
    assert len(cell_files.read_records(writer.final, "other")) == 7


def test_abandoned_partials_finds_only_those_without_a_living_writer(tmp_path: Path) -> None:
    code = (
        "import os, sys, pathlib\n"
        "from testbed.run.store import ResultWriter\n"
        "ResultWriter(pathlib.Path(sys.argv[1]), 'sample', {}).__enter__()\n"
        "os._exit(0)\n"  # as if killed: nothing is unwound
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, cwd=Path.cwd())
    with ResultWriter(tmp_path, "sample", SPEC) as writer:
        found = abandoned_partials(tmp_path)
        assert len(found) == 1
        assert found[0] != writer.directory
    write_whole(tmp_path)
    assert abandoned_partials(tmp_path) == found


def test_records_written_unordered_are_stored_in_canonical_order(tmp_path: Path) -> None:
    records = random_records(300, 1)
    cell_files.write_cell(tmp_path, "c", records[np.random.default_rng(1).permutation(300)])
    assert np.array_equal(cell_files.read_records(tmp_path, "c"), records)


def test_records_extreme_values_survive(tmp_path: Path) -> None:
    records = np.zeros(3, RECORD_DTYPE)
    for name in RECORD_DTYPE.names or ():
        records[name] = np.iinfo(records.dtype[name]).max - 5
    records["intended_ps"] = np.uint64(2**64 - 1 - 1000)
    cell_files.write_cell(tmp_path, "c", records)
    assert np.array_equal(cell_files.read_records(tmp_path, "c"), records)


def test_parquet_schema_names_units(tmp_path: Path) -> None:
    cell_files.write_cell(tmp_path, "c", records_of(n=5))
    schema = pq.read_schema(cell_files.records_path(tmp_path, "c"))
    assert schema.names == list(RECORD_DTYPE.names or ())
    assert schema.field("delivered_ps").metadata == {b"unit": b"ps"}
    assert schema.field("message_bytes").metadata == {b"unit": b"bytes"}
    assert schema.metadata[b"cell"] == b"c"


def test_parquet_is_small(tmp_path: Path) -> None:
    cell_files.write_cell(tmp_path, "c", random_records(100_000, 1, host=True))
    assert cell_files.records_path(tmp_path, "c").stat().st_size <= 25 * 100_000


def test_histogram_log_is_read_back_by_the_standard_reader(tmp_path: Path) -> None:
    records = random_records(50_000, 1, host=True)
    cell_files.write_cell(tmp_path, "c", records)
    reader = HistogramLogReader(
        str(cell_files.hdr_path(tmp_path, "c")), cell_files.histogram_of(np.array([], np.uint64), "")
    )
    histogram = reader.get_next_interval_histogram()
    assert reader.get_next_interval_histogram() is None
    reader.close()
    latency = np.sort(latencies_ps(records))
    assert histogram.get_total_count() == 50_000
    for quantile_ppm in QUANTILES_PPM:
        exact = int(latency[nearest_rank(50_000, quantile_ppm) - 1])
        assert histogram.get_value_at_percentile(quantile_ppm / 10_000) == pytest.approx(exact, rel=1e-3)
    assert histogram.get_max_value() == pytest.approx(int(latency[-1]), rel=1e-3)


def test_histogram_grouped_counts_equal_those_of_single_values() -> None:
    values = np.random.default_rng(2).lognormal(14, 2, 3_000).astype(np.uint64)
    values = np.concatenate(
        [values, np.array([0, 1, 2047, 2048, 2049, 4095, 4096, 2**40 - 1, 2**40], np.uint64)]
    )
    grouped = cell_files.histogram_of(values, "c")
    single = cell_files.histogram_of(values[:0], "c")
    for value in values.tolist():
        assert single.record_value(value)
    assert list(grouped.counts) == list(single.counts)
    assert (grouped.min_value, grouped.max_value) == (single.min_value, single.max_value)


def test_histogram_single_bucket_keeps_both_extremes() -> None:
    histogram = cell_files.histogram_of(np.array([1_000_003, 1_000_001, 1_000_002], np.uint64), "c")
    assert (histogram.min_value, histogram.max_value) == (1_000_001, 1_000_003)
    assert histogram.total_count == 3


def test_histogram_beyond_its_range_is_a_measurement_error() -> None:
    with pytest.raises(MeasurementError, match=r"cell slow .* more than an hour"):
        cell_files.histogram_of(np.array([cell_files.HDR_HIGHEST_PS + 1], np.uint64), "slow")


def test_write_cell_without_records_is_read_back_empty(tmp_path: Path) -> None:
    cell_files.write_cell(tmp_path, "c", records_of(n=0))
    assert len(cell_files.read_records(tmp_path, "c")) == 0
    assert cell_files.read_histogram(tmp_path, "c").get_total_count() == 0


def test_load_result_no_result_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"summary\.json cannot be read"):
        load_result(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"schema_version": 99}', '{"schema_version": 1, "seed": "x"}']
)
def test_load_result_damaged_summary_is_a_spec_error(tmp_path: Path, text: str) -> None:
    final = write_whole(tmp_path)
    (final / "summary.json").write_text(text)
    with pytest.raises(SpecError):
        load_result(final)


def test_load_result_damaged_records_are_a_spec_error_when_read(tmp_path: Path) -> None:
    final = write_whole(tmp_path)
    path = cell_files.records_path(final, "idle-4KiB-rdma")
    path.write_bytes(path.read_bytes()[:100])
    loaded = load_result(final)
    with pytest.raises(SpecError, match="holds no records"):
        loaded.records("idle-4KiB-rdma")
    with pytest.raises(SpecError, match="holds no records"):
        loaded.records("no-such-cell")


def test_load_result_without_queue_depth_has_none(tmp_path: Path) -> None:
    final = write_whole(tmp_path)
    (final / "queue_depth.parquet").unlink()
    assert load_result(final).queue_depth() is None


def test_write_json_refuses_what_json_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"), ResultWriter(tmp_path, "s", SPEC) as writer:
        writer.write_json("x.json", {"bad": float("nan")})
    assert everything_below(tmp_path) == []


def test_spec_json_is_the_spec(tmp_path: Path) -> None:
    with ResultWriter(tmp_path, "s", SPEC) as writer:
        pass
    assert json.loads((writer.final / "spec.json").read_text()) == SPEC
    assert os.access(writer.final, os.R_OK)


def test_result_that_is_long_in_being_synced_is_not_abandoned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[list[Path]] = []

    def sync_tree(directory: Path) -> None:
        os.utime(directory, (0, 0))
        found.append(abandoned_partials(tmp_path))

    monkeypatch.setattr("testbed.run.store.sync_tree", sync_tree)
    with ResultWriter(tmp_path, "sample", SPEC) as writer:
        pass
    assert found == [[]]
    assert not (writer.final / ".lock").exists()


def test_remove_abandoned_takes_the_dead_and_leaves_living_and_whole(tmp_path: Path) -> None:
    whole = write_whole(tmp_path)
    dead = tmp_path / "sample" / ".20200101T000000Z-00000000.partial"
    dead.mkdir()
    (dead / ".lock").touch()
    with ResultWriter(tmp_path, "sample", SPEC) as writer:
        told = [f"partial result {dead}"]
        assert remove_abandoned(tmp_path, dry_run=True) == told
        assert dead.is_dir()
        assert remove_abandoned(tmp_path) == told
        assert not dead.exists()
        assert writer.directory.is_dir()
    assert whole.is_dir()
    assert remove_abandoned(tmp_path / "nowhere") == []
