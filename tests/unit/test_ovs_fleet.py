"""Which bridges share a daemon."""

from __future__ import annotations

from testbed.fabric.ovs_fleet import MAX_PORTS, shares
from testbed.fabric.ovs_instance import Bridge


def bridge(number: int, ports: int) -> Bridge:
    return Bridge(
        name=f"s{number}", dpid=number, ports={port: f"s{number}-eth{port}" for port in range(ports)}
    )


def test_few_ports_have_one_daemon() -> None:
    bridges = [bridge(number, MAX_PORTS // 4) for number in range(4)]
    assert shares(bridges) == [tuple(bridges)]


def test_a_daemon_has_no_more_ports_than_it_may_and_bridges_keep_their_order() -> None:
    bridges = [bridge(number, MAX_PORTS // 2 + number) for number in range(5)]
    assert shares(bridges) == [(bridges[0],), *((one,) for one in bridges[1:])]
    bridges = [bridge(number, MAX_PORTS // 3) for number in range(7)]
    assert [len(share) for share in shares(bridges)] == [3, 3, 1]
    assert [one for share in shares(bridges) for one in share] == bridges


def test_a_bridge_with_more_ports_has_a_daemon_to_itself() -> None:
    bridges = [bridge(1, 2), bridge(2, MAX_PORTS + 1), bridge(3, 2)]
    assert shares(bridges) == [(one,) for one in bridges]
