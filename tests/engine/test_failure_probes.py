"""Which packets a failure loses, to the packet and the picosecond, by streams of single packets across a leaf-spine.

`testbed/validate/control_plane.py` has the outages of links as closed forms; here is what else failures do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from testbed.controller.reaction import programme
from testbed.links.latency import link_latency_ps
from testbed.run.failure_events import stated_outage_ps
from testbed.run.join import RX_DTYPE, TX_DTYPE
from testbed.validate.measure import THIN_HEADER_BYTES, share_half_width, slot_ps
from testbed.validate.plans import card
from testbed.validate.probes import FIRST_PS, INTERVAL_PS, PAYLOAD_BYTES, US, Probed

DOWN = "l1<>s1@100us-200us:down"
ON = {"failover": "on"}
FRAME_BYTES = PAYLOAD_BYTES + THIN_HEADER_BYTES
BYTE_PS = 20
STREAMS = (("c1", "c7"), ("c3", "c2"), ("c3", "c1"), ("c7", "c1"), ("c1", "c3"), ("c3", "c8"))
"""From the leaf that fails and to it, by both spines, and past it."""


def multiples(from_us: int, until_us: int) -> list[int]:
    """Packets that begin in a span, its end excluded."""
    return list(range(from_us * US, until_us * US, INTERVAL_PS))


def travel_ps(probed: Probed) -> dict[int, int]:
    """By when a packet left its card: how long it took to its last bit."""
    sent = np.frombuffer(probed.twin.tx_records(), TX_DTYPE)
    arrived = np.frombuffer(probed.twin.rx_records(), RX_DTYPE)
    left = dict(zip(sent["msn"].tolist(), sent["first_byte_ps"].tolist(), strict=True))
    rows = zip(arrived["msn"].tolist(), arrived["delivered_ps"].tolist(), strict=True)
    return {left[msn]: delivered_ps - left[msn] for msn, delivered_ps in rows if msn in left}


def link_latency_of(probed: Probed, card_name: str) -> int:
    """Of the link of a card."""
    (link,) = probed.network.fabric.links_of(card_name)
    return link_latency_ps(link.medium, link.length_mm, link.rate_bps, lanes=link.lanes, fec=link.fec)


# ---------------------------------------------------------------------------------------------------- links


def without_carrier(probed: Probed) -> int:
    """Frames that switches sent into dark links."""
    counters = probed.twin.counters().values()
    return sum(value for of in counters for name, value in of.items() if name.endswith("no_carrier_discards"))


def test_failover_loses_what_starts_between_failure_and_detection_and_nothing_else() -> None:
    probed = Probed(failures=("l1<>s1@100us:down",), control=ON, early_ps=1)
    assert probed.lost_ps.tolist() == [one - 1 for one in multiples(100, 110)[1:]] + [110 * US - 1]
    counters = probed.twin.counters()
    assert without_carrier(probed) == len(probed.lost_ps)
    assert sum(value for of in counters.values() for name, value in of.items() if "discards" in name) == len(
        probed.lost_ps
    )


def test_failover_loses_beside_that_what_waits_for_the_port_when_it_is_noticed() -> None:
    """Two cards send at line rate by one link: half of what comes waits. None of it gets through any more."""
    probed = Probed(failures=("l1<>s1@100us:down",), control=ON, payload_bytes=4096, until_ps=150 * US)
    names = [endpoint.name for endpoint in probed.network.fabric.endpoints]
    slot = slot_ps(4096 + THIN_HEADER_BYTES)
    begin_ps = 90 * US
    load = {
        "arrivals": "PERIODIC",
        "destinations": [names.index("c7")],
        "message_bytes": 4096,
        "start_ps": begin_ps,
        "interval_ps": slot,
        "measure_until_ps": 150 * US,
    }
    data = probed.data
    for name in ("c1", "c2"):
        data["nodes"][names.index(name)].update(card(load, reliability="unreliable", ack_class=6))
    lost = probed.lost_ps - probed._way_ps  # both cards are equally far
    begins_ps = lost + probed._way_ps
    # all that are looked up by then are lost, but for those that left before the failure, one a slot
    assert begins_ps.max() <= 110 * US < begins_ps.max() + slot
    first_ps = begin_ps + probed._way_ps
    looked_up = 2 * ((110 * US - first_ps) // slot + 1)
    left = -(-(FIRST_PS - first_ps) // slot)
    assert len(lost) == looked_up - left


@pytest.mark.parametrize(
    ("src", "dst", "at_spine", "lost"), [("c1", "c7", False, True), ("c3", "c2", True, False)]
)
@pytest.mark.parametrize("what", ["loss=100%", "ber=1e-2"])
def test_silent_failure_of_one_direction_loses_all_of_that_and_none_of_the_other(
    src: str, dst: str, at_spine: bool, lost: bool, what: str
) -> None:
    probed = Probed(failures=(f"l1>s1@100us-120us:{what}",), control=ON, src=src, dst=dst, at_spine=at_spine)
    assert probed.lost_ps.tolist() == (multiples(100, 120) if lost else [])


def test_link_down_in_one_direction_loses_nothing_of_the_other() -> None:
    assert Probed(failures=("s1>l1@100us-200us:down",)).lost_ps.tolist() == []


def test_flaps_shorter_than_detection_lose_what_starts_while_the_link_is_dark() -> None:
    probed = Probed(failures=("l1<>s1@100us-104us/50us*3:down",), control=ON)
    assert probed.lost_ps.tolist() == [*multiples(100, 104), *multiples(150, 154), *multiples(200, 204)]
    control = probed.network.control
    assert not programme(probed.network.fabric, control, probed.network.failures, cards_per_nic=1).updates


def test_bit_errors_lose_a_share_of_eight_b_p() -> None:
    probed = Probed(failures=("l1>s1@100us-2ms:ber=1e-4",), until_ps=2_000 * US)
    share = 8 * FRAME_BYTES * 1e-4
    packets = len(multiples(100, 2_000))
    assert len(probed.lost_ps) / packets == pytest.approx(share, abs=share_half_width(share, packets))
    assert probed.lost_ps.min() >= FIRST_PS


@pytest.mark.parametrize(
    ("what", "later_ps"),
    [
        # the spine, which cuts through otherwise, now stores what comes slower than it goes on
        ("rate=100Gbps", (FRAME_BYTES + 8) * 80),
        ("rate=200Gbps", (FRAME_BYTES + 8) * 40),
        ("delay=1us", US),
    ],
)
def test_slow_link_makes_each_packet_later_by_its_closed_form(what: str, later_ps: int) -> None:
    slow = Probed(failures=(f"l1<>s1@100us-120us:{what}",), interval_ps=2 * US, until_ps=150 * US)
    usual_ps = travel_ps(Probed(interval_ps=2 * US, until_ps=150 * US))
    later = {left + slow._way_ps: took - usual_ps[left] for left, took in travel_ps(slow).items()}
    assert later == {
        begin: later_ps if 100 * US <= begin < 120 * US else 0
        for begin in range(2 * US, 150 * US + slow._way_ps, 2 * US)
    }


# ------------------------------------------------------------------------------------------------- restarts


def test_switch_restart_loses_its_buffer_and_what_comes_and_counts_them() -> None:
    """A spine: the first is that which would begin at the failure; from detection on leaves go around it."""
    probed = Probed(failures=("s1@100us-200us:restart",), control=ON, at_spine=True)
    assert probed.lost_ps[0] == FIRST_PS
    behind_leaf = Probed(failures=("s1@100us-200us:restart",), control=ON)
    assert behind_leaf.lost_ps[-1] == 110 * US
    assert np.all(np.diff(probed.lost_ps) == INTERVAL_PS)
    discards = probed.twin.counters()["s1"]["restart_discards"]
    assert discards > 0
    assert discards + without_carrier(probed) == len(probed.lost_ps)


def test_card_restart_loses_what_comes_meanwhile() -> None:
    probed = Probed(failures=("c7@100us-130us:restart",), control={"control_latency": "1ms"})
    assert np.all(np.diff(probed.lost_ps) == INTERVAL_PS)
    assert probed.lost_ps[0] < FIRST_PS, "it was on its way"
    to_card_ps = max(travel_ps(Probed(until_ps=US)).values())
    arrives_ps = probed.lost_ps - probed._way_ps + to_card_ps
    assert FIRST_PS < arrives_ps[0] <= FIRST_PS + INTERVAL_PS
    on_the_wire_ps = link_latency_of(probed, "c7") + (FRAME_BYTES + 8) * BYTE_PS
    ports_up_ps = (130 + 7) * US
    assert ports_up_ps - INTERVAL_PS <= arrives_ps[-1] - on_the_wire_ps < ports_up_ps
    assert probed.twin.counters()["c7"]["restart_discards"] > 0


def test_process_of_a_nic_that_is_ended_changes_no_record() -> None:
    ended = Probed(failures=("c1@100us:process", "c7@120us:process"))
    assert ended.twin.tx_records() == Probed().twin.tx_records()
    assert ended.twin.rx_records() == Probed().twin.rx_records()


# ------------------------------------------------------------------------------------------- the controller


@pytest.mark.parametrize("lost", ["controller@160us-190us:lost", "controller@20us-60us:lost"])
def test_controller_that_returns_installs_nothing_anew_and_changes_no_record(lost: str) -> None:
    """A link is down meanwhile, or fails later: all has been answered, or is in time."""
    with_it, without = Probed(failures=(DOWN,)), Probed(failures=(DOWN, lost))
    updates = [
        programme(one.network.fabric, one.network.control, one.network.failures, cards_per_nic=1).updates
        for one in (with_it, without)
    ]
    assert updates[0] == updates[1] != ()
    assert with_it.twin.tx_records() == without.twin.tx_records()
    assert with_it.twin.rx_records() == without.twin.rx_records()


def test_fabric_without_its_controller_forwards_by_the_rules_that_it_has() -> None:
    assert Probed(failures=("controller@0ps:lost",)).lost_ps.tolist() == []


# -------------------------------------------------------------------------------------- what is stated of it


@pytest.mark.parametrize(
    ("failures", "control"),
    [
        ((DOWN,), {}),
        (("l1<>s1@100us:down",), ON),
        ((DOWN, "controller@90us-150us:lost"), {}),
        ((DOWN, "controller@90us:lost"), {}),
        (("l1<>s1@100us-109us:down",), {}),
        (("l1<>s1@100us-115us/20us*5:down",), {"control_latency": "500us"}),
        (("s1@100us-200us:restart",), {}),
        (("s1@100us-200us:restart",), ON),
        (("l1@100us-200us:restart",), {}),
        (("c1@100us-200us:restart",), {}),
        (("c1<>l1@100us-200us:down",), ON),
        (("l1<>s1@100us-200us:loss=100%",), ON),
    ],
)
def test_outage_that_is_stated_is_that_of_the_stream_that_feels_it_longest(
    failures: Sequence[str], control: dict[str, Any]
) -> None:
    streams = [
        Probed(
            failures=tuple(failures),
            control=control,
            src=src,
            dst=dst,
            interval_ps=100_000,
            until_ps=400 * US,
        )
        for src, dst in STREAMS
    ]
    last_ps = max(int(one.lost_ps[-1]) for one in streams if len(one.lost_ps))
    network = streams[0].network
    rules = programme(network.fabric, network.control, network.failures, cards_per_nic=1)
    stated_ps = stated_outage_ps(network, rules, cards_per_nic=1)
    assert stated_ps is not None
    on_the_way_ps = US  # a stream meets the link one switch later than its times are of
    assert -100_000 <= FIRST_PS + stated_ps - last_ps <= on_the_way_ps + 100_000
