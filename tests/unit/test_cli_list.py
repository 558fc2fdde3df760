from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from typer.testing import Result

Tb = Callable[..., Result]

KINDS = ["topologies", "switches", "nics", "cards", "media", "experiments"]


def test_list_without_kind_as_json_has_every_kind_with_a_line_each(tb: Tb) -> None:
    result = tb("list", "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert list(found) == KINDS
    assert all(entry["name"] and entry["description"] for entries in found.values() for entry in entries)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            "topologies",
            {"single_switch", "dumbbell", "leaf_spine", "rail_optimized", "fat_tree", "squadrack"},
        ),
        ("switches", {"tomahawk5", "tomahawk_ultra", "spectrum4"}),
        ("nics", {"transparent", "rdma", "kernel", "uec", "sue", "ualink"}),
        ("cards", {"corsair"}),
        ("experiments", {"quickstart"}),
    ],
)
def test_list_of_a_kind_has_the_names_promised(tb: Tb, kind: str, names: set[str]) -> None:
    found = json.loads(tb("list", kind, "--json").stdout)
    assert list(found) == [kind]
    assert names <= {entry["name"] for entry in found[kind]}


def test_list_as_text_shows_name_and_line(tb: Tb) -> None:
    result = tb("list", "topologies")
    assert result.exit_code == 0
    assert any(line.startswith("leaf_spine  ") for line in result.stdout.splitlines())


def test_list_of_unknown_kind_suggests_the_nearest(tb: Tb) -> None:
    result = tb("list", "topologys", "--json")
    assert result.exit_code == 2
    assert "did you mean 'topologies'?" in result.stderr
    assert result.stdout == ""
