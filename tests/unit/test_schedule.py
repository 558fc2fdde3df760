"""Intended times: loads are honoured, incast rounds are common, an idle fabric has one message at a time."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
from scipy import stats

from testbed.run.schedule import IDLE_GAP_PS, Schedule, schedule_of
from testbed.spec.experiment import VICTIM_DESTINATION, Cell, Scenario
from testbed.units import byte_time_ps
from topologies import TOPOLOGIES

CARDS = 16
KINDS: dict[str, Scenario] = {
    "idle": Scenario(name="idle", kind="idle"),
    "load": Scenario(name="load", kind="poisson", load_permille=600),
    "incast": Scenario(name="incast", kind="incast", load_permille=500, fan_in=8),
    "paced": Scenario(name="paced", kind="permutation", load_permille=250),
    "full": Scenario(name="full", kind="permutation"),
    "pingpong": Scenario(name="pingpong", kind="pingpong"),
    "victim": Scenario(name="victim", kind="victim", load_permille=500, fan_in=8),
    "flood": Scenario(name="flood", kind="victim", fan_in=8),
}


def schedule(scenario: str, *, size_bytes: int = 4096, cards: int = CARDS, byte_ps: int = 20) -> Schedule:
    cell = Cell(scenario=KINDS[scenario], size_bytes=size_bytes, nic="any")
    return Schedule(cell=cell, endpoints=cards, byte_times_ps=(byte_ps,) * cards)


def shared(scenario: str, cards_per_nic: int) -> Schedule:
    """Sixteen NICs with several cards each."""
    cell = Cell(scenario=KINDS[scenario], size_bytes=4096, nic="any")
    return Schedule(cell=cell, endpoints=CARDS, byte_times_ps=(20,) * CARDS, cards_per_nic=cards_per_nic)


def workloads(scenario: str, **more: int) -> list[dict[str, Any]]:
    plan = schedule(scenario, **more)
    return [plan.workload(endpoint, 10**9) for endpoint in range(plan.endpoints)]


@pytest.mark.parametrize("size_bytes", [1, 4096, 65_536, 1_000_001])
@pytest.mark.parametrize("byte_ps", [10, 20, 80])
def test_poisson_interval_is_the_load_of_payload_on_the_line(size_bytes: int, byte_ps: int) -> None:
    for load in workloads("load", size_bytes=size_bytes, byte_ps=byte_ps):
        assert load["arrivals"] == "POISSON"
        offered = size_bytes * byte_ps / load["interval_ps"]
        assert offered == pytest.approx(0.6, rel=0.05 if size_bytes == 1 else 1e-5)
        assert not load.get("common_times", False)


def test_poisson_cards_of_unequal_rates_each_offer_their_own_load() -> None:
    cell = Cell(scenario=KINDS["load"], size_bytes=4096, nic="any")
    mixed = Schedule(cell=cell, endpoints=2, byte_times_ps=(20, 80))
    fast, slow = (mixed.workload(endpoint, 1)["interval_ps"] for endpoint in (0, 1))
    assert slow == pytest.approx(4 * fast, rel=1e-5)


def test_incast_senders_share_their_times_and_load_one_receiver() -> None:
    loads = workloads("incast")
    senders = [load for load in loads if load["arrivals"] != "NONE"]
    assert [load["arrivals"] for load in loads] == ["NONE"] + ["POISSON"] * 8 + ["NONE"] * 7
    assert all(load["destinations"] == [0] and load["common_times"] for load in senders)
    assert len({load["interval_ps"] for load in senders}) == 1
    assert 8 * 4096 * 20 / senders[0]["interval_ps"] == pytest.approx(0.5)


def test_victim_is_the_last_card_and_sends_a_little_to_the_second() -> None:
    loads = workloads("victim")
    assert [load["arrivals"] for load in loads] == ["NONE"] * 7 + ["POISSON"] * 8 + ["PERIODIC"]
    assert loads[-1]["destinations"] == [VICTIM_DESTINATION]
    assert 4096 * 20 / loads[-1]["interval_ps"] == 0.1


def test_victim_s_incast_is_as_an_incast_from_the_cards_before_it() -> None:
    assert workloads("victim")[7:15] == workloads("incast")[1:9]


def test_victim_without_load_is_beside_senders_that_never_stop() -> None:
    loads = workloads("flood")
    assert {(load["arrivals"], load["window"], *load["destinations"]) for load in loads[7:15]} == {
        ("CLOSED", 64, 0)
    }
    assert loads[-1] == workloads("victim")[-1]


def test_idle_cards_take_turns_with_a_gap_between_any_two_messages() -> None:
    loads = workloads("idle")
    times = sorted(load["start_ps"] + turn * load["interval_ps"] for load in loads for turn in range(3))
    gaps = {after - before for before, after in itertools.pairwise(times)}
    assert gaps == {IDLE_GAP_PS + 2 * 4096 * 20}


def test_paced_permutation_is_periodic_to_the_other_half() -> None:
    for number, load in enumerate(workloads("paced")):
        assert (load["arrivals"], load["destinations"]) == ("PERIODIC", [(number + 8) % CARDS])
        assert 4096 * 20 / load["interval_ps"] == 0.25


@pytest.mark.parametrize(("size_bytes", "window"), [(1, 262_144), (4096, 64), (65_536, 4), (1 << 20, 2)])
def test_full_permutation_keeps_a_window_of_bytes_outstanding(size_bytes: int, window: int) -> None:
    load = workloads("full", size_bytes=size_bytes)[3]
    assert (load["arrivals"], load["window"], load["destinations"]) == ("CLOSED", window, [11])


def test_ping_pong_is_between_the_first_card_and_the_last() -> None:
    loads = workloads("pingpong")
    assert [load["arrivals"] for load in loads] == ["PING_PONG"] + ["NONE"] * 15
    assert loads[0]["destinations"] == [15]
    assert loads[15]["reply"]


@pytest.mark.parametrize("scenario", KINDS)
def test_workload_of_every_kind_names_size_and_end(scenario: str) -> None:
    for load in workloads(scenario):
        assert (load["message_bytes"], load["measure_until_ps"]) == (4096, 10**9)


@pytest.mark.parametrize("scenario", ["idle", "paced"])
@pytest.mark.parametrize("records", [1, 7, 1000])
def test_measure_until_regular_arrivals_reach_the_records(scenario: str, records: int) -> None:
    plan = schedule(scenario)
    until = plan.measure_until_ps(records)
    loads = [plan.workload(endpoint, until) for endpoint in plan.senders()]
    assert (
        sum(math.ceil((until - load.get("start_ps", 0)) / load["interval_ps"]) for load in loads) >= records
    )


@pytest.mark.parametrize(("scenario", "rounds"), [("load", 1), ("incast", 8)])
@pytest.mark.parametrize("records", [1, 100, 10_000, 1_000_000])
def test_measure_until_random_arrivals_reach_the_records_but_for_one_in_a_million(
    scenario: str, rounds: int, records: int
) -> None:

    plan = schedule(scenario)
    mean = (
        sum(plan.measure_until_ps(records) / plan.interval_ps(endpoint) for endpoint in plan.senders())
        / rounds
    )
    assert stats.poisson.cdf(math.ceil(records / rounds) - 1, mean) < 1e-6
    assert mean < records / rounds * 1.01 + 40 + 8 * math.sqrt(records)


@pytest.mark.parametrize("topology", ["leaf_spine", "single_switch", "squadrack"])
def test_schedule_of_a_fabric_takes_the_rates_of_its_ports(topology: str) -> None:
    fabric = TOPOLOGIES.get(topology)()
    plan = schedule_of(Cell(scenario=KINDS["load"], size_bytes=4096, nic="any"), fabric)
    assert plan.endpoints == len(fabric.endpoints)
    for endpoint, byte_ps in zip(fabric.endpoints, plan.byte_times_ps, strict=True):
        assert byte_ps == byte_time_ps(fabric.links_of(endpoint.name)[0].rate_bps)


@pytest.mark.parametrize("scenario", ["load", "paced"])
def test_cards_of_a_nic_share_the_load_of_its_port(scenario: str) -> None:
    plan, alone = shared(scenario, 4), schedule(scenario)
    for card in plan.cards_of(3):
        assert plan.interval_ps(card) == pytest.approx(4 * alone.interval_ps(3), rel=1e-5)
    assert plan.measure_until_ps(10_000) == pytest.approx(alone.measure_until_ps(10_000), rel=1e-4)


def test_poisson_cards_send_to_all_others_also_behind_their_own_nic() -> None:
    assert {shared("load", 4).workload(card, 1)["others_of"] for card in range(64)} == {64}


def test_incast_of_several_cards_has_no_sender_behind_the_receiver_s_nic() -> None:
    plan = shared("incast", 4)
    assert plan.senders() == range(4, 12)
    assert plan.interval_ps(4) == schedule("incast").interval_ps(1)


def test_permutation_of_several_cards_keeps_their_places() -> None:
    plan = shared("full", 4)
    assert plan.workload(5, 1)["destinations"] == [37]
    assert {card % 4 - plan.workload(card, 1)["destinations"][0] % 4 for card in range(64)} == {0}


def test_idle_cards_behind_one_nic_take_turns_too() -> None:
    plan = shared("idle", 2)
    starts = [plan.workload(card, 1)["start_ps"] for card in range(32)]
    assert starts == [card * plan.idle_gap_ps for card in range(32)]
    assert plan.interval_ps(0) == 32 * plan.idle_gap_ps


@pytest.mark.parametrize("scenario", ["load", "incast", "idle"])
def test_batch_keeps_the_load_and_reaches_the_records(scenario: str) -> None:
    cell = Cell(scenario=replace(KINDS[scenario], batch=16), size_bytes=64, nic="any")
    plan = Schedule(cell=cell, endpoints=CARDS, byte_times_ps=(20,) * CARDS)
    alone = schedule(scenario, size_bytes=64)
    sender = plan.senders()[0]
    assert plan.workload(sender, 1)["batch"] == 16
    if scenario == "idle":
        assert plan.idle_gap_ps == IDLE_GAP_PS + 2 * 16 * 64 * 20
    else:
        assert plan.interval_ps(sender) == pytest.approx(16 * alone.interval_ps(sender), rel=1e-3)
    arrivals = sum(plan.measure_until_ps(10_000) / plan.interval_ps(card) for card in plan.senders())
    assert 16 * arrivals >= 10_000


@pytest.mark.parametrize("cards_per_nic", [1, 4])
def test_load_of_each_card_does_not_depend_on_how_many_share_a_nic(cards_per_nic: int) -> None:
    scenario = Scenario(name="own", kind="poisson", load_permille=100, load_of="card")
    cell = Cell(scenario=scenario, size_bytes=4096, nic="any")
    each = Schedule(cell=cell, endpoints=4, byte_times_ps=(20,) * 4, cards_per_nic=cards_per_nic)
    assert each.workload(1, 10**9)["interval_ps"] == 10 * 4096 * 20


def test_pairs_send_to_the_card_beside_them() -> None:
    scenario = Scenario(name="pairs", kind="pairs", load_permille=100, load_of="card")
    cell = Cell(scenario=scenario, size_bytes=4096, nic="any")
    plan = Schedule(cell=cell, endpoints=2, byte_times_ps=(20,) * 2, cards_per_nic=2)
    assert [plan.workload(card, 1)["destinations"] for card in range(4)] == [[1], [0], [3], [2]]
