from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest

from testbed.errors import SpecError
from testbed.spec.codec import from_dict, to_dict
from testbed.spec.fabric import FOREVER_PS, Endpoint, Fabric, Link, LinkFault, Switch

GBPS = 10**9


def card(name: str, **changes: Any) -> Endpoint:
    return Endpoint(name=name, **{"server": "h1"} | changes)


def link(a: str, a_port: int, b: str, b_port: int, **changes: Any) -> Link:
    fields: dict[str, Any] = {"rate_bps": 400 * GBPS, "medium": "dac", "length_mm": 3000} | changes
    return Link(a=a, a_port=a_port, b=b, b_port=b_port, **fields)


def fault(**changes: Any) -> LinkFault:
    fields: dict[str, Any] = {"toward": "l1", "from_ps": 0, "until_ps": 5, "loss_ppm": 10} | changes
    return LinkFault(**fields)


PAIR: dict[str, Any] = {
    "topology": "by hand",
    "endpoints": (card("c1"), card("c2")),
    "switches": (Switch(name="l1", tier=0),),
    "links": (link("c1", 0, "l1", 1), link("c2", 0, "l1", 2)),
}


def with_link(extra: Link) -> dict[str, Any]:
    return {"links": (*PAIR["links"], extra)}


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("no endpoint", {"endpoints": (), "links": ()}, "no endpoint"),
    ("duplicate name", {"endpoints": (card("c1"), card("c1"))}, "'c1' is used 2 times"),
    ("same name in both kinds", {"endpoints": (card("l1"), card("c2"))}, "'l1' is used 2 times"),
    ("long name", {"switches": (Switch(name="l123456789", tier=0),)}, "longer than 9"),
    ("capital name", {"endpoints": (card("C1"), card("c2"))}, "'C1' is no node name"),
    ("path as name", {"endpoints": (card("../x"), card("c2"))}, "is no node name"),
    ("no cards", {"endpoints": (card("c1", cards=0), card("c2"))}, "0 cards"),
    ("negative tier", {"switches": (Switch(name="l1", tier=-1),)}, "tier -1"),
    ("unknown node", with_link(link("c9", 0, "l1", 3)), "unknown node 'c9'"),
    ("two links on a switch port", with_link(link("l1", 2, "c9", 0)), "port 2 of 'l1' already has links[1]"),
    ("two links on an endpoint", with_link(link("c1", 0, "l1", 3)), "port 0 of 'c1' already has links[0]"),
    ("switch port 0", {"links": (link("c1", 0, "l1", 0), link("c2", 0, "l1", 2))}, "count from 1"),
    ("endpoint port 1", {"links": (link("c1", 1, "l1", 1), link("c2", 0, "l1", 2))}, "one port, 0"),
    ("to itself", with_link(link("l1", 3, "l1", 4)), "joins 'l1' to itself"),
    ("not connected", {"links": PAIR["links"][:1]}, "not connected: no path from c1 to c2"),
    ("no whole byte time", with_link(link("l1", 3, "c1", 0, rate_bps=300 * GBPS)), "no whole number of pico"),
    ("zero rate", with_link(link("l1", 3, "c1", 0, rate_bps=0)), "no whole number of pico"),
    ("negative length", with_link(link("l1", 3, "c1", 0, length_mm=-1)), "negative"),
    ("nine lanes", with_link(link("l1", 3, "c1", 0, lanes=9)), "9 lanes"),
    ("unknown code", with_link(link("l1", 3, "c1", 0, fec="bch")), "unknown code 'bch'"),
    ("negative bit errors", with_link(link("l1", 3, "c1", 0, ber_e18=-1)), "no bit error ratio"),
    ("more than every other bit", with_link(link("l1", 3, "c1", 0, ber_e18=6 * 10**17)), "no bit error"),
    ("held up too often", with_link(link("l1", 3, "c1", 0, reorder_e18=10**18 + 1)), "no share of frames"),
    ("twice less than never", with_link(link("l1", 3, "c1", 0, duplicate_e18=-1)), "no share of frames"),
    ("held up for nothing", with_link(link("l1", 3, "c1", 0, reorder_delay_ps=0)), "held up for 0ps"),
    ("fault elsewhere", with_link(link("l1", 3, "c1", 0, faults=[fault(toward="c2")])), "'c2' is at no end"),
    (
        "two faults at once",
        with_link(link("l1", 3, "c1", 0, faults=[fault(until_ps=3), fault(from_ps=2, until_ps=9)])),
        "two at once toward 'l1'",
    ),
    ("long interface", with_link(link("l1", 10**9, "c1", 0)), "longer than 15 characters"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_fabric_bad_is_refused_with_path_and_remedy(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Fabric(**PAIR | change)

    assert message in "\n".join(map(str, caught.value.problems))
    assert all(problem.path and problem.remedy for problem in caught.value.problems)


def test_fabric_with_many_faults_names_them_all_at_once() -> None:
    faults = {
        "endpoints": (card("C1"), card("c2", cards=99)),
        "links": (link("c1", 1, "l1", 0, rate_bps=7, length_mm=-4), link("c2", 0, "l1", 2)),
    }
    with pytest.raises(SpecError) as caught:
        Fabric(**PAIR | faults)

    paths = {problem.path for problem in caught.value.problems}
    assert paths >= {
        "endpoints[0].name",
        "endpoints[1].cards",
        "links[0].a",
        "links[0].b_port",
        "links[0].rate_bps",
        "links[0].length_mm",
    }


def test_fabric_node_names_are_endpoints_then_switches() -> None:
    fabric = Fabric(**PAIR)

    assert fabric.node_names() == ("c1", "c2", "l1")
    assert fabric.neighbours("l1") == ("c1", "c2")
    assert fabric.neighbours("c1") == ("l1",)
    assert [of.interface_at("l1") for of in fabric.links_of("l1")] == ["l1-eth1", "l1-eth2"]


def test_fabric_links_of_a_node_come_by_port() -> None:
    crossed = Fabric(**PAIR | {"links": (link("c1", 0, "l1", 2), link("l1", 1, "c2", 0))})

    assert crossed.neighbours("l1") == ("c2", "c1")


def test_fabric_two_cards_back_to_back_is_a_fabric() -> None:
    fabric = Fabric(**PAIR | {"switches": (), "links": (link("c1", 0, "c2", 0),)})

    assert fabric.neighbours("c1") == ("c2",)


def test_fabric_equal_ones_hash_and_pickle_alike() -> None:
    one, other = Fabric(**PAIR, parameters={"k": 4}), Fabric(**PAIR, parameters={"k": 4})

    assert one == other
    assert hash(one) == hash(other)
    assert pickle.loads(pickle.dumps(one)) == one
    assert replace(one, parameters={"k": 5}) != one


@pytest.mark.parametrize(
    "changes",
    [
        {"from_ps": 5},
        {"from_ps": -1},
        {"until_ps": FOREVER_PS + 1},
        {"loss_ppm": 0},
        {"loss_ppm": 1_000_001},
    ],
)
def test_fault_that_is_none_is_refused_with_a_remedy(changes: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        fault(**changes)
    assert caught.value.remedy


def test_link_faults_one_after_the_other_or_of_both_ways_are_sound_and_survive_json() -> None:
    faults = (fault(), fault(from_ps=5, until_ps=9), fault(toward="c1"))
    fabric = Fabric(**PAIR | {"links": (link("c1", 0, "l1", 1, faults=faults), PAIR["links"][1])})

    assert from_dict(Fabric, json.loads(json.dumps(to_dict(fabric)))) == fabric
    assert fabric.links[0].faults == faults


def test_link_of_an_older_form_has_the_usual_lanes_and_code() -> None:
    stored = to_dict(Fabric(**PAIR))
    for one in stored["links"]:
        for name in ("lanes", "fec", "ber_e18", "faults", "reorder_e18", "reorder_delay_ps", "duplicate_e18"):
            del one[name]
    assert from_dict(Fabric, stored) == Fabric(**PAIR)
