"""The control plane on a machine: bridges, Ryu and os-ken, carriers, LLDP, and what a kill leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from testbed.controller.discovery import check_wiring
from testbed.controller.rules import card_mac, switch_tables
from testbed.controller.timing import configured
from testbed.controller.verify import walk
from testbed.errors import FabricError, SpecError
from testbed.fabric.build import build_fabric
from testbed.fabric.clean import clean
from testbed.fabric.control_plane import ControlPlane, control_plane
from testbed.fabric.state import RunState
from testbed.process_table import stat_of
from testbed.spec.experiment import FRAMEWORKS
from testbed.spec.fabric import Fabric
from tests.fabric.conftest import Traces, wait_for_nothing_left
from topologies.dumbbell import build as dumbbell
from topologies.fat_tree import build as fat_tree
from topologies.leaf_spine import build as leaf_spine
from topologies.rail_optimized import build as rail_optimized
from topologies.single_switch import build as single_switch

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

ROOT = Path(__file__).parents[2]
TENANTS = ROOT / "experiments" / "controllers" / "tenant_isolation.py"
DEADLINE_S = 5.0
SMALL = leaf_spine(spines=2, leaves=2, cards=4)
PLAIN = configured({})
FAILOVER = configured({"failover": "on", "weights": "on"})


def set_link(plane: ControlPlane, fabric: Fabric, index: int, *, up: bool) -> None:
    link = fabric.links[index]
    switches = {switch.name for switch in fabric.switches}
    for end, port in ((link.a, link.a_port), (link.b, link.b_port)):
        if end in switches:
            plane.set_carrier(end, port, up)


def uplink(fabric: Fabric) -> int:
    """The first link between two switches."""
    switches = {switch.name for switch in fabric.switches}
    return next(i for i, link in enumerate(fabric.links) if link.a in switches and link.b in switches)


@pytest.mark.parametrize("controller", FRAMEWORKS)
@pytest.mark.parametrize("setup", [PLAIN, FAILOVER], ids=["plain", "failover"])
def test_tables_read_back_equal_the_rules_and_follow_a_lost_carrier(
    state: RunState, controller: str, setup: object
) -> None:
    options = setup.rules  # type: ignore[attr-defined]
    index = uplink(SMALL)
    with control_plane(SMALL, state=state, controller=controller, setup=setup) as plane:  # type: ignore[arg-type]
        assert plane.tables() == switch_tables(SMALL, options)
        set_link(plane, SMALL, index, up=False)
        plane.settle()
        assert plane.tables() == switch_tables(SMALL, options, down=frozenset({index}))
        assert plane.tables() != switch_tables(SMALL, options)
        set_link(plane, SMALL, index, up=True)
        plane.settle()
        assert plane.tables() == switch_tables(SMALL, options)


@pytest.mark.parametrize(
    "fabric",
    [single_switch(cards=3), dumbbell(), fat_tree(k=4), rail_optimized()],
    ids=lambda fabric: fabric.topology,
)
def test_tables_of_every_topology_read_back_equal_the_rules(state: RunState, fabric: Fabric) -> None:
    with control_plane(fabric, state=state, controller="ryu", setup=FAILOVER, cards_per_nic=2) as plane:
        assert plane.tables() == switch_tables(fabric, FAILOVER.rules, cards_per_nic=2)


def ages_s(plane: ControlPlane, switch: str) -> list[float]:
    return [
        float(found) for found in re.findall(r"duration=([\d.]+)s", "\n".join(plane.flow_statistics(switch)))
    ]


def test_controller_lost_and_back_disturbs_nothing(state: RunState) -> None:
    with control_plane(SMALL, state=state, controller="ryu", setup=FAILOVER) as plane:
        before, began = ages_s(plane, "l1"), time.monotonic()
        plane.stop_controller()
        assert plane.tables() == switch_tables(SMALL, FAILOVER.rules)
        plane.start_controller()
        plane.settle()
        passed_s = time.monotonic() - began
        after = ages_s(plane, "l1")
        assert plane.tables() == switch_tables(SMALL, FAILOVER.rules)
    assert len(before) == len(after) > 0
    assert (
        min(after) >= min(before) + passed_s - 0.01
    )  # in steps of a millisecond; a rule set anew would be younger


def test_carrier_lost_without_a_controller_is_dealt_with_when_it_is_back(state: RunState) -> None:
    index = uplink(SMALL)
    with control_plane(SMALL, state=state, controller="ryu", setup=PLAIN) as plane:
        plane.stop_controller()
        set_link(plane, SMALL, index, up=False)
        plane.settle()
        assert plane.tables() == switch_tables(SMALL, PLAIN.rules)
        plane.start_controller()
        plane.settle()
        assert plane.tables() == switch_tables(SMALL, PLAIN.rules, down=frozenset({index}))


def test_controller_killed_is_an_error_that_names_it_and_shows_its_log(state: RunState) -> None:
    with control_plane(SMALL, state=state, controller="ryu", setup=PLAIN) as plane:
        os.kill(plane.processes()["controller"], signal.SIGKILL)
        with pytest.raises(FabricError, match=r"controller \(pid \d+\) .*died"):
            plane.settle()


def test_tenants_application_drops_between_tenants_at_the_edge_only(state: RunState) -> None:
    rules = switch_tables(SMALL, PLAIN.rules)
    with control_plane(SMALL, state=state, controller=str(TENANTS), setup=PLAIN) as plane:
        tables = plane.tables()
    for name, of in tables.items():
        walls = set(of.flows) - set(rules[name].flows)
        assert of.groups == rules[name].groups
        assert set(of.flows) >= set(rules[name].flows)
        assert bool(walls) == name.startswith("l")
        assert all(wall.output is wall.group is wall.goto is None for wall in walls)
    first = {
        (wall.match.in_port, wall.match.eth_dst) for wall in set(tables["l1"].flows) - set(rules["l1"].flows)
    }
    assert first == {(port, card_mac(card)) for port in (1, 2) for card in (2, 3)}


PLAIN_APP = """
from ryu.base import app_manager
from ryu.controller import ofp_event
from ryu.controller.handler import MAIN_DISPATCHER, set_ev_cls

class Drops(app_manager.RyuApp):
    @set_ev_cls(ofp_event.EventOFPStateChange, MAIN_DISPATCHER)
    def on_switch(self, event):
        parser = event.datapath.ofproto_parser
        match = parser.OFPMatch(eth_dst="02:54:4e:00:00:01")
        event.datapath.send_msg(parser.OFPFlowMod(event.datapath, priority=7, match=match, instructions=[]))
"""


def test_any_ryu_application_programs_the_bridges(state: RunState, tmp_path: Path) -> None:
    path = tmp_path / "drops.py"
    path.write_text(PLAIN_APP, encoding="utf-8")
    with control_plane(SMALL, state=state, controller=str(path), setup=PLAIN) as plane:
        assert {len(tables.flows) for tables in plane.tables().values()} == {1}


@pytest.mark.parametrize("text", ["import nothing_like_this", "x = 1"])
def test_application_that_cannot_run_is_an_error_that_says_why(
    state: RunState, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "bad.py"
    path.write_text(text, encoding="utf-8")
    with (
        pytest.raises(FabricError, match=r"nothing_like_this|has no application"),
        control_plane(SMALL, state=state, controller=str(path), setup=PLAIN),
    ):
        pytest.fail("it ran")


@pytest.mark.parametrize("controller", ["ryo", "no/such/app.py"])
def test_unknown_controller_is_a_spec_error_before_anything_is_made(state: RunState, controller: str) -> None:
    with (
        pytest.raises(SpecError),
        control_plane(SMALL, state=state, controller=controller, setup=PLAIN),
    ):
        pytest.fail("it ran")


@pytest.mark.slow
def test_sixty_four_switches_hold_the_rules_before_and_after_a_restart_of_the_controller(
    state: RunState,
) -> None:
    """With as many instances of Open vSwitch as their ports ask for, and none of them left."""
    fabric = leaf_spine(spines=16, leaves=48, cards=192)
    rules = switch_tables(fabric, FAILOVER.rules)
    with control_plane(fabric, state=state, controller="ryu", setup=FAILOVER) as plane:
        daemons = sum(name.startswith("ovs-vswitchd") for name in plane.processes())
        assert (daemons == 1) is (plane.datapath == "system")
        tables = plane.tables()
        assert tables == rules
        assert walk(fabric, tables).is_whole
        plane.stop_controller()
        plane.start_controller()
        plane.settle()
        assert plane.tables() == rules
        pids = plane.processes().values()
    assert not [pid for pid in pids if stat_of(pid)]


def test_change_that_the_controller_did_not_make_is_noticed(state: RunState) -> None:
    with control_plane(SMALL, state=state, controller="ryu", setup=PLAIN) as plane:
        plane.tables()
        plane.check_tables()
        bridge = state.path.with_suffix(".control") / "s1.mgmt"
        subprocess.run(
            ["ovs-ofctl", "-O", "OpenFlow13", "del-flows", f"unix:{bridge}", "table=1"], check=True
        )
        with pytest.raises(FabricError, match="tables of s1 have changed"):
            plane.check_tables()


def test_links_found_by_lldp_are_those_of_the_fabric(state: RunState) -> None:
    with (
        build_fabric(SMALL, state=state) as live,
        control_plane(SMALL, state=state, controller="ryu", setup=PLAIN) as plane,
    ):
        pids = {switch.name: live.netns_pid(switch.name) for switch in SMALL.switches}
        heard = plane.links(pids)
        assert len(heard) == 8
        check_wiring(SMALL, heard)


def test_swapped_cables_are_named(state: RunState) -> None:
    """The fabric is built with the far ends of two cables swapped, and the plan knows nothing of it."""
    switches = {switch.name for switch in SMALL.switches}
    one, other = (i for i, link in enumerate(SMALL.links) if link.a == "l1" and link.b in switches)
    links = list(SMALL.links)
    links[one] = replace(SMALL.links[one], b=SMALL.links[other].b, b_port=SMALL.links[other].b_port)
    links[other] = replace(SMALL.links[other], b=SMALL.links[one].b, b_port=SMALL.links[one].b_port)
    swapped = replace(SMALL, links=tuple(links))
    with (
        build_fabric(swapped, state=state) as live,
        control_plane(SMALL, state=state, controller="os-ken", setup=PLAIN) as plane,
    ):
        heard = plane.links({name: live.netns_pid(name) for name in switches})
    with pytest.raises(FabricError) as caught:
        check_wiring(SMALL, heard)
    assert "l1-eth3 should lead to s1-eth1, but leads to s2-eth1" in str(caught.value)
    assert "l1-eth4 should lead to s2-eth1, but leads to s1-eth1" in str(caught.value)
    assert "l2" not in str(caught.value)


ORCHESTRATOR = """
import signal, sys
from pathlib import Path
from testbed.controller.timing import configured
from testbed.fabric.control_plane import control_plane
from testbed.fabric.state import RunState
from topologies.leaf_spine import build

def progress(step):
    if step == sys.argv[2]:
        print(step, flush=True)
        signal.pause()

state = RunState.create("killed", directory=Path(sys.argv[1]))
fabric = build(spines=2, leaves=2, cards=4)
with control_plane(fabric, state=state, controller="ryu", setup=configured({}), progress=progress):
    progress("up")
"""


@pytest.mark.parametrize("step", ["Open vSwitch", "controller", "bridges", "rules", "up"])
def test_orchestrator_killed_leaves_nothing_and_clean_removes_the_directory(
    before: Traces, tmp_path: Path, step: str
) -> None:
    command = [sys.executable, "-c", ORCHESTRATOR, str(tmp_path), step]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as orchestrator:
        assert orchestrator.stdout is not None
        assert orchestrator.stdout.readline().strip() == step
        orchestrator.kill()
    wait_for_nothing_left(before, deadline_s=DEADLINE_S)
    assert f"control plane {tmp_path / 'killed.control'}" in clean(directory=tmp_path)
    assert list(tmp_path.iterdir()) == []
