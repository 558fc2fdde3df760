"""Tables of a fabric as they are saved (`tables.json`), so that both engines can forward by them again. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from testbed.controller.tables import CPU_PORT, Flow, Programme, SwitchTables, Tables
from testbed.controller.text import flow_text, group_text
from testbed.errors import SpecError
from testbed.spec.fabric import Fabric


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """What switches begin with, and what becomes of it, in some cells."""

    programme: Programme
    cells: tuple[str, ...] = ()
    """Their ids; none: tables of no run, which are for any cell."""
    failures: tuple[str, ...] = ()
    """What went wrong in them, and so what the updates are for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dump:
    """All of a file."""

    programmes: tuple[Dumped, ...]


def dump_of(found: Iterable[tuple[str, tuple[str, ...], Programme]]) -> Dump:
    """Cells with their failures and programmes; those that are alike are kept once."""
    alike: list[Dumped] = []
    for cell, failures, programme in found:
        for index, one in enumerate(alike):
            if (one.failures, one.programme) == (failures, programme):
                alike[index] = Dumped(programme=programme, cells=(*one.cells, cell), failures=failures)
                break
        else:
            alike.append(Dumped(programme=programme, cells=(cell,), failures=failures))
    return Dump(programmes=tuple(alike))


def programme_for(dump: Dump, cell: str, failures: tuple[str, ...]) -> Programme:
    """That of a cell; the only one there is is for any cell. Updates are for the failures that they followed."""
    found = [one for one in dump.programmes if cell in one.cells]
    if not found and len(dump.programmes) == 1:
        found = list(dump.programmes)
    if not found:
        known = [name for one in dump.programmes for name in one.cells]
        raise SpecError(
            f"it has no tables of cell {cell}, but of {', '.join(known[:4]) or 'none'}",
            remedy="run the cells that it is of, or dump tables by ./tb show rules",
        )
    if found[0].programme.updates and found[0].failures != failures:
        raise SpecError(
            f"its tables change after other failures: {', '.join(found[0].failures)}",
            remedy="run with the same failures, or dump tables without any by ./tb show rules",
        )
    return found[0].programme


def check_fits(fabric: Fabric, programme: Programme) -> None:
    """Raise a `SpecError` that names the first switch or port that is not the fabric's."""
    _check_switches(fabric, programme.first)
    for name, tables in _all_tables(programme):
        ports = {link.port_at(name) for link in fabric.links_of(name)}
        for text, wanted in _ports(tables):
            wrong = sorted(set(wanted) - ports)
            if wrong:
                raise SpecError(
                    f"it is of another fabric: switch '{name}' has no port {wrong[0]}: {text}", remedy=_REMEDY
                )


_REMEDY = "use the topology and parameters that it is of (spec.json beside a tables.json)"


def _check_switches(fabric: Fabric, tables: Tables) -> None:
    switches = [switch.name for switch in fabric.switches]
    for name in switches:
        if name not in tables:
            raise SpecError(f"it is of another fabric: it has no tables of switch '{name}'", remedy=_REMEDY)
    for name in tables:
        if name not in switches:
            raise SpecError(f"it is of another fabric: there is no switch '{name}'", remedy=_REMEDY)


def _all_tables(programme: Programme) -> Iterator[tuple[str, SwitchTables]]:
    yield from programme.first.items()
    for update in programme.updates:
        if update.switch not in programme.first:
            raise SpecError(f"it changes tables of '{update.switch}', and has none", remedy=_REMEDY)
        yield update.switch, update.tables


def _ports(tables: SwitchTables) -> Iterator[tuple[str, list[int]]]:
    """By entry: the ports that it names."""
    for flow in tables.flows:
        if found := _ports_of(flow):
            yield flow_text(flow), found
    for group in tables.groups:
        yield group_text(group), [bucket.port for bucket in group.buckets]


def _ports_of(flow: Flow) -> list[int]:
    return [port for port in (flow.match.in_port, flow.output) if port not in (None, CPU_PORT)]


def by_cell(dump: Dump, cells: Mapping[str, tuple[tuple[str, ...], Fabric]]) -> dict[str, Programme]:
    """The programme of each cell, whose failures and fabric are given."""
    found: dict[str, Programme] = {}
    checked: set[tuple[int, int]] = set()
    for cell, (failures, fabric) in cells.items():
        programme = found[cell] = programme_for(dump, cell, failures)
        if (id(programme), id(fabric)) not in checked:
            check_fits(fabric, programme)
            checked.add((id(programme), id(fabric)))
    return found
