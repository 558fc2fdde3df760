from __future__ import annotations

from dataclasses import replace

import pytest

from testbed.errors import SpecError
from testbed.run.loader import load_experiment
from testbed.spec.experiment import Experiment, Variant
from testbed.spec.overrides import apply_overrides


@pytest.fixture
def quickstart() -> Experiment:
    return load_experiment("quickstart")


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("records=1000", "records", 1000),
        ("records=1_000", "records", 1000),
        ("emulated_records=0", "emulated_records", 0),
        ("seed=3", "seed", 3),
        ("snap=128", "snap_bytes", 128),
        ("snap=1KiB", "snap_bytes", 1024),
        ("snap=full", "snap_bytes", None),
        ("switch=spectrum4", "switch", "spectrum4"),
        ("host_agents=stopped", "host_agents", "stopped"),
        ("controller=ryu", "controller", "ryu"),
        ("failures=s1@1us-2us:restart", "failures", ("s1@1us-2us:restart",)),
        ("failures=l1>s1:loss=1%, c3@1us:process", "failures", ("l1>s1:loss=1%", "c3@1us:process")),
        ("nics=rdma", "nics", ("rdma",)),
        ("sizes=4KiB, 64KiB", "sizes_bytes", (4096, 65536)),
        ("topology=fat_tree", "topology", "fat_tree"),
    ],
)
def test_override_of_a_field_replaces_it(
    quickstart: Experiment, text: str, field: str, value: object
) -> None:
    assert getattr(apply_overrides(quickstart, [text]), field) == value


def test_override_of_the_topology_drops_the_old_parameters(quickstart: Experiment) -> None:
    changed = apply_overrides(quickstart, ["topology=fat_tree", "topology.k=8", "topology.rate=100Gbps"])

    assert dict(changed.topology_parameters) == {"k": 8, "rate": "100Gbps"}


def test_override_of_a_topology_parameter_keeps_the_others(quickstart: Experiment) -> None:
    changed = apply_overrides(quickstart, ["topology.leaves=2"])

    assert dict(changed.topology_parameters) == dict(quickstart.topology_parameters) | {"leaves": 2}


def test_override_of_a_scenario_changes_it_alone(quickstart: Experiment) -> None:
    changed = apply_overrides(quickstart, ["load.load=62.5%", "incast.fan_in=4"])

    assert [(s.name, s.load_permille, s.fan_in) for s in changed.scenarios] == [
        ("idle", 0, 0),
        ("load", 625, 0),
        ("incast", 500, 4),
    ]


def test_override_of_scenarios_chooses_in_the_order_given(quickstart: Experiment) -> None:
    chosen = apply_overrides(quickstart, ["scenarios=incast,idle"])

    assert [scenario.name for scenario in chosen.scenarios] == ["incast", "idle"]


def test_override_of_a_switch_setting_keeps_the_switch_and_the_others(quickstart: Experiment) -> None:
    changed = apply_overrides(quickstart, ["switch.alpha_log2=-2", "switch.ecn=100KB:400KB:20%"])

    assert dict(changed.switch_settings) == {"alpha_log2": -2, "ecn": "100KB:400KB:20%"}
    assert changed.switch == quickstart.switch


def test_override_of_a_nic_setting_keeps_the_others(quickstart: Experiment) -> None:
    changed = apply_overrides(
        quickstart, ["nic.cards=4", "nic.rdma.post=inline", "nic.rdma.congestion.g_log2=4"]
    )

    assert dict(changed.nic_settings) == {"cards": 4, "rdma.post": "inline", "rdma.congestion.g_log2": 4}


def test_override_of_a_control_setting_keeps_the_others(quickstart: Experiment) -> None:
    changed = apply_overrides(quickstart, ["control.failover=on", "control.detection=5us"])

    assert dict(changed.control_settings) == {"failover": "on", "detection": "5us"}


def test_override_of_failures_is_in_place_of_all_and_none_clears_them(quickstart: Experiment) -> None:
    several = replace(
        quickstart,
        failures=("l1>s1:down",),
        variants=(Variant(name="a", failures=("l1>s2:down",)), Variant(name="b")),
    )

    for text, failures in (("failures=c3@1us:process", ("c3@1us:process",)), ("failures=none", ())):
        changed = apply_overrides(several, [text])
        assert changed.failures == failures
        assert [changed.of_variant(variant).failures for variant in changed.variants] == [failures] * 2


def test_override_of_operation_and_batch_is_of_one_scenario(quickstart: Experiment) -> None:
    changed = apply_overrides(quickstart, ["load.op=put_signal", "load.batch=16"])

    assert [(s.op, s.batch) for s in changed.scenarios] == [("put", 1), ("put_signal", 16), ("put", 1)]


def test_override_of_variants_chooses_in_the_order_given(quickstart: Experiment) -> None:
    several = replace(quickstart, variants=tuple(Variant(name=name) for name in "abc"))

    assert [variant.name for variant in apply_overrides(several, ["variants=c,a"]).variants] == ["c", "a"]
    with pytest.raises(SpecError, match="unknown variant 'd'"):
        apply_overrides(several, ["variants=a,d"])
    with pytest.raises(SpecError, match="unknown variant 'a'"):
        apply_overrides(quickstart, ["variants=a"])


def test_override_of_records_counts_for_every_scenario(quickstart: Experiment) -> None:
    own = apply_overrides(quickstart, ["load.records=70"])
    assert [scenario.records for scenario in own.scenarios] == [0, 70, 0]

    both = apply_overrides(own, ["records=1000"])
    assert (both.records, [scenario.records for scenario in both.scenarios]) == (1000, [0, 0, 0])


def test_override_twice_takes_the_last(quickstart: Experiment) -> None:
    assert apply_overrides(quickstart, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recrods=1", "did you mean 'records'?"),
        ("load.laod=60%", "did you mean 'load.load'?"),
        ("lod.load=60%", "did you mean 'load.load'?"),
        ("topology.=3", "unknown key 'topology.'"),
        ("name=x", "unknown key 'name'"),
        ("records", "is no key=value"),
        ("records=", "is no key=value"),
        ("=3", "unknown key ''"),
        ("", "is no key=value"),
        ("records=1e6", "'1e6' is no whole number"),
        ("seed=0x10", "'0x10' is no whole number"),
        ("seed=" + "9" * 5000, "is no whole number"),
        ("sizes=4096", "is not a size"),
        ("sizes=4KiB,huge", "'huge' is not a size"),
        ("load.load=0.6", "is not a share"),
        ("switch.=3", "unknown key 'switch.'"),
        ("nic.=3", "unknown key 'nic.'"),
        ("control.=3", "unknown key 'control.'"),
        ("failurs=none", "did you mean 'failures'?"),
        ("load.batch=some", "is no whole number"),
        ("scenarios=idle,laod", "did you mean 'load'?"),
        ("topology.k=" + "9" * 5000, "is no whole number"),
    ],
)
def test_override_bad_is_refused(quickstart: Experiment, text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        apply_overrides(quickstart, [text])
    assert message in str(caught.value)
    assert caught.value.remedy


def test_overrides_many_bad_are_named_together(quickstart: Experiment) -> None:
    with pytest.raises(SpecError) as caught:
        apply_overrides(quickstart, ["records=x", "seed=3", "sizes=y"])
    assert [problem.path for problem in caught.value.problems] == ["records", "sizes"]


def test_override_of_nics_drops_variants_of_those_that_are_gone(quickstart: Experiment) -> None:
    own = (
        Variant(name="all"),
        Variant(name="one", nics=("rdma",)),
        Variant(name="both", nics=("rdma", "sue")),
    )
    experiment = replace(quickstart, nics=("transparent", "rdma", "sue"), variants=own)
    found = apply_overrides(experiment, ["nics=transparent,sue"])
    assert [(variant.name, variant.nics) for variant in found.variants] == [("all", ()), ("both", ("sue",))]
