"""Parts of an experiment, merged, are what one run of all its cells would have saved, file by file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.controller.dump import Dump, Dumped
from testbed.errors import MeasurementError, SpecError
from testbed.run.cell_run import cell_runs
from testbed.run.controllers import dump_text
from testbed.run.execute import execute
from testbed.run.merge import merge_results
from testbed.run.progress import NullProgress
from testbed.run.resolve import resolve
from testbed.run.spread import split_cells
from testbed.run.store import load_result
from testbed.spec.experiment import Experiment, Scenario, Variant
from tests.unit.test_json_documentation import documented, paths

EXPERIMENT = Experiment(
    name="merging",
    question="Is the whole the sum of its parts?",
    topology="single_switch",
    topology_parameters={"cards": 4},
    switch="tomahawk5",
    nics=("transparent", "rdma"),
    sizes_bytes=(4096, 9000),
    scenarios=(
        Scenario(name="load", kind="poisson", load_permille=500),
        Scenario(name="incast", kind="incast", fan_in=3, load_permille=600, records=150),
    ),
    records=100,
    emulated_records=60,
    variants=(
        Variant(name="plain"),
        Variant(name="told", switch_settings={"int": "on", "sflow": 10}),
        Variant(name="failing", failures=("l1<>c1@5us-6us:down",)),
    ),
)
SMALL = replace(
    EXPERIMENT,
    nics=("transparent",),
    sizes_bytes=(4096,),
    scenarios=EXPERIMENT.scenarios[1:],
)
IDS = [cell.id for cell in EXPERIMENT.cells()]
Run = Callable[..., Path]


@contextmanager
def in_this_process(work: Callable[[Any], Any], jobs: Sequence[Any], **_: Any) -> Iterator[list[Future[Any]]]:
    """Processes that start take longer than these cells."""
    futures: list[Future[Any]] = []
    for job in jobs:
        futures.append(Future())
        futures[-1].set_result(work(job))
    yield futures


@contextmanager
def quick(*, figures: bool) -> Iterator[None]:
    """Results of one name, so that their figures and reports can be compared byte by byte."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("testbed.run.execute.in_workers", in_this_process)
        patch.setattr("testbed.run.store._run_id", lambda *_: "0")
        patch.setattr("testbed.run.store.time.time_ns", lambda: 10**18)
        for name in () if figures else ("write_figures", "write_cell_figures", "write_hop_figures"):
            patch.setattr(f"testbed.run.assemble.{name}", lambda *_: [])
        yield


@pytest.fixture
def without_figures() -> Iterator[None]:
    with quick(figures=False):
        yield


def run(out: Path, cells: Sequence[str] | None = None, experiment: Experiment = EXPERIMENT) -> Path:
    return execute(experiment, engine="twin", out=out, progress=NullProgress(), cells=cells).directory


def merged(parts: Sequence[Path], out: Path, experiment: Experiment = EXPERIMENT) -> Path:
    return merge_results(parts, experiment, engine="twin", out=out).directory


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quick(figures=False):
        return run(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    with quick(figures=False):
        return [run(tmp_path_factory.mktemp("half"), cells) for cells in split_cells(EXPERIMENT, "twin", 2)]


def files(result: Path) -> dict[str, bytes]:
    """All that must be equal: everything but the metadata, which tell of time and machine."""
    found = {str(path.relative_to(result)): path.read_bytes() for path in result.rglob("*") if path.is_file()}
    del found["metadata.json"]
    return found


def assert_equal(one: Path, other: Path) -> None:
    expected, found = files(one), files(other)
    assert found.keys() == expected.keys()
    assert not [name for name in expected if found[name] != expected[name]]


@pytest.mark.usefixtures("without_figures")
def test_merge_of_two_parts_is_the_whole_run_file_by_file(
    whole: Path, halves: list[Path], tmp_path: Path
) -> None:
    result = merged(halves, tmp_path)
    assert_equal(whole, result)
    names = files(result).keys()
    for cell in IDS:
        assert {f"records/{cell}.parquet", f"hdr/{cell}.hlog", f"series/{cell}.parquet"} <= names
    for kind in ("int", "hops", "sflow"):
        assert f"telemetry/load-9000B-transparent-told-{kind}.parquet" in names
    summary = load_result(result).summary
    assert summary == load_result(whole).summary
    assert (summary.part_of, [cell.id for cell in summary.cells]) == (0, IDS)
    assert any(cell.outage is not None for cell in summary.cells)


@pytest.mark.usefixtures("without_figures")
def test_merge_of_parts_in_any_order_is_the_same(whole: Path, halves: list[Path], tmp_path: Path) -> None:
    assert_equal(whole, merged(halves[::-1], tmp_path))


@pytest.mark.usefixtures("without_figures")
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(owners=st.lists(st.integers(0, 4), min_size=len(IDS), max_size=len(IDS)))
def test_merge_of_any_split_is_the_whole_run(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, owners: list[int]
) -> None:
    split = {
        part: [cell for cell, own in zip(IDS, owners, strict=True) if own == part] for part in set(owners)
    }
    parts = [run(tmp_path_factory.mktemp("part"), cells) for cells in split.values()]
    assert_equal(whole, merged(parts, tmp_path_factory.mktemp("merged")))


def test_merge_draws_the_figures_of_the_whole_run(tmp_path: Path) -> None:
    with quick(figures=True):
        expected = run(tmp_path / "whole", experiment=SMALL)
        split = split_cells(SMALL, "twin", 3)
        parts = [run(tmp_path / str(index), cells, SMALL) for index, cells in enumerate(split)]
        result = merged(parts, tmp_path / "merged", SMALL)
    assert len(parts) == 3
    assert_equal(expected, result)
    cell = "incast-4KiB-transparent"
    assert {
        "figures/ccdf.png",
        f"figures/heatmap-{cell}-told.svg",
        f"figures/failures-{cell}-failing.png",
    } <= files(result).keys()


@pytest.mark.usefixtures("without_figures")
def test_merge_has_the_tables_of_its_parts(tmp_path: Path) -> None:
    base = replace(SMALL, nics=EXPERIMENT.nics, variants=())
    runs = cell_runs(resolve(base), emulated=False)
    dumped = [Dumped(programme=one.programme(), cells=(one.cell.id,)) for one in runs]
    tables = tmp_path / "given.json"
    tables.write_text(dump_text(Dump(programmes=tuple(dumped))), encoding="utf-8")
    experiment = replace(base, controller=str(tables))
    parts = [run(tmp_path / str(one.index), [one.cell.id], experiment) for one in runs]
    result = merged(parts, tmp_path / "merged", experiment)
    assert_equal(run(tmp_path / "whole", experiment=experiment), result)
    assert "tables.json" in files(result)


@pytest.mark.usefixtures("without_figures")
def test_merge_states_each_part_s_machine_and_cells(halves: list[Path], tmp_path: Path) -> None:
    metadata = load_result(merged(halves, tmp_path)).metadata
    assert "part_of" not in metadata
    assert list(metadata["twin"]) == IDS
    for part, about in zip(map(load_result, halves), metadata["parts"], strict=True):
        assert about["machine"] == part.metadata["machine"]
        assert about["utc"] == part.metadata["utc"]
        assert about["cells"] == [cell.id for cell in part.summary.cells]
        assert about["result"] == part.result_id
        for cell in about["cells"]:
            assert metadata["twin"][cell] == part.metadata["twin"][cell]


@pytest.mark.usefixtures("without_figures")
def test_metadata_of_parts_are_documented(
    whole: Path, halves: list[Path], tmp_path: Path, repository: Path
) -> None:
    usual = set(load_result(whole).metadata)
    found = [load_result(path).metadata for path in (halves[0], merged(halves, tmp_path))]
    own = [{key: value for key, value in one.items() if key not in usual} for one in found]
    documented_fields = documented(repository)["metadata.json` of a result"]
    assert set().union(*(paths(one) for one in own)) == documented_fields


def test_part_says_that_it_is_one(halves: list[Path]) -> None:
    for half in map(load_result, halves):
        ids = [cell.id for cell in half.summary.cells]
        assert half.summary.part_of == half.metadata["part_of"] == len(IDS) > len(ids)
        assert half.metadata["cells"] == ids
        told = f"{len(ids)} of the {len(IDS)} cells of the experiment; the others were not run"
        assert told in (half.directory / "report.txt").read_text(encoding="utf-8")


@pytest.mark.usefixtures("without_figures")
def test_all_cells_by_name_are_no_part(whole: Path, tmp_path: Path) -> None:
    assert_equal(whole, run(tmp_path, IDS))


@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("cell", range(2))
def test_part_of_a_run_with_disturbed_host_agents_compares_none_of_them(tmp_path: Path, cell: int) -> None:
    """What it would be compared with is elsewhere."""
    variants = (Variant(name="calm"), Variant(name="stopped", host_agents="stopped"))
    experiment = replace(SMALL, variants=variants)
    part = run(tmp_path, [experiment.cells()[cell].id], experiment)
    assert not any("host agents" in answer for answer in load_result(part).summary.answers)


# ------------------------------------------------------------------------------------------------- refused


def refused(parts: Sequence[Path], tmp_path: Path, experiment: Experiment = EXPERIMENT) -> SpecError:
    with pytest.raises(SpecError) as caught:
        merged(parts, tmp_path / "refused", experiment)
    assert not (tmp_path / "refused").exists()
    return caught.value


def test_merge_without_a_cell_names_those_that_lack(halves: list[Path], tmp_path: Path) -> None:
    error = refused(halves[:1], tmp_path)
    _, lacking = split_cells(EXPERIMENT, "twin", 2)
    assert str(error) == f"no part has {len(lacking)} of the {len(IDS)} cells: {', '.join(lacking)}"
    assert f"--cells {','.join(lacking)}" in error.remedy


def test_merge_of_nothing_lacks_all(tmp_path: Path) -> None:
    assert f"no part has {len(IDS)} of the {len(IDS)} cells" in str(refused([], tmp_path))


def test_merge_with_a_cell_twice_names_it_and_both_parts(
    whole: Path, halves: list[Path], tmp_path: Path
) -> None:
    error = str(refused([*halves, whole], tmp_path))
    assert f"part {whole} repeats cell {IDS[0]} of part {halves[0]}" in error


def test_merge_with_another_seed_or_spec_names_the_part_and_what_differs(
    halves: list[Path], tmp_path: Path
) -> None:
    other = str(refused(halves, tmp_path, replace(EXPERIMENT, seed=2)))
    assert other == f"part {halves[0]} is of another spec: seed 1, not 2"
    other = str(refused(halves, tmp_path, replace(EXPERIMENT, records=99, switch="tomahawk4")))
    assert other == f"part {halves[0]} is of another spec: switch, records"


def test_merge_with_another_engine_is_refused(halves: list[Path], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="was run by engine twin, not emulation"):
        merge_results(halves, EXPERIMENT, engine="emulation", out=tmp_path)


@pytest.fixture
def copies(halves: list[Path], tmp_path: Path) -> list[Path]:
    """Parts that may be spoilt."""
    return [shutil.copytree(half, tmp_path / "copies" / str(index)) for index, half in enumerate(halves)]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("project_version", "0.0.1", "is of version 0.0.1, this is"),
        ("schema_version", 0, "has metadata of form 0, not 1"),
    ],
)
def test_merge_with_another_version_is_refused(
    copies: list[Path], tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = copies[1] / "metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}), encoding="utf-8")
    assert f"part {copies[1]} {message}" in str(refused(copies, tmp_path))


def test_merge_of_a_summary_of_another_form_names_the_part(copies: list[Path], tmp_path: Path) -> None:
    path = copies[0] / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 2}), encoding="utf-8")
    assert str(refused(copies, tmp_path)).startswith(f"part {copies[0]}: schema_version is 2")


def spoil(copies: Sequence[Path], tmp_path: Path) -> str:
    with pytest.raises(MeasurementError) as caught:
        merged(copies, tmp_path / "refused")
    assert not (tmp_path / "refused").exists()
    return str(caught.value)


def test_merge_of_other_records_than_the_summary_says_is_refused(copies: list[Path], tmp_path: Path) -> None:
    one, other, *_ = sorted((copies[0] / "records").iterdir())
    shutil.copyfile(other, one)
    assert (
        spoil(copies, tmp_path) == f"part {copies[0]} has other records of {one.stem} than its summary says"
    )


@pytest.mark.parametrize("folder", ["records", "hdr", "series"])
def test_merge_of_a_part_without_a_file_names_it(copies: list[Path], tmp_path: Path, folder: str) -> None:
    path = min((copies[1] / folder).iterdir())
    path.unlink()
    assert spoil(copies, tmp_path) == f"part {copies[1]} lacks {folder}/{path.name}"


@pytest.mark.parametrize(
    ("name", "message"),
    [("queue_depth.parquet", "has no queue_depth.parquet"), ("counters.json", "is damaged: ")],
)
def test_merge_of_a_part_without_a_table_names_it(
    copies: list[Path], tmp_path: Path, name: str, message: str
) -> None:
    (copies[1] / name).unlink()
    assert spoil(copies, tmp_path).startswith(f"part {copies[1]} {message}")


def test_merge_of_cut_records_is_refused(copies: list[Path], tmp_path: Path) -> None:
    path = copies[0] / "records" / f"{IDS[0]}.parquet"
    if not path.exists():
        path = copies[1] / "records" / f"{IDS[0]}.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    assert "is damaged: " in spoil(copies, tmp_path)
