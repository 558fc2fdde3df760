from __future__ import annotations

from dataclasses import fields

import pytest

from testbed.errors import SpecError
from testbed.spec.sourced import Sourced
from testbed.switches import SWITCHES
from testbed.units import byte_time_ps

GBPS = 10**9


@pytest.mark.parametrize("name", SWITCHES.names())
def test_switch_profile_is_sound(name: str) -> None:
    profile = SWITCHES.get(name)

    assert profile.name == name
    assert SWITCHES.describe(name) == profile.description
    assert all(byte_time_ps(rate) for rate in profile.port_rates_bps)
    assert list(profile.port_rates_bps) == sorted(profile.port_rates_bps, reverse=True)
    assert profile.pipeline_latency.number >= 0
    assert profile.buffer_bytes.number > 1000 * profile.cell_bytes.number
    assert profile.reserved_bytes.number % profile.cell_bytes.number == 0


@pytest.mark.parametrize("name", [name for name in SWITCHES.names() if name != "ideal"])
def test_switch_product_has_all_its_ports_at_the_fastest_rate(name: str) -> None:
    profile = SWITCHES.get(name)
    fastest = profile.port_rates_bps[0]

    profile.check_ports([fastest] * profile.ports.number)
    with pytest.raises(SpecError, match=r"65 ports of 52Tbps in all, .* has 51.2Tbps"):
        profile.check_ports([fastest] * (profile.ports.number + 1))


@pytest.mark.parametrize(("ports", "gbps"), [(64, 800), (128, 400), (256, 200)])
def test_tomahawk5_port_count_by_rate(ports: int, gbps: int) -> None:
    profile = SWITCHES.get("tomahawk5")

    profile.check_ports([gbps * GBPS] * ports)
    with pytest.raises(SpecError):
        profile.check_ports([gbps * GBPS] * (ports + 1))


def test_tomahawk5_slow_ports_are_limited_by_number() -> None:
    with pytest.raises(SpecError, match="257 ports, tomahawk5 has 256 at most"):
        SWITCHES.get("tomahawk5").check_ports([100 * GBPS] * 257)


def test_switch_unknown_rate_suggests_the_nearest() -> None:
    with pytest.raises(SpecError, match="no ports of 320Gbps") as caught:
        SWITCHES.get("spectrum4").check_ports([320 * GBPS])
    assert "400Gbps" in caught.value.remedy


def test_switch_ideal_takes_any_rate() -> None:
    SWITCHES.get("ideal").check_ports([320 * GBPS] * 1000)


@pytest.mark.parametrize("name", SWITCHES.names())
def test_switch_number_says_where_it_is_from(name: str) -> None:
    profile = SWITCHES.get(name)
    numbers = [getattr(profile, f.name) for f in fields(profile)]
    assert all(len(number.source) > 15 for number in numbers if isinstance(number, Sourced))
