"""Experiments whose variants differ in switch, topology, NICs, host agents or failures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from testbed.errors import SpecError
from testbed.run.resolve import resolve
from testbed.spec.experiment import Experiment, Variant
from tests.unit.samples import GOOD


def test_resolve_variants_merge_over_the_experiment() -> None:
    several = replace(
        GOOD,
        nic_settings={"rdma.post": "inline", "mtu": "1KiB"},
        host_agents="stopped",
        switch_settings={"alpha_log2": -1, "buffer": "8MB"},
        variants=(
            Variant(name="a"),
            Variant(name="b", switch="spectrum4", switch_settings={"alpha_log2": -3}),
            Variant(
                name="c",
                topology_parameters={"leaves": 8},
                nic_settings={"rdma.post": "blueflame"},
                host_agents="killed",
            ),
        ),
    )
    resolved = resolve(several)

    assert [network.variant for network in resolved.networks] == ["a", "b", "c"]
    assert [network.switch.profile.name for network in resolved.networks] == [
        "tomahawk5",
        "spectrum4",
        "tomahawk5",
    ]
    assert [dict(network.switch.settings) for network in resolved.networks] == [
        {"alpha_log2": -1, "buffer": "8MB"},
        {"alpha_log2": -3, "buffer": "8MB"},
        {"alpha_log2": -1, "buffer": "8MB"},
    ]
    assert [len(network.fabric.switches) for network in resolved.networks] == [6, 6, 10]
    assert [dict(network.nics["rdma"].settings) for network in resolved.networks] == [
        {"post": "inline", "mtu": "1KiB"},
        {"post": "inline", "mtu": "1KiB"},
        {"post": "blueflame", "mtu": "1KiB"},
    ]
    assert [several.of_variant(one).host_agents for one in several.variants] == [
        "stopped",
        "stopped",
        "killed",
    ]
    assert several.variants[2].changes() == "leaves=8, nic.rdma.post=blueflame, host agents killed"
    assert [cell.id for cell in resolved.cells][:4] == [
        "idle-4KiB-transparent-a",
        "idle-4KiB-transparent-b",
        "idle-4KiB-transparent-c",
        "idle-4KiB-rdma-a",
    ]
    assert {resolved.network(cell).variant for cell in resolved.cells if cell.variant == "b"} == {"b"}


def test_resolve_failures_and_control_plane_are_those_of_each_variant() -> None:
    down, lost = "l1<>s1@1us-2us/10us*2:down", "controller@5us:lost"
    several = replace(
        GOOD,
        failures=(down,),
        control_settings={"detection": "20us", "failover": "on"},
        variants=(
            Variant(name="a"),
            Variant(name="b", failures=(lost,), control_settings={"failover": "off", "link_up": "3us"}),
        ),
    )
    a, b = resolve(several).networks
    assert [(one.kind, one.from_ps) for one in a.failures] == [("down", 10**6), ("down", 11 * 10**6)]
    assert [(one.kind, one.text) for one in b.failures] == [("lost", lost)]
    assert [(one.control.rules.failover, one.control.detection_ps) for one in (a, b)] == [
        (True, 20 * 10**6),
        (False, 20 * 10**6),
    ]
    assert b.control.link_up_ps == 3 * 10**6
    assert resolve(GOOD).networks[0].failures == ()


def nics_and_variants(**more: Any) -> Experiment:
    own = (Variant(name="all"), Variant(name="one", nics=("rdma",), nic_settings={"rdma.post": "inline"}))
    return replace(GOOD, **{"nics": ("transparent", "rdma"), "variants": own} | more)


def test_variant_of_one_nic_has_no_cells_of_the_others() -> None:
    cells = resolve(nics_and_variants()).cells
    assert {(cell.variant, cell.nic) for cell in cells} == {
        ("all", "transparent"),
        ("all", "rdma"),
        ("one", "rdma"),
    }


def test_variant_of_a_nic_that_the_experiment_has_not_is_refused() -> None:
    with pytest.raises(SpecError, match="'sue' is no NIC of the experiment"):
        resolve(nics_and_variants(variants=(Variant(name="one", nics=("sue",)),)))


def test_variant_with_another_topology_has_its_parameters_alone() -> None:
    other = Variant(name="other", topology="single_switch", topology_parameters={"cards": 5})
    (network,) = resolve(nics_and_variants(variants=(other,))).networks
    assert (network.fabric.topology, len(network.fabric.endpoints)) == ("single_switch", 5)
