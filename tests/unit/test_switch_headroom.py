"""PFC headroom against worked values of the published formula, and against what ships."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from testbed.switches import SWITCHES
from testbed.switches.headroom import (
    auto_headroom,
    auto_numbers,
    formula_headroom,
    published_headroom,
    reaction_ps,
    response,
)

GBPS = 10**9
PFC = SWITCHES.get("spectrum4").pfc
SPECTRUM4_CELL_BYTES = 192


def spectrum4(gbps: int, metres: int) -> int:
    return formula_headroom(
        PFC, rate_bps=gbps * GBPS, length_mm=metres * 1000, cell_bytes=SPECTRUM4_CELL_BYTES
    )


@pytest.mark.parametrize(("metres", "worked"), [(5, 211_940), (40, 263_727), (300, 648_434)])
def test_formula_of_spectrum4_at_400g_is_the_worked_value_in_whole_kib(metres: int, worked: int) -> None:
    assert spectrum4(400, metres) == -(-worked // 1024) * 1024
    assert spectrum4(400, metres) == pytest.approx(worked, rel=0.005)


@pytest.mark.parametrize(("metres", "shipped"), [(5, 231_424), (40, 283_648), (300, 677_888)])
def test_formula_of_spectrum4_is_within_a_tenth_of_what_ships(metres: int, shipped: int) -> None:
    assert shipped * 0.9 < spectrum4(400, metres) < shipped
    published = published_headroom(SWITCHES.get("spectrum4"), 400 * GBPS, metres * 1000)
    assert published is not None
    assert published.number == shipped


def test_formula_small_cells_cost_at_most_twice_the_bytes() -> None:
    # 128 B cells: 2 * 128 / 129 of each byte; by hand: (9100 + 2466.04 + 819.2 + 57920) * 1.98450 + 1024 = 140,543
    found = formula_headroom(PFC, rate_bps=400 * GBPS, length_mm=5_000, cell_bytes=128)
    assert found == pytest.approx(140_543, abs=1024)
    assert found % 1024 == 0
    one = formula_headroom(PFC, rate_bps=400 * GBPS, length_mm=5_000, cell_bytes=1)
    assert one == pytest.approx(71_329, abs=1024)


def test_formula_grows_with_length_by_twice_the_cable() -> None:
    grown = spectrum4(400, 300) - spectrum4(400, 40)
    bytes_on_cable = 2 * 260 / 198e6 * 400e9 / 8 / 1.024  # the formula counts 1,000 bits of a Mb as 1,024
    assert grown == pytest.approx(3 * bytes_on_cable, abs=1024)


@pytest.mark.parametrize(
    ("gbps", "ps"), [(800, 579_200), (400, 1_158_400), (200, 1_159_680), (100, 2_017_280), (1600, 579_200)]
)
def test_reaction_is_the_standard_quanta_at_the_rate(gbps: int, ps: int) -> None:
    assert reaction_ps(PFC, gbps * GBPS) == ps


def test_response_between_two_rates_is_that_of_the_faster() -> None:
    assert response(PFC, 320 * GBPS).rate_bps == 400 * GBPS
    assert response(PFC, 3200 * GBPS).rate_bps == 1600 * GBPS


@pytest.mark.parametrize(
    ("metres", "expected"), [(1, 307_848), (5, 307_848), (6, 330_200), (100, 612_140), (200, 499_618)]
)
def test_published_headroom_is_of_the_shortest_class_that_covers(metres: int, expected: int) -> None:
    found = published_headroom(SWITCHES.get("tomahawk5"), 400 * GBPS, metres * 1000)
    assert found is not None
    assert found.number == expected


@pytest.mark.parametrize(("name", "gbps", "metres"), [("tomahawk5", 400, 301), ("ideal", 400, 5)])
def test_published_headroom_of_what_does_not_ship_is_none(name: str, gbps: int, metres: int) -> None:
    assert published_headroom(SWITCHES.get(name), gbps * GBPS, metres * 1000) is None


def test_auto_headroom_is_the_formula_and_what_it_leaves_out() -> None:
    # 600 ns of pipeline, 16.384 ns to make the frame, 200 ns of PHY: 40,819.2 bytes at 400G, in cells 254/64 of that
    left_out = math.ceil(40_819.2 * 254 / 64 / 1024) * 1024
    assert auto_headroom(SWITCHES.get("tomahawk5"), 400 * GBPS, 40_000) == 349_184 + left_out


def test_auto_headroom_is_the_table_where_that_is_larger() -> None:
    tomahawk5 = SWITCHES.get("tomahawk5")
    more = replace(tomahawk5.pfc.shipped[0].headroom, value=10**6)
    pfc = replace(tomahawk5.pfc, shipped=(replace(tomahawk5.pfc.shipped[0], headroom=more),))
    generous = replace(tomahawk5, pfc=pfc)
    link = pfc.shipped[0]
    assert auto_headroom(generous, link.rate_bps, link.length_mm) == 10**6
    assert len(auto_numbers(generous, link.rate_bps, link.length_mm)) == 1


def test_auto_numbers_are_those_that_decided() -> None:
    by_formula = auto_numbers(SWITCHES.get("tomahawk6"), 1600 * GBPS, 1_000)
    parts = {"headroom.port_mtu", "headroom.lossless_mtu", "headroom.phy"}
    assert set(by_formula) == {*parts, "pfc.response[1.6Tbps]"}
    assert by_formula["pfc.response[1.6Tbps]"].mark == "assumed"
