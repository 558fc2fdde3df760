"""When messages are meant to be sent: from a scenario to intended times, as the engine's workload fields. Pure.

Open-loop scenarios (`idle`, `poisson`, `incast`, `pairs`) count latency from these intended times, so that a sender
that stalls cannot hide its own delay. `permutation` without a load and `pingpong` are closed loops; so are the senders
of a `victim` scenario without a load, but never its victim.

Cards are what sends and receives; those behind one NIC have consecutive numbers and share the load of its port.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from testbed.spec.experiment import FAN_IN_KINDS, VICTIM_DESTINATION, Cell
from testbed.spec.fabric import Fabric
from testbed.units import PS_PER_US, byte_time_ps

IDLE_GAP_PS = 10 * PS_PER_US
"""Between two messages of an idle fabric: longer than a message takes, host software's tail aside."""
CLOSED_WINDOW_BYTES = 1 << 18
"""What a back-to-back sender keeps outstanding."""
VICTIM_LOAD_PERMILLE = 100
"""What the victim of a `victim` scenario offers: little, so that it waits for others and not for itself."""
PING_PONG_GUESS_PS = 4 * PS_PER_US
"""Assumed time of one direction of a ping-pong; only sizes the run."""

_FOREVER_PS = 2**62
"""Closed loops go on while others are measured; so a short run is the beginning of a long one, message by message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """The workload of every card in one cell."""

    cell: Cell
    endpoints: int
    """NICs."""
    byte_times_ps: tuple[int, ...]
    """Of each NIC's port."""
    cards_per_nic: int = 1

    @property
    def cards(self) -> int:
        """All of them."""
        return self.endpoints * self.cards_per_nic

    def cards_of(self, endpoint: int) -> range:
        """The cards behind one NIC."""
        return range(endpoint * self.cards_per_nic, (endpoint + 1) * self.cards_per_nic)

    def message_ps(self, card: int) -> int:
        """Time that a message's payload takes on the port of a card's NIC."""
        return self.cell.size_bytes * self.byte_times_ps[card // self.cards_per_nic]

    @property
    def batch(self) -> int:
        """Messages that one arrival brings."""
        return self.cell.scenario.batch

    @property
    def idle_gap_ps(self) -> int:
        """From one arrival of the fabric to the next, when it is idle."""
        return IDLE_GAP_PS + 2 * self.batch * self.message_ps(0)

    def senders(self) -> range:
        """The cards that post of their own accord; those of an incast are behind other NICs than its receiver."""
        kind = self.cell.scenario.kind
        if kind == "incast":
            return range(self.cards_per_nic, self.cell.scenario.fan_in + self.cards_per_nic)
        if kind == "victim":
            return range(self.cards - 1 - self.cell.scenario.fan_in, self.cards)
        return range(1) if kind == "pingpong" else range(self.cards)

    def interval_ps(self, card: int) -> int:
        """Mean time between the arrivals of one sender; for closed loops a guess that sizes the run."""
        scenario = self.cell.scenario
        if scenario.kind == "idle":
            return self.idle_gap_ps * self.cards
        if scenario.kind == "pingpong":
            return 2 * PING_PONG_GUESS_PS + 2 * self.message_ps(card)
        if self._is_victim(card):
            return self.message_ps(card) * 1000 // VICTIM_LOAD_PERMILLE
        load_permille = scenario.load_permille or 1000
        sharing = scenario.fan_in if scenario.kind in FAN_IN_KINDS else self.cards_per_nic
        if scenario.load_of == "card":
            sharing = 1
        return self.message_ps(card) * self.batch * sharing * 1000 // load_permille

    def measure_until_ps(self, records: int) -> int:
        """A time before which at least so many messages are intended (but for a chance below 10^-6)."""
        arrivals = math.ceil(records / self.batch)
        if self.cell.scenario.kind == "idle":
            return arrivals * self.idle_gap_ps
        independent = arrivals
        if self.cell.scenario.kind in FAN_IN_KINDS:
            independent = math.ceil(arrivals / len(self.senders()))
            arrivals = independent * len(self.senders())  # whole rounds
        margin = 1 + 6 / math.sqrt(independent) + 20 / independent
        per_ps = sum(1 / self.interval_ps(card) for card in self.senders())
        return math.ceil(arrivals * margin / per_ps)

    def workload(self, card: int, measure_until_ps: int) -> dict[str, Any]:
        """The fields of the engine's WorkloadConfig for one card."""
        scenario = self.cell.scenario
        common: dict[str, Any] = {
            "measure_until_ps": measure_until_ps,
            "message_bytes": self.cell.size_bytes,
        }
        if card not in self.senders():
            return common | {"arrivals": "NONE", "reply": scenario.kind == "pingpong"}
        if self.batch > 1:
            common["batch"] = self.batch
        own = {
            "idle": self._idle,
            "poisson": self._poisson,
            "incast": self._incast,
            "victim": self._victim,
            "permutation": self._permutation,
            "pairs": self._pairs,
            "pingpong": self._ping_pong,
        }[scenario.kind]
        return common | own(card)

    def _idle(self, card: int) -> dict[str, Any]:
        """The cards take turns."""
        return {
            "arrivals": "PERIODIC",
            "start_ps": card * self.idle_gap_ps,
            "interval_ps": self.interval_ps(card),
            "others_of": self.cards,
        }

    def _poisson(self, card: int) -> dict[str, Any]:
        """Independent senders, uniform destinations: each message is load to the others."""
        return {
            "arrivals": "POISSON",
            "interval_ps": self.interval_ps(card),
            "others_of": self.cards,
        }

    def _incast(self, card: int) -> dict[str, Any]:
        """Synchronous rounds at Poisson times, all to card 0."""
        return {
            "arrivals": "POISSON",
            "interval_ps": self.interval_ps(card),
            "destinations": [0],
            "common_times": True,
        }

    def _is_victim(self, card: int) -> bool:
        """The last card of a `victim` scenario; the ones before it are the senders of the incast."""
        return self.cell.scenario.kind == "victim" and card == self.cards - 1

    def _victim(self, card: int) -> dict[str, Any]:
        """The last cards to card 0, but for the very last: a little, evenly, to the one beside that."""
        if self._is_victim(card):
            own = [VICTIM_DESTINATION]
            return {"arrivals": "PERIODIC", "interval_ps": self.interval_ps(card), "destinations": own}
        return self._incast(card) if self.cell.scenario.load_permille else self._back_to_back([0])

    def _back_to_back(self, destinations: list[int]) -> dict[str, Any]:
        """A window of bytes is always outstanding."""
        window = max(2, CLOSED_WINDOW_BYTES // self.cell.size_bytes)
        return {
            "arrivals": "CLOSED",
            "window": window,
            "destinations": destinations,
            "post_until_ps": _FOREVER_PS,
        }

    def _permutation(self, card: int) -> dict[str, Any]:
        """Each card to the one half the fabric away, at the same place behind its NIC."""
        peer = [(card + self.endpoints // 2 * self.cards_per_nic) % self.cards]
        if self.cell.scenario.load_permille:
            return {"arrivals": "PERIODIC", "interval_ps": self.interval_ps(card), "destinations": peer}
        return self._back_to_back(peer)

    def _pairs(self, card: int) -> dict[str, Any]:
        """Each card to the one beside it, which is behind the same NIC where that has several."""
        return {"arrivals": "POISSON", "interval_ps": self.interval_ps(card), "destinations": [card ^ 1]}

    def _ping_pong(self, card: int) -> dict[str, Any]:
        """The first card and the last."""
        return {"arrivals": "PING_PONG", "destinations": [self.cards - 1]}


def schedule_of(cell: Cell, fabric: Fabric, *, cards_per_nic: int = 1) -> Schedule:
    """The schedule of a cell on a fabric."""
    rates = [fabric.links_of(endpoint.name)[0].rate_bps for endpoint in fabric.endpoints]
    return Schedule(
        cell=cell,
        endpoints=len(fabric.endpoints),
        byte_times_ps=tuple(byte_time_ps(rate) for rate in rates),
        cards_per_nic=cards_per_nic,
    )
