"""Cyclic buffer dependencies: a ring of lossless switches stands still, and the engine says who waits for whom.

Card i of a ring of n sends to the card two switches on, clockwise; each link between switches carries two flows, and
each buffer waits for the next.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from testbed.engine import _engine
from testbed.engine.plan import build_plan
from testbed.validate.plans import (
    FOREVER_PS,
    Data,
    Wire,
    card,
    closed,
    drained,
    leaf_spine,
    plan,
    records_of,
    switch,
)
from tests.engine.stations import Station, bench, pause, train

C = 3
SMALL: dict[str, Any] = {
    "lossless_classes": 1 << C,
    "buffer_bytes": 40_000,
    "lossless_alpha_log2": -3,
    "headroom_bytes": [60_000] * 40,
    "pause_quanta": 400,
    "pipeline_latency_ps": 10_000,
}


def ring(size: int, *, hops: int = 2, until_ps: int = 10**8, **config: Any) -> Data:
    """Card i at port 0 of switch i, whose port 1 leads clockwise to port 2 of the next."""
    cards = [
        card(closed((number + hops) % size, 65_536, until_ps=until_ps, window=8), pause_reaction_ps=10_000)
        for number in range(size)
    ]
    switches = [
        switch([[0], [1]], [0 if endpoint == number else 1 for endpoint in range(size)], **SMALL | config)
        for number in range(size)
    ]
    edge, core = Wire(byte_time_ps=10, latency_ps=10_000), Wire(byte_time_ps=20, latency_ps=10_000)
    links = [(number, 0, size + number, 0, edge) for number in range(size)]
    links += [(size + number, 1, size + (number + 1) % size, 2, core) for number in range(size)]
    return plan([*cards, *switches], links)


@pytest.mark.parametrize("size", [3, 4, 5])
def test_ring_of_lossless_switches_names_the_whole_circle(size: int) -> None:
    twin = _engine.Twin(build_plan(ring(size)))
    with pytest.raises(_engine.DeadlockError) as error:
        twin.run(FOREVER_PS)
    text = str(error.value)
    assert text.startswith("PFC deadlock at ")
    for number in range(size):
        assert f"n{size + number} port 2 class {C} waits for " in text
    assert text.count("waits for") == size
    first = text.split(": ")[1].split(" waits for ")[0]
    assert text.endswith(first)


def test_ring_deadlock_is_found_soon_after_it_is_there() -> None:
    # Half of 400 quanta are 256 us in ps: 256 000; nothing moves any more once all wait.
    twin = _engine.Twin(build_plan(ring(4)))
    with pytest.raises(_engine.DeadlockError):
        twin.run(FOREVER_PS)
    assert twin.now_ps < 20 * 10**6


def test_ring_in_a_lossy_class_goes_on() -> None:
    twin = drained(ring(4, lossless_classes=0))
    assert len(records_of(twin)) >= 32


def test_ring_with_one_hop_has_no_circle() -> None:
    twin = drained(ring(4, hops=1))
    assert len(records_of(twin)) > 50
    assert not any(node.get("tx_retransmits") for node in twin.counters().values())


def test_ring_with_watchdog_recovers() -> None:
    data = ring(4, watchdog_detection_ps=1_000_000, watchdog_restoration_ps=100_000, assert_lossless=False)
    for number, node in enumerate(data["nodes"][:4]):  # equal time-outs would lock them in step
        node["config"] |= {"rto_ps": 5 * 10**7 + 7_919_993 * number, "retry_limit": 1000}
    twin = drained(data)
    storms = sum(
        v for node in twin.counters().values() for k, v in node.items() if k.endswith("watchdog_storms")
    )
    assert len(records_of(twin)) > 20
    assert storms > 0


def test_peer_that_pauses_for_ever_is_an_error_that_names_who_waits() -> None:
    storm = [(number * 40 * 10**6, pause({C: 0xFFFF})) for number in range(400)]
    stations = [Station(sends=train(0, 1, 30)), Station(sends=storm)]
    twin = bench(stations, **SMALL | {"pause_quanta": 0xFFFF})
    with pytest.raises(
        _engine.DeadlockError, match=r"hub port 1 class 3 has not released a frame .* waits for port 2"
    ):
        twin.run(FOREVER_PS)
    assert 10**10 < twin.now_ps < 11 * 10**9


@st.composite
def trees(draw: st.DrawFn) -> Data:
    count = draw(st.integers(3, 10))
    cards = []
    for number in range(count):
        others = [peer for peer in range(count) if peer != number]
        peers = draw(st.lists(st.sampled_from(others), min_size=1, max_size=2, unique=True))
        load = closed(peers, draw(st.sampled_from([4_000, 30_000])), until_ps=2 * 10**7, window=4)
        cards.append(card(load, pause_reaction_ps=10_000))
    rates = st.sampled_from([10, 20, 40, 200])
    return leaf_spine(
        cards,
        leaves=3,
        spines=draw(st.integers(1, 2)),
        edge=[Wire(byte_time_ps=draw(rates), latency_ps=10_000) for _ in range(count)],
        **SMALL | {"headroom_bytes": [200_000] * 40, "pause_quanta": draw(st.sampled_from([4, 40, 400]))},
    )


@given(trees())
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_fabric_without_a_circle_never_reports_one_and_loses_nothing(data: Data) -> None:
    twin = drained(data)
    assert records_of(twin)["retransmits"].sum() == 0
