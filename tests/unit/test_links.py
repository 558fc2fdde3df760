from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import SpecError
from testbed.links import MEDIA
from testbed.links.features import REORDER_DELAY, link_features, used_numbers
from testbed.links.fec import FECS, KP4, KR4, LL, Fec, fec_of
from testbed.links.latency import cable_problems, link_latency_ps
from testbed.links.loss import (
    JUMBO_FRAME_BYTES,
    LOSS_FLOOR,
    MAX_LOSS,
    codeword_error_ratio,
    frame_loss,
    post_fec_ber,
)
from testbed.spec.fabric import FOREVER_PS, FecChoice, Link, LinkFault
from testbed.spec.sourced import Sourced, assumptions_of
from testbed.units import format_length, parse_ratio
from topologies import TOPOLOGIES, build_fabric

GBPS = 10**9

TODAY = [
    ("dac", 0, 10, 0),
    ("dac", 500, 10, 2_526),
    ("dac", 3_000, 10, 15_153),
    ("dac", 0, 25, 241_800),
    ("dac", 500, 25, 244_326),
    ("dac", 3_000, 25, 256_953),
    ("dac", 0, 40, 165_000),
    ("dac", 500, 40, 167_526),
    ("dac", 3_000, 40, 180_153),
    ("dac", 0, 50, 139_400),
    ("dac", 500, 50, 141_926),
    ("dac", 3_000, 50, 154_553),
    ("dac", 0, 100, 88_200),
    ("dac", 500, 100, 90_726),
    ("dac", 3_000, 100, 103_353),
    ("dac", 0, 200, 88_200),
    ("dac", 500, 200, 90_726),
    ("dac", 3_000, 200, 103_353),
    ("dac", 0, 400, 62_600),
    ("dac", 500, 400, 65_126),
    ("dac", 3_000, 400, 77_753),
    ("dac", 0, 800, 62_600),
    ("dac", 500, 800, 65_126),
    ("dac", 2_000, 800, 72_702),
    ("dac", 0, 1600, 49_800),
    ("dac", 500, 1600, 52_326),
    ("dac", 1_000, 1600, 54_851),
    ("aec", 3_000, 10, 35_153),
    ("aec", 7_000, 10, 55_357),
    ("aec", 3_000, 25, 276_953),
    ("aec", 7_000, 25, 297_157),
    ("aec", 3_000, 40, 200_153),
    ("aec", 7_000, 40, 220_357),
    ("aec", 3_000, 50, 174_553),
    ("aec", 7_000, 50, 194_757),
    ("aec", 3_000, 100, 123_353),
    ("aec", 7_000, 100, 143_557),
    ("aec", 3_000, 200, 123_353),
    ("aec", 7_000, 200, 143_557),
    ("aec", 3_000, 400, 97_753),
    ("aec", 7_000, 400, 117_957),
    ("aec", 3_000, 800, 97_753),
    ("aec", 7_000, 800, 117_957),
    ("aec", 3_000, 1600, 84_953),
    ("aoc", 10_000, 10, 54_510),
    ("aoc", 10_000, 25, 296_310),
    ("aoc", 10_000, 40, 219_510),
    ("aoc", 10_000, 50, 193_910),
    ("aoc", 10_000, 100, 142_710),
    ("aoc", 10_000, 200, 142_710),
    ("aoc", 10_000, 400, 117_110),
    ("aoc", 10_000, 800, 117_110),
    ("sr", 10_000, 10, 70_510),
    ("sr", 10_000, 25, 312_310),
    ("sr", 10_000, 40, 235_510),
    ("sr", 10_000, 50, 209_910),
    ("sr", 10_000, 100, 158_710),
    ("sr", 10_000, 200, 158_710),
    ("sr", 10_000, 400, 133_110),
    ("sr", 10_000, 800, 133_110),
    ("dr", 10_000, 10, 70_510),
    ("dr", 500_000, 10, 2_545_500),
    ("dr", 10_000, 25, 312_310),
    ("dr", 500_000, 25, 2_787_300),
    ("dr", 10_000, 40, 235_510),
    ("dr", 500_000, 40, 2_710_500),
    ("dr", 10_000, 50, 209_910),
    ("dr", 500_000, 50, 2_684_900),
    ("dr", 10_000, 100, 158_710),
    ("dr", 500_000, 100, 2_633_700),
    ("dr", 10_000, 200, 158_710),
    ("dr", 500_000, 200, 2_633_700),
    ("dr", 10_000, 400, 133_110),
    ("dr", 500_000, 400, 2_608_100),
    ("dr", 10_000, 800, 133_110),
    ("dr", 500_000, 800, 2_608_100),
    ("dr", 10_000, 1600, 120_310),
    ("dr", 500_000, 1600, 2_595_300),
]
"""As they were before lanes and codes could be chosen: what no link of the usual kind may lose."""


@pytest.mark.parametrize(
    ("medium", "length_mm", "gbps", "latency_ps"),
    [
        ("dac", 3_000, 400, 15_153 + 62_600),  # propagation + 2 codewords at 400G (25.6 ns) + 37 ns
        ("dac", 500, 400, 2_526 + 62_600),  # 2,525.5 ps, rounded half up
        ("dac", 2_000, 800, 10_102 + 62_600),  # 4 codewords at 800G: the same
        ("dac", 3_000, 200, 15_153 + 88_200),
        ("dac", 3_000, 100, 15_153 + 88_200),
        ("dac", 7_000, 10, 35_357),  # no FEC
        ("aec", 5_000, 800, 25_255 + 62_600 + 20_000),
        ("aoc", 10_000, 400, 50_510 + 62_600 + 4_000),
        ("dr", 10_000, 800, 50_510 + 62_600 + 20_000),
    ],
)
def test_link_latency_is_the_sum_of_its_parts(
    medium: str, length_mm: int, gbps: int, latency_ps: int
) -> None:
    assert link_latency_ps(medium, length_mm, gbps * GBPS) == latency_ps


@pytest.mark.parametrize(
    ("medium", "length_mm", "gbps", "message"),
    [
        ("dac", 3_001, 400, "too long: at 400Gbps (50Gbps lanes) it reaches 3m"),
        ("dac", 3_000, 800, "(100Gbps lanes) it reaches 2m"),
        ("aec", 8_000, 800, "too long"),
        ("sr", 101_000, 400, "too long"),
        ("sr", 1_000, 1600, "sr does not exist for 1.6Tbps"),
        ("dr", 501_000, 400, "too long"),
        ("dr", 1_000, 3200, "no medium carries 3.2Tbps"),
        ("copper", 1_000, 400, "unknown medium 'copper'"),
        ("dak", 1_000, 400, "did you mean 'dac'?"),
    ],
)
def test_link_that_cannot_exist_is_refused(medium: str, length_mm: int, gbps: int, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        link_latency_ps(medium, length_mm, gbps * GBPS)
    assert message in str(caught.value)


@pytest.mark.parametrize(("medium", "length_mm", "gbps", "latency_ps"), TODAY)
def test_link_latency_of_the_usual_link_is_what_it_was(
    medium: str, length_mm: int, gbps: int, latency_ps: int
) -> None:
    assert link_latency_ps(medium, length_mm, gbps * GBPS) == latency_ps


@given(length_mm=st.integers(0, 2_000), gbps=st.sampled_from([10, 25, 50, 100, 200, 400, 800]))
def test_link_latency_grows_with_length_and_is_never_negative(length_mm: int, gbps: int) -> None:
    shorter = link_latency_ps("dac", length_mm // 2, gbps * GBPS)
    assert 0 <= shorter <= link_latency_ps("dac", length_mm, gbps * GBPS)


@pytest.mark.parametrize("name", MEDIA.names())
def test_medium_is_named_as_registered_and_described(name: str) -> None:
    assert MEDIA.get(name).name == name
    assert len(MEDIA.describe(name)) > 20


def a_link(**changes: Any) -> Link:
    fields: dict[str, Any] = {"rate_bps": 400 * GBPS, "medium": "dac", "length_mm": 1_000}
    return Link(**{"a": "c1", "a_port": 0, "b": "l1", "b_port": 1} | fields | changes)


def test_used_numbers_of_a_fabric_leave_out_what_no_link_uses() -> None:
    used = used_numbers(build_fabric("leaf_spine", {}))

    assert {path.split(".")[0] for path in used} == {"dac", "dr"}
    assert assumptions_of(used, "links") == []


def test_used_numbers_of_a_retimed_cable_show_its_estimate() -> None:
    used = used_numbers(build_fabric("squadrack", {"switches": 2}))

    assert [a.path for a in assumptions_of(used, "links")] == ["links[aec.module]"]


def test_used_numbers_show_the_bit_errors_only_where_they_lose_frames() -> None:
    def unverified(**parameters: Any) -> list[str]:
        fabric = build_fabric("single_switch", {"rate": "100Gbps", "lanes": 4, **parameters})
        return [a.path for a in assumptions_of(used_numbers(fabric), "links")]

    assert unverified(fec="none") == ["links[dac.ber, 25Gbps lanes]"]
    assert unverified(fec="none", ber="1e-12") == []
    assert unverified(fec="kp4") == []
    assert unverified() == ["links[dac.fec.kr4.fixed]", "links[dac.fec.kr4.payload_bits]"]


@pytest.mark.parametrize(
    ("gbps", "lanes", "longest_mm"), [(400, 8, 3_000), (400, 4, 2_000), (400, 2, 1_000), (1600, 8, 1_000)]
)
def test_medium_reach_is_that_of_the_lanes(gbps: int, lanes: int, longest_mm: int) -> None:
    assert MEDIA.get("dac").max_length_mm(gbps * GBPS, lanes) == longest_mm


def test_dac_of_5_m_at_112g_lanes_is_refused_with_the_reason_and_what_reaches() -> None:
    [problem] = cable_problems("dac", 5_000, 800 * GBPS)

    assert problem.path == "length"
    assert "at 800Gbps (100Gbps lanes) it reaches 2m, as the loss of the wire grows" in problem.problem
    assert "acc (5m), aec (7m)" in problem.remedy
    assert not cable_problems("aec", 5_000, 800 * GBPS)


@pytest.mark.parametrize(
    ("gbps", "cable", "field", "said"),
    [
        (400, {"lanes": 3}, "lanes", "400Gbps does not run over 3 lanes"),
        (1600, {"lanes": 4}, "lanes", "1.6Tbps does not run over 4 lanes"),
        (10, {"lanes": 2}, "lanes", "10Gbps does not run over 2 lanes"),
        (400, {"fec": "none"}, "fec", "50Gbps lanes are PAM4, and do not work without FEC"),
        (400, {"fec": "kr4"}, "fec", "fec kr4 is not used at 50Gbps lanes, only at 25Gbps"),
        (10, {"fec": "ll"}, "fec", "fec ll is not used at 10Gbps lanes"),
        (400, {"ber_e18": 2 * 10**15}, "ber", "at a bit error ratio of 2e-3 more than 10% of the 9,216-byte"),
        (3200, {}, "medium", "no medium carries 3.2Tbps"),
    ],
)
def test_cable_that_cannot_work_is_refused_with_a_remedy(
    gbps: int, cable: dict[str, Any], field: str, said: str
) -> None:
    [problem] = cable_problems("dac", 1_000, gbps * GBPS, **cable)

    assert problem.path == field
    assert said in problem.problem
    assert problem.remedy


@pytest.mark.parametrize(
    ("lane_gbps", "name"), [(10, None), (25, "kr4"), (50, "kp4"), (100, "kp4"), (200, "kp4")]
)
def test_fec_auto_is_the_code_of_the_lanes(lane_gbps: int, name: str | None) -> None:
    code = fec_of("auto", lane_gbps * GBPS)
    assert (code.name if code else None) == name


@pytest.mark.parametrize(
    ("gbps", "fec", "latency_ps"),
    [(100, "ll", 25_600 + 21_000), (200, "ll", 46_600), (400, "ll", 33_800), (800, "ll", 33_800)],
)
def test_low_latency_fec_costs_about_half(gbps: int, fec: FecChoice, latency_ps: int) -> None:
    usual = link_latency_ps("dac", 0, gbps * GBPS)

    assert link_latency_ps("dac", 0, gbps * GBPS, fec=fec) == latency_ps
    assert 0.5 <= latency_ps / usual <= 0.55


@pytest.mark.parametrize("name", FECS.names())
@pytest.mark.parametrize("ber", ["1e-8", "1e-5", "2.4e-4", "1e-3"])
def test_codeword_error_ratio_is_the_binomial_tail(name: str, ber: str) -> None:
    code = FECS.get(name)
    symbol_wrong = -math.expm1(10 * math.log1p(-float(ber)))
    tail = scipy.special.bdtrc(code.correctable_symbols.number, code.codeword_symbols.number, symbol_wrong)

    assert float(codeword_error_ratio(parse_ratio(ber), code)) == pytest.approx(tail, rel=1e-9)


def test_codeword_error_ratio_of_a_small_code_is_what_counting_gives() -> None:
    three = replace(
        KP4,
        codeword_symbols=Sourced(3, "symbols", "E", "x"),
        correctable_symbols=Sourced(1, "symbols", "E", "x"),
    )
    wrong = 1 - Decimal("0.9") ** 10

    got = codeword_error_ratio(parse_ratio("0.1"), three)
    assert got == pytest.approx(3 * wrong**2 * (1 - wrong) + wrong**3, rel=Decimal("1e-25"))


@pytest.mark.parametrize(
    ("code", "ber", "gbps", "published"),
    [
        (KP4, "2.4e-4", 100, 9.2e-13),  # IEEE 802.3 cl. 138, 140: for 64-octet frames (from memory)
        (KP4, "2.4e-4", 400, 1.7e-12),  # cl. 122, 124: two codewords interleaved (from memory)
    ],
)
def test_frame_loss_at_the_limit_of_the_standard_is_the_standards(
    code: Fec, ber: str, gbps: int, published: float
) -> None:
    loss = frame_loss(parse_ratio(ber), code, gbps * GBPS).ratio(64)
    assert float(f"{loss:.1e}") == published


def test_frame_loss_of_kr4_at_its_limit_is_within_the_standards_6_2e_10() -> None:
    loss = frame_loss(parse_ratio("5e-5"), KR4, 100 * GBPS).ratio(64)
    assert Decimal("4e-10") < loss < Decimal("6.2e-10")


def test_frame_loss_without_fec_is_the_published_one() -> None:
    """1e-12 is 5.12e-10 for 64 octets: P. Anslow, IEEE 802.3 100GNGOPTX reflector, 2012-11-23."""
    assert frame_loss(parse_ratio("1e-12"), None, 10 * GBPS).ratio(64) == Decimal("5.12e-10")


def worst_accepted(code: Fec | None) -> int:
    """The largest bit error ratio at which the loss still counts as linear, by bisection."""
    good, bad = 0, 10**17
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if frame_loss(middle, code, 400 * GBPS).is_linear else (good, middle)
    return good


@pytest.mark.parametrize("code", [None, KR4, KP4, LL])
def test_frame_loss_is_linear_within_half_of_itself_while_it_is_accepted(code: Fec | None) -> None:
    """Against 1 - (1 - p)^n, at the worst bit error ratio that is accepted."""
    worst = worst_accepted(code)
    linear = frame_loss(worst, code, 400 * GBPS).ratio(JUMBO_FRAME_BYTES)
    p = codeword_error_ratio(worst, code) if code else Decimal(worst) / 10**18
    true = 1 - (1 - p) ** (linear / p)

    assert linear == pytest.approx(MAX_LOSS, rel=Decimal("1e-6"))
    assert 0 <= linear - true <= linear * linear / 2


@pytest.mark.parametrize("code", [KR4, KP4, LL])
@pytest.mark.parametrize("ber", ["1e-6", "1e-4", "1e-3"])
def test_post_fec_ber_is_far_below_what_came_in(code: Fec, ber: str) -> None:
    before, after = Decimal(ber), post_fec_ber(parse_ratio(ber), code)
    tail = codeword_error_ratio(parse_ratio(ber), code)
    fewest = Decimal(code.correctable_symbols.number + 1) / code.codeword_symbols.number

    assert tail * fewest * before / 10 < after < before
    assert after <= tail * Decimal("0.1")


def test_post_fec_ber_without_a_code_or_an_error_is_what_came_in() -> None:
    assert post_fec_ber(parse_ratio("1e-9"), None) == Decimal("1e-9")
    assert post_fec_ber(0, KP4) == 0


def test_post_fec_ber_of_kp4_at_its_limit_is_some_1e_15() -> None:
    """15 of 544 symbols are the least that stay wrong, about one bit in each: 8.2e-13 x 16 / 5440 = 2.4e-15."""
    assert float(post_fec_ber(parse_ratio("2.4e-4"), KP4)) == pytest.approx(2.4e-15, rel=0.05)


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_link_features_of_every_default_link_are_none(name: str) -> None:
    assert all(link_features(link) == {} for link in build_fabric(name, {}).links)


@pytest.mark.parametrize("name", MEDIA.names())
def test_link_features_of_a_healthy_link_of_any_lanes_are_none(name: str) -> None:
    for reach in MEDIA.get(name).reaches:
        rate_bps = reach.lane_bps
        assert link_features(a_link(medium=name, rate_bps=rate_bps, lanes=1)) == {}


def test_link_features_at_the_limit_of_the_standard_are_none() -> None:
    assert link_features(a_link(ber_e18=parse_ratio("2.4e-4"))) == {}


def test_link_features_of_a_bad_link_are_its_loss_in_2_64ths() -> None:
    features = link_features(a_link(ber_e18=parse_ratio("1e-3")))
    loss = frame_loss(parse_ratio("1e-3"), KP4, 400 * GBPS)

    assert features == {
        "loss_base_2p64": round(loss.base * 2**64),
        "loss_per_byte_2p64": round(loss.per_byte * 2**64),
    }
    lost = features["loss_base_2p64"] + 4096 * features["loss_per_byte_2p64"]
    assert lost / 2**64 == pytest.approx(1.3e-3, rel=0.05)


def test_link_features_without_fec_are_8_bit_errors_a_byte() -> None:
    bad = a_link(rate_bps=10 * GBPS, ber_e18=parse_ratio("1e-9"))
    assert link_features(bad) == {"loss_base_2p64": 0, "loss_per_byte_2p64": round(Decimal("8e-9") * 2**64)}


def test_link_features_loss_begins_at_the_floor() -> None:
    at_floor = int(LOSS_FLOOR / (8 * JUMBO_FRAME_BYTES) * 10**18)
    below, above = (a_link(rate_bps=10 * GBPS, ber_e18=ber) for ber in (at_floor, at_floor + 1))

    assert link_features(below) == {}
    assert set(link_features(above)) == {"loss_base_2p64", "loss_per_byte_2p64"}


def test_link_features_worst_accepted_loss_fits_the_engine() -> None:
    worst = worst_accepted(KP4)
    features = link_features(a_link(ber_e18=worst))

    assert not cable_problems("dac", 1_000, 400 * GBPS, ber_e18=worst)
    assert cable_problems("dac", 1_000, 400 * GBPS, ber_e18=worst + 1)
    assert features["loss_base_2p64"] + JUMBO_FRAME_BYTES * features["loss_per_byte_2p64"] < 2**63


def test_link_features_name_retry_and_credits_only_where_they_are_on() -> None:
    assert link_features(a_link(), llr=True, llr_latency_ps=7) == {"llr": True, "llr_latency_ps": 7}
    assert link_features(a_link(), llr_latency_ps=7) == {}
    assert link_features(a_link(), cbfc=True) == {"cbfc": True}


def test_link_features_faults_have_a_direction() -> None:
    faults = (
        LinkFault(toward="l1", from_ps=1, until_ps=2, loss_ppm=1_000_000),
        LinkFault(toward="c1", from_ps=0, until_ps=FOREVER_PS, loss_ppm=1),
    )
    assert link_features(a_link(faults=faults)) == {
        "faults": [[0, 1, 2, 2**64 - 1], [1, 0, FOREVER_PS, 2**64 // 10**6]]
    }


def test_link_features_hold_frames_up_for_an_assumed_time_unless_the_link_says() -> None:
    assert link_features(a_link(reorder_e18=5 * 10**17)) == {
        "reorder_2p64": 2**63,
        "reorder_delay_ps": REORDER_DELAY.number,
    }
    assert link_features(a_link(reorder_e18=10**18, reorder_delay_ps=7)) == {
        "reorder_2p64": 2**64 - 1,
        "reorder_delay_ps": 7,
    }
    assert link_features(a_link(reorder_delay_ps=7)) == {}


def test_link_features_duplicates_are_refused_with_credits() -> None:
    link = a_link(duplicate_e18=10**14)
    assert link_features(link, llr=True) == {
        "duplicate_2p64": 2**64 // 10**4,
        "llr": True,
        "llr_latency_ps": 0,
    }
    with pytest.raises(SpecError, match="the link c1-l1 duplicates frames"):
        link_features(link, cbfc=True)


def test_used_numbers_show_the_assumed_delay_only_where_frames_are_held_up_for_it() -> None:
    def unverified(**parameters: Any) -> list[str]:
        fabric = build_fabric("single_switch", parameters)
        return [a.path for a in assumptions_of(used_numbers(fabric), "links")]

    assert unverified(reorder="1e-3") == ["links[link.reorder_delay]"]
    assert unverified(reorder="1e-3", reorder_delay="1us") == unverified(duplicate="1e-3") == []


def rows_of(text: str) -> dict[str, list[str]]:
    """The table rows of a document, by their first cell."""
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in text.splitlines()
        if line[:1] == "|"
    ]
    return {row[0].replace("`", ""): row[1:] for row in rows}


@pytest.mark.parametrize("name", FECS.names())
def test_links_document_has_the_latencies_and_errors_of_the_codes(repository: Path, name: str) -> None:
    text = (repository / "docs" / "links.md").read_text(encoding="utf-8")
    code, rows, bers = (
        FECS.get(name),
        rows_of(text),
        ("1e-6", "1e-5", "5e-5", "1e-4", "2.4e-4", "5e-4", "1e-3"),
    )
    rates_bps = [gbps * GBPS for gbps in (25, 50, 100, 200, 400, 800, 1600)]

    assert rows[name][2:] == [f"{code.latency_ps(rate) / 1000:.1f}" for rate in rates_bps]
    assert rows[f"{name}, CER"] == [f"{codeword_error_ratio(parse_ratio(ber), code):.1e}" for ber in bers]
    assert rows[f"{name}, BER after"] == [f"{post_fec_ber(parse_ratio(ber), code):.1e}" for ber in bers]


@pytest.mark.parametrize("name", MEDIA.names())
def test_links_document_has_the_reaches_of_the_media(repository: Path, name: str) -> None:
    text = (repository / "docs" / "links.md").read_text(encoding="utf-8")
    longest = {reach.lane_bps: reach.max_length.number // 1000 for reach in MEDIA.get(name).reaches}
    reaches = [str(longest.get(gbps * GBPS, "–")) for gbps in (10, 25, 50, 100, 200)]
    written = " / ".join(reaches) + " m" if len(set(reaches)) > 1 else format_length(int(reaches[0]) * 1000)

    assert rows_of(text)[name][2].replace(" ", "") == written.replace(" ", "")
