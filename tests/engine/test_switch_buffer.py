"""Who may hold how much of a shared buffer, on its way in and on its way out, against the rule written in Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.engine.stations import Station, data_frame, served, slot_ps, train

SLOW_PS = 20_000
"""So slow that nothing leaves while frames come: the first of each port is on its way, all others are judged."""
NONE = 127


def kept(count: int, **config: Any) -> int:
    """Frames of a burst of 1000 bytes each that are neither on their way nor dropped."""
    sink = Station(byte_ps=SLOW_PS)
    served([Station(sends=train(0, 1, count)), sink], **config)
    return len(sink.data) - 1


@pytest.mark.parametrize(("alpha_log2", "frames"), [(-3, 1), (-1, 3), (0, 5), (1, 7), (16, 10)])
def test_ingress_threshold_alone_is_alpha_of_what_groups_leave_free(alpha_log2: int, frames: int) -> None:
    # n frames are in while 1000 n <= 2^alpha (10 000 - 1000 (n - 1)).
    assert kept(20, buffer_bytes=10_000, alpha_log2=16, ingress_alpha_log2=alpha_log2) == frames


@pytest.mark.parametrize(("reserved", "frames"), [(0, 5), (999, 5), (1_000, 6), (4_000, 7), (12_000, 12)])
def test_ingress_reserve_comes_before_the_shared_part(reserved: int, frames: int) -> None:
    config = {"buffer_bytes": 10_000, "alpha_log2": 16, "reserved_bytes": 20_000}
    found = kept(30, **config, ingress_alpha_log2=0, pg_reserved_bytes=reserved)
    shared = 0
    while max(0, (shared + 1) * 1000 - reserved) <= 10_000 - max(0, shared * 1000 - reserved):
        shared += 1
    assert found == shared
    assert found >= frames


def test_both_sides_must_agree() -> None:
    tight, loose = {"buffer_bytes": 10_000, "alpha_log2": -1}, {"buffer_bytes": 10_000, "alpha_log2": 16}
    assert kept(20, **tight) == kept(20, **tight, ingress_alpha_log2=16) == 3
    assert kept(20, **loose, ingress_alpha_log2=-1) == 3
    assert kept(20, **tight, ingress_alpha_log2=-3) == 1


def test_no_ingress_threshold_is_none() -> None:
    assert kept(20, buffer_bytes=10_000, alpha_log2=0, ingress_alpha_log2=NONE) == 5


def test_lossless_queue_has_no_threshold_of_its_own() -> None:
    config = {
        "buffer_bytes": 10_000,
        "alpha_log2": -3,
        "lossless_classes": 8,
        "headroom_bytes": [0, 50_000, 0],
    }
    assert kept(20, **config) == 19
    assert kept(20, **config | {"lossless_classes": 0}) == 1


def test_headroom_is_on_top_of_the_pool_and_shared_queues_see_it_taken() -> None:
    # 20 lossless frames: 10 in shared (alpha 16), 9 in headroom; then a lossy frame finds no shared buffer left.
    lossy = [(21 * slot_ps(1000), data_frame(2, 1, traffic_class=1, psn=99))]
    sink = Station(byte_ps=SLOW_PS)
    counters = served(
        [Station(sends=train(0, 1, 20)), sink, Station(sends=lossy)],
        buffer_bytes=10_000,
        alpha_log2=16,
        lossless_classes=8,
        lossless_alpha_log2=16,
        headroom_bytes=[0, 9_000, 0],
    )
    assert counters["port2.c1.out_discards"] == 1
    assert counters["headroom_pool_watermark_bytes"] == 9_000
    assert counters["buffer_watermark_bytes"] == 19_000
    assert len(sink.data) == 20


@dataclass(slots=True)
class Rule:
    """The buffer, one frame at a time, as docs/models.md says it; nothing ever leaves."""

    buffer: int
    cell: int
    alpha: int
    ingress_alpha: int
    reserved: int
    group_reserved: int
    queues: dict[tuple[int, int], int] = field(default_factory=dict)
    groups: dict[tuple[int, int], int] = field(default_factory=dict)

    def shared(self, held: dict[tuple[int, int], int], reserve: int) -> int:
        return sum(max(0, cells - reserve) for cells in held.values())

    def side(
        self, held: dict[tuple[int, int], int], key: tuple[int, int], cells: int, reserve: int, alpha: int
    ) -> bool:
        after = max(0, held.get(key, 0) + cells - reserve)
        more = after - max(0, held.get(key, 0) - reserve)
        free = max(0, self.buffer // self.cell - self.shared(held, reserve))
        limit = free << alpha if alpha >= 0 else free >> -alpha
        return more == 0 or (more <= free and (alpha == NONE or after <= limit))

    def admits(self, ingress: int, egress: int, c: int, size: int) -> bool:
        cells = -(-size // self.cell)
        reserve, group_reserve = self.reserved // self.cell, self.group_reserved // self.cell
        if not self.side(self.queues, (egress, c), cells, reserve, self.alpha):
            return False
        accounted = self.ingress_alpha != NONE or group_reserve > 0
        if accounted and not self.side(self.groups, (ingress, c), cells, group_reserve, self.ingress_alpha):
            return False
        self.queues[egress, c] = self.queues.get((egress, c), 0) + cells
        self.groups[ingress, c] = self.groups.get((ingress, c), 0) + cells
        return True


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.integers(3, 4), st.integers(0, 7), st.sampled_from([64, 300, 1000, 4000])
        ),
        min_size=10,
        max_size=80,
    ),
    st.fixed_dictionaries(
        {
            "buffer_bytes": st.sampled_from([5_000, 20_000, 50_000]),
            "cell_bytes": st.sampled_from([1, 208, 254]),
            "alpha_log2": st.integers(-3, 3),
            "ingress_alpha_log2": st.sampled_from([NONE, -3, -1, 0, 2]),
            "reserved_bytes": st.sampled_from([0, 700, 3_000]),
            "pg_reserved_bytes": st.sampled_from([0, 500, 4_000]),
        }
    ),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_admission_of_any_frames_is_the_rule_frame_by_frame(
    frames: list[tuple[int, int, int, int]], config: dict[str, int]
) -> None:
    rule = Rule(
        buffer=config["buffer_bytes"],
        cell=config["cell_bytes"],
        alpha=config["alpha_log2"],
        ingress_alpha=config["ingress_alpha_log2"],
        reserved=config["reserved_bytes"],
        group_reserved=config["pg_reserved_bytes"],
    )
    sends: list[list[Any]] = [[], [], []]
    expected, on_its_way = set(), set()
    for number, (ingress, egress, c, size) in enumerate(frames):
        sends[ingress].append(
            (number * slot_ps(4000), data_frame(ingress, egress, size, traffic_class=c, psn=number))
        )
        if egress not in on_its_way:
            on_its_way.add(egress)
            expected.add(number)
        elif rule.admits(ingress, egress, c, size):
            expected.add(number)
    stations = [*[Station(sends=one) for one in sends], *[Station(byte_ps=10**7) for _ in range(2)]]
    served(stations, **config)
    assert {psn for sink in stations[3:] for psn in sink.psns} == expected
