"""`reaction.py`: when each switch has which tables."""

from __future__ import annotations

from testbed.controller.reaction import changed_entries, heard, programme
from testbed.controller.rules import switch_tables
from testbed.controller.tables import TableUpdate
from testbed.controller.timing import ControlSetup, configured
from testbed.spec.fabric import Fabric
from testbed.spec.failures import parse_failures
from topologies import build_fabric

US = 1_000_000
SETUP = configured({"detection": "1us", "control_latency": "10us", "rule_install": "2us", "link_up": "3us"})
FABRIC = build_fabric("leaf_spine", {})


def link(a: str, b: str, fabric: Fabric = FABRIC) -> int:
    return next(index for index, one in enumerate(fabric.links) if {one.a, one.b} == {a, b})


def updates(*texts: str, setup: ControlSetup = SETUP) -> tuple[TableUpdate, ...]:
    return programme(FABRIC, setup, parse_failures(texts), cards_per_nic=1).updates


def test_nothing_fails_and_nothing_changes() -> None:
    assert updates() == ()
    assert updates("l1>s1@1us:loss=1%", "controller@1us-2us:lost") == ()


def test_a_lost_link_changes_each_switch_after_detection_latency_and_its_entries() -> None:
    """The leaf changes its group; all others get one more and change the rules of its four cards."""
    found = {update.switch: update for update in updates("l1<>s1@100us:down")}
    tables = switch_tables(FABRIC, SETUP.rules, down=frozenset([link("l1", "s1")]))

    assert {name: (update.time_ps - 111 * US) // (2 * US) for name, update in found.items()} == {
        "l1": 1,
        "l2": 5,
        "l3": 5,
        "l4": 5,
        "s1": 5,
    }
    assert all(update.tables == tables[name] for name, update in found.items())
    assert [update.time_ps for update in updates("l1<>s1@100us:down")] == sorted(
        update.time_ps for update in found.values()
    )


def test_a_link_that_returns_brings_the_first_tables_back() -> None:
    whole = switch_tables(FABRIC, SETUP.rules)
    found = updates("l1<>s1@100us-300us:down")
    last = {update.switch: update for update in found}

    assert all(last[name].tables == whole[name] for name in last)
    assert last["l1"].time_ps == (300 + 3 + 10 + 2) * US


def test_updates_in_quick_succession_come_in_order_and_have_all_before_them() -> None:
    found = updates("l1<>s1@100us:down", "l2<>s1@101us:down")
    of_l3 = [update for update in found if update.switch == "l3"]
    one, both = frozenset([link("l1", "s1")]), frozenset([link("l1", "s1"), link("l2", "s1")])

    assert [update.tables for update in of_l3] == [
        switch_tables(FABRIC, SETUP.rules, down=down)["l3"] for down in (one, both)
    ]
    changes = changed_entries(of_l3[0].tables, of_l3[1].tables)
    assert of_l3[1].time_ps == of_l3[0].time_ps + changes * 2 * US, "it goes on where the first one ended"


def test_a_lost_controller_reacts_when_it_is_back() -> None:
    failures = parse_failures(["l1<>s1@100us-150us:down", "l2<>s2@120us:down", "controller@90us-400us:lost"])
    assert list(heard(FABRIC, SETUP, failures)) == [(400 * US, frozenset([link("l2", "s2")]))]
    found = programme(FABRIC, SETUP, failures, cards_per_nic=1).updates
    assert min(update.time_ps for update in found) == (400 + 10 + 2) * US


def test_a_controller_that_stays_lost_never_reacts() -> None:
    assert updates("l1<>s1@100us:down", "controller@90us:lost") == ()
    assert updates("l1<>s1@100us:down", "controller@500us:lost") == updates("l1<>s1@100us:down")


def test_a_restarted_switch_keeps_its_tables_and_the_others_go_around_it() -> None:
    found = updates("s1@100us-200us:restart")

    assert {update.switch for update in found} == {"l1", "l2", "l3", "l4"}
    whole = switch_tables(FABRIC, SETUP.rules)
    last = {update.switch: update for update in found}
    assert all(update.tables == whole[name] for name, update in last.items())
    first = {update.switch: update for update in reversed(found)}
    assert first["l1"].time_ps == (100 + 1 + 10 + 2) * US, "one group"


def test_changed_entries_counts_what_is_added_changed_and_removed() -> None:
    whole = switch_tables(FABRIC, SETUP.rules)
    assert changed_entries(whole["l1"], whole["l1"]) == 0
    lost = switch_tables(FABRIC, SETUP.rules, down=frozenset([link("l2", "s1")]))
    assert changed_entries(whole["l1"], lost["l1"]) == changed_entries(lost["l1"], whole["l1"]) == 5
