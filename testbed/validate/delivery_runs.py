"""Runs of whole NIC profiles over links in disorder, until nothing is left to do; what came of each, in numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from nic_emulator import NICS
from nic_emulator.setup import NicSetup, configured
from testbed.analysis.records import Records
from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.errors import MeasurementError
from testbed.run.join import RX_DTYPE, TX_DTYPE, join_records
from testbed.run.plan import plan_data
from testbed.run.schedule import schedule_of
from testbed.spec.experiment import Cell, Scenario
from testbed.switches import SWITCHES
from testbed.switches.setup import configured as configured_switch
from testbed.units import PS_PER_MS, PS_PER_US
from testbed.validate.plans import Data, with_pacemaker
from topologies import build_fabric

ONE = 1 << 64
ENDPOINTS = 3
PATIENCE_PS = 100_000 * PS_PER_MS
"""No retry, nor all of them in a row, takes so long beyond the last posting; what is not there then never comes."""
MOST_HOPS_PER_PACKET = 400
"""Nor does a packet with all its acknowledgements and retries cross so many links."""
_SLICES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Disorder:
    """What the fabric does to frames."""

    name: str
    links: Data = field(default_factory=dict)
    flaps: bool = False
    """Every link is down for 10 us in each 970."""
    switch: str = "tomahawk5"
    switch_settings: Mapping[str, Any] = field(default_factory=dict)
    incast: bool = False
    """All cards send to the first NIC's, so that the switch's port to it is too slow."""
    restarts: Sequence[Sequence[int]] = ()
    """[from_ps, until_ps]: the first NIC is off, and the second 5 us later."""
    weight: int = 1
    """Share of the messages."""

    @property
    def copies(self) -> bool:
        """Whether links send frames twice."""
        return "duplicate_2p64" in self.links


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One workload over one NIC in one kind of disorder."""

    nic: str
    disorder: Disorder
    settings: Mapping[str, Any] = field(default_factory=dict)
    op: str = "put"
    size_bytes: int = 64
    window: int = 4
    """Messages that each card keeps outstanding."""

    @property
    def setup(self) -> NicSetup:
        """The NIC as it is set."""
        return configured(NICS.get(self.nic), self.settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one or several runs of deliveries came to; counts."""

    posted: int = 0
    delivered: int = 0
    """Once, whole, and known to the sender."""
    disordered: int = 0
    """Messages before their predecessor in the stream, where an order is promised."""
    leaked: int = 0
    """Frames in use when nothing was left to do."""
    lost_packets: int = 0
    """Data packets sent less those received; on links that copy frames not all of them."""
    resent_packets: int = 0
    miscounted: int = 0
    """By how much counters and records disagree."""
    hit: int = 0
    """Messages with a packet that was sent again."""

    def __add__(self, other: Outcome) -> Outcome:
        names = self.__dataclass_fields__
        return Outcome(**{name: getattr(self, name) + getattr(other, name) for name in names})


def delivery_plan(one: Delivery, *, until_ps: int, seed: int) -> Data:
    """The plan of one workload: every card a closed loop to all others, or to the first NIC's cards."""
    setup, fabric = one.setup, build_fabric("single_switch", {"cards": ENDPOINTS})
    scenario = Scenario(name="delivery", kind="permutation", op=one.op)  # type: ignore[arg-type]
    cell = Cell(scenario=scenario, size_bytes=one.size_bytes, nic=one.nic)
    schedule = schedule_of(cell, fabric, cards_per_nic=setup.cards)
    switch = configured_switch(SWITCHES.get(one.disorder.switch), one.disorder.switch_settings)
    data = plan_data(
        fabric, switch=switch, nic=setup, schedule=schedule, seed=seed, measure_until_ps=until_ps
    )
    for endpoint, node in enumerate(data["nodes"][:ENDPOINTS]):
        _load(node, one, setup.cards, endpoint, until_ps)
        if one.disorder.restarts and endpoint < 2:
            later_ps = 5 * PS_PER_US * endpoint
            restarts = [[at + later_ps for at in both] for both in one.disorder.restarts]
            node["config"] = node["config"] | {"restarts": restarts}
    links = [[*link[:6], _features(link, one.disorder, until_ps)] for link in data["links"]]
    return {**data, "links": links}


def _load(node: Data, one: Delivery, cards: int, endpoint: int, until_ps: int) -> None:
    """Replace the workloads of a NIC's cards."""
    own = node.pop("workloads", None) or [node.pop("workload")]
    load = {
        "arrivals": "CLOSED",
        "message_bytes": one.size_bytes,
        "window": one.window,
        "measure_until_ps": until_ps,
        "op": own[0].get("op", "PUT"),
    }
    if one.disorder.incast:
        load |= {"destinations": list(range(cards))} if endpoint else {"arrivals": "NONE"}
    else:
        load |= {"others_of": cards * ENDPOINTS}
    node |= {"workload": load} if cards == 1 else {"workloads": [load] * cards}


def _features(link: Sequence[Any], disorder: Disorder, until_ps: int) -> Data:
    """What a link of the product does, and the disorder."""
    found = dict(link[6]) if len(link) > 6 else {}
    found |= disorder.links
    if disorder.flaps:
        period_ps, down_ps = 970 * PS_PER_US, 10 * PS_PER_US
        times = range(100 * PS_PER_US, until_ps + 10 * PS_PER_MS, period_ps)
        found["faults"] = [[way, at, at + down_ps, ONE - 1] for at in times[:5000] for way in (0, 1)]
    return found


def deliver(one: Delivery, *, until_ps: int, seed: int) -> Outcome:
    """Run one workload until nothing is left to do; `MeasurementError` if frames go back and forth for ever."""
    data = delivery_plan(one, until_ps=until_ps, seed=seed)
    twin = _engine.Twin(build_plan(with_pacemaker(data)))
    _drain(twin, one, until_ps)
    tx = np.frombuffer(twin.tx_records(), TX_DTYPE)
    rx = np.frombuffer(twin.rx_records(), RX_DTYPE)
    reliable = one.setup.profile.reliability != "unreliable"
    records = join_records([tx.tobytes()], [rx.tobytes()], lossy=True)
    sums = card_totals(twin)
    return Outcome(
        posted=len(tx),
        delivered=min(len(records), int(tx["acked"].sum()), len(rx)),
        disordered=_disordered(records) if _keeps_order(one) else 0,
        leaked=twin.frames_in_use,
        lost_packets=max(0, sums["tx_packets"] - sums["rx_packets"]),
        resent_packets=sums["tx_retransmits"],
        miscounted=_miscounted(one, sums, tx, rx) if reliable else _unexplained(one, sums, tx, rx),
        hit=int(np.count_nonzero(records["retransmits"])),
    )


def deliver_many(one: Delivery, messages: int) -> Outcome:
    """Runs of as many seeds as it takes for so many messages, each as long as the last one tells."""
    found, until_ps, seed = Outcome(), 50 * PS_PER_US, 1
    while found.posted < messages:
        before = found.posted
        found += deliver(one, until_ps=until_ps, seed=seed)
        wanted = (messages - found.posted) * until_ps // max(1, found.posted - before)
        until_ps = min(max(wanted * 11 // 10, 20 * PS_PER_US), 200 * until_ps)
        seed += 1
    return found


def _drain(twin: _engine.Twin, one: Delivery, until_ps: int) -> None:
    """Until only the pacemaker is left, or patience is at an end (credits are repeated for ever)."""
    step_ps = max(1, until_ps // _SLICES)
    end_ps = until_ps + PATIENCE_PS
    while twin.next_event_ps < end_ps:
        twin.run(max(twin.now_ps, twin.next_event_ps) + step_ps)
        sums = card_totals(twin)
        packets = sums["tx_packets"] - sums["tx_retransmits"]
        if twin.hops > MOST_HOPS_PER_PACKET * (packets + 1000):
            raise MeasurementError(
                f"{one.nic} {dict(one.settings)} {one.op} {one.size_bytes} B, {one.disorder.name}: still busy"
                f" at {twin.now_ps} ps, after {twin.hops:,} frames on links",
                remedy="the NIC model is at fault; please report it",
            )


def card_totals(twin: _engine.Twin) -> dict[str, int]:
    """The counters of all NICs, summed."""
    sums: dict[str, int] = {}
    for counters in twin.counters().values():
        if "tx_packets" in counters:
            for name, value in counters.items():
                sums[name] = sums.get(name, 0) + value
    return sums


def _keeps_order(one: Delivery) -> bool:
    profile = one.setup.profile
    return profile.ordered or profile.reliability == "go_back_n"


def _disordered(records: Records) -> int:
    """Messages delivered or completed before one of the same stream that was posted earlier."""
    ordered = records[np.lexsort((records["seq"], records["dst"], records["src"]))]
    same = (ordered["src"][1:] == ordered["src"][:-1]) & (ordered["dst"][1:] == ordered["dst"][:-1])
    back = np.zeros(len(same), np.bool_)
    for name in ("delivered_ps", "completed_ps"):
        back |= ordered[name][1:] < ordered[name][:-1]
    return int(np.count_nonzero(back & same))


def _miscounted(
    one: Delivery, sums: Mapping[str, int], tx: npt.NDArray[np.void], rx: npt.NDArray[np.void]
) -> int:
    """Messages by counters and by records; first transmissions; retransmissions by counters and by records."""
    wrong = abs(len(tx) - sums["tx_messages"]) + abs(len(rx) - sums["rx_messages"])
    wrong += max(0, sums["rx_packets"] - sums["tx_packets"]) if not one.disorder.copies else 0
    setup = one.setup
    if setup.profile.batching is not None and one.size_bytes <= setup.profile.batching.bytes.number:
        return wrong  # how many packets there are depends on what shares one
    away = tx["src"] // setup.cards != tx["dst"] // setup.cards
    packets = -(-one.size_bytes // setup.profile.mtu_bytes.number) + (one.op == "get")
    wrong += abs(sums["tx_packets"] - sums["tx_retransmits"] - packets * int(np.count_nonzero(away)))
    if one.op != "get":  # who answers a get has no record of it
        wrong += abs(int(tx["retransmits"].sum()) - sums["tx_retransmits"])
    return wrong


def _unexplained(
    one: Delivery, sums: Mapping[str, int], tx: npt.NDArray[np.void], rx: npt.NDArray[np.void]
) -> int:
    """Of an unreliable transport: messages lost without a packet lost, and packets lost without a message."""
    wrong = abs(len(tx) - sums["tx_messages"]) + abs(len(rx) - sums["rx_messages"])
    if one.disorder.copies:
        return wrong  # how many packets are lost is not known
    packets = -(-one.size_bytes // one.setup.profile.mtu_bytes.number)
    lost, missing = sums["tx_packets"] - sums["rx_packets"], len(tx) - len(rx)
    return wrong + max(0, missing - lost) + max(0, -(-lost // packets) - missing)


__all__ = ["Delivery", "Disorder", "Outcome", "deliver", "deliver_many", "delivery_plan"]
