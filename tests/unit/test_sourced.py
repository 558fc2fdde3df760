from __future__ import annotations

from dataclasses import dataclass

import pytest

from testbed.errors import SpecError
from testbed.spec.sourced import Sourced, assumptions_of


@dataclass(frozen=True)
class Inner:
    known: Sourced
    guess: Sourced


@dataclass(frozen=True)
class Outer:
    name: str
    one: Inner
    many: tuple[Inner, ...]
    named: dict[str, Sourced]


VERIFIED = Sourced(1, "ps", "V", "a page")
SECOND_HAND = Sourced(1, "ps", "S", "a copy")
MEMORY = Sourced(2, "ps", "M", "memory")
ESTIMATE = Sourced(3, "ps", "E", "1 + 2")
ASSUMED = Sourced((4, 5), "ps", "assumed", "not public")


def test_assumptions_nested_profile_lists_the_unverified_with_paths() -> None:
    profile = Outer("x", Inner(VERIFIED, MEMORY), (Inner(SECOND_HAND, ASSUMED),), {"k": ESTIMATE})

    found = [(a.path, a.value, a.mark) for a in assumptions_of(profile, "nic")]

    assert found == [
        ("nic.one.guess", 2, "M"),
        ("nic.many[0].guess", (4, 5), "assumed"),
        ("nic.named[k]", 3, "E"),
    ]


@pytest.mark.parametrize(("mark", "source"), [("X", "a page"), ("V", ""), ("V", "  ")])
def test_sourced_without_mark_or_source_is_refused(mark: str, source: str) -> None:
    with pytest.raises(SpecError):
        Sourced(1, "ps", mark, source)  # type: ignore[arg-type]


def test_sourced_table_has_no_number() -> None:
    assert MEMORY.number == 2
    with pytest.raises(SpecError):
        _ = ASSUMED.number
