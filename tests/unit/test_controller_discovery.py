"""What LLDP heard beside what the fabric should be."""

from __future__ import annotations

import pytest

from testbed.controller.discovery import Heard, check_wiring, wiring_problems
from testbed.errors import FabricError
from topologies.leaf_spine import build

FABRIC = build(spines=2, leaves=2, cards=4)


def whole() -> list[Heard]:
    links = [link for link in FABRIC.links if link.a.startswith("l")]
    one_way = [(link.a, link.a_port, link.b, link.b_port) for link in links]
    return [*one_way, *((b, b_port, a, a_port) for a, a_port, b, b_port in one_way)]


def test_wiring_as_planned_has_no_problem() -> None:
    assert len(whole()) == 8
    assert wiring_problems(FABRIC, whole()) == []


def test_wiring_with_a_missing_link_names_both_ends() -> None:
    heard = [one for one in whole() if {one[0], one[2]} != {"l1", "s1"}]
    assert wiring_problems(FABRIC, heard) == [
        "l1-eth3 should lead to s1-eth1, but nothing of it arrives anywhere",
        "s1-eth1 should lead to l1-eth3, but nothing of it arrives anywhere",
    ]


def test_wiring_to_a_port_that_should_lead_to_no_switch_is_named() -> None:
    with pytest.raises(FabricError, match="l1-eth1 should lead to no switch, but leads to l2-eth1"):
        check_wiring(FABRIC, [*whole(), ("l1", 1, "l2", 1)])


def test_application_is_a_shim_of_at_most_250_lines() -> None:
    from pathlib import Path

    path = Path(__file__).parents[2] / "testbed" / "controller" / "app.py"
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 250
