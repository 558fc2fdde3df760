"""Failures do what docs/failures.md says, to the frame: an outage ends when its closed form says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import NicError
from testbed.run.join import join_records
from testbed.run.plan import cell_plan
from testbed.run.resolve import resolve
from testbed.run.schedule import schedule_of
from testbed.run.twin_cell import advance
from testbed.spec.experiment import Experiment, Scenario

US = 10**6
ARRIVED_US = 8
"""What waits for the port by then, resent packets among it, is at the far end of the link after that."""
BEFORE_US = 20
"""So long before its end an outage still loses frames, at this load."""
DOWN = "l1<>s1@100us-500us:down"
GOOD = Experiment(
    name="x",
    question="?",
    topology="leaf_spine",
    topology_parameters={"spines": 2, "leaves": 4, "cards": 16},
    switch="tomahawk5",
    nics=("transparent",),
    sizes_bytes=(4096,),
    scenarios=(Scenario(name="load", kind="poisson", load_permille=200),),
    records=30_000,
    emulated_records=0,
    control_settings={
        "detection": "10us",
        "control_latency": "100us",
        "rule_install": "5us",
        "link_up": "10us",
    },
)


def twin_of(*failures: str, **control: str) -> tuple[_engine.Twin, int]:
    """A run of some 770 us, and until when it measures."""
    settings: Mapping[str, Any] = {**GOOD.control_settings, **control}
    resolved = resolve(replace(GOOD, failures=failures, control_settings=settings))
    cell, network = resolved.cells[0], resolved.networks[0]
    schedule = schedule_of(cell, network.fabric, cards_per_nic=1)
    until_ps = schedule.measure_until_ps(GOOD.records)
    plan = cell_plan(cell, network, schedule=schedule, seed=1, measure_until_ps=until_ps)
    return _engine.Twin(build_plan(plan)), until_ps


def lost_until(twin: _engine.Twin, us: int, node: str, port: int) -> int:
    """Frames that came damaged over a link by a time, or never came from l1, for want of a carrier."""
    twin.run(us * US)
    counters = twin.counters()
    dark = counters["l1"].get("port5.no_carrier_discards", 0) if node == "s1" else 0
    return int(counters[node].get(f"port{port}.fcs_errors", 0) + dark)


def records(twin: _engine.Twin) -> Any:
    twin.run(10**15)
    assert twin.done
    return join_records([twin.tx_records()], [twin.rx_records()])


@pytest.mark.parametrize(
    ("ends_us", "failures", "control"),
    [
        # detection; from l1 the other spine takes over by itself
        (110, [DOWN], {"failover": "on"}),
        # detection, control latency, one entry: the group of l1 towards the other leaves
        (215, [DOWN], {}),
        (165, [DOWN], {"control_latency": "50us"}),
        (245, [DOWN], {"detection": "40us"}),
        # the controller is back, its latency, one entry
        (405, ["controller@50us-300us:lost", DOWN], {}),
        # nobody reacts: until the failure is over, or until the ports are up again
        (510, ["controller@50us:lost", DOWN], {}),
        (500, [DOWN.replace("down", "loss=100%")], {"failover": "on"}),
        (500, [DOWN.replace("down", "ber=1e-4")], {"failover": "on"}),
        # shorter than detection
        (109, ["l1<>s1@80us-109us:down"], {"detection": "30us", "failover": "on"}),
    ],
)
def test_outage_of_a_link_ends_as_its_closed_form_says(
    ends_us: int, failures: list[str], control: dict[str, str]
) -> None:
    twin, _ = twin_of(*failures, **control)
    before = lost_until(twin, ends_us - BEFORE_US, "s1", 1)
    at_the_end = lost_until(twin, ends_us + ARRIVED_US, "s1", 1)
    assert at_the_end > before
    assert len(records(twin)) >= GOOD.records, "a reliable NIC loses no message"
    assert lost_until(twin, 10**9, "s1", 1) == at_the_end


def test_loss_of_one_direction_leaves_the_other() -> None:
    twin, _ = twin_of("l1>s1@100us-500us:loss=100%")
    records(twin)
    assert lost_until(twin, 10**9, "s1", 1) > 100
    assert lost_until(twin, 10**9, "l1", 5) == 0


@pytest.mark.parametrize("failures", [["controller@100us-400us:lost"], ["controller@100us:lost"]])
def test_controller_that_is_lost_and_returns_changes_no_record(failures: list[str]) -> None:
    undisturbed, lost = (records(twin_of(*texts)[0]) for texts in ([], failures))
    assert (undisturbed == lost).all()


@pytest.mark.parametrize(
    ("what", "is_later"),
    [("rate=200Gbps", lambda added: added > 0), ("delay=1us", lambda added: added >= US)],
)
def test_slow_link_holds_frames_up_and_loses_none(what: str, is_later: Callable[[int], bool]) -> None:
    slow, _ = twin_of(f"l1<>s1@100us-500us:{what}")
    undisturbed, later = records(twin_of()[0]), records(slow)
    added = (later["delivered_ps"].astype("i8") - undisturbed["delivered_ps"].astype("i8")).max()
    assert is_later(int(added))
    assert lost_until(slow, 10**9, "s1", 1) == 0
    assert int(later["retransmits"].sum()) == int(undisturbed["retransmits"].sum()) == 0


@pytest.mark.parametrize("failure", ["s1@100us-300us:restart", "c3@100us-300us:restart", "c3@100us:process"])
def test_restart_loses_frames_and_no_message(failure: str) -> None:
    node = failure.partition("@")[0]
    twin, _ = twin_of(failure, failover="on")
    found = records(twin)
    assert len(found) >= GOOD.records
    if "process" not in failure:  # a moment may find nothing in the NIC
        assert twin.counters()[node]["restart_discards"] > 0
        assert found["retransmits"].sum() > 0


def test_outage_that_outlasts_the_retries_ends_the_run_and_says_so() -> None:
    twin, until_ps = twin_of("c3<>l1@100us:down")
    with pytest.raises(NicError, match="gave up after 7 retries") as caught:
        advance(twin, cell_id="cell", measure_until_ps=until_ps, tell=lambda *_: None)
    assert "a failure must be over before the last retry" in caught.value.remedy
