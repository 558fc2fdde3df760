"""`tb ping`: ordinary host stacks through plain Open vSwitch bridges and the same application."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from testbed.controller.timing import configured
from testbed.fabric.plain_network import plain_network
from testbed.fabric.state import RunState
from topologies.leaf_spine import build as leaf_spine
from topologies.single_switch import build as single_switch

pytestmark = [pytest.mark.fabric, pytest.mark.usefixtures("nothing_left")]

Tb = Callable[..., Result]
DROPS = """
from testbed.controller.app import FabricApp
from testbed.controller.tables import SwitchTables

class DropsAll(FabricApp):
    def tables(self, down):
        return {switch.name: SwitchTables() for switch in self.setup.fabric.switches}
"""


@pytest.mark.parametrize("controller", ["ryu", "os-ken"])
def test_ping_all_through_leaves_and_spines_loses_nothing(state: RunState, controller: str) -> None:
    fabric = leaf_spine(spines=2, leaves=2, cards=4)
    with plain_network(fabric, state=state, controller=controller, setup=configured({})) as net:
        assert net.pingAll() == 0


def test_ping_without_rules_loses_all(state: RunState, tmp_path: Path) -> None:
    path = tmp_path / "drops.py"
    path.write_text(DROPS, encoding="utf-8")
    with plain_network(
        single_switch(cards=2), state=state, controller=str(path), setup=configured({})
    ) as net:
        assert net.pingAll(timeout=1) == 100


def test_tb_ping_reports_hosts_pairs_and_loss(tb: Tb) -> None:
    result = tb("ping", "single_switch", "--set", "cards=3", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"hosts": 3, "pairs": 6, "loss_percent": 0.0}


@pytest.mark.parametrize(
    "words",
    [("nowhere",), ("leaf_spine", "--set", "cards=x"), ("leaf_spine", "--controller", "none.py")],
)
def test_tb_ping_of_bad_input_ends_with_2(tb: Tb, words: tuple[str, ...]) -> None:
    assert tb("ping", *words).exit_code == 2
