"""An egress queue against queueing theory: M/D/1, M/G/1 with a size mix, and strict priority (Cobham 1954).

Arrivals are Poisson at the senders. Each sender's own wire holds its frames apart, but it is so much faster than the
output that this delays them by a small part of a service only. A delayed arrival can only make departures later, so
the wait from posting to the start of the last transmission is that of theory or longer, by less than the wait at the
sender: that wait, measured, is part of the tolerance.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from testbed.validate.measure import THIN_HEADER_BYTES, Times, mean_half_width, slot_ps
from testbed.validate.plans import Wire, card, finished, poisson, records_of, star
from testbed.validate.row import Oracle, Row

POLLACZEK = "Pollaczek-Khinchine: W = lambda E[S^2] / 2 (1 - rho)"
COBHAM = (
    "Cobham, Priority Assignment in Waiting Line Problems, 1954: W_k = W_0 / (1 - s_(k-1)) (1 - s_k), "
    "W_0 = sum lambda_i E[S_i^2] / 2"
)
INGRESS_BYTE_PS = 1
EGRESS_BYTE_PS = 40
LATENCY_PS = 1_000
SENDERS_PER_FLOW = 32
CARDS = 1
"""The receiver, which is endpoint 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Poisson arrivals of frames of one size in one class, spread over many senders."""

    frame_bytes: int
    load: float
    """Share of the output that it needs."""
    traffic_class: int = 3

    @property
    def service_ps(self) -> int:
        """How long a frame keeps the output busy."""
        return slot_ps(self.frame_bytes, EGRESS_BYTE_PS)

    @property
    def rate(self) -> float:
        """Frames per ps."""
        return self.load / self.service_ps

    @property
    def residual(self) -> float:
        """Its part of the mean remaining service that an arrival meets, in ps."""
        return self.rate * self.service_ps**2 / 2


@dataclass(frozen=True, slots=True)
class Waits:
    """Measured waits, by the times of posting."""

    posted_ps: Times
    total_ps: Times
    at_sender_ps: Times

    def __add__(self, other: Waits) -> Waits:
        """The waits of both."""
        posted_ps = np.concatenate([self.posted_ps, other.posted_ps])
        order = np.argsort(posted_ps, kind="stable")
        return Waits(
            posted_ps[order],
            np.concatenate([self.total_ps, other.total_ps])[order],
            np.concatenate([self.at_sender_ps, other.at_sender_ps])[order],
        )


def measured_waits(flows: Sequence[Flow], messages: int) -> list[Waits]:
    """Waits of each flow's frames, by their posting, from one run of about `messages` messages."""
    until_ps = round(messages / sum(flow.rate for flow in flows))
    cards = [card()]
    for flow in flows:
        load = poisson(
            0,
            flow.frame_bytes - THIN_HEADER_BYTES,
            interval_ps=round(SENDERS_PER_FLOW / flow.rate),
            until_ps=until_ps,
        )
        cards += [card(load, data_class=flow.traffic_class)] * SENDERS_PER_FLOW
    wires = [Wire(byte_time_ps=EGRESS_BYTE_PS, latency_ps=LATENCY_PS)]
    wires += [Wire(byte_time_ps=INGRESS_BYTE_PS, latency_ps=LATENCY_PS)] * (len(cards) - 1)
    records = records_of(finished(star(cards, wires=wires, cut_through=False)))
    # What comes after the last measured message is not recorded, so the end of the run is left out.
    records = np.sort(records[records["posted_ps"] < until_ps * 95 // 100], order="posted_ps")
    found = []
    for number, flow in enumerate(flows):
        first = CARDS + number * SENDERS_PER_FLOW
        mine = records[(records["src"] >= first) & (records["src"] < first + SENDERS_PER_FLOW)]
        posted = mine["posted_ps"].astype(np.int64)
        wire_ps = 2 * LATENCY_PS + (flow.frame_bytes + 8) * (INGRESS_BYTE_PS + EGRESS_BYTE_PS)
        total = mine["delivered_ps"].astype(np.int64) - posted - wire_ps
        found.append(Waits(posted, total, mine["first_byte_ps"].astype(np.int64) - posted))
    return found


def _row(oracle: str, case: str, waits: Waits, expected_ps: float, source: str) -> Row:
    """The mean wait against theory, in ns."""
    bias_ps = float(waits.at_sender_ps.mean())
    return Row(
        oracle=oracle,
        case=f"{case}, {len(waits.total_ps):,} frames",
        expected=expected_ps / 1000,
        measured=float(waits.total_ps.mean()) / 1000,
        unit="ns",
        tolerance=(mean_half_width(waits.total_ps) + bias_ps) / 1000,
        source=source,
    )


def md1(quick: bool) -> list[Row]:
    """Frames of one size."""
    cases = ((500, 1), (800, 1)) if quick else ((500, 1), (800, 1), (900, 2), (950, 2))
    return [_md1_row(permille, times * (100_000 if quick else 1_000_000)) for permille, times in cases]


def _md1_row(permille: int, messages: int) -> Row:
    flow = Flow(frame_bytes=1_230, load=permille / 1000)
    (waits,) = measured_waits([flow], messages)
    expected_ps = flow.load * flow.service_ps / (2 * (1 - flow.load))
    return _row(
        "m-d-1", f"load {flow.load:g}", waits, expected_ps, "W = rho S / 2 (1 - rho); Pollaczek-Khinchine"
    )


def mg1(quick: bool) -> list[Row]:
    """Three sizes share one queue; half of the load is in long frames."""
    messages = 100_000 if quick else 1_000_000
    return [_mg1_row(permille, messages) for permille in ((700,) if quick else (500, 700, 850))]


def _mg1_row(permille: int, messages: int) -> Row:
    load = permille / 1000
    flows = [
        Flow(frame_bytes=size, load=load * share) for size, share in ((64, 0.15), (1_030, 0.35), (4_122, 0.5))
    ]
    # A frame waits the same whatever its size: the flows together, in their shares of the frames.
    waits = functools.reduce(operator.add, measured_waits(flows, messages))
    expected_ps = sum(flow.residual for flow in flows) / (1 - load)
    return _row("m-g-1", f"load {load:g}, 64 + 1,030 + 4,122 B", waits, expected_ps, POLLACZEK)


def priority(quick: bool) -> list[Row]:
    """Non-preemptive strict priority with two and three classes."""
    messages = 150_000 if quick else 1_500_000
    two = (
        Flow(frame_bytes=1_030, load=0.3, traffic_class=6),
        Flow(frame_bytes=4_122, load=0.5, traffic_class=1),
    )
    three = (
        Flow(frame_bytes=64, load=0.1, traffic_class=7),
        Flow(frame_bytes=1_030, load=0.3, traffic_class=4),
        Flow(frame_bytes=1_530, load=0.4, traffic_class=0),
    )
    return [row for flows in (two, three) for row in _priority_rows(flows, messages)]


def _priority_rows(flows: Sequence[Flow], messages: int) -> list[Row]:
    """Flows in the order of their classes, the highest first."""
    residual_ps = sum(flow.residual for flow in flows)
    above, rows = 0.0, []
    for place, (flow, waits) in enumerate(zip(flows, measured_waits(flows, messages), strict=True)):
        expected_ps = residual_ps / ((1 - above) * (1 - above - flow.load))
        above += flow.load
        case = f"class {place + 1} of {len(flows)}, load {flow.load:g} of {flow.frame_bytes:,} B"
        rows.append(_row("priority", case, waits, expected_ps, COBHAM))
    return rows


_TOLERANCE = "99.9 % interval of the mean by batch means, and the wait at the senders"
ORACLES = (
    Oracle(
        name="m-d-1",
        subject="queueing",
        description="mean wait for an output with Poisson arrivals of one size",
        tolerance=_TOLERANCE,
        run=md1,
    ),
    Oracle(
        name="m-g-1",
        subject="queueing",
        description="mean wait for an output with Poisson arrivals of three sizes",
        tolerance=_TOLERANCE,
        run=mg1,
    ),
    Oracle(
        name="priority",
        subject="queueing",
        description="mean wait of each class under non-preemptive strict priority",
        tolerance=_TOLERANCE,
        run=priority,
    ),
)
