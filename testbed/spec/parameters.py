"""A frozen mapping of names to whole numbers and text, so that specs can be hashed and pickled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

ParameterValue: TypeAlias = int | str


class Parameters(Mapping[str, ParameterValue]):
    """Immutable, hashable, ordered as given; equal to any mapping with the same pairs."""

    __slots__ = ("_pairs",)
    _pairs: dict[str, ParameterValue]

    def __init__(self, pairs: Mapping[str, ParameterValue] | None = None) -> None:
        object.__setattr__(self, "_pairs", dict(pairs or {}))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"Parameters are frozen: cannot set {name}")

    def __getitem__(self, key: str) -> ParameterValue:
        return self._pairs[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __hash__(self) -> int:
        return hash(frozenset(self._pairs.items()))

    def __repr__(self) -> str:
        return f"Parameters({self._pairs!r})"

    def __reduce__(self) -> tuple[type[Parameters], tuple[dict[str, ParameterValue]]]:
        return (Parameters, (dict(self._pairs),))

    def merged(self, name: str, value: ParameterValue) -> Parameters:
        """A copy with one pair added or replaced."""
        return Parameters({**self._pairs, name: value})
