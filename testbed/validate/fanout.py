"""A request that waits for n answers is slow if one of them is: P = 1 - (1 - p)^n (Dean and Barroso, 2013).

n cards send to partners of their own at the same instants; a stage of each is slow with probability p.
"""

from __future__ import annotations

import numpy as np

from testbed.validate.measure import share_half_width
from testbed.validate.plans import Wire, card, finished, records_of, stage, star
from testbed.validate.row import Oracle, Row

SLOW_PS = 10_000_000
INTERVAL_PS = 4 * SLOW_PS
CASES = ((10_000, 1), (10_000, 8), (10_000, 64), (10_000, 100), (1_000, 1_000), (100_000, 16))
"""p in ppm and n."""


def slow_requests(quick: bool) -> list[Row]:
    """The share of requests with a slow answer."""
    return [_row(ppm, answers, 100_000 if quick else 1_000_000) for ppm, answers in CASES]


def _row(slow_ppm: int, answers: int, messages: int) -> Row:
    requests = max(300, min(20_000, messages // answers))
    load = {
        "arrivals": "PERIODIC",
        "message_bytes": 64,
        "interval_ps": INTERVAL_PS,
        "measure_until_ps": requests * INTERVAL_PS,
    }
    # 0 up to the quantile 1 - p, then at once the whole delay.
    jitter = [[0, 0], [1_000_000 - slow_ppm, 0], [1_000_000 - slow_ppm + 1, SLOW_PS], [1_000_000, SLOW_PS]]
    at = {"post": [stage(50_000, jitter=jitter)]}
    senders = [card(load | {"destinations": [answers + number]}, at=at) for number in range(answers)]
    data = star([*senders, *[card() for _ in range(answers)]], wires=[Wire(latency_ps=1_000)] * 2 * answers)
    records = records_of(finished(data))
    latency_ps = (records["completed_ps"] - records["intended_ps"]).astype(np.int64)
    request = (records["intended_ps"] // INTERVAL_PS).astype(np.int64)
    slowest_ps = np.zeros(requests, dtype=np.int64)
    np.maximum.at(slowest_ps, request, latency_ps)
    expected = 1 - (1 - slow_ppm / 1e6) ** answers
    # Between the two middle points the delay rises: an answer is slow from half of it on, give or take half a ppm.
    edge = answers * 1e-6
    return Row(
        oracle="fan-out",
        case=f"p {slow_ppm / 1e4:g} %, n {answers:,}, {requests:,} requests",
        expected=100 * expected,
        measured=100 * float((slowest_ps > SLOW_PS // 2).mean()),
        unit="%",
        tolerance=100 * (share_half_width(expected, requests) + edge),
        source="1 - (1 - p)^n; Dean and Barroso, The Tail at Scale, CACM 2013",
    )


ORACLES = (
    Oracle(
        name="fan-out",
        subject="fanout",
        description="share of requests that wait for a slow answer: 1 - (1 - p)^n",
        tolerance="99.9 % binomial interval",
        run=slow_requests,
    ),
)
