"""One comparison of the model with a closed form or a published figure, and the oracle that makes such rows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Relation = Literal["equal", "at_most", "at_least"]
Verdict = Literal["holds", "fails"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case of one oracle."""

    oracle: str
    case: str
    """Which parameters, in words."""
    expected: float
    """From the closed form or the publication; never from the model."""
    measured: float
    """From a run of the engine."""
    unit: str
    tolerance: float = 0
    """How far the two may be apart, in `unit`; the oracle says why."""
    relation: Relation = "equal"
    """Whether the measured value is the expected one, or at most or at least that."""
    source: str
    """The formula, and who wrote it."""

    @property
    def difference(self) -> float:
        """Measured less expected."""
        return self.measured - self.expected

    @property
    def excess(self) -> float:
        """How far on the wrong side the measured value is; negative: on the right side of a bound."""
        if self.relation == "equal":
            return abs(self.difference)
        return self.difference if self.relation == "at_most" else -self.difference

    @property
    def verdict(self) -> Verdict:
        """Whether the row holds; what is not a number does not."""
        return "holds" if self.excess <= self.tolerance else "fails"

    @property
    def severity(self) -> float:
        """How near it is to failing, to find the worst of many cases: 1 and more is at the limit."""
        if self.relation != "equal" and self.expected > 0 and self.measured > 0:
            ratio = self.measured / self.expected
            return ratio if self.relation == "at_most" else 1 / ratio
        if self.tolerance:
            return self.excess / self.tolerance
        return 0.0 if self.excess <= 0 else float("inf")

    def to_dict(self) -> dict[str, Any]:
        """The row as JSON holds it."""
        names = ("oracle", "case", "expected", "measured", "difference", "unit", "relation", "tolerance")
        return {name: getattr(self, name) for name in (*names, "verdict", "source")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Oracle:
    """Something that the model must agree with."""

    name: str
    subject: str
    """What it is about; several oracles share one, and one module."""
    description: str
    tolerance: str
    """What the tolerance of its rows is, and why it is not zero."""
    run: Callable[[bool], Sequence[Row]]
    """Runs the engine and compares; True: fewer cases and shorter runs."""


def worst(rows: Sequence[Row]) -> Row:
    """The row that fails, or comes nearest to failing; of equal ones the largest."""
    return max(rows, key=lambda row: (row.verdict == "fails", row.severity, row.expected))
