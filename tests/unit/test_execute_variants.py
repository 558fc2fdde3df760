"""Variants through a whole run: which cells share a standing fabric, and what is saved."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.run.cell_files import read_records
from testbed.run.cell_run import cell_runs
from testbed.run.execute import execute
from testbed.run.progress import NullProgress
from testbed.run.real_frames import by_wiring
from testbed.run.resolve import resolve
from testbed.spec.experiment import Experiment, Scenario, Variant

EXPERIMENT = Experiment(
    name="variants",
    question="Which is faster?",
    topology="single_switch",
    topology_parameters={"cards": 4},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(4096,),
    scenarios=(
        Scenario(name="idle", kind="idle"),
        Scenario(name="victim", kind="victim", fan_in=1, load_permille=500, records=150),
    ),
    records=100,
    emulated_records=60,
    variants=(
        Variant(name="short"),
        Variant(name="long", topology_parameters={"medium": "dr", "length": "100m"}),
        Variant(name="fast", switch="tomahawk_ultra"),
        Variant(name="large", topology_parameters={"cards": 6}),
    ),
)


def test_cells_whose_fabrics_differ_in_more_than_cables_and_switches_stand_apart() -> None:
    groups = by_wiring(cell_runs(resolve(EXPERIMENT), emulated=True))
    assert [[run.cell.variant for run in group] for group in groups] == [
        ["short", "long", "fast", "short", "long", "fast"],
        ["large", "large"],
    ]


def test_cells_have_the_records_of_their_scenario_and_a_share_of_the_real_frames() -> None:
    runs = cell_runs(resolve(EXPERIMENT), emulated=True)
    assert [run.records for run in runs] == [100] * 4 + [150] * 4
    assert {run.emulated_records for run in runs} == {8}


def test_run_of_variants_saves_a_cell_for_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Figures, and processes that start, take longer than the run.
    monkeypatch.setattr("testbed.run.assemble.write_figures", lambda *_: [])
    monkeypatch.setattr("testbed.run.workers.worker_count", lambda _: 1)
    outcome = execute(EXPERIMENT, engine="twin", out=tmp_path, progress=NullProgress())

    cells = {cell.id: cell for cell in outcome.summary.cells}
    idle = [cells[f"idle-4KiB-transparent-{name}"].max_ps or 0 for name in ("fast", "short", "long")]
    assert idle == sorted(set(idle)), "a faster switch, a longer cable"
    assert outcome.summary.clock.twin_records == 4 * 100 + 4 * 150
    victims = read_records(outcome.directory, "victim-4KiB-transparent-short")
    assert cells["victim-4KiB-transparent-short"].n == (victims["dst"] == 1).sum() < len(victims)
    saved = json.loads((outcome.directory / "summary.json").read_text())
    assert saved["variants"]["long"] == "medium=dr, length=100m"


@pytest.mark.parametrize("name", ["short", "fast"])
def test_variant_alone_is_the_experiment_that_it_stands_for(name: str) -> None:
    variant = next(variant for variant in EXPERIMENT.variants if variant.name == name)
    plain = replace(EXPERIMENT.of_variant(variant), scenarios=EXPERIMENT.scenarios[1:])
    chosen = replace(EXPERIMENT, variants=(variant,), scenarios=EXPERIMENT.scenarios[1:])
    (one,), (other,) = (cell_runs(resolve(experiment), emulated=False) for experiment in (plain, chosen))
    assert one.cell.id == "victim-4KiB-transparent"
    assert other.cell.id == f"victim-4KiB-transparent-{name}"
    assert one.records == other.records
    assert one.plan(1, one.records_until_ps) == other.plan(1, other.records_until_ps)
