"""Ranges, the search for flips, and what is drawn: with a runner that only computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.analysis.sensitivity import (
    Answer,
    Group,
    Parameter,
    Request,
    Sensitivity,
    explore,
    groups_of,
)
from testbed.errors import MeasurementError
from testbed.report.parameters import range_text, short_path, value_text
from testbed.report.sensitivity import MOST_ROWS, drawn, sensitivity_text, shown
from testbed.report.tornado import tornado_figure, write_tornados
from testbed.run.ranges import parameter_of
from testbed.spec.codec import from_dict, to_dict
from testbed.spec.experiment import Cell, Scenario
from testbed.spec.sourced import Assumption, Mark

P = 999_000
IDLE = Scenario(name="idle", kind="idle")
CELLS = [(Cell(scenario=IDLE, size_bytes=64, nic=nic), "unloaded") for nic in ("a", "b")]


def row(value: int | tuple[int, ...], unit: str = "ps", mark: Mark = "assumed") -> Assumption:
    return Assumption("nic.x", value, unit, mark, "a guess")


def parameter(low: int, base: int, high: int, path: str = "a.x") -> Parameter:
    return Parameter(path=path, unit="ps", mark="assumed", source="s", low=low, base=base, high=high)


# ------------------------------------------------------------------------------------------------- ranges


@pytest.mark.parametrize(
    ("mark", "low", "high"), [("assumed", 600, 2400), ("E", 900, 1600), ("M", 960, 1500)]
)
def test_range_by_mark_is_wider_the_less_is_known(mark: Mark, low: int, high: int) -> None:
    found = parameter_of(row(1200, mark=mark))
    assert isinstance(found, Parameter)
    assert (found.low, found.base, found.high, found.stated) == (low, 1200, high, False)


def test_range_that_is_stated_comes_before_that_of_the_mark() -> None:
    found = parameter_of(row(500), (400, 600))
    assert isinstance(found, Parameter)
    assert (found.low, found.high, found.stated) == (400, 600, True)


def test_range_of_table_is_a_factor_of_the_whole() -> None:
    found = parameter_of(row((0, 10, 20), mark="E"))
    assert isinstance(found, Parameter)
    assert (found.low, found.base, found.high, found.table) == (750, 1000, 1333, (0, 10, 20))


def test_range_of_flag_and_exponent_are_their_neighbours() -> None:
    flag, exponent = parameter_of(row(1, "yes/no", "M")), parameter_of(row(-2, "log2"))
    assert isinstance(flag, Parameter)
    assert isinstance(exponent, Parameter)
    assert (flag.low, flag.base, flag.high) == (0, 1, 1)
    assert (exponent.low, exponent.base, exponent.high) == (-3, -2, -1)


def test_range_never_reaches_zero() -> None:
    found = parameter_of(row(1, "packets"))
    assert isinstance(found, Parameter)
    assert (found.low, found.high) == (1, 2)


@pytest.mark.parametrize(("value", "unit", "most"), [(800_000, "ppm", 1_000_000), (60_000, "quanta", 65_535)])
def test_range_ends_at_the_most_that_a_number_can_be(value: int, unit: str, most: int) -> None:
    found = parameter_of(row(value, unit))
    assert isinstance(found, Parameter)
    assert found.high == most


@pytest.mark.parametrize(
    ("value", "unit", "mark", "why"),
    [
        (6, "priority", "assumed", "traffic class"),
        (0, "ps", "assumed", "zero"),
        ((0, 0), "ps", "assumed", "zero"),
        (127, "log2", "E", "no threshold"),
        (1, "packets", "M", "no other whole number"),
    ],
)
def test_range_of_what_has_none_is_refused_with_the_reason(
    value: int | tuple[int, ...], unit: str, mark: Mark, why: str
) -> None:
    found = parameter_of(row(value, unit, mark))
    assert isinstance(found, str)
    assert why in found


# ------------------------------------------------------------------------------------------------- exploring


def found_with(
    parameters: Sequence[Parameter],
    value_of: Callable[[int, Mapping[int, int]], int | str],
    cells: Sequence[tuple[Cell, str]] = CELLS,
    references: Sequence[str] = (),
) -> tuple[tuple[Group, ...], list[Request]]:
    """Explore with a runner that computes a cell's value from the parameters' values."""
    asked: list[Request] = []

    def evaluate(_: str, requests: Sequence[Request]) -> list[Answer]:
        asked.extend(requests)
        answers = []
        for request in requests:
            values = {place: one.base for place, one in enumerate(parameters)}
            if request.parameter is not None:
                values[request.parameter] = request.at
            got = value_of(request.cell, values)
            bounds = {P: (got, got)} if isinstance(got, int) else {}
            answers.append(
                Answer(failure=got) if isinstance(got, str) else Answer(values_ps={P: got}, bounds_ps=bounds)
            )
        return answers

    return explore(parameters, groups_of(cells, references), (P,), evaluate), asked


def test_swing_of_difference_and_of_each_alternative_are_exact() -> None:
    (group,), _ = found_with(
        [parameter(50, 100, 200), parameter(10, 20, 40, "b.x")],
        lambda cell, v: 1000 + (v[0], 3000 + 2 * v[1])[cell],
    )
    assert (group.best, group.rival, group.quantity_ps) == ("a", "b", 2940)
    first, second = group.responses
    assert (first.path, first.swing_ps, dict(first.swings_ps)) == ("a.x", 150, {"a": 150, "b": 0})
    assert (second.path, second.swing_ps, dict(second.swings_ps)) == ("b.x", 60, {"a": 0, "b": 60})
    assert (first.low.quantity_ps, first.high.quantity_ps) == (2990, 2840)
    assert not group.flipping


@pytest.mark.parametrize("threshold", [1501, 1777, 1999, 2000])
def test_flip_is_found_to_a_hundredth_of_the_range(threshold: int) -> None:
    base = 1000
    (group,), asked = found_with([parameter(500, base, 2000)], lambda cell, v: (v[0], threshold - 1)[cell])
    (flip,) = group.responses[0].flips
    assert flip.best == "b"
    assert flip.before < threshold <= flip.at
    assert flip.at - flip.before <= 15
    assert len(asked) < 40


def test_flip_of_few_whole_numbers_is_found_exactly() -> None:
    (group,), _ = found_with([parameter(8, 16, 32)], lambda cell, v: (100 if v[0] <= 11 else 10, 50)[cell])
    (flip,) = group.responses[0].flips
    assert (flip.at, flip.before, flip.best) == (11, 12, "b")


def test_flips_at_both_ends_are_both_found() -> None:
    (group,), _ = found_with([parameter(0, 500, 1000)], lambda cell, v: (abs(v[0] - 500), 300)[cell])
    low, high = group.responses[0].flips
    assert low.at in range(190, 200)
    assert high.at in range(801, 811)


def test_tie_is_no_flip() -> None:
    (group,), _ = found_with([parameter(50, 100, 200)], lambda cell, v: (v[0], 200)[cell])
    assert not group.responses[0].flips


def test_failure_at_an_end_is_kept_with_its_reason() -> None:
    (group,), _ = found_with(
        [parameter(50, 100, 200)], lambda cell, v: "too big" if v[0] > 100 else v[0] + cell
    )
    (response,) = group.responses
    assert response.high.failure == "too big"
    assert response.high.quantity_ps is None
    assert response.low.values_ps == {"a": 50, "b": 51}
    assert response.swings_ps == {"a": 50, "b": 50}


def test_flip_behind_values_that_fail_is_the_end_that_shows_it() -> None:
    (group,), _ = found_with(
        [parameter(0, 100, 1000)],
        lambda cell, v: "no" if 100 < v[0] < 1000 else (v[0], 500)[cell],
    )
    (flip,) = group.responses[0].flips
    assert (flip.before, flip.at) == (100, 1000)


def test_failure_of_the_base_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="boom"):
        found_with([parameter(50, 100, 200)], lambda _cell, _v: "boom")


def test_quantile_that_not_all_alternatives_state_gives_way_to_the_next() -> None:
    def evaluate(_: str, requests: Sequence[Request]) -> list[Answer]:
        bounds: dict[int, tuple[int | None, int | None]] = {P: (None, None), 990_000: (None, None)}
        values = [{P: None if one.cell else 5, 990_000: 4} for one in requests]
        return [Answer(values_ps=one, bounds_ps=bounds) for one in values]

    (group,) = explore([parameter(1, 2, 3)], groups_of(CELLS, ()), (P, 990_000), evaluate)
    assert group.quantile == "p99"


def test_alternative_alone_is_told_by_its_own_value() -> None:
    (group,), _ = found_with([parameter(50, 100, 200)], lambda _, v: 7 + v[0], CELLS[:1])
    assert (group.best, group.quantity_ps, group.responses[0].swing_ps) == ("", 107, 150)
    assert not group.flipping


def test_reference_is_shown_and_never_the_best() -> None:
    cells = [
        (Cell(scenario=IDLE, size_bytes=64, nic="a", variant=name), "unloaded")
        for name in ("bound", "x", "y")
    ]
    (group,), _ = found_with(
        [parameter(50, 100, 200)], lambda cell, v: (1, v[0], 300)[cell], cells, ["bound"]
    )
    assert (group.best, group.rival) == ("x", "y")
    assert group.base_ps["bound"] == 1


# ------------------------------------------------------------------------------------------------- text and figure


def sample(many: int = 30) -> Sensitivity:
    """Many parameters: the last one flips, the one before fails, the first changes nothing."""
    parameters = [parameter(500, 1000, 2000, f"a.stage{i}.latency") for i in range(many)]

    def value(cell: int, v: Mapping[int, int]) -> int | str:
        if v[many - 2] > 1000:
            return "the engine said no"
        moved = sum(place * (v[place] - 1000) for place in v)
        return (1_000_000 + moved * 1000, 12_000_000)[cell]

    groups, _ = found_with(parameters, value)
    return Sensitivity(
        experiment="sample",
        question="Which?",
        fabric="a fabric",
        seed=1,
        records=1000,
        runs=60,
        parameters=tuple(parameters),
        left_out=(),
        groups=groups,
    )


def test_rows_are_sorted_by_swing_and_the_rest_is_counted() -> None:
    group = sample().groups[0]
    swings = [one.swing_ps for one in drawn(group)]
    assert swings == sorted(swings, reverse=True)
    assert len(swings) == MOST_ROWS
    assert {one.parameter for one in shown(group)} >= {28}  # it failed at one end
    text = sensitivity_text(sample())
    assert "9 smaller ones are left out" in text
    assert "1 of 30 do not move it" in text


def test_text_names_flips_failures_and_what_has_no_effect() -> None:
    text = sensitivity_text(sample())
    assert "a.stage29.latency: b best at ≥ 1.3" in text
    assert "a.stage28.latency = 2.00 ns: the engine said no" in text
    assert "1 of 30 parameters: a.stage0.latency" in text


def test_text_tells_a_failure_of_all_groups_once_and_of_some_with_their_names() -> None:
    found = sample()
    other = replace(found.groups[0], scenario="load")
    text = sensitivity_text(replace(found, groups=(found.groups[0], other)))
    assert text.count("the engine said no") == 1
    calm = replace(other, responses=tuple(one for one in other.responses if not one.high.failure))
    assert "(in idle, 64 B)" in sensitivity_text(replace(found, groups=(found.groups[0], calm)))


def test_text_without_flips_says_so() -> None:
    assert "no flip within the range" in sensitivity_text(sample(5))


def test_table_on_a_narrow_terminal_leaves_out_columns() -> None:
    text = sensitivity_text(sample(), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "all columns: report.txt" in text
    assert "all columns" not in sensitivity_text(sample())


def test_figure_has_base_line_bars_with_their_ranges_and_the_flip() -> None:
    found = sample()
    figure = tornado_figure(found, found.groups[0], "id")
    (axis,) = figure.axes
    labels = [label.get_text() for label in axis.get_yticklabels()]
    assert labels[0] == "a.stage29.latency\n500 ps … 2.00 ns  (assumed)"
    assert len(labels) == MOST_ROWS
    assert "(µs)" in axis.get_xlabel()
    assert {line.get_xdata()[0] for line in axis.lines} == {11.0, 0}  # type: ignore[index]
    assert any("b best at" in text.get_text() for text in axis.texts)
    assert any("fails at 2.00 ns" in text.get_text() for text in axis.texts)


def test_figure_cuts_a_bar_that_dwarfs_all_others() -> None:
    parameters = [parameter(500, 1000, 2000, f"a.s{i}") for i in range(4)]
    groups, _ = found_with(parameters, lambda cell, v: (sum(v.values()) + 500 * v[0], 10**7)[cell])
    found = replace(sample(), parameters=tuple(parameters), groups=groups)
    (axis,) = tornado_figure(found, groups[0], "id").axes
    widths = sorted(abs(bar.get_width()) for bar in axis.patches)  # type: ignore[attr-defined]
    assert widths[-1] <= 1.6 * widths[-3]
    assert sum("▶" in text.get_text() or "◀" in text.get_text() for text in axis.texts) == 2


def test_figures_are_written_for_each_group(tmp_path: Path) -> None:
    names = [path.name for path in write_tornados(sample(), "id", tmp_path)]
    assert names == ["tornado-idle-64B.png", "tornado-idle-64B.svg"]
    assert all((tmp_path / name).stat().st_size for name in names)


def test_result_as_json_reads_back() -> None:
    found = sample(4)
    assert from_dict(Sensitivity, to_dict(found)) == found


@pytest.mark.parametrize(
    ("path", "short"),
    [
        ("a.window", "a.window"),
        ("r.post.hp.stall, r.notify.hq.stall", "r.{post.hp, notify.hq}.stall"),
        ("r.send.p.latency, r.ingress.p.latency", "r.{send, ingress}.p.latency"),
        ("dac.fec.kp4.fixed, dr.fec.kp4.fixed", "{dac, dr}.fec.kp4.fixed"),
    ],
)
def test_merged_path_is_shortened(path: str, short: str) -> None:
    assert short_path(path) == short


def test_values_are_told_with_their_units() -> None:
    time, count = parameter(500, 1000, 2_000_000), replace(parameter(8, 16, 32), unit="packets")
    table = replace(parameter(500, 1000, 2000), table=(1, 2))
    flag = replace(parameter(0, 1, 1), unit="yes/no")
    assert value_text(time, 2_000_000) == "2.00 µs"
    assert range_text(time) == "500 ps … 2.00 µs"
    assert range_text(count) == "8 … 32 packets"
    assert range_text(table) == "×0.5 … ×2"
    assert range_text(flag) == "no … yes"
