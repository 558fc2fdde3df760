from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.container import ErrorbarContainer

from testbed.errors import SpecError
from testbed.report import canvas, figures
from testbed.report.budget import budget_figure
from testbed.report.plot import plot_results
from testbed.report.sweeps import sweep_figure
from testbed.report.variants import variant_figure
from testbed.report.view import RunView, deepest_queues, sweep, view_run
from testbed.run.store import ResultWriter
from testbed.spec.codec import to_dict
from tests.unit.samples import run_of

DEPTH = {
    "cell": ["idle-4KiB-rdma"] * 4,
    "time_ps": [0, 1_000_000, 2_000_000, 3_000_000],
    "node": ["l1", "s1", "s1", "l1"],
    "port": [1, 2, 2, 1],
    "kind": [4] * 4,
    "depth_bytes": [1024, 2048, 4096, 0],
}


@functools.cache
def view(n: int = 2_000, seed: int = 1, *, depth: bool = True) -> RunView:
    summary, records = run_of(n=n, seed=seed)
    return view_run(
        summary, result_id=f"r{seed}", records=records.__getitem__, queue_depth=DEPTH if depth else None
    )


def save_result(out: Path, seed: int) -> Path:
    summary, records = run_of(n=300, seed=seed)
    with ResultWriter(out, "sample", {}) as writer:
        for cell_id, cell in records.items():
            writer.write_cell(cell_id, cell)
        writer.write_json("summary.json", to_dict(summary))
        writer.write_json("metadata.json", {})
    return writer.final


def test_write_figures_writes_all_four_as_png_and_svg(tmp_path: Path) -> None:
    paths = figures.write_figures([view()], tmp_path)
    names = ["ccdf", "percentiles", "comparison", "queue_depth"]
    assert [path.name for path in paths] == [f"{n}.{kind}" for n in names for kind in ("png", "svg")]
    assert all(p.read_bytes()[:4] == (b"\x89PNG" if p.suffix == ".png" else b"<?xm") for p in paths)


def test_save_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (
        canvas.save(figures.queue_depth_figure([view()]), tmp_path / name, "figure") for name in ("a", "b")
    )
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_ccdf_line_is_the_cell_s_distribution() -> None:
    run = view()
    axes = [axis for axis in figures.ccdf_figure([run]).axes if axis.lines]
    assert [axis.get_title() for axis in axes] == ["idle, 4 KiB", "load, 4 KiB"]
    line = axes[0].lines[1]  # rdma
    curve = run.cells[1].latency
    assert np.asarray(line.get_xdata()).tolist() == (curve.latency_ps / 1e6).tolist()
    assert np.asarray(line.get_ydata())[-1] == 1 / 2_000
    assert (axes[0].get_xscale(), axes[0].get_yscale()) == ("log", "log")
    assert axes[-1].get_xlabel() == "latency (µs)"


def test_figures_have_seed_id_and_clock_in_their_footer() -> None:
    for draw in (figures.ccdf_figure, figures.percentile_figure, figures.comparison_figure):
        footer = draw([view(seed=5)]).get_supxlabel()
        assert "seed 5 · r5" in footer
        assert "equal to the twin's" in footer


def test_percentile_axis_shows_only_percentiles_that_the_messages_reach() -> None:
    axis = figures.percentile_figure([view(n=2_000)]).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["50", "90", "99", "99.9"]


def test_comparison_leaves_out_percentiles_that_are_not_stated() -> None:
    few, many = figures.comparison_figure([view(n=500)]), figures.comparison_figure([view(n=20_000)])
    assert len(few.axes[0].containers) == 2 * 1  # p50 of two NICs; p99 has 5 beyond it
    assert len(many.axes[0].containers) == 2 * 3


def sweep_view(values: Sequence[object], *, key: str = "alpha_log2") -> RunView:
    summary, records = run_of(
        n=12_000, variants={f"v{i}": f"{key}={value}" for i, value in enumerate(values)}
    )
    return view_run(summary, result_id="r", records=records.__getitem__)


def test_figures_of_variants_have_a_line_and_a_colour_for_each() -> None:
    run = sweep_view(range(-6, 4))
    figure = figures.ccdf_figure([run])
    assert [len(axis.lines) for axis in figure.axes] == [10, 10]
    assert len({line.get_color() for line in figure.axes[0].lines}) == 10
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [f"v{i}" for i in range(10)]


def test_figures_of_variants_and_nics_name_both() -> None:
    summary, records = run_of(n=100, variants={"a": "", "b": ""})
    cells = tuple(
        replace(cell, nic="rdma" if cell.scenario == "load" else "transparent") for cell in summary.cells
    )
    found = view_run(replace(summary, cells=cells), result_id="r", records=records.__getitem__)
    assert [cell.series for cell in found.cells] == ["a, transparent", "b, transparent", "a, rdma", "b, rdma"]


def test_view_of_a_victim_draws_its_messages_alone() -> None:
    summary, records = run_of(n=400)
    cells = tuple(replace(cell, destination=1) for cell in summary.cells)
    found = view_run(replace(summary, cells=cells), result_id="r", records=records.__getitem__)
    assert [cell.latency.n for cell in found.cells] == [100] * 4


def test_comparison_of_variants_has_them_in_order_and_percentiles_by_colour() -> None:
    axis = variant_figure([sweep_view((3, -1, -2))]).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["3", "-1", "-2"]
    assert axis.get_xlabel() == "alpha_log2"
    assert len(axis.containers) == 3 * 3
    bars = [bar for bar in axis.containers if isinstance(bar, ErrorbarContainer)]
    assert len({bar.lines[0].get_color() for bar in bars}) == 3


def test_comparison_of_variants_that_are_no_steps_of_a_scale_names_them_and_joins_nothing() -> None:
    swept, named = (
        variant_figure([sweep_view(values)]).axes[0] for values in ((1, 2, 3), ("hash", "spray", "x"))
    )
    assert [label.get_text() for label in named.get_xticklabels()] == ["v0", "v1", "v2"]
    assert named.get_xlabel() == ""
    assert len(swept.lines) - len(named.lines) == 3  # one line for each percentile


def test_comparison_of_a_run_with_variants_and_one_without_shows_both() -> None:
    axis = variant_figure([sweep_view((1, 2, 3)), view(seed=2)]).axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["v0", "v1", "v2", "without"]


def test_series_that_are_the_same_are_named_in_their_panel() -> None:
    run = view(depth=False)
    first, second, *rest = run.cells
    same = replace(run, cells=(first, replace(second, latency=first.latency), *rest))
    for draw in (figures.ccdf_figure, figures.percentile_figure):
        told = [[text.get_text() for text in draw([each]).axes[0].texts] for each in (run, same)]
        assert told == [[""], [f"the same: {first.series}, {second.series}"]]


@pytest.mark.parametrize(
    ("variants", "key"),
    [
        ({"a": "x=1", "b": "x=2", "c": "x=3"}, "x"),
        ({"a": "x=off", "b": "x=step:30KB", "c": "x=100KB:400KB:20%", "d": "x=1"}, "x"),
        ({"a": "x=1", "b": "x=2"}, None),
        ({"a": "x=1", "b": "y=2", "c": "x=3"}, None),
        ({"a": "x=1, y=1", "b": "x=2, y=2", "c": "x=3, y=3"}, None),
        ({"a": "x=hash", "b": "x=spray", "c": "x=3"}, None),
        ({"a": "", "b": "", "c": ""}, None),
        ({}, None),
    ],
)
def test_sweep_is_one_setting_in_steps(variants: dict[str, str], key: str | None) -> None:
    found = sweep([replace(view(n=10, depth=False), variants=variants)])
    assert (found[0] if found else None) == key


def test_overlay_has_one_line_style_per_run_and_names_them() -> None:
    runs = [view(seed=1), view(seed=2)]
    figure = figures.ccdf_figure(runs)
    assert [line.get_linestyle() for line in figure.axes[0].lines] == ["-", "-", "--", "--"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["transparent", "rdma", "r1, seed 1", "r2, seed 2"]


def test_figures_without_messages_and_depths_are_drawn_but_for_the_depths(tmp_path: Path) -> None:
    paths = figures.write_figures([view(n=0, depth=False)], tmp_path)
    assert {path.stem for path in paths if path.stat().st_size} == {"ccdf", "percentiles", "comparison"}


def test_figures_one_latency_for_all_messages_have_ticks() -> None:
    run = view()
    axis = figures.ccdf_figure([run]).axes[0]
    low, high = axis.get_xlim()
    assert low < high
    assert len(axis.get_xticks()) >= 2


@pytest.mark.parametrize(
    ("low", "high"), [(1.7, 60), (1.76, 1.78), (0.3, 900), (1, 1e6), (9.9, 10.1), (2.0, 2.04), (1e-3, 1e5)]
)
def test_latency_ticks_are_a_few_inside_the_range(low: float, high: float) -> None:
    ticks = canvas.latency_ticks(low, high)
    assert 2 <= len(ticks) <= 8
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(ticks)


def test_latency_ticks_leave_no_large_part_of_a_short_range_without() -> None:
    assert canvas.latency_ticks(6.9, 18) == [7, 8, 9, 10, 15]


def test_deepest_queues_picks_the_port_with_the_highest_peak() -> None:
    found = deepest_queues(DEPTH)["idle-4KiB-rdma"]
    assert found.label == "s1 port 2"
    assert found.depth_bytes.tolist() == [2048, 4096]


def test_plot_results_overlays_saved_runs(tmp_path: Path) -> None:
    saved = [save_result(tmp_path / "results", seed) for seed in (1, 2)]
    paths = plot_results(saved, tmp_path / "out")
    assert {path.parent for path in paths} == {tmp_path / "out"}
    assert len(paths) == 6


def test_plot_results_single_without_out_draws_into_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canvas, "save", lambda _figure, directory, name: [directory / name])
    saved = save_result(tmp_path, 1)
    assert {path.parent for path in plot_results([saved])} == {saved / "figures"}


def test_plot_results_none_or_too_many_is_a_spec_error(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no result"):
        plot_results([])
    with pytest.raises(SpecError, match="told apart"):
        plot_results([tmp_path] * 5)


def test_plot_results_out_that_is_a_file_is_a_spec_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot be written"):
        plot_results([save_result(tmp_path, 1)], tmp_path / "file")


def test_figures_never_load_pyplot() -> None:
    code = "import sys, testbed.report.plot; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=False).returncode == 0


NICS_SHOWN = ("transparent", "rdma", "kernel", "uec", "sue", "ualink")


def many_nics(sizes: Sequence[int] = (64, 4096, 65_536), variants: Sequence[str] = ("",)) -> RunView:
    """Six NICs, the last of which cannot carry the load at the smallest size."""
    summary, records = run_of(n=20_000)
    base = summary.cells[2]
    cells = tuple(
        replace(
            base,
            id=f"{size}-{nic}-{variant}",
            size_bytes=size,
            nic=nic,
            variant=variant,
            offered_bps=100,
            goodput_bps=50 if (nic, size) == ("ualink", sizes[0]) else 100,
        )
        for size in sizes
        for nic in NICS_SHOWN
        for variant in variants
    )
    told = {name: f"faults={name}" for name in variants if name}
    return view_run(
        replace(summary, cells=cells, variants=told), result_id="r", records=lambda _: records[base.id]
    )


@pytest.mark.filterwarnings("error")
def test_figures_of_six_nics_over_sizes_are_drawn_without_a_warning(tmp_path: Path) -> None:
    run = many_nics(sizes=(64, 512, 4096, 16_384, 65_536, 1 << 20))
    written = figures.write_figures([run], tmp_path)
    assert {path.name for path in written} == {
        f"{n}.{k}" for n in ("ccdf", "percentiles", "comparison") for k in ("png", "svg")
    }
    ccdf = figures.ccdf_figure(figures._readable([run])[""])
    assert [axis.get_title() for axis in ccdf.axes] == ["load, 64 B", "load, 4 KiB", "load, 1 MiB"]


def test_sweep_over_sizes_has_a_line_for_each_nic_and_hollow_marks_for_what_is_too_much() -> None:
    figure = sweep_figure([many_nics()])
    assert figure is not None
    for axis in figure.axes:
        lines = [line for line in axis.lines if line.get_linestyle() != "None"]
        assert [len(np.asarray(line.get_xdata())) for line in lines] == [3] * 6
        assert len({line.get_color() for line in lines}) == 6
        hollow = [line for line in axis.lines if line.get_markerfacecolor() == "white"]
        assert sum(len(np.asarray(line.get_xdata())) for line in hollow) == 1
    assert [text.get_text() for text in figure.legends[0].get_texts()] == list(NICS_SHOWN)


def test_nic_has_the_same_colour_beside_any_others() -> None:
    run = many_nics()
    alone = run.only(lambda cell: cell.nic == "uec")
    few = run.only(lambda cell: cell.nic in ("uec", "rdma"))
    assert len({canvas.colour("uec", [one]) for one in (run, alone, few)}) == 1


def test_sweep_over_variants_of_many_nics_has_variants_along_its_axis() -> None:
    figure = sweep_figure([many_nics(sizes=(4096,), variants=("none", "1ppm", "1e-3"))])
    assert figure is not None
    axis = figure.axes[0]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["none", "1ppm", "1e-3"]
    assert len([line for line in axis.lines if line.get_linestyle() != "None"]) == 6


@pytest.mark.filterwarnings("error")
def test_figures_of_more_lines_than_can_be_told_apart_are_one_for_each_nic(tmp_path: Path) -> None:
    run = many_nics(sizes=(4096,), variants=("none", "1ppm", "1e-3"))
    names = {path.stem for path in figures.write_figures([run], tmp_path)}
    assert names == {"comparison"} | {f"{n}-{nic}" for n in ("ccdf", "percentiles") for nic in NICS_SHOWN}


def test_few_nics_and_sizes_have_no_sweep() -> None:
    assert sweep_figure([view()]) is None


@pytest.mark.filterwarnings("error")
def test_budget_figure_has_a_bar_for_each_row_and_a_panel_for_each_column(tmp_path: Path) -> None:
    summary, records = run_of(n=2_000, variants={"a": "x", "b": "y", "c": "z"})
    cells = tuple(replace(cell, nics_ps=1_000_000) for cell in summary.cells[:3])
    places = {"a": ("fast", "near"), "b": ("slow", "near"), "c": ("fast", "far")}
    run = view_run(
        replace(summary, cells=cells, budget_ps=2_000_000, places=places),
        result_id="r",
        records=records.__getitem__,
    )
    figure = budget_figure(run)
    assert figure is not None
    assert [axis.get_title() for axis in figure.axes] == ["near", "far"]
    assert [len(axis.patches) for axis in figure.axes] == [4, 2]
    canvas.save(figure, tmp_path, "budget")
    assert budget_figure(view()) is None
