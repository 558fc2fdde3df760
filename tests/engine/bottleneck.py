"""Senders that share one queue with ECN, driven by congestion-control parts: an independent, small fabric.

Every sender always has data. A packet takes half the base round trip to the queue, waits, is serialised, and its
acknowledgement is back half a base round trip later; nothing is lost. As every packet needs the same time to the queue,
packets queue in the order in which they are sent, and the queue is the time until it is empty.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, field

from testbed.engine import _engine


@dataclass(frozen=True, kw_only=True)
class Marking:
    """Probability of a mark: 0 below `kmin_bytes`, `pmax` at `kmax_bytes`, 1 above."""

    kmin_bytes: int
    kmax_bytes: int
    pmax: float

    def probability(self, queue_bytes: float) -> float:
        if queue_bytes <= self.kmin_bytes:
            return 0.0
        if queue_bytes > self.kmax_bytes:
            return 1.0
        return self.pmax * (queue_bytes - self.kmin_bytes) / max(self.kmax_bytes - self.kmin_bytes, 1)


@dataclass
class Outcome:
    """What happened after the warm-up: bytes of each sender, and the queue that each packet found."""

    bytes_of: list[int]
    duration_ps: int
    queue_bytes: list[float] = field(default_factory=list)

    @property
    def jain(self) -> float:
        return sum(self.bytes_of) ** 2 / (len(self.bytes_of) * sum(each * each for each in self.bytes_of))

    def utilisation(self, byte_time_ps: int) -> float:
        return sum(self.bytes_of) * byte_time_ps / self.duration_ps

    def queue_quantile(self, share: float) -> float:
        ordered = sorted(self.queue_bytes)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


class Bottleneck:
    """`senders` parts over one queue; all start within one round trip, at times drawn with `seed`."""

    def __init__(
        self,
        name: str,
        parameters: dict[str, int],
        *,
        senders: int,
        byte_time_ps: int,
        mtu_bytes: int,
        base_rtt_ps: int,
        marking: Marking,
        cnp_interval_ps: int = 0,
        starts_ps: list[int] | None = None,
        seed: int = 1,
    ) -> None:
        self.parts = [
            _engine.CongestionPart(name, parameters, byte_time_ps=byte_time_ps, mtu_bytes=mtu_bytes)
            for _ in range(senders)
        ]
        self.byte_time_ps, self.mtu_bytes, self.base_rtt_ps = byte_time_ps, mtu_bytes, base_rtt_ps
        self.marking, self.cnp_interval_ps = marking, cnp_interval_ps
        self._random = random.Random(seed)
        self._in_flight = [0] * senders
        self._ready_ps = starts_ps or [self._random.randrange(base_rtt_ps) for _ in range(senders)]
        self._awake = [False] * senders
        self._cnp_from_ps = [0] * senders
        self._empty_at_ps = 0
        self._events: list[
            tuple[int, int, int, int, bool]
        ] = []  # time, number, sender, sent at (-1: wake), marked
        self._number = 0

    def run(self, until_ps: int, *, warm_up_ps: int) -> Outcome:
        outcome = Outcome([0] * len(self.parts), until_ps - warm_up_ps)
        for sender in range(len(self.parts)):
            self._wake(sender, self._ready_ps[sender])
        while self._events and self._events[0][0] <= until_ps:
            now_ps, _, sender, sent_ps, marked = heapq.heappop(self._events)
            if sent_ps >= 0:
                self._acknowledge(sender, now_ps, sent_ps, marked)
                if now_ps > warm_up_ps:
                    outcome.bytes_of[sender] += self.mtu_bytes
            else:
                self._awake[sender] = False
            self._send(sender, now_ps, outcome.queue_bytes if now_ps > warm_up_ps else None)
        return outcome

    def _wake(self, sender: int, at_ps: int) -> None:
        if not self._awake[sender]:
            self._awake[sender] = True
            self._push(at_ps, sender, -1, False)

    def _push(self, at_ps: int, sender: int, sent_ps: int, marked: bool) -> None:
        self._number += 1
        heapq.heappush(self._events, (at_ps, self._number, sender, sent_ps, marked))

    def _acknowledge(self, sender: int, now_ps: int, sent_ps: int, marked: bool) -> None:
        part = self.parts[sender]
        self._in_flight[sender] -= self.mtu_bytes
        if self.cnp_interval_ps and marked and now_ps >= self._cnp_from_ps[sender]:
            self._cnp_from_ps[sender] = now_ps + self.cnp_interval_ps
            part.notified(now_ps)
        part.acknowledged(
            now_ps, self.mtu_bytes, self.mtu_bytes * marked, now_ps - sent_ps, self._in_flight[sender]
        )

    def _send(self, sender: int, now_ps: int, queue_bytes: list[float] | None) -> None:
        part = self.parts[sender]
        if self._in_flight[sender] + self.mtu_bytes > part.window_bytes():
            return
        if now_ps < self._ready_ps[sender]:
            self._wake(sender, self._ready_ps[sender])
            return
        gap_ps = max(self.mtu_bytes * self.byte_time_ps, self.mtu_bytes * part.ps_per_kib(now_ps) // 1024)
        part.sent(now_ps, self.mtu_bytes)
        self._in_flight[sender] += self.mtu_bytes
        self._ready_ps[sender] = now_ps + gap_ps
        found = max(self._empty_at_ps - now_ps, 0) / self.byte_time_ps
        marked = self._random.random() < self.marking.probability(found)
        self._empty_at_ps = max(self._empty_at_ps, now_ps) + self.mtu_bytes * self.byte_time_ps
        self._push(self._empty_at_ps + self.base_rtt_ps, sender, now_ps, marked)
        if queue_bytes is not None:
            queue_bytes.append(found)
        self._wake(sender, self._ready_ps[sender])
