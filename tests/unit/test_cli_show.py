from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import Result

from nic_emulator import NICS
from testbed.cli.show import profile_rows
from testbed.links import MEDIA
from testbed.spec.sourced import Sourced
from testbed.switches import SWITCHES

Tb = Callable[..., Result]


@dataclass(frozen=True)
class Inner:
    delay: Sourced


@dataclass(frozen=True)
class Profile:
    name: str
    description: str
    cut_through: bool
    stages: tuple[Inner, ...]


def test_profile_rows_of_nested_profile_give_path_value_and_source() -> None:
    delay = Sourced(value=250_000, unit="ps", mark="assumed", source="nobody says")
    profile = Profile(name="p", description="d", cut_through=True, stages=(Inner(delay=delay),))
    assert list(profile_rows(profile)) == [
        ("cut_through", True, None, None, None),
        ("stages[0].delay", 250_000, "ps", "assumed", "nobody says"),
    ]


def test_show_topology_counts_cards_and_links(tb: Tb) -> None:
    result = tb("show", "leaf_spine", "--set", "leaves=2")
    assert result.exit_code == 0
    assert "2 x leaf: l1 l2" in result.stdout
    assert "400 Gb/s" in result.stdout or "400Gbps" in result.stdout


def test_show_topology_as_json_is_the_fabric_spec(tb: Tb) -> None:
    fabric = json.loads(tb("show", "single_switch", "--json").stdout)
    assert fabric["schema_version"] == 1
    assert len(fabric["switches"]) == 1


def test_show_topology_drawn_writes_the_file(tb: Tb, tmp_path: Path) -> None:
    target = tmp_path / "fabric.svg"
    assert tb("show", "dumbbell", "--draw", str(target)).exit_code == 0
    assert target.read_text(encoding="utf-8").startswith("<?xml")


@pytest.mark.parametrize("kind", ["switch", "nic", "card", "medium"])
def test_show_kind_without_name_lists_the_names(tb: Tb, kind: str) -> None:
    result = tb("show", kind)
    assert result.exit_code == 2
    assert f"error: which {kind}?" in result.stderr
    assert "one of: " in result.stderr


def test_show_switch_gives_the_source_of_its_numbers(tb: Tb) -> None:
    result = tb("show", "switch", "tomahawk5", "--json")
    assert result.exit_code == 0
    values = {row["field"]: row for row in json.loads(result.stdout)["values"]}
    assert values["buffer.pool"]["source"]
    assert values["buffer.pool"]["mark"] in {"V", "S", "M", "E", "assumed"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("leaf_spin",), "did you mean 'leaf_spine'?"),
        (("switch", "tomahawk7"), "did you mean 'tomahawk"),
        (("swtich", "tomahawk5"), "unknown kind 'swtich'"),
        (("leaf_spine", "--set", "leafs=2"), "leaves"),
        (("leaf_spine", "--set", "leaves=-1"), "leaves"),
        (("leaf_spine", "--set", "leaves"), "leaves"),
        (("leaf_spine", "--draw", "fabric.gif"), "not a .png or .svg file"),
        (("leaf_spine", "--draw", "/proc/no/fabric.svg"), "cannot be written"),
        (("switch", "ideal", "--set", "x=1"), "no parameters"),
        (("nic", "rdma", "--set", "pots=inline"), "did you mean 'post'?"),
        (("nic", "rdma", "--set", "post"), "is no key=value"),
        (("nic", "rdma", "--draw", "x.png"), "no drawing"),
    ],
)
def test_show_bad_input_exits_2_and_says_what(tb: Tb, arguments: tuple[str, ...], message: str) -> None:
    result = tb("show", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("name", MEDIA.names())
def test_show_medium_fits_100_columns(tb: Tb, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    lines = tb("show", "medium", name).stdout.splitlines()
    assert max(len(line) for line in lines if "https://" not in line) <= 100


def test_show_medium_gives_latency_losses_and_the_source_of_each_number(tb: Tb) -> None:
    text = tb("show", "medium", "dac").stdout
    rows = [line.split() for line in text.splitlines()]

    [row] = [row for row in rows if row[:4] == ["400Gbps", "8", "x", "50G"]]
    assert row[4:] == ["*", "3m", "kp4", "62.6", "33.8", "67.7", "72.7", "77.8", "–", "–", "1e-8", "0"]
    assert "reaches[50Gbps].max_length = 3,000 mm  (V)" in text
    assert "fec.ll.fixed = 21,000 ps  (E)" in text


def test_show_nic_names_stages_and_leaves_out_what_they_have_not(tb: Tb) -> None:
    text = tb("show", "nic", "transparent").stdout
    rows = [line.split() for line in text.splitlines()]
    assert ["pcie_switch", "latency", "115ns", "M"] in [row[:4] for row in rows]
    assert "pcie_switch occupancy" not in text
    assert "one way, 64 B, idle, without wire, jitter and stalls: 1.90225us" in text


def test_show_nic_as_it_is_set_leaves_out_what_it_then_has_not(tb: Tb) -> None:
    text = tb("show", "nic", "rdma", "--set", "post=blueflame", "--set", "congestion=dcqcn").stdout
    assert "congestion control dcqcn" in text
    assert "post=doorbell|inline|[blueflame]" in text
    assert "wqe_fetch" not in text
    assert "dma_read" not in text


def test_show_nic_as_json_has_settings_sum_and_numbers(tb: Tb) -> None:
    found = json.loads(tb("show", "nic", "sue", "--set", "header=standard", "--json").stdout)
    assert found["settings"] == {"header": "standard"}
    values = {row["field"]: row["value"] for row in found["values"]}
    assert values["first_header_bytes"] == 54
    assert found["one_way_ps"] == sum(
        value
        for field, value in values.items()
        if field.endswith(".latency") and not field.startswith("signal")
    )


@pytest.mark.parametrize("name", NICS.names())
def test_show_nic_fits_100_columns_but_for_addresses(
    tb: Tb, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = tb("show", "nic", name).stdout
    long = [line for line in text.splitlines() if len(line) > 100]
    assert all("https://" in line for line in long[1:])  # the first is the description


@pytest.mark.parametrize("name", SWITCHES.names())
def test_show_switch_fits_100_columns_and_numbers_its_sources(
    tb: Tb, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = tb("show", "switch", name).stdout
    numbers, _, sources = text.partition("\nsources\n")
    long = [line for line in text.splitlines() if len(line) > 100]
    assert all(line.split()[-1].startswith("https://") for line in long)
    referred = {int(found) for found in re.findall(r"\[(\d+)\]$", numbers, re.MULTILINE)}
    assert referred == set(range(1, len(referred) + 1))
    assert [int(found) for found in re.findall(r"^  \[(\d+)\]", sources, re.MULTILINE)] == sorted(referred)


def test_show_switch_reads_as_a_person_writes(tb: Tb) -> None:
    lines = {tuple(line.split()) for line in tb("show", "switch", "tomahawk6").stdout.splitlines()}
    start = {line[:4] for line in lines}
    assert ("capacity", "102.4Tbps", "V", "[1]") in start
    assert ("pipeline_latency", "800ns", "S", "[2]") in start
    assert {("alpha_log2", "0", "(alpha", "="), ("packet", "trimming", "yes", "V")} <= start
    assert ("1.6Tbps:", "579.2ns", "1,810", "quanta") in start


def test_show_switch_without_pfc_says_nothing_of_it(tb: Tb) -> None:
    assert "pause_quanta" not in tb("show", "switch", "linux_bridge").stdout


def test_show_rules_prints_the_tables_of_a_switch_and_what_the_walk_finds(tb: Tb) -> None:
    result = tb("show", "rules", "leaf_spine", "--set", "control.failover=on", "--switch", "s1")

    assert result.exit_code == 0
    assert "group_id=1,type=ff,bucket=watch_port:1,actions=output:1," in result.stdout
    assert "table=1, priority=0 actions=CONTROLLER:65535" in result.stdout
    assert "l1 " not in result.stdout
    assert (
        "walked: 240 of 240 pairs reach each other, by 432 of 432 shortest paths, no loops" in result.stdout
    )


def test_show_rules_as_json_has_every_switch(tb: Tb) -> None:
    found = json.loads(tb("show", "rules", "dumbbell", "--set", "trunks=2", "--json").stdout)

    assert list(found["switches"]) == ["l1", "l2"]
    assert found["walk"]["reached"] == found["walk"]["pairs"] == 56
    assert len(found["switches"]["l1"]["groups"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("rules",), "those of a topology"),
        (("rules", "dumbbell", "--switch", "l3"), "unknown switch 'l3'"),
        (("rules", "dumbbell", "--set", "control.failovr=on"), "did you mean 'failover'"),
        (("dumbbell", "--switch", "l1"), "only rules"),
    ],
)
def test_show_rules_refuses_what_it_cannot_show(tb: Tb, arguments: tuple[str, ...], said: str) -> None:
    result = tb("show", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
