"""Numbers of a run, changed where they come from: every row is found, nothing else moves, nothing stays changed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from nic_emulator import NICS
from testbed.analysis.sensitivity import LeftOut
from testbed.errors import SpecError
from testbed.links import MEDIA
from testbed.registry import Registry
from testbed.run.assumptions import assumptions_of_run
from testbed.run.loader import experiment_names, load_experiment
from testbed.run.perturb import Varied, chosen, replaced, varied_numbers
from testbed.run.plan import cell_plan
from testbed.run.resolve import Resolved, resolve
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Experiment
from testbed.spec.sourced import Assumption, Sourced

QUICKSTART = load_experiment("quickstart")
LOSSLESS = replace(
    QUICKSTART,
    switch_settings={"lossless": "3", "ecn": "default", "scheduling": "dwrr", "paths": "flowlet:1us"},
)
OF_A_CARD_OR_DERIVED = re.compile(r"\.card_dma\.|\.local\.|\.bridge\.")
NOT_A_NUMBER = "it is not a number of a profile by itself"


def named(experiment: Experiment, path: str) -> Varied:
    varied, _ = varied_numbers(resolve(experiment))
    return next(one for one in varied if one.parameter.path.startswith(path))


def plans(experiment: Experiment) -> list[dict[str, Any]]:
    resolved = resolve(experiment)
    made = []
    for cell in resolved.cells:
        network = resolved.network(cell)
        schedule = schedule_of(cell, network.fabric)
        made.append(cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=10**9))
    return made


def rows(experiment: Experiment) -> dict[str, Assumption]:
    return {row.path: row for row in assumptions_of_run(resolve(experiment))}


@pytest.mark.parametrize("name", experiment_names())
def test_every_assumption_is_varied_or_left_out_for_a_reason_of_its_own(name: str) -> None:
    resolved = resolve(load_experiment(name))
    varied, left_out = varied_numbers(resolved)
    listed = {path for one in varied for path in one.parameter.path.split(", ")}
    listed |= {path for one in left_out for path in one.path.split(", ")}
    assert listed == {path for row in assumptions_of_run(resolved) for path in row.path.split(", ")}
    for (
        one
    ) in left_out:  # a NIC's own numbers can all be varied; a card's, and what follows from others, cannot
        assert one.reason != NOT_A_NUMBER or OF_A_CARD_OR_DERIVED.search(one.path), one


@pytest.mark.parametrize("experiment", [QUICKSTART, LOSSLESS], ids=["quickstart", "lossless"])
def test_setting_a_number_changes_its_row_and_no_other(experiment: Experiment) -> None:
    before = rows(experiment)
    varied, _ = varied_numbers(resolve(experiment))
    for one in varied:
        after = next(iter(_rows_at_an_end(experiment, one)), None)
        if after is None:
            assert "features" in one.parameter.path  # without the feature it is refused
            continue
        changed = {path for path, row in after.items() if before.get(path) != row}
        assert ", ".join(sorted(changed)) == ", ".join(sorted(changed & {one.parameter.path})), one.parameter
        assert changed
    assert rows(experiment) == before


def _rows_at_an_end(experiment: Experiment, one: Varied) -> Iterator[dict[str, Assumption]]:
    """The rows at each end of the range, but for those that the experiment refuses."""
    for at in {one.parameter.low, one.parameter.high} - {one.parameter.base}:
        with suppress(SpecError), one.set_to(at):
            yield rows(experiment)


def test_merged_row_is_set_in_all_of_its_places() -> None:
    one = named(QUICKSTART, "transparent.send.nic_pcie.latency")
    with one.set_to(123_000):
        found = [s.latency.number for s in NICS.get("transparent").stages if s.name == "nic_pcie"]
    assert found == [123_000, 123_000]


def test_table_is_scaled_in_its_times_and_not_in_its_probabilities() -> None:
    one = named(QUICKSTART, "rdma.post.host_post.stall,")
    before = next(s for s in NICS.get("rdma").stages if s.name == "host_poll").stall
    with one.set_to(500):
        after = next(s for s in NICS.get("rdma").stages if s.name == "host_poll").stall
    assert [ppm.number for ppm, _ in after] == [ppm.number for ppm, _ in before]
    assert [ps.number * 2 for _, ps in after] == [ps.number for _, ps in before]


def test_number_of_one_nic_leaves_the_plans_of_the_other_alone() -> None:
    before = plans(QUICKSTART)
    with named(QUICKSTART, "rdma.window_pkts").set_to(64):
        after = plans(QUICKSTART)
    changed = {
        cell.nic for cell, a, b in zip(resolve(QUICKSTART).cells, before, after, strict=True) if a != b
    }
    assert changed == {"rdma"}


def test_number_of_links_that_share_it_is_one_parameter() -> None:
    cables = replace(load_experiment("cable_choice"), nics=("transparent",))
    paths = [one.parameter.path for one in varied_numbers(resolve(cables))[0]]
    assert "aec.module" in paths
    before, dac = plans(cables), MEDIA.get("dac")
    with named(cables, "aec.module").set_to(20_000):
        assert MEDIA.get("aec").module.number == 20_000
        assert MEDIA.get("dac") is dac
        assert plans(cables) != before
    assert plans(cables) == before


def test_code_of_a_link_and_number_of_the_headroom_reach_the_plan() -> None:
    slow = replace(
        QUICKSTART, topology_parameters={**QUICKSTART.topology_parameters, "rate": "100Gbps", "lanes": 4}
    )
    for experiment, path in ((slow, "dac.fec.kr4.fixed"), (LOSSLESS, "tomahawk5.headroom.phy")):
        before = plans(experiment)
        one = named(experiment, path)
        with one.set_to(one.parameter.high):
            assert plans(experiment) != before
        assert plans(experiment) == before


def test_table_is_as_before_after_an_error() -> None:
    one = named(QUICKSTART, "rdma.window_pkts")
    before = NICS.get("rdma")
    with pytest.raises(RuntimeError), one.set_to(64):
        raise RuntimeError
    assert NICS.get("rdma") is before


def test_pattern_chooses_by_path_and_a_star_is_anything() -> None:
    varied, _ = varied_numbers(resolve(QUICKSTART))
    assert {one.parameter.path.split(".")[0] for one in chosen(varied, "rdma")} == {"rdma"}
    assert len(chosen(varied, "rdma*stall_")) == 1
    assert chosen(varied, None) == varied
    with pytest.raises(SpecError, match="nothing_like_it"):
        chosen(varied, "nothing_like_it")


@dataclass(frozen=True)
class Thing:
    name: str
    number: Sourced
    more: tuple[Sourced, ...] = ()
    by_name: Mapping[str, Sourced] | None = None


def test_replacing_walks_dataclasses_sequences_and_mappings_and_copies_only_what_changes() -> None:
    two, three = Sourced(2, "ps", "E", "x"), Sourced(3, "ps", "E", "x")
    inner = Thing("inner", three)
    things = (Thing("a", two, (two, three), {"k": three}), inner)
    found = replaced(
        things,
        "t",
        lambda path, one: replace(one, value=9) if path in ("t[0].more[1]", "t[0].by_name[k]") else one,
    )
    assert found[1] is inner
    assert found[0].number is two
    assert found[0].more[1].number == 9
    assert found[0].by_name["k"].number == 9
    assert things[0].more[1].number == 3
    assert replaced(things, "t", lambda _, one: one) is things


def test_stated_range_of_a_profile_is_the_range_of_the_parameter() -> None:
    nic = NICS.get("transparent")
    changed = replace(nic, window_pkts=replace(nic.window_pkts, range=(32, 64)))
    with NICS.substituted({"transparent": changed}):
        one = named(QUICKSTART, "transparent.window_pkts")
    assert (one.parameter.low, one.parameter.high, one.parameter.stated) == (32, 64, True)


def test_row_that_no_table_holds_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Assumption("elsewhere.x", 5, "ps", "E", "a calculation")
    monkeypatch.setattr("testbed.run.perturb.assumptions_of_run", lambda _resolved: (row,))
    resolved: Resolved = resolve(QUICKSTART)
    assert varied_numbers(resolved) == ((), (LeftOut(path="elsewhere.x", mark="E", reason=NOT_A_NUMBER),))


def test_substituted_entries_last_as_long_as_the_block() -> None:
    table: Registry[int] = Registry("thing", {"a": 1, "b": 2})
    with table.substituted({"a": 7}):
        assert (table.get("a"), table.get("b"), table.names()) == (7, 2, ("a", "b"))
    assert table.get("a") == 1


@pytest.mark.parametrize("bounds", [(6, 9), (1, 4), (9, 1)])
def test_range_that_does_not_hold_the_number_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="range"):
        Sourced(5, "ps", "E", "x", bounds)


def test_range_of_a_table_is_refused() -> None:
    with pytest.raises(SpecError, match="range"):
        Sourced((1, 2), "ps", "E", "x", (0, 9))
