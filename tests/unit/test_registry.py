from __future__ import annotations

import pytest

from testbed.errors import SpecError
from testbed.registry import Registry


def first() -> None:
    """The first line.

    And more.
    """


REGISTRY = Registry("thing", {"leaf_spine": first, "fat_tree": first})


def test_registry_known_name_gives_the_entry() -> None:
    assert REGISTRY.get("leaf_spine") is first


def test_registry_near_miss_suggests_and_lists() -> None:
    with pytest.raises(SpecError) as caught:
        REGISTRY.get("leaf_spin")

    assert str(caught.value) == (
        "unknown thing 'leaf_spin'; did you mean 'leaf_spine'? known: leaf_spine, fat_tree"
    )
    assert caught.value.remedy == "write 'leaf_spine'"


def test_registry_far_miss_only_lists() -> None:
    with pytest.raises(SpecError, match=r"^unknown thing 'zzz'$") as caught:
        REGISTRY.get("zzz")
    assert caught.value.remedy == "use one of: leaf_spine, fat_tree"


def test_registry_empty_offers_nothing() -> None:
    with pytest.raises(SpecError) as caught:
        Registry[object]("thing", {}).get("zzz")
    assert caught.value.remedy == "leave it out: there is none to choose"


def test_registry_describe_gives_the_first_docstring_line() -> None:
    assert REGISTRY.describe("fat_tree") == "The first line."
    assert REGISTRY.names() == ("leaf_spine", "fat_tree")
