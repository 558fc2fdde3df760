"""Queues against queueing theory: M/D/1 in a NIC's stage and at a switch's output, with a million messages and more.

Seeds are fixed, so nothing here is flaky: a failure means that the model, or the generator, has changed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from testbed.validate.plans import Wire, card, chain, finished, poisson, records_of, run, stage, star

SERVICE_PS = 1_000_000
BATCHES = 30
LOADS = pytest.mark.parametrize(
    ("permille", "messages"), [(500, 1_050_000), (800, 1_050_000), (950, 2_000_000)]
)

Times = npt.NDArray[np.int64]


def md1_wait_ps(load: float, service_ps: int) -> float:
    """Mean wait of M/D/1 (Pollaczek-Khinchine)."""
    return load * service_ps / (2 * (1 - load))


def interval(values: Times, *, confidence: float = 0.999) -> tuple[float, float]:
    """Confidence interval of the mean of a correlated series, by batch means."""
    batches = values[: len(values) // BATCHES * BATCHES].reshape(BATCHES, -1).mean(axis=1)
    half = stats.t.ppf((1 + confidence) / 2, BATCHES - 1) * batches.std(ddof=1) / math.sqrt(BATCHES)
    return float(batches.mean() - half), float(batches.mean() + half)


def lindley(arrivals: Times, service_ps: int) -> Times:
    """When each item begins service in a FIFO queue: max over k <= n of arrival k + (n - k) services."""
    ahead = np.arange(len(arrivals), dtype=np.int64) * service_ps
    return np.asarray(np.maximum.accumulate(arrivals - ahead) + ahead, dtype=np.int64)


def require_mean(values: Times, mean: float) -> None:
    """The mean is inside the interval, and the interval is narrow enough to say something."""
    low, high = interval(values)
    assert low < mean < high
    assert high - low < 0.2 * mean


@LOADS
def test_md1_mean_wait_in_a_post_stage_is_that_of_theory(permille: int, messages: int) -> None:
    gap_ps = SERVICE_PS * 1000 // permille
    load = poisson(1, 64, interval_ps=gap_ps, until_ps=gap_ps * messages)
    at = {"post": [stage(occupancy_ps=SERVICE_PS)]}
    records = run(chain(card(load, at=at), card(), [Wire(latency_ps=1_000)], seed=permille))
    assert len(records) >= 1_000_000
    arrivals, posted = (records[name].astype(np.int64) for name in ("intended_ps", "posted_ps"))
    np.testing.assert_array_equal(posted, lindley(arrivals, SERVICE_PS) + SERVICE_PS)
    require_mean(posted - SERVICE_PS - arrivals, md1_wait_ps(permille / 1000, SERVICE_PS))


def test_md1_mean_wait_in_a_send_stage_is_that_of_theory() -> None:
    gap_ps = SERVICE_PS * 10 // 8
    load = poisson(1, 64, interval_ps=gap_ps, until_ps=gap_ps * 1_050_000)
    at = {"send": [stage(latency_ps=200_000, occupancy_ps=SERVICE_PS)]}
    records = run(chain(card(load, at=at), card(), [Wire(latency_ps=1_000)]))
    arrivals, first_byte = (records[name].astype(np.int64) for name in ("posted_ps", "first_byte_ps"))
    np.testing.assert_array_equal(first_byte, lindley(arrivals, SERVICE_PS) + SERVICE_PS + 200_000)
    require_mean(first_byte - SERVICE_PS - 200_000 - arrivals, md1_wait_ps(0.8, SERVICE_PS))


def test_poisson_gaps_are_exponential_and_independent() -> None:
    load = poisson(1, 64, interval_ps=SERVICE_PS, until_ps=SERVICE_PS * 200_000)
    gaps = np.diff(
        run(chain(card(load), card(), [Wire(byte_time_ps=1, latency_ps=1_000)]))["intended_ps"].astype(float)
    )
    assert stats.kstest(gaps, "expon", args=(0, SERVICE_PS)).pvalue > 0.001
    assert abs(np.corrcoef(gaps[:-1], gaps[1:])[0, 1]) < 3.3 / math.sqrt(len(gaps))


@LOADS
def test_md1_mean_wait_at_a_switch_output_is_that_of_theory(permille: int, messages: int) -> None:
    # 32 senders on links 20 times faster than the output: what their own links smooth is a twentieth. The output alone
    # waits less than M/D/1, which sees the arrivals unsmoothed; with the wait at the senders it is more.
    messages, senders, frame_bytes = messages // 2, 32, 122
    service_ps = (frame_bytes + 20) * 20
    gap_ps = service_ps * senders * 1000 // permille
    sources = [
        card(poisson(0, frame_bytes - 26, interval_ps=gap_ps, until_ps=gap_ps * messages // senders))
        for _ in range(senders)
    ]
    wires = [Wire(latency_ps=1_000), *[Wire(byte_time_ps=1, latency_ps=1_000)] * senders]
    records = run(star([card(), *sources], wires=wires, cut_through=False, seed=permille))
    order = np.lexsort((records["src"], records["first_byte_ps"]))
    arrivals = records["first_byte_ps"][order].astype(np.int64) + 1_000 + (frame_bytes + 8)
    starts = lindley(arrivals, service_ps)
    delivered = records["delivered_ps"][order].astype(np.int64)
    settled = slice(0, len(starts) * 9 // 10)  # behind the last measured message, unmeasured ones mix in
    np.testing.assert_array_equal(delivered[settled], starts[settled] + 1_000 + (frame_bytes + 8) * 20)
    theory = md1_wait_ps(permille / 1000, service_ps)
    at_output, at_sender = (
        (starts - arrivals)[settled],
        (records["first_byte_ps"] - records["posted_ps"])[order][settled],
    )
    assert interval(at_output)[0] < theory < interval(at_output + at_sender.astype(np.int64))[1]
    assert abs(float(at_output.mean()) / theory - 1) < 0.1


def test_mixed_sizes_queue_as_md1_of_the_mean_residual() -> None:
    # M/G/1: wait = load * E[S^2] / (2 E[S] (1 - load)); two senders of different sizes share one output.
    sizes, byte_ps, messages = (100, 1900), 20, 400_000
    services = [(26 + size + 20) * byte_ps for size in sizes]
    gap_ps = round(sum(services) / 0.7)
    sources = [
        card(poisson(0, size, interval_ps=gap_ps * 16, until_ps=gap_ps * messages)) for size in sizes * 16
    ]
    wires = [Wire(latency_ps=1_000), *[Wire(byte_time_ps=1, latency_ps=1_000)] * 32]
    records = records_of(finished(star([card(), *sources], wires=wires, cut_through=False)))
    frames = records["message_bytes"].astype(np.int64) + 26
    alone = 2_000 + (frames + 8) * (1 + byte_ps)
    waits = records["delivered_ps"].astype(np.int64) - records["posted_ps"].astype(np.int64) - alone
    mean, square = np.mean(services), np.mean(np.square(np.array(services, dtype=float)))
    theory = 0.7 * square / (2 * mean * 0.3)
    low, high = interval(waits)
    assert low < theory * 1.05
    assert high > theory * 0.95
    assert high - low < 0.2 * theory
