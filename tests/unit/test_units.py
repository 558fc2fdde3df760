from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import units
from testbed.errors import SpecError

WHOLE_RATES = st.builds(lambda twos, fives: 2**twos * 5**fives, st.integers(0, 15), st.integers(0, 12))


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (units.parse_time, "2us", 2_000_000),
        (units.parse_time, "2 µs", 2_000_000),
        (units.parse_time, "2.5us", 2_500_000),
        (units.parse_time, "0.001ns", 1),
        (units.parse_time, "1s", 10**12),
        (units.parse_rate, "400Gbps", 400 * 10**9),
        (units.parse_rate, "1.6Tbps", 1600 * 10**9),
        (units.parse_rate, "400 Gb/s", 400 * 10**9),
        (units.parse_size, "4KiB", 4096),
        (units.parse_size, "1_000B", 1000),
        (units.parse_size, "4kB", 4000),
        (units.parse_length, "3m", 3000),
        (units.parse_length, "50cm", 500),
        (units.parse_permille, "60%", 600),
        (units.parse_permille, "62.5%", 625),
        (units.parse_ppm, "100%", 1_000_000),
        (units.parse_ppm, "0.02%", 200),
        (units.parse_ppm, "3ppm", 3),
        (units.parse_ratio, "1e-6", 10**12),
        (units.parse_ratio, "2.4E-4", 240 * 10**12),
        (units.parse_ratio, "0", 0),
        (units.parse_ratio, "0.001", 10**15),
        (units.parse_ratio, "1e-18", 1),
    ],
)
def test_parse_good_text_gives_base_units(parse: Callable[[str], int], text: str, value: int) -> None:
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (units.parse_time, ""),
        (units.parse_time, "2"),
        (units.parse_time, "us"),
        (units.parse_time, "-2us"),
        (units.parse_time, "2 parsecs"),
        (units.parse_time, "0.5ps"),
        (units.parse_time, "nan s"),
        (units.parse_time, "infs"),
        (units.parse_time, "1e3us"),
        (units.parse_time, "٣us"),
        (units.parse_time, "9" * 5000 + "s"),
        (units.parse_rate, "0Gbps"),
        (units.parse_rate, "400GBps"),
        (units.parse_rate, "-1Gbps"),
        (units.parse_size, "4.5B"),
        (units.parse_size, "4Kb"),
        (units.parse_length, "3ft"),
        (units.parse_length, "0.5mm"),
        (units.parse_permille, "60"),
        (units.parse_permille, "0.01%"),
        (units.parse_ppm, "1"),
        (units.parse_ppm, "0.00001%"),
        (units.parse_ratio, "1e-19"),
        (units.parse_ratio, "2"),
        (units.parse_ratio, "-1e-6"),
        (units.parse_ratio, "e-6"),
        (units.parse_ratio, "nan"),
        (units.parse_ratio, "1e-6%"),
        (units.parse_ratio, "1e9999"),
    ],
)
def test_parse_bad_text_is_refused_with_a_remedy(parse: Callable[[str], int], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.remedy
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("parse", "write"),
    [
        (units.parse_time, units.format_time),
        (units.parse_size, units.format_size),
        (units.parse_length, units.format_length),
        (units.parse_permille, units.format_permille),
    ],
)
@given(value=st.integers(0, 2**63))
def test_format_any_value_parses_back(
    parse: Callable[[str], int], write: Callable[[int], str], value: int
) -> None:
    assert parse(write(value)) == value


@given(st.integers(0, units.RATIO_UNIT))
def test_format_ratio_any_value_parses_back(ratio_e18: int) -> None:
    assert units.parse_ratio(units.format_ratio(ratio_e18)) == ratio_e18


@given(st.integers(1, 2**63))
def test_format_rate_any_value_parses_back(rate_bps: int) -> None:
    assert units.parse_rate(units.format_rate(rate_bps)) == rate_bps


@pytest.mark.parametrize(
    ("gbps", "byte_ps"), [(10, 800), (25, 320), (100, 80), (200, 40), (400, 20), (800, 10), (1600, 5)]
)
def test_byte_time_of_an_ethernet_rate_is_whole(gbps: int, byte_ps: int) -> None:
    assert units.byte_time_ps(gbps * 10**9) == byte_ps


@given(WHOLE_RATES)
def test_byte_time_of_a_divisor_is_exact_and_never_zero(rate_bps: int) -> None:
    assert units.byte_time_ps(rate_bps) * rate_bps == 8 * units.PS_PER_S


@given(st.integers(-(10**15), 10**15).filter(lambda rate: rate <= 0 or 8 * units.PS_PER_S % rate))
def test_byte_time_of_any_other_rate_is_refused_with_rates_that_do(rate_bps: int) -> None:
    with pytest.raises(SpecError) as caught:
        units.byte_time_ps(rate_bps)
    for text in caught.value.remedy.removeprefix("the nearest rates that have one are ").split(" and "):
        assert units.byte_time_ps(units.parse_rate(text)) > 0
