"""One shape for every table of named things: topologies, switches, NICs, media.

Entries are an explicit dict in the package that owns them; nothing registers itself by being imported. What looks its
things up here, when it needs them, can be computed with other things in their place (`Registry.substituted`).
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar

from testbed.errors import SpecError

T = TypeVar("T")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like this one, if any does."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return near[0] if near else None


def unknown_name(kind: str, name: str, known: Iterable[str]) -> SpecError:
    """The error for a name that is in no table: it suggests the nearest and lists the known ones."""
    names = list(known)
    listed = ", ".join(names)
    near = nearest(name, names)
    if near:
        return SpecError(
            f"unknown {kind} '{name}'; did you mean '{near}'? known: {listed}", remedy=f"write '{near}'"
        )
    remedy = f"use one of: {listed}" if names else "leave it out: there is none to choose"
    return SpecError(f"unknown {kind} '{name}'", remedy=remedy)


class Registry(Generic[T]):
    """A fixed table from name to thing."""

    def __init__(self, kind: str, entries: Mapping[str, T]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def get(self, name: str) -> T:
        """The entry of that name; a `SpecError` that suggests the nearest if there is none."""
        if name not in self._entries:
            raise unknown_name(self.kind, name, self._entries)
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, in the order of the table."""
        return tuple(self._entries)

    def describe(self, name: str) -> str:
        """One line on an entry: its `description` if it has one, else the first line of its docstring."""
        entry = self.get(name)
        text = getattr(entry, "description", None) or inspect.getdoc(entry) or ""
        return str(text).strip().split("\n", 1)[0]

    @contextmanager
    def substituted(self, entries: Mapping[str, T]) -> Iterator[None]:
        """Let some names stand for something else for a while; of one thread."""
        before = self._entries
        self._entries = before | dict(entries)
        try:
            yield
        finally:
            self._entries = before

    def __contains__(self, name: object) -> bool:
        return name in self._entries
