"""`tb show rules`: the tables of a topology's switches as `ovs-ofctl` writes them, and what walking them finds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from testbed.cli.output import print_json, stdout
from testbed.cli.privilege import become_root
from testbed.cli.run import ended_by_signal
from testbed.cli.writable import ensure_writable
from testbed.controller.dump import Dump, Dumped
from testbed.controller.rules import switch_tables
from testbed.controller.tables import Programme, SwitchTables
from testbed.controller.text import flow_text, group_text, tables_text
from testbed.controller.timing import ControlSetup, configured
from testbed.controller.verify import Walk, walk
from testbed.registry import unknown_name
from testbed.run.controllers import dump_text
from testbed.run.ownership import hand_over, heir_at
from testbed.spec.fabric import Fabric
from topologies import build_fabric, builder_of, parse_parameters

_CONTROL = "control."


@dataclass(frozen=True, slots=True, kw_only=True)
class RulesQuery:
    """Which rules, and where they go."""

    switch: str | None = None
    """None: all switches."""
    controller: str | None = None
    """Who installs them in bridges; None: nobody, they are computed."""
    dump: Path | None = None
    """Where to save them."""


def show_rules(topology: str, overrides: list[str], query: RulesQuery, *, as_json: bool) -> None:
    """Print them; `overrides` with `control.` before their name are settings of the control plane."""
    own = [text for text in overrides if not text.startswith(_CONTROL)]
    pairs = [text.removeprefix(_CONTROL).partition("=") for text in overrides if text.startswith(_CONTROL)]
    setup = configured({key.strip(): value.strip() for key, _, value in pairs})
    fabric = build_fabric(topology, parse_parameters(topology, builder_of(topology), own))
    switch, names = query.switch, [one.name for one in fabric.switches]
    if switch is not None and switch not in names:
        raise unknown_name("switch", switch, names)
    if query.dump is not None:
        ensure_writable(query.dump.parent, option="--dump")
    if query.controller is None:
        tables = switch_tables(fabric, setup.rules)
    else:
        tables = _installed(fabric, query.controller, setup)
    if query.dump is not None:
        query.dump.write_text(dump_text(Dump(programmes=(Dumped(programme=Programme(first=tables)),))))
        hand_over(query.dump, heir_at(query.dump.parent))
    found = walk(fabric, tables, weighted=setup.rules.weights)
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
    if query.dump is not None:
        typer.echo(f"saved {query.dump}; ./tb run EXPERIMENT --controller {query.dump}")


def _installed(fabric: Fabric, controller: str, setup: ControlSetup) -> dict[str, SwitchTables]:
    """What bridges hold that a live controller has programmed."""
    from testbed.fabric.control_plane import control_plane, framework_of
    from testbed.fabric.state import RunState

    framework_of(controller)
    become_root("a live control plane")

    def say(step: str) -> None:
        typer.echo(f"control plane: {step}", err=True)

    with (
        ended_by_signal(),
        RunState.create(f"rules-{os.getpid()}") as state,
        control_plane(fabric, state=state, controller=controller, setup=setup, progress=say) as plane,
    ):
        return plane.tables()


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
