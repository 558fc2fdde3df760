from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed.errors import Problems, SpecError
from testbed.links import MEDIA
from testbed.links.latency import add_link_problems, link_latency_ps, used_numbers
from testbed.spec.fabric import Link
from testbed.spec.sourced import assumptions_of
from topologies import build_fabric

GBPS = 10**9


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


@given(length_mm=st.integers(0, 2_000), gbps=st.sampled_from([10, 25, 50, 100, 200, 400, 800]))
def test_link_latency_grows_with_length_and_is_never_negative(length_mm: int, gbps: int) -> None:
    shorter = link_latency_ps("dac", length_mm // 2, gbps * GBPS)
    assert 0 <= shorter <= link_latency_ps("dac", length_mm, gbps * GBPS)


@pytest.mark.parametrize("name", MEDIA.names())
def test_medium_is_named_as_registered_and_described(name: str) -> None:
    assert MEDIA.get(name).name == name
    assert len(MEDIA.describe(name)) > 20


def test_link_problems_names_the_link() -> None:
    fields: dict[str, Any] = {"a": "c1", "a_port": 0, "b": "l1", "b_port": 1, "rate_bps": 400 * GBPS}
    good, bad = (Link(**fields, medium="dac", length_mm=mm) for mm in (3_000, 9_000))
    problems = Problems()
    add_link_problems([good, bad], problems)
    assert [problem.path for problem in problems] == ["links[1].medium"]


def test_used_numbers_of_a_fabric_leave_out_what_no_link_uses() -> None:
    used = used_numbers(build_fabric("leaf_spine", {}))

    assert {path.split(".")[0] for path in used} == {"dac", "dr"}
    assert assumptions_of(used, "links") == []


def test_used_numbers_of_a_retimed_cable_show_its_estimate() -> None:
    used = used_numbers(build_fabric("squadrack", {"switches": 2}))

    assert [a.path for a in assumptions_of(used, "links")] == ["links[aec.module]"]
