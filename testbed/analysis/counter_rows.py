"""The counters of a result as rows, and which of them are asked for. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from testbed.analysis.counter_meaning import Meaning, Place
from testbed.analysis.counter_names import MEANING_ORDER, meaning_of, place_of
from testbed.errors import SpecError
from testbed.registry import unknown_name

Counters = Mapping[str, Mapping[str, Mapping[str, int]]]
"""By cell, node and name: counters.json."""

_PLACE = re.compile(r"(?P<node>.+?)(?:-eth(?P<port>\d+)(?:\.c(?P<traffic_class>[0-7]))?)?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One counter of one place in one cell."""

    cell: str
    node: str
    place: Place
    meaning: Meaning
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which counters; an empty field is all."""

    node: str = ""
    port: str = ""
    """`3`, or `l1-eth3`."""
    nonzero: bool = True


def rows_of(counters: Counters, selection: Selection) -> list[Row]:
    """The chosen counters, in the order of cells and nodes, then by port and class.

    Raises `SpecError` for a node or a port that no cell has.
    """
    node, port = _wanted(counters, selection)
    rows = [row for row in _all_rows(counters) if not node or row.node == node]
    if port is not None:
        found = sorted({row.place.port for row in rows if row.place.port is not None})
        if port not in found:
            raise unknown_name("port", selection.port, [str(number) for number in found])
        rows = [row for row in rows if row.place.port == port]
    return [row for row in rows if row.value or not selection.nonzero]


def _wanted(counters: Counters, selection: Selection) -> tuple[str, int | None]:
    """The node and the port that are meant; the node may be part of the port's name."""
    node, port = selection.node, selection.port
    known = list(dict.fromkeys(node for of_cell in counters.values() for node in of_cell))
    if port and not port.isdecimal():
        of_port, place = parse_place(port)
        if place.port is None or place.traffic_class is not None:
            raise SpecError(f"'{port}' is no port", remedy="write its number, or e.g. l1-eth3")
        if node and node != of_port:
            raise SpecError(f"port {port} is not of node {node}", remedy="leave out --node")
        node, port = of_port, str(place.port)
    if node and node not in known:
        raise unknown_name("node", node, known)
    return node, int(port) if port else None


def parse_place(text: str) -> tuple[str, Place]:
    """`l1-eth3.c1` is node l1, port 3, class 1."""
    found = _PLACE.fullmatch(text)
    if found is None:
        raise SpecError(f"'{text}' is no place", remedy="write e.g. l1, l1-eth3 or l1-eth3.c1")
    numbers = (found["port"], found["traffic_class"])
    return found["node"], Place(*(None if one is None else int(one) for one in numbers))


def _all_rows(counters: Counters) -> Iterator[Row]:
    for cell, of_cell in counters.items():
        for node, of_node in sorted(of_cell.items(), key=lambda one: _by_number(one[0])):
            rows = [_row(cell, node, key, value) for key, value in of_node.items()]
            yield from sorted(rows, key=lambda row: (_order(row.place), MEANING_ORDER.get(row.meaning, 0)))


def _by_number(node: str) -> tuple[str, int, str]:
    """`c2` before `c10`."""
    letters = node.rstrip("0123456789")
    return letters, int(node[len(letters) :] or 0), node


def _row(cell: str, node: str, key: str, value: int) -> Row:
    place, _ = place_of(key)
    return Row(cell=cell, node=node, place=place, meaning=meaning_of(key), value=value)


def _order(place: Place) -> tuple[int, int]:
    """The node itself first, then each port, before its classes."""
    return (
        -1 if place.port is None else place.port,
        -1 if place.traffic_class is None else place.traffic_class,
    )
