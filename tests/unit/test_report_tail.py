from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Patch

from testbed.analysis.explain import Explanation, explain
from testbed.analysis.summary import summarise_cell
from testbed.analysis.tail import ExplainedTail
from testbed.report.cell_figure import Source, cell_figure, frame
from testbed.report.tail import answer, tail_json, tail_text
from testbed.report.tail_figure import tail_figure, write_tail_figure
from testbed.spec.experiment import Cell
from tests.unit.samples import LOAD, random_records
from tests.unit.test_tail_analysis import START_PS, made, resent, waiting
from tests.unit.traces import by_packet, journey, message, network, packets

SUMMARY = summarise_cell(Cell(scenario=LOAD, size_bytes=4096, nic="rdma"), random_records(500, 1))
SOURCE = Source(cell=SUMMARY, experiment="sample", fabric="leaf_spine 1 x 2", seed=1, result_id="r1")


def held_up(ps: int) -> Explanation:
    """A message that waited in its NIC, behind one of which packets were sent again."""
    way = journey(START_PS)
    one = message(way, way)
    early = replace(one, intended_ps=one.intended_ps - ps, posted_ps=one.posted_ps - ps, held=True)
    return explain(early, by_packet(way), network(), packets())


def explained(**changes: Any) -> ExplainedTail:
    slow = changes.get("slow") or [
        waiting(9_000_000),
        waiting(7_000_000, place=2, paused_ps=3_000_000),
        resent(4_000_000),
        waiting(3_000_000),
    ]
    found = made(slow)
    return ExplainedTail(summary=SUMMARY, network=network(), tail=found, slowest=tuple(slow))


def test_tail_text_names_parts_places_and_the_answer() -> None:
    text = tail_text(explained(), title=SOURCE.cell_name)
    for expected in (
        "load, 4 KiB, rdma",
        "4 of 10,000 messages",
        "waiting, leaf → NIC",
        "waiting, spine → leaf",
        "l2 port 1 → c2, class 3",
        "c3 → c2 (100 % of these)",
        "1 of these messages waited for a packet that was sent again (1 dropped by a switch)",
        "0 for a time-out, 1 for a negative acknowledgement",
        "7.8 KiB, 75 % of it c3 → c2",
        "in the receiver's memory",
        answer(explained())[:60],
    ):
        assert expected in " ".join(text.split()) or expected in text, expected


def test_answer_says_what_the_excess_is_and_where_the_waiting_is() -> None:
    assert answer(explained()) == (
        "under 60 % load, the slowest 0.1 % of 4 KiB puts with rdma take 5.75 µs longer than the median: 52 % is"
        " waiting at leaf → NIC ports and 17 % is packets that had to be sent again; 63 % of the waiting is at"
        " l2 port 1 → c2, class 3, behind c3 → c2 in 100 % of the cases."
    )


def test_answer_without_waiting_names_no_queue() -> None:
    assert answer(explained(slow=[resent(4_000_000)])).endswith(
        "practically all of it is packets that had to be sent again."
    )


def test_answer_about_waiting_in_the_nic_says_what_held_it_up() -> None:
    slow = [held_up(50_000_000), held_up(40_000_000), waiting(1)]
    assert answer(explained(slow=slow)).endswith(
        "practically all of it is waiting for a turn in the sender's NIC; 67 % of them were held up by earlier "
        "messages of which packets had to be sent again."
    )


def test_answer_without_excess_says_so() -> None:
    assert answer(explained(slow=[waiting(0)])).endswith("there is no tail to explain.")


def test_tail_json_parts_of_each_message_add_up() -> None:
    found = tail_json(explained(), result="results/x", figures=[Path("a.png")])
    assert len(found["slowest"]) == 4
    for one in found["slowest"]:
        assert sum(part["ps"] for part in one["parts"]) == one["latency_ps"]
    first = found["places"][0]
    assert (first["kind"], first["node"], first["port"], first["peer"], first["traffic_class"]) == (
        "queue",
        "l2",
        1,
        "c2",
        3,
    )
    assert first["behind"] == ["c3", "c2"]
    assert found["slowest"][2]["resend_how"] == "dropped"


def test_tail_figure_bars_are_as_long_as_the_mean_latency() -> None:
    found = explained()
    bars, places = tail_figure(found, SOURCE).axes
    ends = [max(patch.get_x() + patch.get_width() for patch in group.patches) for group in bars.containers]  # type: ignore[attr-defined]
    assert max(ends) == pytest.approx(found.tail.slowest.latency_ps / 1e6)
    assert [label.get_text() for label in bars.get_yticklabels()] == ["p50", "slowest 0.1 %"]
    assert places.get_yticklabels()[0].get_text() == "l2 port 1 → c2, class 3"


def test_tail_figure_without_waiting_has_one_panel() -> None:
    assert len(tail_figure(explained(slow=[resent(1_000_000)]), SOURCE).axes) == 1


def test_write_tail_figure_writes_png_and_svg(tmp_path: Path) -> None:
    paths = write_tail_figure(explained(), SOURCE, tmp_path)
    assert [path.name for path in paths] == ["tail-load-4KiB-rdma.png", "tail-load-4KiB-rdma.svg"]
    assert np.all([path.stat().st_size > 1_000 for path in paths])


def test_legend_of_a_cell_figure_has_as_many_columns_as_fit() -> None:
    short, long = ["a"] * 10, ["waiting, leaf → aggregation"] * 10
    widths = []
    for labels in (short, long):
        figure = cell_figure(2.0)
        frame(figure, "t", SOURCE, [Patch(label=label) for label in labels], columns=5)
        FigureCanvasAgg(figure)
        figure.draw_without_rendering()
        widths.append(figure.legends[0].get_window_extent().width / figure.bbox.width)
    assert max(widths) <= 1
