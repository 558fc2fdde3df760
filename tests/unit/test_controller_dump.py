"""Tables that are saved and used again: the same values, and refused where they do not fit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.controller.dump import Dump, Dumped, check_fits, dump_of, programme_for
from testbed.controller.rules import switch_tables
from testbed.controller.tables import Bucket, Flow, Group, Programme, SwitchTables, TableUpdate
from testbed.controller.timing import configured
from testbed.errors import SpecError
from testbed.run.cell_run import cell_runs
from testbed.run.controllers import dump_text
from testbed.run.loader import load_experiment
from testbed.run.resolve import resolve
from testbed.spec.codec import from_dict
from testbed.spec.overrides import apply_overrides
from topologies import build_fabric

FABRIC = build_fabric("leaf_spine", {"spines": 2, "leaves": 2, "cards": 4})
FIRST = switch_tables(FABRIC, configured({"failover": "on"}).rules)
UPDATE = TableUpdate(time_ps=7, switch="l1", tables=FIRST["l1"])
DOWN = ("l1<>s1@5us-30us:down",)
SMALL = ("topology.leaves=2", "topology.cards=4", "scenarios=load", "nics=transparent", "sizes=4KiB")


def test_dump_is_read_as_it_was_written() -> None:
    programme = Programme(first=FIRST, updates=(UPDATE,))
    dump = dump_of([("a", DOWN, programme), ("b", DOWN, programme), ("c", (), Programme(first=FIRST))])
    assert [one.cells for one in dump.programmes] == [("a", "b"), ("c",)]
    again = from_dict(Dump, json.loads(dump_text(dump)))
    assert dict(again.programmes[0].programme.first) == FIRST
    assert again.programmes[0].programme.updates == (UPDATE,)
    assert programme_for(again, "b", DOWN).updates == (UPDATE,)
    assert programme_for(again, "c", DOWN).updates == ()


def test_dump_of_other_cells_or_failures_is_refused() -> None:
    programme = Programme(first=FIRST, updates=(UPDATE,))
    dump = dump_of([("a", DOWN, programme), ("b", (), Programme(first=FIRST))])
    with pytest.raises(SpecError, match="no tables of cell z, but of a, b"):
        programme_for(dump, "z", ())
    with pytest.raises(SpecError, match="change after other failures: l1<>s1@5us-30us:down"):
        programme_for(dump, "a", ())
    alone = Dump(programmes=(Dumped(programme=Programme(first=FIRST)),))
    assert programme_for(alone, "z", DOWN).first == FIRST


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"s1": None}, "no tables of switch 's1'"),
        ({"s9": SwitchTables()}, "there is no switch 's9'"),
        (
            {"l1": SwitchTables(flows=(Flow(table=1, priority=1, output=9),))},
            "switch 'l1' has no port 9: .*output:9",
        ),
        (
            {"s2": SwitchTables(groups=(Group(number=1, kind="select", buckets=(Bucket(port=3),)),))},
            "switch 's2' has no port 3: group_id=1",
        ),
    ],
)
def test_dump_of_another_fabric_names_what_does_not_fit(
    change: dict[str, SwitchTables | None], problem: str
) -> None:
    tables = {name: of for name, of in {**FIRST, **change}.items() if of is not None}
    with pytest.raises(SpecError, match=problem):
        check_fits(FABRIC, Programme(first=tables))


def test_cells_are_run_by_the_tables_of_a_dump(tmp_path: Path) -> None:
    path = tmp_path / "tables.json"
    single = switch_tables(FABRIC, replace(configured({}).rules, paths="single"))
    path.write_text(dump_text(Dump(programmes=(Dumped(programme=Programme(first=single)),))))
    base = apply_overrides(load_experiment("quickstart"), SMALL)
    given = resolve(apply_overrides(base, [f"controller={path}"]))
    (own,), (run,) = (cell_runs(one, emulated=False) for one in (resolve(base), given))
    assert run.given is not None
    assert run.programme().first == single
    assert own.plan(1, 10**6) != run.plan(1, 10**6)
    alike = resolve(apply_overrides(base, ["control.paths=single"]))
    (computed,) = cell_runs(alike, emulated=False)
    groups = [
        [node["config"].get("groups") for node in one.plan(1, 10**6)["nodes"]] for one in (computed, run)
    ]
    assert groups[0] == groups[1]


@pytest.mark.parametrize(
    ("name", "text", "emulated", "problem"),
    [
        ("app.py", "", False, "needs real frames, or a dump of its tables"),
        ("gone.py", None, True, "there is no such file"),
        ("gone.json", None, False, "there is no such file"),
        ("bad.json", "{", False, "is no dump of tables"),
        ("bad.json", '{"schema_version": 1}', False, "programmes: it is missing"),
        ("bad.json", '{"schema_version": 2, "programmes": []}', True, "schema_version is 2"),
        ("bad.json", '{"schema_version": 1, "programmes": []}', True, "no tables of cell"),
    ],
)
def test_controllers_file_that_cannot_be_used_is_refused_before_anything_is_built(
    tmp_path: Path, name: str, text: str | None, emulated: bool, problem: str
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    experiment = apply_overrides(load_experiment("quickstart"), [*SMALL, f"controller={path}"])
    with pytest.raises(SpecError, match=problem) as caught:
        cell_runs(resolve(experiment), emulated=emulated)
    assert caught.value.remedy
