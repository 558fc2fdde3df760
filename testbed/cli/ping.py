"""`tb ping`: every host pings every other through plain Open vSwitch bridges that the controller has programmed."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from testbed.cli.output import JsonOption, print_json
from testbed.cli.privilege import become_root


def ping(
    topology: Annotated[
        str, typer.Argument(metavar="TOPOLOGY", help="A topology, or a file path/to/mine.py.")
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="A parameter of the topology; repeatable."),
    ] = None,
    controller: Annotated[
        str, typer.Option(metavar="ryu|os-ken|FILE", help="Who programs the bridges.")
    ] = "ryu",
    as_json: JsonOption = False,
) -> None:
    """Build the topology of ordinary hosts and Open vSwitch bridges, and run Mininet's pingAll.

    Ends with 6 if any ping is lost.

    [bold]Examples[/]

      ./tb ping leaf_spine --set cards=4

      ./tb ping fat_tree --controller os-ken
    """
    from testbed.controller.timing import configured
    from testbed.errors import MeasurementError
    from testbed.fabric.control_plane import framework_of
    from topologies import build_fabric, builder_of, parse_parameters

    parameters = parse_parameters(topology, builder_of(topology), overrides or [])
    fabric = build_fabric(topology, parameters)
    framework_of(controller)
    become_root("building a network")
    from testbed.fabric.plain_network import plain_network
    from testbed.fabric.state import RunState

    with (
        RunState.create(f"ping-{os.getpid()}") as state,
        plain_network(fabric, state=state, controller=controller, setup=configured({})) as net,
    ):
        loss_percent = float(net.pingAll())
    found = ping_json(len(fabric.endpoints), loss_percent)
    if as_json:
        print_json(found)
    else:
        typer.echo("{hosts} hosts, {pairs:,} pings, {loss_percent:g} % lost".format(**found))
    if loss_percent > 0:
        raise MeasurementError(
            f"{loss_percent:g} % of {found['pairs']:,} pings were lost",
            remedy="look at the rules of the controller",
        )


def ping_json(hosts: int, loss_percent: float) -> dict[str, Any]:
    """What `--json` prints."""
    return {"hosts": hosts, "pairs": hosts * (hosts - 1), "loss_percent": loss_percent}
