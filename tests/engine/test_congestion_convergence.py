"""Senders that share one queue come to equal shares, and the queue to where the published analysis puts it."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from tests.engine.bottleneck import Bottleneck, Marking
from tests.engine.congestion_sets import CUBIC, DCQCN_PAPER, DCQCN_VENDOR, DCTCP, MS, NSCC, US

MTU = 4096
BYTE_PS = 20  # 400 Gb/s
COUNTS = [2, 8, 32]


def dcqcn_fixed_point(marking: Marking, p: dict[str, int], senders: int, line_bps: float, mtu: int) -> float:
    """Queue [bytes] of DCQCN's only fixed point (Zhu et al., "ECN or Delay", CoNEXT 2016), in packets and seconds."""
    capacity, increase = line_bps / 8 / mtu, p["additive_increase_bps"] / 8 / mtu
    alpha_s, timer_s = p["alpha_timer_ps"] / 1e12, p["increase_timer_ps"] / 1e12
    counter = p["byte_counter_bytes"] / mtu
    share = (1 / counter + senders / (timer_s * capacity)) ** 2
    marked = math.cbrt(increase * senders**2 / (alpha_s * capacity**2) * share)
    return marking.kmin_bytes + marked / marking.pmax * (marking.kmax_bytes - marking.kmin_bytes)


@pytest.mark.parametrize("senders", COUNTS)
def test_dcqcn_with_the_numbers_of_the_paper_shares_40g_equally(senders: int) -> None:
    marking = Marking(kmin_bytes=5_000, kmax_bytes=200_000, pmax=0.01)
    found = Bottleneck(
        "dcqcn",
        DCQCN_PAPER,
        senders=senders,
        byte_time_ps=200,
        mtu_bytes=1024,
        base_rtt_ps=4 * US,
        marking=marking,
        cnp_interval_ps=50 * US,
    ).run(100 * MS, warm_up_ps=50 * MS)
    assert found.jain >= 0.95
    assert found.utilisation(200) > 0.9
    # Within the range of the marks; every packet is marked above, and a cut takes a CNP interval.
    assert found.queue_quantile(0.95) < 1.5 * marking.kmax_bytes
    if senders == 2:
        set_point = dcqcn_fixed_point(marking, DCQCN_PAPER, senders, 40e9, 1024)
        assert fmean(found.queue_bytes) == pytest.approx(set_point, rel=0.25)


@pytest.mark.parametrize("senders", COUNTS)
def test_dcqcn_scaled_to_400g_keeps_its_queue_at_the_fixed_point(senders: int) -> None:
    marking = Marking(kmin_bytes=800_000, kmax_bytes=3_200_000, pmax=0.2)  # SimAI, 400 Gb/s
    rates = {
        "additive_increase_bps": 400_000_000,
        "hyper_increase_bps": 4_000_000_000,
        "min_rate_bps": 100_000_000,
    }
    found = Bottleneck(
        "dcqcn",
        DCQCN_PAPER | rates,
        senders=senders,
        byte_time_ps=BYTE_PS,
        mtu_bytes=MTU,
        base_rtt_ps=4 * US,
        marking=marking,
        cnp_interval_ps=50 * US,
    ).run(60 * MS, warm_up_ps=40 * MS)
    assert found.jain >= 0.95
    assert found.utilisation(BYTE_PS) > 0.95
    set_point = dcqcn_fixed_point(marking, DCQCN_PAPER | rates, senders, 400e9, MTU)
    assert fmean(found.queue_bytes) == pytest.approx(set_point, rel=0.25)


@pytest.mark.parametrize("senders", COUNTS)
def test_dcqcn_of_the_vendor_shares_400g_equally_below_kmax(senders: int) -> None:
    marking = Marking(kmin_bytes=1_600_000, kmax_bytes=6_400_000, pmax=0.2)
    found = Bottleneck(
        "dcqcn",
        DCQCN_VENDOR,
        senders=senders,
        byte_time_ps=BYTE_PS,
        mtu_bytes=MTU,
        base_rtt_ps=4 * US,
        marking=marking,
        cnp_interval_ps=4 * US,
    ).run(40 * MS, warm_up_ps=20 * MS)
    assert found.jain >= 0.95
    assert found.utilisation(BYTE_PS) > 0.9
    assert found.queue_quantile(0.99) < marking.kmax_bytes


@pytest.mark.parametrize("senders", COUNTS)
def test_dctcp_shares_equally_with_the_queue_of_its_paper(senders: int) -> None:
    k_pkts, base_rtt_ps = 100, 8 * US
    found = Bottleneck(
        "dctcp",
        DCTCP,
        senders=senders,
        byte_time_ps=BYTE_PS,
        mtu_bytes=MTU,
        base_rtt_ps=base_rtt_ps,
        marking=Marking(kmin_bytes=k_pkts * MTU, kmax_bytes=k_pkts * MTU, pmax=1),
    ).run(20 * MS, warm_up_ps=10 * MS)
    assert found.jain >= 0.95
    assert found.utilisation(BYTE_PS) > 0.99
    # SIGCOMM 2010, section 3.3: Qmax = K + N, amplitude = sqrt(2 N (C RTT + K)) / 2, all senders in step.
    bdp_pkts = base_rtt_ps / BYTE_PS / MTU
    amplitude = math.sqrt(2 * senders * (bdp_pkts + k_pkts)) / 2
    low, high = (found.queue_quantile(share) / MTU for share in (0.01, 0.99))
    assert k_pkts < high < k_pkts + senders + 2
    assert k_pkts + senders - 2 * amplitude < low < k_pkts


@pytest.mark.parametrize("senders", COUNTS)
def test_nscc_shares_equally_with_the_queue_at_its_target(senders: int) -> None:
    found = Bottleneck(
        "nscc",
        NSCC,
        senders=senders,
        byte_time_ps=BYTE_PS,
        mtu_bytes=MTU,
        base_rtt_ps=12 * US,
        marking=Marking(kmin_bytes=120_000, kmax_bytes=480_000, pmax=1),  # 0.2 and 0.8 BDP, as main_uec.cpp
    ).run(20 * MS, warm_up_ps=10 * MS)
    assert found.jain >= 0.95
    assert found.utilisation(BYTE_PS) > 0.99
    target_bytes = NSCC["target_delay_ps"] / BYTE_PS
    assert fmean(found.queue_bytes) == pytest.approx(target_bytes, rel=0.2)


@pytest.mark.parametrize("senders", COUNTS)
def test_cubic_shares_equally_below_its_mark(senders: int) -> None:
    found = Bottleneck(
        "cubic",
        CUBIC,
        senders=senders,
        byte_time_ps=BYTE_PS,
        mtu_bytes=MTU,
        base_rtt_ps=8 * US,
        marking=Marking(kmin_bytes=100 * MTU, kmax_bytes=100 * MTU, pmax=1),
    ).run(20 * MS, warm_up_ps=10 * MS)
    assert found.jain >= 0.95
    assert found.utilisation(BYTE_PS) > 0.98
    assert found.queue_quantile(0.99) < (100 + 2 * senders) * MTU


@pytest.mark.parametrize(
    ("name", "parameters", "base_rtt_ps", "marking"),
    [
        ("dctcp", DCTCP, 8 * US, Marking(kmin_bytes=409_600, kmax_bytes=409_600, pmax=1)),
        ("nscc", NSCC, 12 * US, Marking(kmin_bytes=120_000, kmax_bytes=480_000, pmax=1)),
    ],
)
def test_late_comer_gets_its_share_of_a_busy_queue(
    name: str, parameters: dict[str, int], base_rtt_ps: int, marking: Marking
) -> None:
    found = Bottleneck(
        name,
        parameters,
        senders=4,
        byte_time_ps=BYTE_PS,
        mtu_bytes=MTU,
        base_rtt_ps=base_rtt_ps,
        marking=marking,
        starts_ps=[0, 1 * US, 2 * US, 5 * MS],
    ).run(25 * MS, warm_up_ps=15 * MS)
    assert found.jain >= 0.95


def test_equal_seeds_give_equal_outcomes_and_others_do_not() -> None:
    marking = Marking(kmin_bytes=120_000, kmax_bytes=480_000, pmax=1)

    def queue(seed: int) -> list[float]:
        shared = Bottleneck(
            "nscc",
            NSCC,
            senders=4,
            byte_time_ps=BYTE_PS,
            mtu_bytes=MTU,
            base_rtt_ps=12 * US,
            marking=marking,
            seed=seed,
        )
        return shared.run(1 * MS, warm_up_ps=0).queue_bytes

    assert queue(1) == queue(1) != queue(2)
