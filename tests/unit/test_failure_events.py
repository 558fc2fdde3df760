"""`run/failure_events.py` and `analysis/failures.py`: the log of a cell with failures, and what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from testbed.analysis.failures import FailureEvent, outage_of
from testbed.controller.reaction import programme
from testbed.controller.tables import Programme
from testbed.run.failure_events import failure_events, stated_outage_ps
from testbed.run.resolve import Network, resolve
from testbed.spec.experiment import Experiment, Scenario
from testbed.spec.parameters import ParameterValue
from tests.unit.samples import records_of

US = 10**6
DOWN = "l1<>s1@100us-200us:down"
ON = {"failover": "on"}
BASE = Experiment(
    name="x",
    question="?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 8},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(64,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=1),),
    records=1,
    emulated_records=0,
)
TIMES = {"detection": "10us", "control_latency": "30us", "rule_install": "2us", "link_up": "7us"}


def network_of(
    *failures: str,
    topology: Mapping[str, ParameterValue] | None = None,
    control: Mapping[str, ParameterValue] | None = None,
) -> Network:
    experiment = replace(
        BASE,
        failures=failures,
        control_settings={**TIMES, **(control or {})},
        topology_parameters={**BASE.topology_parameters, **(topology or {})},
    )
    return resolve(experiment).networks[0]


def rules_of(network: Network) -> Programme:
    return programme(network.fabric, network.control, network.failures, cards_per_nic=1)


def stated_us(network: Network) -> float | None:
    stated_ps = stated_outage_ps(network, rules_of(network), cards_per_nic=1)
    return None if stated_ps is None else stated_ps / US


@pytest.mark.parametrize(
    ("expected_us", "failures", "control"),
    [
        # detection, control latency, two rules and a group in all switches but l1
        (10 + 30 + 3 * 2, [DOWN], {}),
        (10 + 30 + 3 * 2, ["l1<>s1@100us:down"], {}),
        (10 + 30 + 3 * 2, ["l1>s1@100us-200us:down"], {}),
        (10 + 30 + 3 * 2, ["s1>l1@100us-200us:down"], {}),
        (10, ["l1<>s1@100us:down"], ON),
        # the controller is back at 150 us; never; was lost before, or afterwards
        (50 + 30 + 3 * 2, [DOWN, "controller@90us-150us:lost"], {}),
        (100 + 7, [DOWN, "controller@90us:lost"], {}),
        (46, [DOWN, "controller@20us-60us:lost"], {}),
        (46, [DOWN, "controller@120us:lost"], {}),
        (10, ["l1<>s1@100us:down", "controller@90us:lost"], ON),
        (None, ["l1<>s1@100us:down", "controller@90us:lost"], {}),
        # not noticed: until it is over; rules would be too late: until the ports are up
        (9, ["l1<>s1@100us-109us:down"], ON),
        (20 + 7, ["l1<>s1@100us-120us:down"], {}),
        (3 * (15 + 7), ["l1<>s1@100us-115us/1ms*3:down"], {}),
        (3 * 9, ["l1<>s1@100us-109us/1ms*3:down"], {}),
        # ports stay down through flaps faster than link up
        (4 * 20 + 15 + 7, ["l1<>s1@100us-115us/20us*5:down"], {"control_latency": "1ms"}),
        # silent
        (100, ["l1>s1@100us-200us:loss=100%"], ON),
        (100, ["l1<>s1@100us-200us:ber=1e-6"], ON),
        (None, ["*<>*:loss=1ppm"], ON),
        (0, ["l1<>s1@100us-200us:rate=100Gbps", "l1<>s1@100us-200us:delay=1us"], {}),
        # a spine has another beside it: one group changes in each leaf; a leaf has not, nor has a card
        (10 + 30 + 2, ["s1@100us:restart"], {}),
        (10, ["s1@100us:restart"], ON),
        (5, ["s1@100us-105us:restart"], ON),
        (None, ["l1@100us:restart"], ON),
        (None, ["c1<>l1@100us:down"], ON),
        # its rules are gone, and come back: one in each other switch
        (100 + 7 + 30 + 2, ["c1@100us-200us:restart"], {}),
        (5, ["c1@100us-105us:restart"], {}),
        (0, ["c1@100us:process"], {}),
        (0, ["controller@100us-200us:lost"], {}),
        (0, [], {}),
    ],
)
def test_stated_outage_of_each_failure(
    expected_us: float | None, failures: list[str], control: dict[str, ParameterValue]
) -> None:
    assert stated_us(network_of(*failures, control=control)) == expected_us


def test_stated_outage_of_one_of_two_cables_is_that_of_one_link() -> None:
    two = {"uplink_links": 2}
    one_of_them = stated_us(network_of("l1.3>s1@100us:down", topology=two))
    both = stated_us(network_of("l1<>s1@100us:down", topology=two))
    # the group of l1 and that of s1 lose a cable; others send to s1 all the same
    assert one_of_them == 10 + 30 + 2
    assert both == 10 + 30 + 3 * 2
    assert stated_us(network_of("l1.3>s1@100us:down", topology=two, control=ON)) == 10


def test_log_has_what_happens_in_order_of_time() -> None:
    network = network_of("controller@20us-60us:lost", DOWN, "c1@150us:process")
    events = failure_events(network, rules_of(network).updates)
    assert [event.time_ps for event in events] == sorted(event.time_ps for event in events)
    assert [(event.time_ps / US, event.kind, event.text) for event in events] == [
        (20, "controller", "lost"),
        (60, "controller", "back"),
        (100, "begins", DOWN),
        (110, "noticed", "l1-s1 is down"),
        (142, "rules", "l1"),
        (146, "rules", "l2, l3, l4, s1"),
        (150, "begins", "c1@150us:process"),
        (150.000001, "ends", "c1@150us:process"),
        (200, "ends", DOWN),
        (207, "noticed", "l1-s1 is up"),
        (239, "rules", "l1"),
        (243, "rules", "s1"),
        (279, "rules", "l2, l3, l4"),
    ]


def test_log_of_what_nobody_notices_has_its_begin_and_its_end_alone() -> None:
    network = network_of("l1>s1@100us-200us:loss=1%", "l1<>s1@300us-301us:down", "l2<>s1@400us:loss=1%")
    kinds = [event.kind for event in failure_events(network, rules_of(network).updates)]
    assert kinds == ["begins", "ends", "begins", "ends", "begins"]


def test_log_without_failures_is_empty_whatever_tables_do() -> None:
    failing = network_of(DOWN)
    assert failure_events(network_of(), rules_of(failing).updates) == ()


def test_log_names_a_few_of_many_switches() -> None:
    network = network_of("l1<>s1@100us:down", topology={"leaves": 8, "cards": 16})
    texts = [event.text for event in failure_events(network, rules_of(network).updates)]
    assert texts[-1] == "l2, l3, l4, l5 and 4 more"


def test_messages_hit_are_those_sent_again_that_end_after_the_first_failure() -> None:
    records = records_of(n=10)
    records["retransmits"][[1, 4, 6]] = 1
    records["completed_ps"][6] += np.uint64(3 * US)
    begins = FailureEvent(time_ps=3 * US, kind="begins", text="x")
    found = outage_of(records, [FailureEvent(time_ps=0, kind="controller", text="lost"), begins], 5)
    assert found is not None
    assert (found.hit, found.slowest_ps, found.stated_ps) == (2, 3 * US + 650, 5)
    assert outage_of(records, [], 0) is None
    none = outage_of(records_of(n=10), [begins], None)
    assert none is not None
    assert (none.hit, none.slowest_ps, none.stated_ps) == (0, 0, None)
