"""`tb show`: one topology or its rules, one switch, NIC, card or medium with the source of each of its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from testbed.cli.output import JsonOption, numbers_text, print_json, stdout
from testbed.errors import SpecError
from testbed.units import format_rate

if TYPE_CHECKING:
    from nic_emulator.profile import NicProfile
    from testbed.cli.rules_view import RulesQuery

# singular, as the user writes it -> plural, as the catalogue knows it
PROFILE_KINDS = {"switch": "switches", "nic": "nics", "card": "cards", "medium": "media"}


def show(
    what: Annotated[
        str, typer.Argument(metavar="TOPOLOGY|switch|nic|card|medium|rules", help="A topology, or a kind.")
    ],
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which of them.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A parameter of the topology, a setting of the NIC, control.SETTING of rules; repeatable.",
        ),
    ] = None,
    draw: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the topology into a .png or .svg file.")
    ] = None,
    switch: Annotated[
        str | None, typer.Option(metavar="SWITCH", help="Of rules: those of one switch.")
    ] = None,
    controller: Annotated[
        str | None,
        typer.Option(
            metavar="ryu|os-ken|FILE.py",
            help="Of rules: those that a live controller installs in bridges; nothing else is built.",
        ),
    ] = None,
    dump: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Of rules: save them for ./tb run --controller FILE.json."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a topology, its switches' rules, or a switch, NIC, card or medium with the source of each number.

    [bold]Examples[/]

      ./tb show leaf_spine --set leaves=2

      ./tb show squadrack --draw squadrack.svg

      ./tb show switch tomahawk5

      ./tb show nic rdma --set post=blueflame

      ./tb show rules fat_tree --set control.failover=on --switch e1

      ./tb show rules leaf_spine --controller my_app.py --dump tables.json
    """
    if what == "rules":
        from testbed.cli.rules_view import RulesQuery

        _show_rules(
            name, RulesQuery(switch=switch, controller=controller, dump=dump), overrides or [], draw, as_json
        )
        return
    if (switch, controller, dump) != (None, None, None):
        raise SpecError(
            "only rules have a switch, a controller and a dump",
            remedy="write ./tb show rules TOPOLOGY --switch NAME",
        )
    if what in PROFILE_KINDS:
        _refuse_for_profile(what, overrides, draw)
        _show_profile(what, name, overrides or [], as_json=as_json)
    elif name is not None:
        raise SpecError(
            f"unknown kind '{what}'", remedy=f"one of {', '.join(PROFILE_KINDS)}, or a topology alone"
        )
    else:
        _show_topology(what, overrides or [], draw, as_json=as_json)


def _show_rules(
    topology: str | None, query: RulesQuery, overrides: list[str], draw: Path | None, as_json: bool
) -> None:
    from testbed.cli.rules_view import show_rules

    if topology is None or draw is not None:
        raise SpecError("rules are those of a topology", remedy="write ./tb show rules leaf_spine")
    show_rules(topology, overrides, query, as_json=as_json)


def _refuse_drawing(draw: Path) -> None:
    """Raise `SpecError` when no drawing can be written there."""
    from testbed.cli.writable import ensure_writable

    if draw.suffix not in (".png", ".svg"):
        raise SpecError(
            f"--draw {draw}: not a .png or .svg file", remedy="name the file NAME.png or NAME.svg"
        )
    ensure_writable(draw.parent, option="--draw")


def _refuse_for_profile(what: str, overrides: list[str] | None, draw: Path | None) -> None:
    if draw or (overrides and what != "nic"):
        raise SpecError(f"a {what} has no parameters and no drawing", remedy="leave out --set and --draw")


def _show_profile(kind: str, name: str | None, overrides: list[str], *, as_json: bool) -> None:
    from testbed.cli.catalogue import registry

    known = registry(PROFILE_KINDS[kind])
    if name is None:
        raise SpecError(f"which {kind}?", remedy=f"one of: {', '.join(known.names())}")
    if kind == "nic":
        _show_nic(known.get(name), overrides, as_json=as_json)
        return
    rows = list(profile_rows(known.get(name)))
    if kind == "medium":
        rows += [row for code in known.get(name).codes() for row in profile_rows(code, f"fec.{code.name}")]
    if as_json:
        keys = ("field", "value", "unit", "mark", "source")
        values = [dict(zip(keys, row, strict=True)) for row in rows]
        print_json({"kind": kind, "name": name, "description": known.describe(name), "values": values})
        return
    console = stdout()
    console.print(f"{name}  {known.describe(name)}", markup=False, highlight=False)
    if kind == "switch":
        from testbed.report.switch import switch_text

        console.print(
            switch_text(known.get(name), console.width), markup=False, highlight=False, soft_wrap=True
        )
        return
    if kind == "medium":
        from testbed.report.medium import medium_text

        console.print(f"\n{medium_text(known.get(name))}\n", markup=False, highlight=False, soft_wrap=True)
    console.print(
        numbers_text(list(filter(_says_something, rows)), console.width),
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


def _show_nic(profile: NicProfile, overrides: list[str], *, as_json: bool) -> None:
    """A NIC as it is set."""
    from nic_emulator.setup import configured
    from testbed.report.nic import nic_text, one_way_ps

    setup = configured(profile, _settings(overrides))
    if as_json:
        keys = ("field", "value", "unit", "mark", "source")
        values = [dict(zip(keys, row, strict=True)) for row in profile_rows(setup.profile)]
        about = {"kind": "nic", "name": profile.name, "description": profile.description}
        print_json(
            about | {"settings": dict(setup.settings), "one_way_ps": one_way_ps(setup), "values": values}
        )
        return
    console = stdout()
    text = f"{profile.name}  {profile.description}\n{nic_text(profile, setup, console.width)}"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _settings(overrides: list[str]) -> dict[str, str]:
    """`KEY=VALUE` texts."""
    pairs = [text.partition("=") for text in overrides]
    for key, equals, value in pairs:
        if not (key.strip() and equals and value.strip()):
            raise SpecError(f"'{key}{equals}{value}' is no key=value", remedy="write e.g. cards=4")
    return {key.strip(): value.strip() for key, _, value in pairs}


def profile_rows(
    profile: object, path: str = ""
) -> Iterator[tuple[str, Any, str | None, str | None, str | None]]:
    """Field, value, unit, mark and source of every number of a profile, nested ones by their path."""
    from testbed.spec.sourced import Sourced

    if isinstance(profile, Sourced):
        yield path, profile.value, profile.unit, profile.mark, profile.source
    elif is_dataclass(profile):
        for field in fields(profile):
            yield from profile_rows(getattr(profile, field.name), f"{path}.{field.name}".lstrip("."))
    elif isinstance(profile, dict):
        for key, value in profile.items():
            yield from profile_rows(value, f"{path}[{key}]")
    elif isinstance(profile, tuple) and any(
        is_dataclass(item) or isinstance(item, tuple) for item in profile
    ):
        for index, item in enumerate(profile):
            yield from profile_rows(item, _item_path(path, index, item))
    elif path not in ("name", "description"):
        yield path, profile, None, None, None


def _item_path(path: str, index: int, item: object) -> str:
    """A stage by its place and name, a reach by its lanes, what has a label by that, the rest by number."""
    label = getattr(item, "label", None)
    if label:
        return f"{path}[{label}]"
    place, name, lane_bps = (getattr(item, name, None) for name in ("place", "name", "lane_bps"))
    if lane_bps:
        return f"{path}[{format_rate(lane_bps)}]"
    return f"{place}.{name}" if place and name else f"{path}[{index}]"


def _says_something(row: tuple[str, Any, str | None, str | None, str | None]) -> bool:
    """Whether a row is more than a stage's name again, or something that it has not."""
    field, value, _unit, _mark, source = row
    repeated = field.endswith((".name", ".place", ".lane_bps"))
    return not repeated and value != () and value is not False and source != "none"


def _show_topology(topology: str, overrides: list[str], draw: Path | None, *, as_json: bool) -> None:
    from topologies import build_fabric, builder_of, parse_parameters

    builder = builder_of(topology)
    parameters = parse_parameters(topology, builder, overrides)
    fabric = build_fabric(topology, parameters)
    if draw is not None:
        _refuse_drawing(draw)
        from testbed.report.draw import draw_fabric

        draw_fabric(fabric, draw)
    if as_json:
        from testbed.spec.codec import to_dict

        print_json(to_dict(fabric))
        return
    from testbed.report.describe import describe_fabric

    console = stdout()
    about = (builder.__doc__ or "").strip().partition("\n")[0]
    console.print(f"{topology}  {about}", markup=False, highlight=False)
    console.print(describe_fabric(fabric, width=console.width), markup=False, highlight=False)
    if draw is not None:
        console.print(f"drawn: {draw}", markup=False, highlight=False)
