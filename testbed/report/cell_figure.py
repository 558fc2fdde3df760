"""What the figures of a single cell share: title and legend above, where the numbers come from below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from testbed.analysis.answers import readable_size
from testbed.analysis.summary import CellSummary, RunSummary

WIDTH_INCHES = 9.6
_GREY = "#555555"
_MARGIN_INCHES = 1.35
_LEGEND_ENTRY_INCHES, _LEGEND_CHAR_INCHES = 0.57, 0.065


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the numbers of a figure come from."""

    cell: CellSummary
    experiment: str
    fabric: str
    seed: int
    result_id: str

    @classmethod
    def of(cls, cell: CellSummary, run: RunSummary, result_id: str) -> Source:
        """A cell of a run."""
        return cls(
            cell=cell, experiment=run.experiment, fabric=run.fabric, seed=run.seed, result_id=result_id
        )

    @property
    def cell_name(self) -> str:
        """`load, 64 KiB, rdma`."""
        parts = (self.cell.scenario, readable_size(self.cell.size_bytes), self.cell.nic, self.cell.variant)
        return ", ".join(part for part in parts if part)

    @property
    def footer(self) -> str:
        """Two lines."""
        return f"{self.experiment} · {self.fabric}\nseed {self.seed} · {self.result_id} · twin"


def cell_figure(panels_inches: float) -> Figure:
    """An empty figure with room for panels of a height, a title, a legend and a footer."""
    return Figure(
        figsize=(WIDTH_INCHES, panels_inches + _MARGIN_INCHES),
        layout=ConstrainedLayoutEngine(h_pad=0.06, w_pad=0.1),
    )


def frame(figure: Figure, title: str, source: Source, handles: Sequence[Artist], *, columns: int = 4) -> None:
    """Title with the cell's name and legend above the panels, the footer below them."""
    figure.legend(
        handles=list(handles),
        title=f"{title}: {source.cell_name}",
        title_fontproperties={"size": 12, "weight": "bold"},
        alignment="left",
        loc="outside upper left",
        ncols=_fitting([str(handle.get_label()) for handle in handles], columns),
        fontsize=8.5,
        frameon=False,
    )
    figure.supxlabel(source.footer, fontsize=7.5, x=0.01, ha="left", color=_GREY)


def _fitting(labels: Sequence[str], most: int) -> int:
    """So many columns of a legend as the figure is wide enough for; entries fill one column after the other."""
    for columns in range(most, 1, -1):
        longest = [max(map(len, column), default=0) for column in np.array_split(labels, columns)]
        if columns * _LEGEND_ENTRY_INCHES + sum(longest) * _LEGEND_CHAR_INCHES <= WIDTH_INCHES:
            return columns
    return 1
