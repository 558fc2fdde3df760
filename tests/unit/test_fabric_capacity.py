from __future__ import annotations

import pytest

from testbed.errors import PreflightError
from testbed.fabric.capacity import Limits, check_capacity, need_of, shortages
from topologies.single_switch import build as single_switch

PLENTY = {"memory_kib": 1 << 40, "pids": 1 << 40, "namespaces": 1 << 40, "descriptors": 1 << 40}


def test_shortages_without_limits_are_none() -> None:
    unlimited = Limits(memory_kib=None, pids=None, namespaces=None, descriptors=None)
    assert shortages(need_of(single_switch()), unlimited) == []


@pytest.mark.parametrize(
    ("what", "word"),
    [
        ("memory_kib", "memory"),
        ("pids", "processes"),
        ("namespaces", "namespaces"),
        ("descriptors", "open files"),
    ],
)
def test_check_capacity_one_limit_too_small_names_it_and_twin(what: str, word: str) -> None:
    need = getattr(need_of(single_switch()), what)
    check_capacity(single_switch(), limits=Limits(**(PLENTY | {what: need})))
    with pytest.raises(PreflightError, match=word) as caught:
        check_capacity(single_switch(), limits=Limits(**(PLENTY | {what: need - 1})))
    assert "--engine twin" in caught.value.remedy


def test_need_of_more_endpoints_grows_in_everything() -> None:
    small, large = need_of(single_switch(cards=2)), need_of(single_switch(cards=20))
    assert small.memory_kib < large.memory_kib
    assert small.pids < large.pids
    assert small.namespaces + 18 == large.namespaces
    assert small.descriptors < large.descriptors
