"""The unverified numbers of a run as things that can be changed: found in the tables they come from, replaced there.

The numbers are those of `assumptions_of_run`. A NIC's are found by their path, all places of a merged row together;
those of switches and links by being the same object. A changed copy of the table's entry takes its place while the
experiment is looked up and planned as always, so nothing below has to know of this.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeAlias

from nic_emulator import NICS
from testbed.analysis.sensitivity import TABLE_BASE, LeftOut, Parameter
from testbed.controller.timing import TIMINGS
from testbed.errors import SpecError
from testbed.links import MEDIA
from testbed.links.fec import FECS
from testbed.registry import Registry, nearest
from testbed.run.assumptions import assumptions_of_run, network_numbers
from testbed.run.ranges import parameter_of
from testbed.run.resolve import Resolved
from testbed.spec.sourced import Assumption, Sourced
from testbed.switches import SWITCHES
from testbed.switches.headroom import NUMBERS as HEADROOM

Found: TypeAlias = Callable[[str, Sourced], bool]
"""Whether a number, under its path, is one of those that are varied."""

_POINT = re.compile(r"\[\d+\]\[[01]\]")
"""What follows the path of a quantile table in that of a number of it: row, then probability or time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Varied:
    """A parameter with where it stands."""

    parameter: Parameter
    places: tuple[tuple[Registry[Any], str], ...]
    """Tables with the names of their entries."""
    found: Found

    @contextmanager
    def set_to(self, at: int) -> Iterator[None]:
        """Let it have a value, in all of its places, for a while; of a table, a factor in permille."""
        entries: dict[int, dict[str, Any]] = {}
        tables: dict[int, Registry[Any]] = {}
        for table, name in self.places:
            tables[id(table)] = table
            changed = replaced(table.get(name), name, lambda path, number: self._changed(path, number, at))
            entries.setdefault(id(table), {})[name] = changed
        with ExitStack() as stack:
            for key, table in tables.items():
                stack.enter_context(table.substituted(entries[key]))
            yield

    def _changed(self, path: str, number: Sourced, at: int) -> Sourced:
        if not self.found(path, number):
            return number
        if self.parameter.table is None:
            return replace(number, value=at, range=None)
        if isinstance(number.value, tuple):
            return replace(number, value=tuple(_scaled(one, at) for one in number.value))
        return replace(number, value=_scaled(number.value, at))


def _scaled(value: int, permille: int) -> int:
    return round(value * permille / TABLE_BASE)


def replaced(obj: Any, path: str, change: Callable[[str, Sourced], Sourced]) -> Any:  # noqa: ANN401
    """A copy of frozen dataclasses, sequences and mappings with its sourced numbers changed; itself if none is.

    Paths are those of `assumptions_of`, but that a stage of a NIC goes by its place and its name.
    """
    if isinstance(obj, Sourced):
        return change(path, obj)
    if is_dataclass(obj) and not isinstance(obj, type):
        base = _stage_path(obj, path)
        new = {
            field.name: replaced(getattr(obj, field.name), f"{base}.{field.name}", change)
            for field in fields(obj)
            if field.init
        }
        same = all(value is getattr(obj, name) for name, value in new.items())
        return obj if same else replace(obj, **new)
    if isinstance(obj, Mapping):
        pairs = {key: replaced(value, f"{path}[{key}]", change) for key, value in obj.items()}
        return obj if all(value is obj[key] for key, value in pairs.items()) else pairs
    if isinstance(obj, list | tuple):
        items = [replaced(value, f"{path}[{index}]", change) for index, value in enumerate(obj)]
        same = all(new is old for new, old in zip(items, obj, strict=True))
        return obj if same else type(obj)(items)
    return obj


def _stage_path(obj: Any, path: str) -> str:  # noqa: ANN401
    """A stage stands under place and name below its NIC."""
    place, name = getattr(obj, "place", None), getattr(obj, "name", None)
    return f"{path.partition('.')[0]}.{place}.{name}" if place and name else path


def varied_numbers(resolved: Resolved) -> tuple[tuple[Varied, ...], tuple[LeftOut, ...]]:
    """All that can be varied of what an experiment rests on; and what cannot, with the reason."""
    sourced = _numbers_of_networks(resolved)
    varied: dict[object, Varied] = {}
    left_out: list[LeftOut] = []
    for row in assumptions_of_run(resolved):
        number = sourced.get(row.path)
        places, found = _of_nic(row) if number is None else _of_network(row, number)
        stated = number or _first_number(places, found)
        parameter: Parameter | str = "it is not a number of a profile by itself"
        if stated is not None:
            parameter = parameter_of(row, stated.range)
        if isinstance(parameter, str):
            left_out.append(LeftOut(path=row.path, mark=row.mark, reason=parameter))
            continue
        same: object = (row.path, row.value) if number is None else (places, id(number))
        if same in varied:  # one number of several links
            both = varied[same].parameter
            varied[same] = replace(
                varied[same], parameter=replace(both, path=f"{both.path}, {parameter.path}")
            )
        else:
            varied[same] = Varied(parameter=parameter, places=places, found=found)
    return tuple(varied.values()), tuple(left_out)


def _numbers_of_networks(resolved: Resolved) -> dict[str, Sourced]:
    """Of switches, links and control planes, by path."""
    found: dict[str, Sourced] = {}
    for network in resolved.networks:
        found |= network_numbers(network)
    return found


_Places: TypeAlias = tuple[tuple[Registry[Any], str], ...]


def _of_network(row: Assumption, number: Sourced) -> tuple[_Places, Found]:
    """A number of a switch, in that switch alone; of a link or a control plane, in all that share it."""
    switch = row.path.partition(".")[0]
    tables: Sequence[Registry[Any]] = (MEDIA, FECS, TIMINGS)
    own: _Places = ()
    if switch in SWITCHES:
        tables, own = (HEADROOM,), ((SWITCHES, switch),)
    places = own + tuple((table, name) for table in tables for name in table.names())
    holding = tuple(place for place in places if _holds(place, lambda _, one: one is number))
    return holding, lambda _, one: one is number


def _of_nic(row: Assumption) -> tuple[_Places, Found]:
    """A number of a NIC, at each of its paths; of a table all times and no probability."""
    name = row.path.partition(".")[0]
    paths = frozenset(row.path.split(", "))

    def found(path: str, number: Sourced) -> bool:
        if isinstance(row.value, tuple) and not isinstance(number.value, tuple):
            return _table_of(path) in paths and path.endswith("[1]")
        return path in paths and number.value == row.value

    places: _Places = ((NICS, name),) if name in NICS else ()
    return tuple(place for place in places if _holds(place, found)), found


def _table_of(path: str) -> str:
    """The path of the table that a number is a point of; empty if it is none."""
    match = _POINT.search(path)
    return path[: match.start()] if match and match.end() == len(path) else ""


def _holds(place: tuple[Registry[Any], str], found: Found) -> bool:
    return _first_number((place,), found) is not None


def _first_number(places: _Places, found: Found) -> Sourced | None:
    """One of the numbers that are varied together."""
    seen: list[Sourced] = []

    def note(path: str, number: Sourced) -> Sourced:
        if found(path, number):
            seen.append(number)
        return number

    for table, name in places:
        replaced(table.get(name), name, note)
    return seen[0] if seen else None


def chosen(varied: Sequence[Varied], pattern: str | None) -> tuple[Varied, ...]:
    """Those whose path holds a text, in which `*` stands for anything; SpecError if there are none."""
    if pattern is None:
        return tuple(varied)
    wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))))
    picked = tuple(one for one in varied if wanted.search(one.parameter.path))
    if not picked:
        paths = [one.parameter.path for one in varied]
        near = nearest(pattern, paths) or (paths[0] if paths else None)
        raise SpecError(
            f"no parameter matches '{pattern}'",
            remedy=f"write a part of a path, e.g. '{near}'"
            if near
            else "leave --only out: nothing is assumed",
        )
    return picked
