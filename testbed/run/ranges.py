"""Over which range an unverified number is varied: the range it states, else one by its mark. Pure.

This is the whole of the rule; docs/sensitivity.md says it in words. A number moves along a whole-numbered coordinate:
a single number along its own value, a table, which is scaled as a whole, along its factor in permille.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from testbed.analysis.sensitivity import TABLE_BASE, Parameter
from testbed.spec.sourced import Assumption, Mark
from testbed.switches.profile import NO_THRESHOLD
from testbed.units import PPM_PER_WHOLE

FACTORS: Mapping[Mark, tuple[Fraction, Fraction]] = {
    "assumed": (Fraction(1, 2), Fraction(2)),
    "E": (Fraction(3, 4), Fraction(4, 3)),
    "M": (Fraction(4, 5), Fraction(5, 4)),
}
"""Nobody knows an assumed number, an estimate has a ground, and what is remembered was read once."""
MOST: Mapping[str, int] = {"ppm": PPM_PER_WHOLE, "quanta": 2**16 - 1}
"""What a number of some units can be at most: the whole; 16 bits of a pause frame."""
NO_QUANTITY: Mapping[str, str] = {"priority": "a traffic class is a name, and a factor of it means nothing"}
"""Units that are none, each with why a number of it is left out."""


def parameter_of(row: Assumption, stated: tuple[int, int] | None = None) -> Parameter | str:
    """The range of an assumption; or, in words, why it is not varied."""
    found = _bounds(row, stated)
    if isinstance(found, str):
        return found
    low, base, high = found
    if low == high:
        return "no other whole number within its range"
    return Parameter(
        path=row.path,
        unit=row.unit,
        mark=row.mark,
        source=row.source,
        low=low,
        base=base,
        high=high,
        table=row.value if isinstance(row.value, tuple) else None,
        stated=stated is not None,
    )


def _bounds(row: Assumption, stated: tuple[int, int] | None) -> tuple[int, int, int] | str:
    """Low, base and high on the parameter's coordinate."""
    if row.unit in NO_QUANTITY:
        return NO_QUANTITY[row.unit]
    if isinstance(row.value, tuple):
        return _scaled(TABLE_BASE, row.mark) if any(row.value) else _zero()
    if stated is not None:
        return stated[0], row.value, stated[1]
    if row.unit == "yes/no":
        return 0, row.value, 1
    if row.unit == "log2":
        none = "it stands for no threshold at all"
        return none if row.value == NO_THRESHOLD else (row.value - 1, row.value, row.value + 1)
    if row.value == 0:
        return _zero()
    low, base, high = _scaled(row.value, row.mark)
    return low, base, max(base, min(high, MOST.get(row.unit, high)))


def _zero() -> str:
    return "it is zero, and so is every multiple of it"


def _scaled(base: int, mark: Mark) -> tuple[int, int, int]:
    """By the factors of a mark, rounded to whole numbers; never to zero, which often stands for `off`."""
    low, high = (round(base * factor) for factor in FACTORS[mark])
    return (max(low, 1), base, high) if base > 0 else (high, base, min(low, -1))
