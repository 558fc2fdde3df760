"""The oracles of NICs and of congestion control find a model that is wrong by 5 %, or by one part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from testbed.validate import congestion, nic_rates, nics
from testbed.validate.nic_paths import WAYS, frame_bytes
from testbed.validate.nic_plans import around_switch
from testbed.validate.row import Row
from tests.engine.test_validate import failures

Node = dict[str, Any]


def with_nics(change: Callable[[Node], None]) -> Callable[..., Any]:
    """The builder of plans, with every NIC changed."""

    def changed(*arguments: Any, **more: Any) -> Any:
        data = around_switch(*arguments, **more)
        for node in data["nodes"]:
            if node["kind"] == "nic":
                change(node)
        return data

    return changed


def slower_stage(place: str, index: int, field: str) -> Callable[[Node], None]:
    """A stage whose latency or occupancy is 5 % longer."""

    def change(node: Node) -> None:
        stage = node["stages"][place][index]
        stage[field] += max(1, stage[field] // 20)

    return change


def larger(field: str, by: int) -> Callable[[Node], None]:
    def change(node: Node) -> None:
        node["config"][field] += by

    return change


def latencies(nic: str) -> list[Row]:
    ways = [way for way in WAYS if way.nic == nic]
    return [
        nics._latency_row(way, "put", size, "ideal")
        for way in ways
        for size in (64, 4_096)
        if way.least <= size <= way.most
    ]


@pytest.mark.parametrize("nic", ["transparent", "rdma", "kernel", "uec", "sue", "ualink"])
@pytest.mark.parametrize("place", ["post", "send", "receive", "notify"])
def test_stage_5_percent_slower_is_found_in_every_latency(
    nic: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failures(latencies(nic)) == 0
    monkeypatch.setattr(nics, "around_switch", with_nics(slower_stage(place, -1, "latency_ps")))
    changed = latencies(nic)
    last_stage_takes_no_time = nic == "transparent" and place == "receive"  # of four cards: their engine
    assert failures(changed) >= len(changed) - 2 * last_stage_takes_no_time


@pytest.mark.parametrize("nic", ["transparent", "rdma", "kernel", "uec", "sue"])
def test_header_5_percent_larger_is_found_in_latency_of_full_packets(
    nic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = ("first_header_bytes", "other_header_bytes")

    def change(node: Node) -> None:
        for name in fields:
            node["config"][name] += max(1, node["config"][name] // 20)

    monkeypatch.setattr(nics, "around_switch", with_nics(change))
    way = next(way for way in WAYS if way.nic == nic)
    assert nics._latency_row(way, "put", 4_096, "ideal").verdict == "fails"
    assert nics._latency_row(way, "put", 16_384, "ideal").verdict == "fails"


def test_switch_5_percent_slower_is_found_in_every_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(nics.SWITCHES, "tomahawk5", 630_000)
    rows = [nics._latency_row(way, "put", 4_096, "tomahawk5") for way in WAYS if way.most >= 4_096]
    assert failures(rows) == len(rows)


@pytest.mark.parametrize("header", list(nic_rates.FORMATS))
def test_header_5_percent_larger_is_found_in_goodput(header: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(node: Node) -> None:
        if header == "ualink":
            node["config"]["flit_bytes"] += 32
            return
        for name in ("first_header_bytes", "other_header_bytes"):
            node["config"][name] += max(1, node["config"][name] // 20)

    assert not [row for row in nic_rates._goodput_rows(header, 500) if row.verdict == "fails"]
    monkeypatch.setattr(nic_rates, "around_switch", with_nics(change))
    rows = [row for row in nic_rates._goodput_rows(header, 500) if "published" not in row.case]
    assert failures(rows) == len(rows)


@pytest.mark.parametrize("case", nic_rates.CASES, ids=lambda case: f"{case.nic}-{case.size}-{case.limit}")
def test_bottleneck_5_percent_slower_is_found_in_saturation(
    case: nic_rates.Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def change(node: Node) -> None:
        place, _, name = case.limit.partition(" ")
        if case.limit == "wire":
            for field in ("first_header_bytes", "other_header_bytes"):
                node["config"][field] += 210
        elif case.limit == nic_rates.WINDOW:
            node["config"]["window_pkts"] -= 3
        else:
            stage = next(stage for stage in node["stages"][place] if stage["name"] == name)
            stage["occupancy_ps"] = stage["occupancy_ps"] * 21 // 20
            stage["occupancy_ps_per_kib"] = stage["occupancy_ps_per_kib"] * 21 // 20

    monkeypatch.setattr(nic_rates, "around_switch", with_nics(change))
    (row,) = nic_rates._saturation_rows(case, 5_000)
    assert row.verdict == "fails"
    assert row.measured < row.expected


def test_unequal_turns_of_cards_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def change(node: Node) -> None:
        if node["workloads"][0]["arrivals"] == "CLOSED":
            node["workloads"][0]["window"] //= 2

    case = nic_rates.Case("rdma", {}, 64, "400Gbps", "post host_post")
    monkeypatch.setattr(nic_rates, "around_switch", with_nics(change))
    shares = [row for row in nic_rates._cards_rows(case, 500_000_000) if row.case.endswith("share of each")]
    assert failures(shares) == 1


@pytest.mark.parametrize("place", ["local", "bridge"])
def test_way_between_cards_5_percent_slower_is_found(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(node: Node) -> None:
        if place in node["stages"]:
            slower_stage(place, -1, "latency_ps")(node)

    monkeypatch.setattr(nics, "around_switch", with_nics(change))
    rows = [
        nics._local_row("rdma", "switch" if place == "local" else "bridge", "put", size)
        for size in (64, 4_096)
    ]
    assert failures(rows) == 2


@pytest.mark.parametrize(
    ("run", "senders", "change"),
    [
        ("nscc", 2, lambda node: node["config"]["congestion_parameters"].update(target_delay_ps=3_000_000)),
        ("nscc", 8, lambda node: node["config"]["congestion_parameters"].update(base_rtt_ps=5_000_000)),
        ("dcqcn", 8, lambda node: node["config"].update(cnp_interval_ps=0)),  # receivers do not tell
        (
            "dcqcn",
            32,
            lambda node: node["config"]["congestion_parameters"].update(decrease_interval_ps=400_000_000),
        ),
        (
            "dctcp",
            8,
            lambda node: node["config"].update(
                congestion="fixed_window", congestion_parameters={"window_bytes": 1 << 20}
            ),
        ),
    ],
    ids=["target", "base", "silence", "cuts", "none"],
)
def test_wrong_congestion_control_is_found_at_the_port(
    run: str, senders: int, change: Callable[[Node], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(congestion, "COUNTS", (senders,))
    assert failures(getattr(congestion, run)(True)) == 0
    monkeypatch.setattr(congestion, "around_switch", with_nics(change))
    assert failures(getattr(congestion, run)(True)) > 0


def test_headers_of_the_oracle_are_those_of_the_specifications() -> None:
    assert frame_bytes("rocev2", 64) == 64 + 78
    assert frame_bytes("rocev2", 65) == 68 + 78  # padded to words
    assert frame_bytes("rocev2", 64, first=False) == 64 + 62
    assert frame_bytes("rocev2", 64, "response", last=False) == 64 + 66
    assert frame_bytes("thin", 8) == 64
    assert frame_bytes("uet", 4_096) == 4_198
    assert frame_bytes("ualink", 256) + 20 == 640
    assert frame_bytes("ualink", 4_096) + 20 == 7 * 640
