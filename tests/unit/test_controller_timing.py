from __future__ import annotations

import pytest

from testbed.controller.timing import CONTROL_KEYS, GENERIC, configured
from testbed.errors import SpecError
from testbed.spec.parameters import ParameterValue
from testbed.spec.sourced import Sourced
from testbed.units import parse_time


def test_nothing_set_uses_the_generic_numbers_and_plain_rules() -> None:
    setup = configured({})

    assert setup.timing == GENERIC
    assert (setup.rules.paths, setup.rules.failover, setup.rules.weights) == ("ecmp", False, False)
    assert setup.rules.class_of_dscp[46] == 5, "expedited forwarding"
    assert set(setup.used_numbers()) == {
        f"control.generic.{name}" for name in ("detection", "control_latency", "rule_install", "link_up")
    }


def test_every_number_of_the_generic_timing_states_its_range() -> None:
    for number in configured({}).used_numbers().values():
        assert isinstance(number, Sourced)
        assert number.range is not None


@pytest.mark.parametrize("key", ["detection", "control_latency", "rule_install", "link_up"])
def test_a_time_replaces_its_number_and_no_other(key: str) -> None:
    setup = configured({key: "7us"})

    assert getattr(setup, f"{key}_ps") == parse_time("7us")
    others = {"detection", "control_latency", "rule_install", "link_up"} - {key}
    assert all(getattr(setup.timing, name) == getattr(GENERIC, name) for name in others)


def test_options_are_read() -> None:
    rules = configured({"failover": "on", "paths": "single", "weights": "on"}).rules

    assert (rules.paths, rules.failover, rules.weights) == ("single", True, True)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("failoverr", "on", "did you mean 'failover'"),
        ("failover", "yes", "neither on nor off"),
        ("paths", "all", "no use of paths"),
        ("detection", "0ns", "is zero"),
        ("class_of_pcp", "8:1", "values from 0 to 7"),
        ("class_of_pcp", "3-2:1", "values from 0 to 7"),
        ("class_of_dscp", "64:1", "values from 0 to 63"),
        ("class_of_dscp", "26:8", "no class 8"),
        ("class_of_dscp", "26", "gives no value its class"),
        ("class_of_dscp", "26:3,,46:5", "gives no value its class"),
        ("control_latency", "soon", "time"),
    ],
)
def test_a_bad_setting_is_refused_with_its_name(key: str, value: ParameterValue, problem: str) -> None:
    with pytest.raises(SpecError, match=key) as caught:
        configured({key: value})
    assert problem in str(caught.value)
    assert caught.value.remedy


def test_class_maps_name_what_is_not_as_usual() -> None:
    rules = configured({"class_of_pcp": "3:5, 0-1:2", "class_of_dscp": "26:5,48-50:0"}).rules
    assert rules.class_of_pcp == (2, 2, 2, 5, 4, 5, 6, 7)
    changed = {i: to for i, to in enumerate(rules.class_of_dscp) if to != i >> 3}
    assert changed == {26: 5, 48: 0, 49: 0, 50: 0}
    assert configured({}).rules.class_of_pcp == tuple(range(8))


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(SpecError) as caught:
        configured({"paths": "x", "link_up": "y"})
    assert "paths" in str(caught.value)
    assert "link_up" in str(caught.value)


def test_known_keys_are_those_of_the_documentation() -> None:
    assert set(CONTROL_KEYS) == {
        "failover",
        "paths",
        "weights",
        "class_of_pcp",
        "class_of_dscp",
        "detection",
        "control_latency",
        "rule_install",
        "link_up",
    }
