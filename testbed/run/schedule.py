"""When messages are meant to be sent: from a scenario to intended times, as the engine's workload fields. Pure.

Open-loop scenarios (`idle`, `poisson`, `incast`) count latency from these intended times, so that a sender that
stalls cannot hide its own delay. `permutation` without a load and `pingpong` are closed loops; so are the senders of a
`victim` scenario without a load, but never its victim.
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
    """The workload of every endpoint in one cell."""

    cell: Cell
    endpoints: int
    byte_times_ps: tuple[int, ...]
    """Of each endpoint's port."""

    def message_ps(self, endpoint: int) -> int:
        """Time that a message's payload takes on an endpoint's port."""
        return self.cell.size_bytes * self.byte_times_ps[endpoint]

    @property
    def idle_gap_ps(self) -> int:
        """From one message of the fabric to the next, when it is idle."""
        return IDLE_GAP_PS + 2 * self.message_ps(0)

    def senders(self) -> range:
        """The endpoints that post of their own accord."""
        kind = self.cell.scenario.kind
        if kind == "incast":
            return range(1, self.cell.scenario.fan_in + 1)
        if kind == "victim":
            return range(self.endpoints - 1 - self.cell.scenario.fan_in, self.endpoints)
        return range(1) if kind == "pingpong" else range(self.endpoints)

    def interval_ps(self, endpoint: int) -> int:
        """Mean time between the messages of one sender; for closed loops a guess that sizes the run."""
        scenario = self.cell.scenario
        if scenario.kind == "idle":
            return self.idle_gap_ps * self.endpoints
        if scenario.kind == "pingpong":
            return 2 * PING_PONG_GUESS_PS + 2 * self.message_ps(endpoint)
        if self._is_victim(endpoint):
            return self.message_ps(endpoint) * 1000 // VICTIM_LOAD_PERMILLE
        load_permille = scenario.load_permille or 1000
        fan_in = scenario.fan_in if scenario.kind in FAN_IN_KINDS else 1
        return self.message_ps(endpoint) * fan_in * 1000 // load_permille

    def measure_until_ps(self, records: int) -> int:
        """A time before which at least so many messages are intended (but for a chance below 10^-6)."""
        if self.cell.scenario.kind == "idle":
            return records * self.idle_gap_ps
        independent = records
        if self.cell.scenario.kind in FAN_IN_KINDS:
            independent = math.ceil(records / len(self.senders()))
            records = independent * len(self.senders())  # whole rounds
        margin = 1 + 6 / math.sqrt(independent) + 20 / independent
        per_ps = sum(1 / self.interval_ps(endpoint) for endpoint in self.senders())
        return math.ceil(records * margin / per_ps)

    def workload(self, endpoint: int, measure_until_ps: int) -> dict[str, Any]:
        """The fields of the engine's WorkloadConfig for one endpoint."""
        scenario = self.cell.scenario
        common = {"measure_until_ps": measure_until_ps, "message_bytes": self.cell.size_bytes}
        if endpoint not in self.senders():
            return common | {"arrivals": "NONE", "reply": scenario.kind == "pingpong"}
        own = {
            "idle": self._idle,
            "poisson": self._poisson,
            "incast": self._incast,
            "victim": self._victim,
            "permutation": self._permutation,
            "pingpong": self._ping_pong,
        }[scenario.kind]
        return common | own(endpoint)

    def _idle(self, endpoint: int) -> dict[str, Any]:
        """The endpoints take turns."""
        return {
            "arrivals": "PERIODIC",
            "start_ps": endpoint * self.idle_gap_ps,
            "interval_ps": self.interval_ps(endpoint),
            "others_of": self.endpoints,
        }

    def _poisson(self, endpoint: int) -> dict[str, Any]:
        """Independent senders, uniform destinations: each message is load to the others."""
        return {
            "arrivals": "POISSON",
            "interval_ps": self.interval_ps(endpoint),
            "others_of": self.endpoints,
        }

    def _incast(self, endpoint: int) -> dict[str, Any]:
        """Synchronous rounds at Poisson times, all to endpoint 0."""
        return {
            "arrivals": "POISSON",
            "interval_ps": self.interval_ps(endpoint),
            "destinations": [0],
            "common_times": True,
        }

    def _is_victim(self, endpoint: int) -> bool:
        """The last endpoint of a `victim` scenario; the ones before it are the senders of the incast."""
        return self.cell.scenario.kind == "victim" and endpoint == self.endpoints - 1

    def _victim(self, endpoint: int) -> dict[str, Any]:
        """The last endpoints to endpoint 0, but for the very last: a little, evenly, to the one beside that."""
        if self._is_victim(endpoint):
            own = [VICTIM_DESTINATION]
            return {"arrivals": "PERIODIC", "interval_ps": self.interval_ps(endpoint), "destinations": own}
        return self._incast(endpoint) if self.cell.scenario.load_permille else self._back_to_back([0])

    def _back_to_back(self, destinations: list[int]) -> dict[str, Any]:
        """A window of bytes is always outstanding."""
        window = max(2, CLOSED_WINDOW_BYTES // self.cell.size_bytes)
        return {
            "arrivals": "CLOSED",
            "window": window,
            "destinations": destinations,
            "post_until_ps": _FOREVER_PS,
        }

    def _permutation(self, endpoint: int) -> dict[str, Any]:
        """Each endpoint to the one half the fabric away."""
        peer = [(endpoint + self.endpoints // 2) % self.endpoints]
        if self.cell.scenario.load_permille:
            return {"arrivals": "PERIODIC", "interval_ps": self.interval_ps(endpoint), "destinations": peer}
        return self._back_to_back(peer)

    def _ping_pong(self, endpoint: int) -> dict[str, Any]:
        """The first endpoint and the last."""
        return {"arrivals": "PING_PONG", "destinations": [self.endpoints - 1]}


def schedule_of(cell: Cell, fabric: Fabric) -> Schedule:
    """The schedule of a cell on a fabric."""
    rates = [fabric.links_of(endpoint.name)[0].rate_bps for endpoint in fabric.endpoints]
    return Schedule(
        cell=cell, endpoints=len(fabric.endpoints), byte_times_ps=tuple(byte_time_ps(rate) for rate in rates)
    )
