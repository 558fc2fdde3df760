"""A time that small messages are to make: what the NICs take of it, what the fabric takes, what is left. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from testbed.analysis.answers import approximate_time
from testbed.analysis.summary import CellSummary

MEDIAN = "p50"
_MOST_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One cell's parts of the budget."""

    row: str
    column: str
    nics_ps: int
    """The stages of the NICs at both ends."""
    fabric_ps: int
    """The rest of the median: cables, switches, serialisation, waiting."""
    left_ps: int
    """Below zero: more than there was."""

    @property
    def total_ps(self) -> int:
        """The median."""
        return self.nics_ps + self.fabric_ps


def shares(
    cells: Sequence[CellSummary], budget_ps: int, places: Mapping[str, tuple[str, ...]]
) -> list[Share]:
    """Of each cell whose median is stated; rows and columns as the variants say."""
    found = []
    for cell in cells:
        median = cell.percentiles[MEDIAN].value_ps
        if budget_ps and median is not None and cell.nics_ps is not None:
            row, column = places.get(cell.variant, (cell.variant or cell.nic, ""))
            share = Share(
                row=row,
                column=column,
                nics_ps=cell.nics_ps,
                fabric_ps=median - cell.nics_ps,
                left_ps=budget_ps - median,
            )
            found.append(share)
    return found


def budget_answers(
    cells: Sequence[CellSummary], budget_ps: int, places: Mapping[str, tuple[str, ...]]
) -> list[str]:
    """For each column: what the NICs leave, who keeps within it, and by how much the others do not."""
    found = shares(cells, budget_ps, places)
    sentences = []
    for column in dict.fromkeys(share.column for share in found):
        here = sorted((one for one in found if one.column == column), key=lambda one: one.fabric_ps)
        for_fabric_ps = budget_ps - here[0].nics_ps
        ends = (
            f"{approximate_time(here[0].fabric_ps)} ({here[0].row}) to {approximate_time(here[-1].fabric_ps)}"
        )
        within = [one.row for one in here if one.left_ps >= 0]
        listed = ", ".join(within[:_MOST_NAMED]) + (" and others" if len(within) > _MOST_NAMED else "")
        verdict = f"{listed} of {len(here)} keep within it" if within else "none keeps within it"
        sentences.append(
            f"{column or 'of all'}: of {approximate_time(budget_ps)} the NICs leave {approximate_time(for_fabric_ps)}; "
            f"the fabric takes {ends} ({here[-1].row}): {verdict}."
        )
    return sentences
