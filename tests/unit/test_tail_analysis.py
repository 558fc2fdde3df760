from __future__ import annotations

import numpy as np
import pytest

from testbed.analysis import tail
from testbed.analysis.explain import Explanation, Kind, Part, explain
from testbed.analysis.percentiles import percentiles
from testbed.analysis.records import latencies_ps
from testbed.errors import SpecError
from tests.unit.samples import random_records, records_of
from tests.unit.traces import C2, C3, L2, S1, by_packet, journey, message, network, packets

START_PS = 500_000_000


def waiting(
    wait_ps: int, *, paused_ps: int = 0, ahead: tuple[int, int] | None = (C3, C2), place: int = 3
) -> Explanation:
    """A message that waited at the last switch, or at another place of its way."""
    waits_ps, pauses_ps = [0] * 4, [0] * 4
    waits_ps[place], pauses_ps[place] = wait_ps, paused_ps
    way = journey(START_PS, waits_ps=tuple(waits_ps), paused_ps=tuple(pauses_ps), ahead=ahead)
    return explain(message(way, way), by_packet(way), network(), packets())


def resent(gap_ps: int) -> Explanation:
    lost, again = journey(START_PS, lost_at=2), journey(START_PS + gap_ps)
    return explain(message(lost, again), by_packet(lost, again), network(), packets())


def made(slow: list[Explanation], median: list[Explanation] | None = None) -> tail.Tail:
    groups = {"p50": median or [waiting(0)] * 3, "slowest 0.1 %": slow}
    return tail.tail_of("load-4KiB-rdma", 10_000, 1_000, groups)


def test_choose_takes_the_slowest_by_rank_and_percentiles_by_their_interval() -> None:
    records = random_records(20_000, 1)
    latency = latencies_ps(records)
    groups = tail.choose(records, 1_000, 1)
    assert list(groups) == ["p50", "p99", "p99.9", "slowest 0.1 %"]
    slowest = groups["slowest 0.1 %"]
    assert latency[slowest].tolist() == sorted(latency.tolist(), reverse=True)[:20]
    for found in percentiles(latency, (500_000, 990_000)):
        inside = latency[groups[found.name]]
        assert found.low_ps is not None
        assert found.high_ps is not None
        assert ((inside >= found.low_ps) & (inside <= found.high_ps)).all()
        assert 1 <= len(inside) <= tail.MOST_BESIDE


def test_choose_thins_a_wide_interval_evenly() -> None:
    groups = tail.choose(records_of(n=5_000), 10_000, 1)
    ranks = groups["p50"]
    assert len(ranks) == tail.MOST_BESIDE
    assert set(np.diff(ranks)) == {10}


@pytest.mark.parametrize(
    ("n", "slowest_ppm", "each", "what"),
    [
        (100, 1_000, 1, "0.1 % of 100 messages are 0"),
        (1_000, 600_000, 1, "60 % of 1,000 messages are 600"),
        (10, 200_000, 1, "no median"),
        (10_000, 1_000, 40_000, "packets would be traced"),
    ],
)
def test_choose_share_that_cannot_be_explained_is_a_spec_error(
    n: int, slowest_ppm: int, each: int, what: str
) -> None:
    with pytest.raises(SpecError, match=what) as caught:
        tail.choose(random_records(n, 1), slowest_ppm, each)
    assert caught.value.remedy


def test_tail_excess_of_all_kinds_adds_up_to_the_difference_of_the_means() -> None:
    found = made([waiting(900_000), waiting(300_000, place=1)], [waiting(100_000), waiting(0), waiting(0)])
    assert found.excess_ps == 600_000 - 33_333
    assert found.slowest.latency_ps - found.median.latency_ps == pytest.approx(found.excess_ps, abs=1)
    assert sum(one.excess_ps for one in found.excess) == pytest.approx(found.excess_ps, abs=len(found.excess))
    assert found.excess[0].part == Part(Kind.QUEUE)
    assert found.excess_of(Kind.QUEUE).share_ppm == 1_000_000
    assert found.excess_of(Kind.QUEUE).median_ps == 33_333
    assert found.threshold_ps == min(waiting(300_000, place=1).message.latency_ps, 10**9)


def test_tail_places_say_how_much_how_often_and_behind_whom() -> None:
    found = made(
        [
            waiting(600_000),
            waiting(200_000, ahead=(C2, C3)),
            waiting(100_000),
            waiting(100_000, place=2, paused_ps=40_000, ahead=None),
        ]
    )
    first, second = found.places[Kind.QUEUE]
    assert first.part == Part(Kind.QUEUE, L2, 1, 3)
    assert (first.mean_ps, first.cases, first.behind, first.behind_cases) == (225_000, 3, (C3, C2), 2)
    assert first.share_ppm == 900_000 * 1_000_000 // 960_000
    assert (second.part.node, second.mean_ps, second.behind, second.behind_cases) == (S1, 15_000, None, 1)
    assert [(place.part, place.mean_ps) for place in found.places[Kind.PAUSE]] == [
        (Part(Kind.PAUSE, S1, 2, 3), 10_000)
    ]
    assert found.places[Kind.REPLAY] == ()


def test_tail_resends_are_counted_by_cause() -> None:
    found = made([resent(200_000_000), resent(4_000_000), waiting(1)])
    assert found.resends == tail.Resends(messages=2, timed_out=1, dropped=2)
    assert found.excess[0].part == Part(Kind.RETRANSMISSION)
    assert found.places[Kind.RETRANSMISSION][0].part.node == S1
