"""Whose rules switches have, checked before anything is built: by name, an application, or a dump of tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from testbed.controller.asic import check_tables
from testbed.controller.dump import Dump, by_cell
from testbed.controller.tables import Programme
from testbed.errors import SpecError
from testbed.run.resolve import Network
from testbed.spec.codec import from_dict, to_dict
from testbed.spec.experiment import APPLICATION, DUMP, Cell

TABLES = "tables.json"
"""What a run saves of tables that are not the testbed's own."""


def check_controller(controller: str, *, engine: str) -> None:
    """Raise a `SpecError` if a controller's file is missing, or needs another engine."""
    if controller.endswith(APPLICATION) and engine == "twin":
        raise SpecError(
            f"controller '{controller}': an application needs real frames, or a dump of its tables",
            remedy="leave out --engine twin, or give the tables.json of a run with it (./tb show rules --dump)",
        )
    if controller.endswith((APPLICATION, DUMP)) and not Path(controller).is_file():
        raise SpecError(f"controller '{controller}': there is no such file", remedy="name a file that exists")


def given_programmes(controller: str, cells: Iterable[tuple[Cell, Network]]) -> dict[str, Programme]:
    """By cell: the tables of a dump, if the controller is one, each of which fits its fabric and switches."""
    if not controller.endswith(DUMP):
        return {}
    return read_programmes(Path(controller), cells)


def read_programmes(path: Path, cells: Iterable[tuple[Cell, Network]]) -> dict[str, Programme]:
    """By cell: the tables of a file."""
    networks = {cell.id: network for cell, network in cells}
    try:
        dump = from_dict(Dump, json.loads(path.read_text(encoding="utf-8")))
        found = by_cell(
            dump, {cell: (failure_texts(network), network.fabric) for cell, network in networks.items()}
        )
        _check_room(found, networks)
    except SpecError as error:
        raise SpecError(f"tables of {path}: {error}", remedy=error.remedy) from error
    except (OSError, ValueError) as error:
        raise SpecError(f"{path} is no dump of tables: {error}", remedy=_WRITES) from error
    return found


def dump_text(dump: Dump) -> str:
    """A dump as a file has it."""
    return json.dumps(to_dict(dump)) + "\n"


_WRITES = "such files are written by ./tb show rules TOPOLOGY --dump FILE, and by runs as tables.json"


def _check_room(found: Mapping[str, Programme], networks: Mapping[str, Network]) -> None:
    """The modelled switch must hold them."""
    checked: set[tuple[int, str]] = set()
    for cell, programme in found.items():
        profile = networks[cell].switch.profile
        if (id(programme), profile.name) in checked:
            continue
        checked.add((id(programme), profile.name))
        for name, tables in programme.first.items():
            check_tables(name, tables, profile)
        for update in programme.updates:
            check_tables(update.switch, update.tables, profile)


def failure_texts(network: Network) -> tuple[str, ...]:
    """What goes wrong, as written."""
    return tuple(dict.fromkeys(failure.text for failure in network.failures))
