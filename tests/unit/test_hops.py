from __future__ import annotations

from copy import deepcopy

import pytest

from testbed.analysis.hops import Outcome, copies_of, hops_by_packet, network_of
from testbed.errors import MeasurementError, SpecError
from tests.unit.traces import C1, C2, C3, L1, L2, S1, journey, network, plan, samples


def test_network_names_ports_and_tiers() -> None:
    found = network()
    assert found.port_name(L1, 3) == "l1 port 3 → s1"
    assert found.port_name(C1, 0) == "c1 → l1"
    assert found.flow_name((C1, C2)) == "c1 → c2"
    assert [found.tiers[entity] for entity in (C1, C2, L1, L2, S1)] == [-1, -1, 0, 0, 1]


@pytest.mark.parametrize(
    ("link", "lossy", "retries"),
    [
        ({"loss_per_byte_2p64": 5}, True, False),
        ({"loss_base_2p64": 5, "llr": True}, False, True),
        ({"faults": [[0, 0, 9, 1]], "llr": True}, True, True),
        ({"cbfc": True}, False, False),
    ],
)
def test_network_link_with_features_says_whether_it_loses_frames(
    link: dict[str, object], lossy: bool, retries: bool
) -> None:
    wire = network_of(plan(last=link)).wires[L2, 1]
    assert (wire.lossy, wire.retries) == (lossy, retries)


@pytest.mark.parametrize("link", [{"reorder_2p64": 1}, {"duplicate_2p64": 1}, {"slow": [[0, 0, 1, 50, 0]]}])
def test_network_over_links_in_disorder_is_refused(link: dict[str, object]) -> None:
    with pytest.raises(SpecError, match="cannot be followed"):
        network_of(plan(last=link))


def test_network_with_a_nic_that_restarts_is_refused() -> None:
    data = deepcopy(plan())
    next(node for node in data["nodes"] if node["kind"] == "nic")["config"]["restarts"] = [[1, 2]]
    with pytest.raises(SpecError, match="cannot be followed"):
        network_of(data)


def test_hops_by_packet_keeps_each_packet_apart() -> None:
    one, two = journey(1_000), journey(90_000, psn=1)
    found = hops_by_packet(samples(one, two))
    assert {key: sorted(hops) for key, hops in found.items()} == {(C1, C2, 0): one, (C1, C2, 1): two}


def test_copies_of_packet_sent_twice_follow_each_its_own_way() -> None:
    dropped, again = journey(0, waits_ps=(0, 5_000, 9_000, 0), lost_at=2), journey(10_000_000)
    found = copies_of([*reversed(again), *dropped], network())
    assert [list(copy.hops) for copy in found] == [dropped, again]
    assert found[0].lost_at == dropped[-1]
    assert found[0].lost_at.outcome == Outcome.DROPPED
    assert found[1].lost_at is None


def test_copies_of_packet_lost_on_a_wire_leave_what_follows_to_the_next_copy() -> None:
    vanished, again = journey(0)[:2], journey(10_000_000)
    assert [len(copy.hops) for copy in copies_of([*vanished, *again], network())] == [2, 4]


def test_copies_of_packet_that_came_from_nowhere_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="packet 0 of c1 → c2 was at a switch"):
        copies_of(journey(0)[1:], network())


def test_network_of_several_cards_behind_a_nic_names_the_card_and_finds_its_nic() -> None:
    made = plan()
    for node in made["nodes"]:
        if node["kind"] == "nic":
            node["config"]["cards"] = 2
    found = network_of(made)
    assert [found.nic_of(card) for card in range(6)] == [C1, C1, C2, C2, C3, C3]
    assert found.flow_name((1, 2)) == "c1.2 → c2.1"
    assert network_of(plan()).flow_name((0, 1)) == "c1 → c2"
