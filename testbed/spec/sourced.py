"""Numbers that carry where they come from, and the list of those that nobody has verified.

A profile gives every modelled constant as a `Sourced`; a report lists what its result rests on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Literal, TypeAlias, get_args

from testbed.errors import SpecError

Mark: TypeAlias = Literal["V", "S", "M", "E", "assumed"]
"""V read at its source; S read in a secondary source; M from memory; E estimated; assumed: not public."""

UNVERIFIED: frozenset[str] = frozenset({"M", "E", "assumed"})


@dataclass(frozen=True, slots=True)
class Sourced:
    """A modelled number with its unit, its mark and its source."""

    value: int | tuple[int, ...]
    unit: str
    mark: Mark
    source: str
    """Where it was read, or how it was derived, or why it was assumed."""
    range: tuple[int, int] | None = None
    """Lowest and highest value that it may well have, where that is known; by its mark if not (docs/sensitivity.md)."""

    def __post_init__(self) -> None:
        if self.mark not in get_args(Mark):
            raise SpecError(f"unknown mark '{self.mark}'", remedy=f"use one of {', '.join(get_args(Mark))}")
        if not self.source.strip():
            raise SpecError(
                f"the number {self.value} {self.unit} has no source", remedy="say where it is from"
            )
        if self.range is not None:
            self._check_range(*self.range)

    def _check_range(self, low: int, high: int) -> None:
        """A range is that of one number, and holds it."""
        if isinstance(self.value, tuple) or not low <= self.value <= high:
            raise SpecError(
                f"the range {low} to {high} does not hold {self.value} {self.unit}",
                remedy="give the lowest and the highest value of a single number",
            )

    @property
    def number(self) -> int:
        """The value of a single number."""
        if isinstance(self.value, tuple):
            raise SpecError(f"{self.value} is a table, not one number", remedy="use .value")
        return self.value


@dataclass(frozen=True, slots=True)
class Assumption:
    """One unverified number that a result rests on."""

    path: str
    value: int | tuple[int, ...]
    unit: str
    mark: Mark
    source: str


def assumptions_of(obj: object, path: str) -> list[Assumption]:
    """Every unverified number (marks M, E, assumed) below `obj`, each with its path."""
    return list(_unverified(obj, path))


def _unverified(obj: object, path: str) -> Iterator[Assumption]:
    """Walk dataclasses, sequences and mappings down to their sourced numbers."""
    if isinstance(obj, Sourced):
        if obj.mark in UNVERIFIED:
            yield Assumption(path, obj.value, obj.unit, obj.mark, obj.source)
    elif is_dataclass(obj) and not isinstance(obj, type):
        for field in fields(obj):
            yield from _unverified(getattr(obj, field.name), f"{path}.{field.name}")
    elif isinstance(obj, Mapping):
        for key, value in obj.items():
            yield from _unverified(value, f"{path}[{key}]")
    elif isinstance(obj, list | tuple):
        for index, value in enumerate(obj):
            yield from _unverified(value, f"{path}[{index}]")
