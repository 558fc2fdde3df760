from __future__ import annotations

import numpy as np
import pytest

from testbed.analysis.breakdown import (
    Components,
    attribution,
    components_beyond,
    exact_sum,
    mean_components,
    share_ppm,
    tail_window,
)
from testbed.analysis.percentiles import percentiles
from testbed.analysis.records import latencies_ps
from testbed.errors import MeasurementError
from tests.unit.samples import random_records, records_of

P99 = 990_000


def test_mean_components_constant_are_those_constants() -> None:
    found = mean_components(records_of(software=11, nic=22, network=33, notification=44))
    assert found == Components(source_software_ps=11, source_nic_ps=22, network_ps=33, notification_ps=44)
    assert (found.host_software_ps, found.rest_ps, found.total_ps) == (55, 55, 110)


def test_mean_components_of_nothing_is_none() -> None:
    assert mean_components(records_of(n=0)) is None


def test_mean_components_rounds_half_up() -> None:
    found = mean_components(records_of(n=2, software=np.array([1, 2])))
    assert found is not None
    assert found.source_software_ps == 2


def test_mean_components_backwards_is_refused() -> None:
    records = records_of(n=4)
    records["delivered_ps"][1] = 0
    with pytest.raises(MeasurementError):
        mean_components(records)


def test_components_beyond_takes_only_the_slower_messages() -> None:
    network = np.full(1000, 300)
    network[::100] = 9_000  # 10 of 1000: exactly those beyond p99
    found = components_beyond(records_of(network=network), P99)
    assert found is not None
    assert (found.messages, found.mean.network_ps) == (10, 9_000)


def test_tail_window_is_the_messages_inside_the_interval() -> None:
    records = random_records(20_000, 3)
    latency = latencies_ps(records)
    percentile = percentiles(latency, (P99,))[0]
    inside = (latency >= percentile.low_ps) & (latency <= percentile.high_ps)
    found = tail_window(records, P99)
    assert found is not None
    assert found.messages == np.count_nonzero(inside)
    assert found.mean.total_ps == pytest.approx(latency[inside].mean(), abs=3)


def test_tail_window_open_bound_reaches_to_the_end_of_the_sample() -> None:
    records = records_of(n=20_000, network=np.repeat([300, 9_000], [19_900, 100]))  # slow ones all together
    percentile = percentiles(latencies_ps(records), (P99,))[0]
    assert percentile.high_ps is None
    found = tail_window(records, P99)
    assert found is not None
    assert found.messages == np.count_nonzero(latencies_ps(records) >= (percentile.low_ps or 0))


def test_attribution_only_software_differs_is_all_software() -> None:
    rng = np.random.default_rng(5)
    network = rng.integers(1_000, 9_000, 5_000)
    found = attribution(
        records_of(n=5_000, network=network), records_of(n=5_000, network=network, software=800), P99
    )
    assert found is not None
    assert (found.host_software_ps, found.rest_ps) == (700, 0)


def test_attribution_both_differ_splits_exactly() -> None:
    rng = np.random.default_rng(5)
    network = rng.integers(1_000, 9_000, 5_000)
    a = records_of(n=5_000, network=network)
    b = records_of(n=5_000, network=network + 40, nic=260, software=110, notification=70)
    found = attribution(a, b, P99)
    assert found is not None
    assert found.difference == Components(
        source_software_ps=10, source_nic_ps=60, network_ps=40, notification_ps=20
    )
    swapped = attribution(b, a, P99)
    assert swapped is not None
    assert swapped.difference.total_ps == -130


def test_attribution_too_few_samples_is_none() -> None:
    assert attribution(records_of(n=500), records_of(n=500), P99) is None


@pytest.mark.parametrize(
    ("part", "whole", "ppm"), [(1, 4, 250_000), (1, 3, 333_333), (5, 0, 0), (-1, 4, -250_000)]
)
def test_share_ppm(part: int, whole: int, ppm: int) -> None:
    assert share_ppm(part, whole) == ppm


def test_exact_sum_beyond_64_bits_does_not_wrap() -> None:
    values = np.full(5, 2**63, np.uint64)
    assert exact_sum(values) == 5 * 2**63
