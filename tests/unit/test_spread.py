"""How cells are split into parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import SpecError
from testbed.run.cell_run import cell_runs
from testbed.run.resolve import resolve
from testbed.run.spread import split_cells
from testbed.run.work import REAL_FRAME_WORK, work_of
from testbed.spec.experiment import Experiment, Scenario
from tests.unit.test_merge import EXPERIMENT, IDS

SIZES = replace(
    EXPERIMENT,
    variants=(),
    nics=("transparent",),
    sizes_bytes=(64, 1 << 20, 4096, 1 << 16),
    scenarios=(Scenario(name="idle", kind="idle"),),
    emulated_records=0,
)


def work(experiment: Experiment, engine: str) -> dict[str, int]:
    return {
        run.cell.id: work_of(run) for run in cell_runs(resolve(experiment), emulated=engine == "emulation")
    }


@given(parts=st.integers(1, 30), engine=st.sampled_from(["twin", "emulation"]))
def test_split_has_each_cell_once_and_no_empty_part(parts: int, engine: str) -> None:
    found = split_cells(EXPERIMENT, engine, parts)
    assert len(found) == min(parts, len(IDS))
    assert all(found)
    assert sorted(cell for part in found for cell in part) == sorted(IDS)
    assert found == split_cells(EXPERIMENT, engine, parts)
    cells = work(EXPERIMENT, engine)
    loads = [sum(cells[cell] for cell in part) for part in found]
    assert max(loads) - min(loads) <= max(cells.values()), (
        "the longest part got its last cell as the shortest"
    )


def test_split_puts_the_longest_cell_alone_where_it_outweighs_the_rest() -> None:
    assert split_cells(SIZES, "twin", 2) == [
        ("idle-1MiB-transparent",),
        ("idle-64B-transparent", "idle-4KiB-transparent", "idle-64KiB-transparent"),
    ]


def test_split_into_one_part_is_all_in_order() -> None:
    assert split_cells(EXPERIMENT, "emulation", 1) == [tuple(IDS)]


def test_work_of_real_frames_is_added_to_that_of_the_twin() -> None:
    twin, emulation = work(EXPERIMENT, "twin"), work(EXPERIMENT, "emulation")
    assert {emulation[cell] - twin[cell] for cell in IDS if "4KiB" in cell} == {3 * 3 * REAL_FRAME_WORK}


def test_split_into_no_part_is_refused() -> None:
    with pytest.raises(SpecError, match="0 parts have no room"):
        split_cells(EXPERIMENT, "twin", 0)
