"""NICs that restart: what is lost, what is kept, and when the first message is complete again."""

from __future__ import annotations

from typing import Any

import pytest

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.validate.delivery_runs import Delivery, Disorder, card_totals, deliver, delivery_plan
from testbed.validate.plans import (
    FOREVER_PS,
    Data,
    Wire,
    card,
    chain,
    closed,
    drained,
    finished,
    one_message,
    records_of,
    star,
    with_pacemaker,
)
from tests.engine.stations import Station, pause
from tests.engine.stations import on_wire_ps as station_wire_ps
from tests.engine.two_cards import ACK, AT, NOTIFY, POST, READ, RECEIVE, WIRE, nic, on_wire_ps

RTO_PS = 2_000_000
LEAVES_PS = POST + READ
ARRIVES_PS = LEAVES_PS + on_wire_ps(126)
COMPLETE_PS = ARRIVES_PS + RECEIVE + NOTIFY
"""Of a message of 100 bytes, from its intended time on."""
ONE_MESSAGE = one_message(1, 100)


def restarted(
    workload: Data, *, sender: list[list[int]] | None = None, receiver: list[list[int]] | None = None
) -> _engine.Twin:
    """Card 0 sends to card 1; either has a NIC that restarts."""
    ends: list[dict[str, Any]] = [
        {"rto_ps": RTO_PS} | ({"restarts": rows} if rows else {}) for rows in (sender, receiver)
    ]
    return finished(chain(nic(workload, **ends[0]), nic(**ends[1]), [WIRE]))


def completed(twin: _engine.Twin) -> int:
    records = records_of(twin)
    assert len(records) == 1
    return int(records["completed_ps"][0])


def discards(twin: _engine.Twin, node: str) -> int:
    return twin.counters()[node]["restart_discards"]


# ---------------------------------------------------------------------------------------------- one message, by hand


def test_message_due_while_the_nic_is_off_is_posted_at_its_end_and_keeps_its_intended_time() -> None:
    due_ps, until_ps = 3_000_000, 10_000_000
    twin = restarted(one_message(1, 100, start_ps=due_ps), sender=[[1_000_000, until_ps]])
    records = records_of(twin)
    assert records["intended_ps"].tolist() == [due_ps]
    assert records["posted_ps"].tolist() == [until_ps + POST]
    assert records["completed_ps"].tolist() == [until_ps + COMPLETE_PS]
    assert discards(twin, "n0") == 0


def test_every_message_due_while_the_nic_is_off_keeps_its_intended_time() -> None:
    load = {**ONE_MESSAGE, "interval_ps": 1_000_000, "measure_until_ps": 20_000_000}
    until_ps = 9_500_000
    records = records_of(restarted(load, sender=[[2_500_000, until_ps]]))
    assert records["intended_ps"].tolist() == [n * 1_000_000 for n in range(20)]
    posted = [max(n * 1_000_000, until_ps if n >= 3 else 0) + POST for n in range(20)]
    assert records["posted_ps"].tolist() == posted


def test_message_that_its_host_is_posting_waits_for_the_end() -> None:
    until_ps = 10_000_000
    twin = restarted(ONE_MESSAGE, sender=[[POST - 1, until_ps]])
    assert records_of(twin)["posted_ps"].tolist() == [until_ps]
    assert completed(twin) == until_ps + COMPLETE_PS - POST
    assert discards(twin, "n0") == 0


@pytest.mark.parametrize(("until_ps", "again_ps"), [(1_000_000, POST + RTO_PS), (9_000_000, 9_000_000)])
def test_packet_in_the_stages_is_lost_and_the_time_out_sends_it_again(until_ps: int, again_ps: int) -> None:
    """A time-out that falls into the restart acts at its end."""
    twin = restarted(ONE_MESSAGE, sender=[[LEAVES_PS - 1, until_ps]])
    assert completed(twin) == again_ps + COMPLETE_PS - POST
    assert discards(twin, "n0") == 1
    assert records_of(twin)["retransmits"].tolist() == [1]
    assert records_of(twin)["first_byte_ps"].tolist() == [again_ps + READ]


def test_packet_that_has_left_is_not_lost() -> None:
    """What happens at the time of the restart has happened."""
    twin = restarted(ONE_MESSAGE, sender=[[LEAVES_PS, LEAVES_PS + 1]])
    assert completed(twin) == COMPLETE_PS
    assert discards(twin, "n0") == 0


@pytest.mark.parametrize(("from_ps", "until_ps", "lost"), [(-1, 1, 1), (-100, 10**6, 1), (-2, 0, 0)])
def test_packet_that_arrives_while_the_nic_is_off_is_lost(from_ps: int, until_ps: int, lost: int) -> None:
    twin = restarted(ONE_MESSAGE, receiver=[[ARRIVES_PS + from_ps, ARRIVES_PS + until_ps]])
    assert completed(twin) == COMPLETE_PS + lost * RTO_PS
    assert discards(twin, "n1") == lost


def test_packet_that_arrives_as_the_nic_goes_off_is_received_and_its_answer_lost() -> None:
    twin = restarted(ONE_MESSAGE, receiver=[[ARRIVES_PS, ARRIVES_PS + 1]])
    assert completed(twin) == COMPLETE_PS
    assert discards(twin, "n1") == twin.counters()["n1"]["rx_duplicates"] == 1


def test_acknowledgement_in_the_stages_is_lost_and_the_packet_comes_again() -> None:
    twin = restarted(ONE_MESSAGE, receiver=[[ARRIVES_PS + ACK - 1, ARRIVES_PS + ACK + 1]])
    assert completed(twin) == COMPLETE_PS
    assert discards(twin, "n1") == 1
    assert twin.counters()["n1"]["rx_duplicates"] == 1


def test_acknowledgement_that_arrives_while_the_nic_is_off_is_lost() -> None:
    twin = restarted(ONE_MESSAGE, sender=[[LEAVES_PS + 1, LEAVES_PS + 2 * RTO_PS]])
    assert completed(twin) == COMPLETE_PS
    assert discards(twin, "n0") == 1
    assert twin.counters()["n0"]["tx_timeouts"] == 1


def test_restart_that_meets_nothing_changes_nothing() -> None:
    twin = restarted(ONE_MESSAGE, sender=[[10**7, 10**8], [10**8, 10**9]], receiver=[[10**7, 10**8]])
    assert completed(twin) == COMPLETE_PS


def test_flow_between_other_cards_is_unchanged() -> None:
    def run(**config: Any) -> list[int]:
        loads = [closed(1, 20_000, until_ps=10**8), None, closed(3, 20_000, until_ps=10**8), None]
        own: list[Data] = [config, {}, {}, {}]
        cards = [card(load, rto_ps=RTO_PS, **more) for load, more in zip(loads, own, strict=True)]
        records = records_of(drained(star(cards)))
        assert (records["src"] == 0).any()
        return [int(at) for at in records["completed_ps"][records["src"] == 2]]

    assert run() == run(restarts=[[10**6, 2 * 10**7], [3 * 10**7, 5 * 10**7]])


def test_pause_is_forgotten() -> None:
    """The station stops the NIC for long; the NIC is off for a short time after that."""
    until_ps = 5_000_000
    station = Station(sends=[(0, pause({3: 0xFFFF}))])

    def first_bit_ps(**config: Any) -> int:
        station.heard.clear()
        station._told = False
        sender = card(one_message(1, 100, start_ps=2_000_000), rto_ps=10**9, **config)
        plan = build_plan({"seed": 1, "nodes": [{**sender, "name": "n0"}], "links": []})
        plan.add_link(0, 0, plan.add_python("station", lambda *_: station, 0, True, 16_384), 0, 20, 100_000)
        _engine.Twin(plan).run(10**8)
        return station.heard[0].last_bit_ps - station_wire_ps(126) - 100_000

    effect_ps = 100_000 + station_wire_ps(64)
    assert first_bit_ps() == effect_ps + 0xFFFF * 64 * 20
    assert first_bit_ps(restarts=[[1_000_000, until_ps]]) == until_ps


# --------------------------------------------------------------------------------------------------- every NIC

MODES: tuple[tuple[str, Data], ...] = (
    ("transparent", {}),
    ("transparent", {"cards": 4, "batch": "1KiB:300ns", "ordered": "on"}),
    ("transparent", {"udp": "on", "paths": 8, "tlp": "8us", "congestion": "dctcp"}),
    ("rdma", {}),
    ("rdma", {"receive_depth": 2, "congestion": "dcqcn", "cards": 2}),
    ("kernel", {"retransmission_timeout": "2ms", "tlp": "off"}),
    ("kernel", {"protocol": "udp"}),
    ("uec", {}),
    ("uec", {"mode": "rod"}),
    ("uec", {"mode": "rudi"}),
    ("uec", {"mode": "uud"}),
    ("sue", {}),
    ("sue", {"cards": 2, "header": "standard"}),
    ("ualink", {}),
    ("ualink", {"cards": 2}),
)
RESTARTS = Disorder(
    name="restarts",
    restarts=[
        [3_000_000, 13_000_000],
        [40_000_000, 60_000_001],
        [60_000_001, 60_000_002],
        [75_000_000, 75_000_001],
    ],
)


@pytest.mark.parametrize("incast", [False, True])
@pytest.mark.parametrize(("name", "settings"), MODES)
def test_every_nic_that_restarts_delivers_all_that_it_promises(
    name: str, settings: Data, incast: bool
) -> None:
    disorder = Disorder(name="restarts", restarts=RESTARTS.restarts, incast=incast)
    for op, size_bytes in (("put", 64), ("put", 20_000), ("get", 9_000), ("send", 5_000)):
        one = Delivery(
            nic=name, disorder=disorder, settings=settings, op=op, size_bytes=size_bytes, window=16
        )
        reliable = one.setup.profile.reliability != "unreliable"
        if op == "get" and not reliable:
            continue
        found = deliver(one, until_ps=100_000_000, seed=1)
        assert found.posted >= 30
        assert found.leaked == found.disordered == found.miscounted == 0, found
        assert found.delivered == found.posted if reliable else found.delivered < found.posted, found
        assert found.lost_packets > 0


def test_every_nic_that_restarts_counts_what_it_drops() -> None:
    one = Delivery(nic="transparent", disorder=RESTARTS, settings={}, size_bytes=20_000, window=16)
    twin = _engine.Twin(build_plan(with_pacemaker(delivery_plan(one, until_ps=100_000_000, seed=1))))
    twin.run(FOREVER_PS)
    sums = card_totals(twin)
    sent = sums["tx_packets"] + sums["tx_acks"] + sums["tx_naks"]
    received = sums["rx_packets"] + sums["rx_acks"] + sums["rx_naks"]
    assert sums["restart_discards"] == sent - received > 0


# --------------------------------------------------------------------------------------------------- what cannot be


@pytest.mark.parametrize("rows", [[[5, 5]], [[5, 4]], [[1, 5], [4, 6]], [[1, 1 << 62]]])
def test_restarts_that_cannot_be_are_refused(rows: list[list[int]]) -> None:
    with pytest.raises(ValueError, match="a restart ends after it begins"):
        restarted(ONE_MESSAGE, sender=rows)


def test_restart_on_credit_is_refused() -> None:
    data = chain(
        nic(ONE_MESSAGE, restarts=[[1, 2]]), nic(), [Wire(options={"cbfc": True}), WIRE], credit_bytes=20_000
    )
    with pytest.raises(ValueError, match="forgets its credits"):
        finished(data)


def test_counter_is_there_only_where_there_are_restarts() -> None:
    twin = finished(chain(card(ONE_MESSAGE, at=AT), card(at=AT), [WIRE]))
    assert "restart_discards" not in twin.counters()["n0"]
