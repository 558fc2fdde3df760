"""`tb show rules`: the tables of a topology's switches as `ovs-ofctl` writes them, and what walking them finds."""

from __future__ import annotations

from collections.abc import Iterator

from testbed.cli.output import print_json, stdout
from testbed.controller.rules import switch_tables
from testbed.controller.tables import SwitchTables
from testbed.controller.text import flow_text, group_text, tables_text
from testbed.controller.timing import configured
from testbed.controller.verify import Walk, walk
from testbed.registry import unknown_name
from topologies import build_fabric, builder_of, parse_parameters

_CONTROL = "control."


def show_rules(topology: str, overrides: list[str], switch: str | None, *, as_json: bool) -> None:
    """Print them; `overrides` with `control.` before their name are settings of the control plane."""
    own = [text for text in overrides if not text.startswith(_CONTROL)]
    pairs = [text.removeprefix(_CONTROL).partition("=") for text in overrides if text.startswith(_CONTROL)]
    rules = configured({key.strip(): value.strip() for key, _, value in pairs}).rules
    fabric = build_fabric(topology, parse_parameters(topology, builder_of(topology), own))
    tables = switch_tables(fabric, rules)
    if switch is not None and switch not in tables:
        raise unknown_name("switch", switch, tables)
    found = walk(fabric, tables, weighted=rules.weights)
    shown = tables if switch is None else {switch: tables[switch]}
    if as_json:
        of = {
            name: {"groups": list(map(group_text, of.groups)), "flows": list(map(flow_text, of.flows))}
            for name, of in shown.items()
        }
        print_json({"topology": topology, "switches": of, "walk": _numbers(found)})
        return
    lines = [line for name, of in shown.items() for line in _switch_lines(name, of)]
    text = "\n".join([*lines, *_walk_lines(found)])
    stdout().print(text, markup=False, highlight=False, soft_wrap=True)


def _switch_lines(name: str, tables: SwitchTables) -> Iterator[str]:
    yield f"{name}  {len(tables.flows)} flows, {len(tables.groups)} groups"
    yield from (f"  {line}" for line in tables_text(tables))
    yield ""


def _walk_lines(found: Walk) -> Iterator[str]:
    """Numbers, then every fault."""
    yield (
        f"walked: {found.reached:,} of {found.pairs:,} pairs reach each other, by {found.paths:,} of"
        f" {found.shortest_paths:,} shortest paths, {len(found.loops) or 'no'} loops"
    )
    yield from found.unreached + found.loops + found.unused + found.uneven


def _numbers(found: Walk) -> dict[str, object]:
    return {name: getattr(found, name) for name in Walk.__dataclass_fields__}
