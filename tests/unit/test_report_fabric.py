from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from testbed.errors import SpecError
from testbed.report.describe import (
    describe_fabric,
    diameter_hops,
    link_classes,
    networks_line,
    oversubscription,
)
from testbed.report.draw import draw_fabric, fabric_figure
from topologies import TOPOLOGIES, build_fabric

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


def test_describe_leaf_spine_says_what_it_consists_of() -> None:
    text = describe_fabric(build_fabric("leaf_spine", {"oversubscription": 2}))

    assert "16 behind 16 NICs in 16 servers" in text
    assert "yes: leaf 2 : 1" in text
    assert "4 links from card to card" in text
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["16", "NIC", "leaf", "400Gbps", "dac", "3m", "77.753ns"],
        ["8", "leaf", "spine", "400Gbps", "dr", "10m", "133.11ns"],
    ]


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_describe_every_topology_accounts_for_all_links(name: str) -> None:
    fabric = build_fabric(name, {})

    assert sum(link_classes(fabric).values()) == len(fabric.links)
    assert name in describe_fabric(fabric)


@pytest.mark.parametrize(
    ("name", "parameters", "hops"),
    [
        ("single_switch", {"cards": 2}, 2),
        ("single_switch", {"cards": 1}, 0),
        ("dumbbell", {}, 3),
        ("dumbbell", {"left": 1, "right": 1}, 3),
        ("leaf_spine", {}, 4),
        ("fat_tree", {"k": 2}, 6),
        ("fat_tree", {"k": 4}, 6),
    ],
)
def test_diameter_counts_links(name: str, parameters: dict[str, Any], hops: int) -> None:
    assert diameter_hops(build_fabric(name, parameters)) == hops


def test_oversubscription_of_a_dumbbell_is_that_of_its_trunk() -> None:
    assert oversubscription(build_fabric("dumbbell", {})) == {0: 4}
    assert oversubscription(build_fabric("single_switch", {})) == {}


@pytest.mark.parametrize("name", TOPOLOGIES.names())
def test_draw_every_topology_names_its_nodes_and_rates(name: str) -> None:
    fabric = build_fabric(name, {})
    figure = fabric_figure(fabric)
    axes = figure.axes[0]
    texts = {text.get_text().split("\n")[0] for text in axes.texts}

    assert set(fabric.node_names()) <= texts
    assert any("Gbps" in text for text in texts)
    assert axes.get_title().startswith(name)
    assert len(figure.legends[0].get_texts()) == len(link_classes(fabric))


def test_draw_large_fabric_stands_for_all_nics() -> None:
    fabric = build_fabric("leaf_spine", {"leaves": 16, "cards": 256})
    texts = [text.get_text() for text in fabric_figure(fabric).axes[0].texts]

    assert texts.count("16\nNICs") == 16
    assert "256 NICs" in texts


def test_draw_writes_png_and_svg(tmp_path: Path) -> None:
    fabric = build_fabric("dumbbell", {})
    draw_fabric(fabric, tmp_path / "a.png")
    draw_fabric(fabric, tmp_path / "a.svg")
    draw_fabric(fabric, tmp_path / "b.svg")

    assert (tmp_path / "a.png").read_bytes().startswith(PNG_MAGIC)
    assert "dumbbell: 8 cards" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("name", ["a.gif", "a", "no_such_directory/a.png"])
def test_draw_into_a_bad_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SpecError) as caught:
        draw_fabric(build_fabric("dumbbell", {}), tmp_path / name)
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("topology", "parameters", "line"),
    [
        ("single_switch", {}, "single_switch, 8 cards, 400 Gb/s, X, 3 m DAC"),
        ("dumbbell", {}, "dumbbell 2 switches, 8 cards, 400 Gb/s, X, 3 m DAC"),
        ("leaf_spine", {}, "leaf_spine 2 x 4, 16 cards, 400 Gb/s, X, 3 m DAC"),
        ("rail_optimized", {"spines": 3}, "rail_optimized 3 x 4, 16 cards, 400 Gb/s, X, 3 m DAC"),
        ("fat_tree", {"rate": "100Gbps"}, "fat_tree 4 x 8 x 8, 16 cards, 100 Gb/s, X, 3 m DAC"),
        ("squadrack", {}, "squadrack, 16 cards, 400 Gb/s, X, 2 m DAC"),
    ],
)
def test_networks_line_of_each_topology(topology: str, parameters: dict[str, str | int], line: str) -> None:
    assert networks_line([(build_fabric(topology, parameters), "X", 1)]) == line


def test_networks_line_counts_cards_and_not_nics() -> None:
    fabric = build_fabric("single_switch", {"cards": 4})
    assert networks_line([(fabric, "X", 4)]) == "single_switch, 16 cards behind 4 NICs, 400 Gb/s, X, 3 m DAC"


def test_describe_fabric_narrow_wraps_long_rows() -> None:
    text = describe_fabric(build_fabric("leaf_spine", {}), width=80)
    assert max(len(row) for row in text.splitlines()) <= 80
